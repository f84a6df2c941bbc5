"""Rules of the literature, which alter one trained model, applied to every stored state of a shard.

A shard is more than its final model: there are its checkpoints from the first affected stage on and
the tails of the last one. Later rounds and amends start from them, and none may stay as the forget
set left it. So a rule is applied to each by itself, as to a model trained on the slices until its
stage: with the members of the forget and the retain set that took part until there. That is how all
methods built so deviate from their sources. (Ours.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from unlearnkit.approximate.buffers import recompute_buffers
from unlearnkit.approximate.protocol import (
    Members,
    Modified,
    OnStep,
    ShardRound,
    part_of,
)
from unlearnkit.approximate.segments import corrected_checkpoints, segments_of
from unlearnkit.models.vector import flatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


@dataclass(frozen=True, eq=False)
class StoredState:
    """A stored state that the forget set shaped.

    Attributes:
        name: for people.
        stage: 1-based.
        state: as stored; not changed.
        forget: that took part until this stage.
        retain: the same.
    """

    name: str
    stage: int
    state: State
    forget: Members
    retain: Members


@dataclass(frozen=True)
class Size:
    """How much there is to a stored state.

    Attributes:
        stage: 1-based.
        forget: examples that took part until this stage.
        retain: the same.
        steps: batches of an epoch, those that lost all their examples included.
        epochs: of the segment of training that ends here.
    """

    stage: int
    forget: int
    retain: int
    steps: int
    epochs: int


class Rule(Protocol):
    """What to do to one trained model; a frozen value whose fields are its hyperparameters."""

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """The state without the forget set, buffers aside, and the example gradients computed.

        There is at least one retained and one forgotten example.
        """
        ...

    def cost(self, plan: Plan, size: Size) -> tuple[int, int] | tuple[int, int, int]:
        """Batches and example gradients that a call takes at most.

        A third number, if there is one, is for what else takes time, in gradients of one example.
        """
        ...

    def unsuitable(self, plan: Plan) -> str:
        """As for a method."""
        ...


@dataclass(frozen=True)
class EachState:
    """A method: one rule for every stored state.

    Attributes:
        rule: see :class:`Rule`.
    """

    rule: Rule

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, part_of(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        stored_states, states, visits = stored_states_of(given), dict[str, State](), 0
        for number, stored in enumerate(stored_states):
            on_progress(f"shard {given.state.shard}: {stored.name}", number / len(stored_states))
            if len(stored.retain):
                state, spent = self.rule(given, stored)
                states[stored.name], visits = with_buffers(given, stored, state), visits + spent
            else:
                states[stored.name] = untrained(given)
        return modified(given, stored_states, states, visits)

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Of all stored states."""
        return sum(cost[1] for cost in self._planned(plan, shard, forget))

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Of all stored states, one after the other."""
        planned = [
            cost for s, members in forget.items() for cost in self._planned(plan, s, members)
        ]
        whole = sum(sum(cost[1:]) for cost in planned)
        return Batches(len(forget), sum(cost[0] for cost in planned), whole)

    def _planned(self, plan: Plan, shard: int, forget: Members) -> list[tuple[int, ...]]:
        return [self.rule.cost(plan, size) for size in sizes_of(plan, shard, forget)]

    def unsuitable(self, plan: Plan) -> str:
        """As the rule says."""
        return self.rule.unsuitable(plan)


def stored_states_of(given: ShardRound) -> list[StoredState]:
    """The stored states from the first affected stage on, the final one last."""
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
    """Of the stored states from the first affected stage on that have examples left."""
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
    """The result.

    Args:
        given: the round.
        stored_states: of it, the final one last.
        states: corrected, by the names of the stored_states.
        visits: see :class:`~unlearnkit.approximate.protocol.Modified`.
        bound: see there.
    """
    end = states[stored_states[-1].name]
    names = given.state.plan.architecture.trainable_names
    norm = float((flatten(end, names) - flatten(stored_states[-1].state, names)).norm())
    checkpoints = corrected_checkpoints(given, segments_of(given), states, end)
    return Modified(checkpoints, norm, visits, bound)


def with_buffers(given: ShardRound, stored: StoredState, state: State) -> State:
    """The state with its batch statistics measured anew on retained examples."""
    architecture = given.state.plan.architecture
    if not architecture.has_batch_statistics:
        return state
    return recompute_buffers(architecture.module(), state, given.state.data(stored.retain)[0])


def untrained(given: ShardRound) -> State:
    """What a stage that has lost all its examples ends with: the initial weights."""
    plan = given.state.plan
    return plan.architecture.initial(plan.spec.seed, given.state.shard)


def pool_of(stored: StoredState) -> Members:
    """Forgotten and retained examples together."""
    rows = np.concatenate([stored.forget.rows, stored.retain.rows])
    slices = np.concatenate([stored.forget.slices, stored.retain.slices])
    order = np.argsort(rows)
    return Members(rows[order], slices[order])
