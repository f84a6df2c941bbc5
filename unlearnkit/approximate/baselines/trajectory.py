"""Methods that follow the difference between training with and without the forget set over time.

The difference D starts at 0. It is carried through the segments of training between two optimizer
resets, and added to the stored state at the end of each segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound, progress_within
from unlearnkit.approximate.segments import Segment, segments_of
from unlearnkit.approximate.stored_states import (
    Size,
    modified,
    sizes_of,
    stored_states_of,
)
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


class Advance(Protocol):
    """Carries the difference through one segment; a frozen value of hyperparameters."""

    def __call__(
        self, given: ShardRound, segment: Segment, before: Float[Tensor, " parameter"]
    ) -> tuple[Float[Tensor, " parameter"], int]:
        """Return the difference at the end of the segment and the number of example gradients.

        There is at least one retained and one forgotten example.

        Args:
            given: the round of the shard: plan, examples and generator.
            segment: the segment of training.
            before: the difference at the start of the segment, as one vector.
        """
        ...

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Return upper bounds on the batches and example gradients of a segment.

        Args:
            plan: plan of the retain set.
            size: sizes of the stored state at the end of the segment.
        """
        ...

    def unsuitable(self, plan: Plan) -> str:
        """Return a sentence on why the advance does not fit a plan, or "" if it does.

        Args:
            plan: plan with the model and the settings of training in question.
        """
        ...


@dataclass(frozen=True)
class AlongTraining:
    """A method that carries the difference from segment to segment.

    Attributes:
        advance: the :class:`Advance` that carries it through one segment.
    """

    advance: Advance

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, progress_within(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        architecture = given.state.plan.architecture
        names = architecture.trainable_names
        stored_states, states, visits = stored_states_of(given), dict[str, State](), 0
        difference = torch.zeros(len(flatten(stored_states[0].state, names)))
        segments = segments_of(given, to_end=True)
        statistics = RunningStatistics(given)
        for number, (stored, segment) in enumerate(zip(stored_states, segments, strict=True)):
            on_progress(f"shard {given.state.shard}: {stored.name}", number / len(stored_states))
            state = stored.state
            if len(stored.retain):
                difference, spent = self.advance(given, segment, difference)
                moved = flatten(state, names) + difference
                state = architecture.moved(state, unflatten(moved, state, names))
                state = statistics.correct(stored.name, state)
                visits += spent
            states[stored.name] = state
        return modified(given, stored_states, states, visits)

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Sum the example gradients over all segments."""
        return self._planned(plan, shard, forget)[1]

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Sum the work over all segments, which are processed one after the other."""
        return Batches.total(self._planned(plan, shard, own) for shard, own in forget.items())

    def _planned(self, plan: Plan, shard: int, forget: Members) -> tuple[int, int]:
        costs = [self.advance.cost(plan, size) for size in sizes_of(plan, shard, forget)]
        return sum(b for b, _ in costs), sum(v for _, v in costs)

    def unsuitable(self, plan: Plan) -> str:
        """Return why the advance does not fit this plan, or "" if it does."""
        return self.advance.unsuitable(plan)


def only_sgd(what: str, plan: Plan) -> str:
    """Return a sentence that refuses plans not trained by SGD, or "" for SGD."""
    if plan.spec.optimizer == "sgd":
        return ""
    return (
        f"{what} holds for SGD, and this ensemble was trained with {plan.spec.optimizer}, so it is "
        "retrained exactly"
    )
