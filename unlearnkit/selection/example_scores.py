"""Scores of training examples: loss and self-influence, under the model of the example's shard.

Only this model was trained on the example. What the other constituents make of it is in
:mod:`unlearnkit.selection.held_out`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearnkit.models.chunks import CHUNK, rows_together
from unlearnkit.store import Store
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

Scores = Float[np.ndarray, " example"]


def stage_state(plan: Plan, store: Store, shard: int, stage: int) -> State | None:
    """The state of a shard's model after a stage: exact if stored, else approximate, else None."""
    checkpoint = ShardModel(plan, store, shard).checkpoint(stage)
    return None if checkpoint is None else checkpoint.state


@own_settings()
def example_losses(plan: Plan, store: Store) -> Scores:
    """The loss of every training example under its shard's model; nan for revoked examples.

    This is the training loss without weight decay, in evaluation mode. The order is that of
    ``plan.partition.ids``.

    Raises:
        LookupError: a shard has no model yet.
    """
    scores = np.full(len(plan.partition.ids), np.nan)
    loss, last = plan.spec.loss, plan.spec.num_slices
    for shard in range(plan.num_shards):
        rows = _retained(plan, shard)
        if not len(rows):
            continue
        module = plan.architecture.module(_state(plan, store, shard, last))
        for part, inputs, labels in _chunks(plan, module, rows):
            with torch.no_grad():
                scores[part] = loss.value(module(inputs), labels).double().numpy()
    return scores


@own_settings()
def self_influence(plan: Plan, store: Store) -> Scores:
    """TracIn self-influence in the last layer (Pruthi et al. 2020); nan for revoked examples.

    Self-influence measures how much training on an example lowers its own loss; it is high for rare
    and mislabelled examples. TracInCP sums, over checkpoints, the learning rate times the squared
    norm of the example's gradient. As in the paper's variant for last layers, only weight and bias
    of the last linear layer count: with the layer's input h and the gradient d of the loss at its
    output, the squared norm is |d|^2 (|h|^2 + 1).

    Departures: the checkpoints are the ends of the stages that trained on the example, each
    weighted by the epochs of its stage. Momentum, weight decay and the division by the batch size
    are left out, so only the ranking is meaningful, not the unit. The order is that of
    ``plan.partition.ids``.

    Raises:
        LookupError: a shard has no model yet.
        ValueError: the model does not end in a linear layer.
    """
    scores = np.full(len(plan.partition.ids), np.nan)
    rate, slices = plan.spec.learning_rate, plan.partition.slice_
    for shard in range(plan.num_shards):
        rows = _retained(plan, shard)
        if not len(rows):
            continue
        _state(plan, store, shard, plan.spec.num_slices)
        scores[rows] = 0.0
        for stage in plan.chains[shard]:
            state = stage_state(plan, store, shard, stage.index)
            trained = rows[slices[rows] <= stage.index]
            if state is None or not len(trained):
                continue
            module = plan.architecture.module(state)
            for part, inputs, labels in _chunks(plan, module, trained):
                given, outputs = _last_layer(module, inputs)
                slope = plan.spec.loss.output_gradient(outputs, labels).double()
                norms = slope.square().sum(1) * (given.double().square().sum(1) + 1)
                scores[part] += rate * stage.epochs * norms.numpy()
    return scores


def _retained(plan: Plan, shard: int) -> Int[np.ndarray, " row"]:
    rows = plan.partition.shard_rows(shard)
    kept: np.ndarray = rows[plan.retained[rows]]
    return kept


def _state(plan: Plan, store: Store, shard: int, stage: int) -> State:
    state = stage_state(plan, store, shard, stage)
    if state is None:
        raise LookupError(f"shard {shard} has no model yet; train first: session.train()")
    return state


def _chunks(
    plan: Plan, module: nn.Module, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    for begin in range(0, len(rows), CHUNK):
        part = rows[begin : begin + CHUNK]
        inputs, labels = plan.examples[plan.partition.ids[part]]
        size = rows_together(plan.architecture, inputs)
        for at in range(0, len(part), size):
            some = slice(at, at + size)
            yield part[some], inputs[some], labels[some]


def _last_layer(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The input of the last linear layer, and the output of the model.

    Raises:
        ValueError: the model does not end in a linear layer.
    """
    heads = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    seen: dict[str, Any] = {}

    def keep(layer: nn.Module, given: Any, made: Any) -> None:
        if len(given) == 1:
            seen["given"], seen["made"] = given[0], made

    handle = heads[-1].register_forward_hook(keep) if heads else None
    with torch.no_grad():
        outputs = module(inputs)
    if handle is not None:
        handle.remove()
    if not seen or seen["made"].shape != outputs.shape or not torch.equal(seen["made"], outputs):
        raise ValueError(
            f"the model ({type(module).__name__}) does not end in a linear layer, which "
            "self-influence needs; choose by loss instead"
        )
    return seen["given"], outputs
