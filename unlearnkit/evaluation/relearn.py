"""Relearn time: how quickly a model relearns the forgotten examples."""

import numpy as np
import torch
from jaxtyping import Integer, Num
from torch import Tensor

from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.routes import Routes
from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.metrics.metrics import Measure
from unlearnkit.models.vector import flatten, trainable_names, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import Constituent, Ensemble
from unlearnkit.unlearning.unlearn import Unlearned

SOURCE = "Chundawat et al. 2022 (Zero-Shot Machine Unlearning), anamnesis index"


@own_settings()
def relearn_time(
    comparison: Comparison,
    result: Unlearned,
    dataset: Dataset,
    *,
    learning_rate: float | None = None,
    max_steps: int = 200,
) -> Measure:
    """Measure the steps to relearn the forgotten examples, minus those of the retrained model.

    Every compared constituent is trained on the forgotten examples of its shard by full-batch
    gradient descent, until their mean loss is at most that under the original constituent, which
    had learned them. The best value is 0. A negative value means that the model still knows
    something of the examples, and a positive one that it fits them worse than a model that never
    saw them.
    The value is the mean over constituents, with a normal 95 % interval. (The anamnesis index is a
    ratio of times; the difference stays finite where the retrained model needs no steps.)

    Args:
        comparison: the comparison of the unlearning; it holds all three models.
        result: the result of the unlearning.
        dataset: holds the forgotten examples.
        learning_rate: step size of the descent; that of training by default.
        max_steps: the largest number of steps; a constituent that needs more is counted with it.

    Returns:
        The measure; its value is nan, with a note, if nothing was forgotten, or if the gradients of
        the module cannot be computed.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> result = session.unlearn(max_share=1)  # exact, so there is nothing left to relearn faster
    >>> uk.relearn_time(session.compare(), result, session.dataset).value
    0.0
    """
    spec, partition = result.plan.spec, result.plan.partition
    if cause := Routes(result.plan).gradients:
        return Measure("relearn-time", float("nan"), "zero", SOURCE, None, f"not measured: {cause}")
    rate = spec.learning_rate if learning_rate is None else learning_rate
    rows = partition.rows(result.ids)
    gains = []
    for shard in comparison.constituents["shard"].tolist():
        ids = partition.ids[rows[partition.shard[rows] == shard]]
        if not len(ids):
            continue
        batch = dataset.examples(ids)
        original = _constituent(comparison.original, shard)
        target = _loss(comparison.original, original.state, *batch)
        steps = {
            name: _steps_to(
                ensemble, _constituent(ensemble, shard).state, batch, target, rate, max_steps
            )
            for name, ensemble in (
                ("unlearned", comparison.unlearned),
                ("scratch", comparison.scratch),
            )
        }
        gains.append(steps["unlearned"] - steps["scratch"])
    if not gains:
        return Measure("relearn-time", float("nan"), "zero", SOURCE, None, "nothing was forgotten")
    mean = float(np.mean(gains))
    if len(gains) < 2:
        return Measure("relearn-time", mean, "zero", SOURCE, None, "one shard gives no interval")
    half = 1.96 * float(np.std(gains, ddof=1)) / len(gains) ** 0.5
    return Measure("relearn-time", mean, "zero", SOURCE, (mean - half, mean + half))


def _constituent(ensemble: Ensemble, shard: int) -> Constituent:
    return next(one for one in ensemble.constituents if one.shard == shard)


def _loss(
    ensemble: Ensemble, state: State, inputs: Num[Tensor, "n ..."], labels: Integer[Tensor, " n"]
) -> float:
    module = ensemble.architecture.module(state)
    with torch.no_grad():
        return float(ensemble.loss.value(module(inputs), labels).mean())


def _steps_to(
    ensemble: Ensemble,
    state: State,
    batch: tuple[Tensor, Tensor],
    target: float,
    rate: float,
    max_steps: int,
) -> int:
    """Count the steps of gradient descent until the mean loss is at most the target."""
    module = ensemble.architecture.module()
    names = trainable_names(module)
    at = dict(state)
    for step in range(max_steps):
        if _loss(ensemble, at, *batch) <= target:
            return step
        gradient = mean_gradient(module, at, names, *batch, ensemble.loss)
        values = unflatten(flatten(at, names) - rate * gradient, at, names)
        at = ensemble.architecture.moved(at, values)
    return max_steps
