"""Short trainings on gradients of one's own, for rules that optimise.

They use the optimizer of training, from no state, at a multiple of its learning rate. The module is
in eval mode: dropout is off and batch statistics are those of the state.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.approximate.protocol import Members, ShardRound
from unlearnkit.approximate.stored_states import StoredState, pool_of
from unlearnkit.models.losses import CrossEntropy, Loss, SquaredError
from unlearnkit.models.state import get_state
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.loop import make_optimizer
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import Job, make_job

Rows = Int[np.ndarray, " row"]
Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From outputs, targets and places in the optimisation's table: the objective's gradient at the
outputs."""


class Optimisation:
    """A model on its way, and the examples of its shard.

    Attributes:
        visits: example gradients so far.
    """

    def __init__(self, given: ShardRound, stored: StoredState, rate: float) -> None:
        """Begin at a stored state.

        Args:
            given: the round.
            stored: not changed.
            rate: learning rate, in units of training's.
        """
        plan = given.state.plan
        pool = pool_of(stored)
        self.rows = pool.rows
        self.inputs, self.targets = given.state.data(pool)
        self.module = plan.architecture.module(stored.state)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        spec = plan.spec.with_(learning_rate=rate * plan.spec.learning_rate)
        self.optimizer = make_optimizer(parameters, spec)
        self.visits = 0

    def step(self, rows: Rows, slope: Slope) -> None:
        """One step of the optimizer, on these rows of the partition."""
        places = torch.from_numpy(np.searchsorted(self.rows, rows))
        outputs = self.module(self.inputs[places])
        self.optimizer.zero_grad()
        outputs.backward(slope(outputs.detach(), self.targets[places], places))
        self.optimizer.step()
        self.visits += len(rows)

    @torch.no_grad()
    def outputs(self) -> Float[Tensor, "row class"]:
        """Outputs of all examples at the current parameters."""
        return torch.cat([self.module(part) for part in self.inputs.split(4096)])

    @property
    def state(self) -> State:
        """A copy of where it stands."""
        return get_state(self.module)


def retained_batches(plan: Plan, shard: int, stage: int, passes: int) -> list[list[Rows]]:
    """Rows of the keyed batches of a stage's last epochs: so many passes, or all there are."""
    planned = plan.chains[shard][stage - 1]
    job = make_job(plan, [planned], {}, max(0, planned.epochs - passes))
    batches = [rows[rows >= 0].astype(np.int64) for rows in job.rows]
    epochs = job.keys[:, 1]
    return [[batches[i] for i in np.flatnonzero(epochs == epoch)] for epoch in np.unique(epochs)]


def batches_of(members: Members, size: int, generator: np.random.Generator) -> list[Rows]:
    """The members once, in random order, so many at a time."""
    order = generator.permutation(members.rows)
    return [order[begin : begin + size] for begin in range(0, len(order), size)]


def endless(members: Members, size: int, generator: np.random.Generator) -> Iterator[Rows]:
    """The same again and again, in another order each time."""
    while True:
        yield from batches_of(members, size, generator)


def divergence_slope(
    loss: Loss, outputs: Float[Tensor, "row class"], teacher: Float[Tensor, "row class"]
) -> Float[Tensor, "row class"]:
    """The gradient at the outputs of each example's divergence from a teacher's outputs.

    For cross-entropy that of the Kullback-Leibler divergence KL(teacher || outputs), softmax
    minus softmax; for squared error that of half the squared distance.

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    >>> divergence_slope(CrossEntropy(), a, b)
    tensor([[ 0.5000, -0.5000]])
    """
    return loss.probabilities(outputs) - loss.probabilities(teacher)


def has_divergence(plan: Plan) -> bool:
    """Whether :func:`divergence_slope` holds for the loss."""
    return isinstance(plan.spec.loss, CrossEntropy | SquaredError)


def tuning_job(plan: Plan, shard: int, stage: int, start: State, passes: int) -> Job:
    """The last epochs of a stage, from a state of one's own."""
    planned = plan.chains[shard][stage - 1]
    return make_job(plan, [planned], start, max(0, planned.epochs - passes))


def tune(plan: Plan, jobs: Sequence[Job], rate: float) -> list[Checkpoint]:
    """Train jobs of different shards at a multiple of training's learning rate."""
    spec = plan.spec.with_(learning_rate=rate * plan.spec.learning_rate)
    return run_jobs(replace(plan, spec=spec), jobs)


def visits_of(job: Job) -> int:
    """Example gradients of a job."""
    return int((job.rows >= 0).sum())
