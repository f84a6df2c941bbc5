"""How hard every training example is for the model of its own shard: its loss, its self-influence.

A shard's model is the one that has seen the example; the others of the ensemble have not, and their
losses say nothing of what it remembers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearnkit.store import Store
from unlearnkit.store.checkpoint import State
from unlearnkit.training.ensemble import CHUNK
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

Scores = Float[np.ndarray, " example"]


def stage_state(plan: Plan, store: Store, shard: int, stage: int) -> State | None:
    """What a shard's model was after a stage: exact if it is there, else corrected, else None."""
    checkpoint = ShardModel(plan, store, shard).checkpoint(stage)
    return None if checkpoint is None else checkpoint.state


def example_losses(plan: Plan, store: Store) -> Scores:
    """Loss of every training example under its shard's model; nan where it is revoked.

    The training loss without weight decay, in evaluation mode, in the order of
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
        for part, inputs, labels in _chunks(plan, rows):
            with torch.no_grad():
                scores[part] = loss.value(module(inputs), labels).double().numpy()
    return scores


def self_influence(plan: Plan, store: Store) -> Scores:
    """Self-influence of TracIn in the last layer (Pruthi et al. 2020); nan where it is revoked.

    How much training on an example lowers its own loss: rare and wrongly labelled ones rank high.
    TracInCP adds, over checkpoints, the learning rate times the squared norm of the example's
    gradient, here that of the last linear layer alone, weight and bias (a choice of theirs too):
    with the layer's input h and the gradient d at its outputs, |d|^2 (|h|^2 + 1).

    Departures: the checkpoints are the ends of the stages that trained on the example, each counted
    once for every epoch of the stage; momentum, weight decay and the division by the batch size are
    left out, so the ranking means something, the unit does not.

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
            for part, inputs, labels in _chunks(plan, trained):
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


def _chunks(plan: Plan, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    for begin in range(0, len(rows), CHUNK):
        part = rows[begin : begin + CHUNK]
        yield part, *plan.examples[plan.partition.ids[part]]


def _last_layer(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into the last linear layer, flat, and what comes out of the model."""
    heads = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    seen: dict[str, Any] = {}

    def keep(layer: nn.Module, given: Any, made: Any) -> None:
        seen["given"], seen["made"] = given[0], made

    handle = heads[-1].register_forward_hook(keep) if heads else None
    with torch.no_grad():
        outputs = module(inputs)
    if handle is not None:
        handle.remove()
    if not seen or seen["made"].shape != outputs.shape or not torch.equal(seen["made"], outputs):
        raise ValueError(
            f"the model ({type(module).__name__}) does not end in a linear layer, for which the "
            "self-influence is computed; choose by loss instead"
        )
    return seen["given"], outputs
