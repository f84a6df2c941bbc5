"""Short training runs with custom objectives, for rules and amends that optimise.

They use the training optimizer, freshly reset, at a multiple of its learning rate. In an
:class:`Optimisation` the module is in eval mode: dropout is off, and batch normalisation uses the
running statistics of the state.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, cycle

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.approximate.protocol import Members, ShardRound
from unlearnkit.approximate.routes import tried
from unlearnkit.approximate.stored_states import StoredState, pool_of
from unlearnkit.models.chunks import chunks
from unlearnkit.models.losses import CrossEntropy, Loss, SquaredError
from unlearnkit.models.state import get_state
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.loop import make_optimizer
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import Job, make_job

Rows = Int[np.ndarray, " row"]
OutputGradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The gradient of an objective with respect to the outputs, as a function of outputs, targets and
the examples' positions in :class:`Optimisation`'s table."""


class Optimisation:
    """A model under optimisation, with the examples of its shard.

    Attributes:
        rows: rows of the partition whose examples are in the table, ascending.
        inputs: inputs of these examples.
        targets: targets of these examples.
        visits: example gradients computed so far.
    """

    def __init__(self, given: ShardRound, stored: StoredState, rate: float) -> None:
        """Start from a stored state.

        Args:
            given: the round.
            stored: the state to start from; it is not changed.
            rate: multiple of the training's learning rate.
        """
        plan = given.state.plan
        pool = pool_of(stored)
        self.rows = pool.rows
        self.inputs, self.targets = given.state.data(pool)
        self.architecture = plan.architecture
        self.module = plan.architecture.module(stored.state)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        spec = plan.spec.with_(learning_rate=rate * plan.spec.learning_rate)
        self.optimizer = make_optimizer(self.parameters, spec)
        self.visits = 0
        self._held: list[tuple[Tensor, Tensor]] = []

    def hold(self, mask: Bool[Tensor, " parameter"]) -> None:
        """Keep the trainable parameters of this mask, in the order of flatten(), as they are now.

        The optimizers update every parameter by itself, so the others move as they would anyway.
        """
        parts = mask.split([p.numel() for p in self.parameters])
        masks = [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]
        self._held = [
            (held, p.detach()[held].clone()) for held, p in zip(masks, self.parameters, strict=True)
        ]

    def step(self, rows: Rows, slope: OutputGradient, l1: float = 0.0) -> None:
        """Take one optimizer step on these rows of the partition.

        Args:
            rows: the rows.
            slope: gradient of the objective with respect to the outputs.
            l1: multiple of the L1 norm of the trainable parameters in the objective.
        """
        places = torch.from_numpy(np.searchsorted(self.rows, rows))
        outputs = self.module(self.inputs[places])
        self.optimizer.zero_grad()
        outputs.backward(slope(outputs.detach(), self.targets[places], places))
        with torch.no_grad():
            for p in self.parameters if l1 else ():
                p.grad = l1 * p.sign() + (0 if p.grad is None else p.grad)
            self.optimizer.step()
            for p, (held, values) in zip(self.parameters, self._held, strict=bool(self._held)):
                p[held] = values
        self.visits += len(rows)

    @torch.no_grad()
    def outputs(self) -> Float[Tensor, "row class"]:
        """Return the outputs of all examples at the current parameters."""
        parts = chunks(self.architecture, self.inputs)
        return torch.cat([self.module(part) for part in parts])

    @property
    def state(self) -> State:
        """A copy of the current state."""
        return get_state(self.module)


def no_steps(plan: Plan) -> str:
    """Return why an :class:`Optimisation` of the plan's module is not possible, or ""."""

    def attempt(inputs: Tensor, targets: Tensor) -> str:
        module, loss = plan.architecture.module(), plan.spec.loss
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = make_optimizer(parameters, plan.spec)
        for count in (1, len(inputs)):
            optimizer.zero_grad()
            outputs = module(inputs[:count])
            outputs.backward(loss.output_gradient(outputs.detach(), targets[:count]) / count)
            optimizer.step()
        return ""

    return tried(plan, f"steps of {plan.spec.optimizer}", attempt)


