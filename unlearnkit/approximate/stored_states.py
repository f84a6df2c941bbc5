"""Rules that correct one trained model, applied to every stored state of a shard.

Methods of the literature correct a single model. A shard, however, stores its checkpoints from the
first affected stage on and the tails of the last stage. Later rounds and amends start from these,
so each of them must be corrected. A rule is applied to each stored state separately, as to a model
trained on the slices up to its stage, with the forgotten and retained examples of these slices. All
methods built in this way deviate from their sources in this respect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.protocol import (
    Members,
    Modified,
    OnStep,
    ShardRound,
    progress_within,
)
from unlearnkit.approximate.segments import corrected_checkpoints, segments_of
from unlearnkit.models.vector import flatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


@dataclass(frozen=True, eq=False)
class StoredState:
    """A stored state that depends on the forget set.

    Attributes:
        name: name for display.
        stage: 1-based stage.
        state: parameters and buffers; they are not changed.
        forget: forgotten examples that took part up to this stage.
        retain: retained examples that took part up to this stage.
    """

    name: str
    stage: int
    state: State
    forget: Members
    retain: Members


@dataclass(frozen=True)
class Size:
    """The sizes that determine the cost of correcting a stored state.

    Attributes:
        stage: 1-based stage.
        forget: number of forgotten examples that took part up to this stage.
        retain: number of retained examples that took part up to this stage.
        steps: batches of an epoch, including those that lost all their examples.
        epochs: epochs of the training segment that ends with this state.
    """

    stage: int
    forget: int
    retain: int
    steps: int
    epochs: int


class Rule(Protocol):
    """Corrects one trained model; a frozen value whose fields are its hyperparameters."""

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """Return the corrected state and the number of example gradients computed.

        The caller corrects the running statistics of BatchNorm layers. There is at least one
        retained and one forgotten example.

        Args:
            given: the round of the shard: plan, examples and generator.
            stored: the stored state to correct; it is not changed.
        """
        ...

    def cost(self, plan: Plan, size: Size) -> tuple[int, int] | tuple[int, int, int]:
        """Return upper bounds on the batches and on the example gradients of a call.

        A third number, if present, is the cost of other work in gradients of one example.

        Args:
            plan: plan of the retain set.
            size: sizes of the stored state.
        """
        ...

    def unsuitable(self, plan: Plan) -> str:
        """Return a sentence on why the rule does not fit a plan, or "" if it does.

        Args:
            plan: plan with the model and the settings of training in question.
        """
        ...


@dataclass(frozen=True)
class EachState:
    """A method that applies one rule to every stored state.

    Attributes:
        rule: the :class:`Rule` to apply.
    """

    rule: Rule

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, progress_within(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        stored_states, states, visits = stored_states_of(given), dict[str, State](), 0
        statistics = RunningStatistics(given)
        for number, stored in enumerate(stored_states):
            on_progress(f"shard {given.state.shard}: {stored.name}", number / len(stored_states))
            if len(stored.retain):
                state, spent = self.rule(given, stored)
                states[stored.name] = statistics.correct(stored.name, state)
                visits += spent
            else:
                states[stored.name] = initial_state(given)
        return modified(given, stored_states, states, visits)

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Sum the example gradients over all stored states."""
        return sum(cost[1] for cost in self._planned(plan, shard, forget))

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Sum the work over all stored states, which are corrected one after the other."""
        planned = [
            cost for s, members in forget.items() for cost in self._planned(plan, s, members)
        ]
        whole = sum(sum(cost[1:]) for cost in planned)
        return Batches(len(forget), sum(cost[0] for cost in planned), whole)

    def is_separate(self, plan: Plan) -> bool:
        """Return True: every stored state is corrected by itself."""
        return True

    def _planned(self, plan: Plan, shard: int, forget: Members) -> list[tuple[int, ...]]:
        return [self.rule.cost(plan, size) for size in sizes_of(plan, shard, forget)]

    def unsuitable(self, plan: Plan) -> str:
        """Return why the rule does not fit this plan, or "" if it does."""
        return self.rule.unsuitable(plan)


def stored_states_of(given: ShardRound) -> list[StoredState]:
    """Return the stored states from the first affected stage on, in order of training."""
    return [
        StoredState(
            each.name,
            each.stage,
            each.end,
            given.forget.until(each.stage),
            given.retain.until(each.stage),
        )
        for each in segments_of(given, to_end=True)
    ]


def sizes_of(plan: Plan, shard: int, forget: Members) -> list[Size]:
    """Return the sizes of the affected stored states that have retained examples left."""
    rows = plan.partition.shard_rows(shard)
    kept = plan.partition.slice_[rows[plan.retained[rows]]]
    epochs, tails = plan.spec.stage_epochs(), (*plan.spec.tail_epochs(), 0)
    ends = [(r, epochs[r - 1]) for r in range(int(forget.slices.min()), len(epochs))]
    ends += [(len(epochs), a - b) for a, b in pairwise((epochs[-1], *tails))]
    sizes = [
        Size(
            r,
            len(forget.until(r)),
            int((kept <= r).sum()),
            -(-len(plan.pool(shard, r)) // plan.spec.batch_size),
            count,
        )
        for r, count in ends
    ]
    return [size for size in sizes if size.retain]


def modified(
    given: ShardRound,
    stored_states: Sequence[StoredState],
    states: dict[str, State],
    visits: int,
    bound: float | None = None,
) -> Modified:
    """Build the result of a method from corrected states.

    Args:
        given: the round.
        stored_states: stored states of the round, the final one last.
        states: corrected states, by the names of the stored states.
        visits: see :class:`~unlearnkit.approximate.protocol.Modified`.
        bound: see :class:`~unlearnkit.approximate.protocol.Modified`.
    """
    end = states[stored_states[-1].name]
    names = given.state.plan.architecture.trainable_names
    norm = float((flatten(end, names) - flatten(stored_states[-1].state, names)).norm())
    checkpoints = corrected_checkpoints(given, segments_of(given), states, end)
    return Modified(checkpoints, norm, visits, bound)


def initial_state(given: ShardRound) -> State:
    """Return the initial state, with which a stage that has lost all its examples ends."""
    plan = given.state.plan
    return plan.architecture.initial(plan.spec.seed, given.state.shard)


def pool_of(stored: StoredState) -> Members:
    """Return forgotten and retained examples together, by ascending row."""
    rows = np.concatenate([stored.forget.rows, stored.retain.rows])
    slices = np.concatenate([stored.forget.slices, stored.retain.slices])
    order = np.argsort(rows)
    return Members(rows[order], slices[order])