def retained_batches(plan: Plan, shard: int, stage: int, passes: int) -> list[list[Rows]]:
    """Return the rows of the keyed batches of a stage's last ``passes`` epochs, epoch by epoch.

    The number of passes is limited to the epochs of the stage.
    """
    planned = plan.chains[shard][stage - 1]
    job = make_job(plan, [planned], {}, max(0, planned.epochs - passes))
    batches = [rows[rows >= 0].astype(np.int64) for rows in job.rows]
    epochs = job.keys[:, 1]
    return [[batches[i] for i in np.flatnonzero(epochs == epoch)] for epoch in np.unique(epochs)]


def batches_of(members: Members, size: int, generator: np.random.Generator) -> list[Rows]:
    """Split the members in random order into batches of at most ``size``."""
    order = generator.permutation(members.rows)
    return [order[begin : begin + size] for begin in range(0, len(order), size)]


def endless_batches(members: Members, size: int, generator: np.random.Generator) -> Iterator[Rows]:
    """Yield batches of the members without end, in a new random order in each pass."""
    while True:
        yield from batches_of(members, size, generator)


def mixed_batches(given: ShardRound, stored: StoredState, passes: int) -> Iterator[Rows]:
    """Yield the batches of passes over the retained and the forgotten examples together.

    Each consists of a keyed batch of retained examples and a part of the forgotten ones, which are
    divided evenly, in a new random order in each pass.
    """
    for batches in retained_batches(given.state.plan, given.state.shard, stored.stage, passes):
        order = given.generator.permutation(stored.forget.rows)
        for keep, drop in zip(batches, np.array_split(order, len(batches)), strict=True):
            yield np.concatenate([keep, drop])


def paired_batches(
    given: ShardRound, stored: StoredState, passes: int
) -> Iterator[tuple[Rows, Rows]]:
    """Yield each keyed batch of retained examples with a whole batch of forgotten ones."""
    plan = given.state.plan
    forget = batches_of(stored.forget, plan.spec.batch_size, given.generator)
    retained = retained_batches(plan, given.state.shard, stored.stage, passes)
    return zip(chain(*retained), cycle(forget), strict=False)


def check_setting(
    name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Refuse a setting of a method that is no number, or out of range.

    Args:
        name: name of the setting.
        value: its value.
        low: least value.
        high: largest value; infinity itself is refused.
        whole: whether it has to be a whole number.

    >>> check_setting("rate", 0.1, 0)
    >>> check_setting("passes", 0, 1, whole=True)
    Traceback (most recent call last):
    ValueError: passes=0 is out of range; give a whole number from 1 up

    Raises:
        TypeError: the value is no number, or not whole.
        ValueError: it is out of range.
    """
    kinds = int if whole else int | float
    noun = "whole number" if whole else "number"
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a {noun}")
    if not (low <= value <= high and value < math.inf):
        limits = f"from {low:g} up" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name}={value!r} is out of range; give a {noun} {limits}")


def divergence_gradient(
    loss: Loss, outputs: Float[Tensor, "row class"], teacher: Float[Tensor, "row class"]
) -> Float[Tensor, "row class"]:
    """Return the gradient of each example's divergence from a teacher, at the outputs.

    For cross-entropy the divergence is KL(teacher || outputs), whose gradient is the difference of
    the two softmaxes; for squared error it is half the squared distance.

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    >>> divergence_gradient(CrossEntropy(), a, b)
    tensor([[ 0.5000, -0.5000]])
    """
    return loss.probabilities(outputs) - loss.probabilities(teacher)


def has_divergence(plan: Plan) -> bool:
    """Whether :func:`divergence_gradient` is the gradient of a divergence for the plan's loss."""
    return isinstance(plan.spec.loss, CrossEntropy | SquaredError)


def tuning_job(plan: Plan, shard: int, stage: int, start: State, passes: int) -> Job:
    """Return a job that trains the last ``passes`` epochs of a stage from the given state."""
    planned = plan.chains[shard][stage - 1]
    return make_job(plan, [planned], start, max(0, planned.epochs - passes))


def tune(plan: Plan, jobs: Sequence[Job], rate: float) -> list[Checkpoint]:
    """Train jobs of different shards at a multiple of the training's learning rate."""
    spec = plan.spec.with_(learning_rate=rate * plan.spec.learning_rate)
    return run_jobs(replace(plan, spec=spec), jobs)


def visits_of(job: Job) -> int:
    """Return the number of example gradients of a job."""
    return int((job.rows >= 0).sum())
