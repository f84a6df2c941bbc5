"""Methods that follow the difference of two trainings, with and without the forget set, in time.

A running difference D, 0 at first, is carried through the stretches of training between two resets
of the optimizer, and added to the stored state at the end of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound, part_of
from unlearnkit.approximate.segments import Stretch, stretches_of
from unlearnkit.approximate.stored_states import Size, modified, sites_of, sizes_of, with_buffers
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


class Advance(Protocol):
    """How the difference goes on along one stretch; a frozen value."""

    def __call__(
        self, given: ShardRound, stretch: Stretch, before: Float[Tensor, " parameter"]
    ) -> tuple[Float[Tensor, " parameter"], int]:
        """The difference at the end of the stretch, and the example gradients computed.

        There is at least one retained and one forgotten example.
        """
        ...

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Batches and example gradients that a stretch takes at most; the size is of its end."""
        ...

    def unsuitable(self, plan: Plan) -> str:
        """As for a method."""
        ...


@dataclass(frozen=True)
class AlongTraining:
    """A method: the difference, carried from stretch to stretch.

    Attributes:
        advance: see :class:`Advance`.
    """

    advance: Advance

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, part_of(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        names = given.state.plan.architecture.trainable_names
        sites, states, visits = sites_of(given), dict[str, State](), 0
        difference = torch.zeros(len(flatten(sites[0].state, names)))
        stretches = stretches_of(given, to_end=True)
        for number, (site, stretch) in enumerate(zip(sites, stretches, strict=True)):
            on_progress(f"shard {given.state.shard}: {site.name}", number / len(sites))
            state = site.state
            if len(site.retain):
                difference, spent = self.advance(given, stretch, difference)
                moved = flatten(state, names) + difference
                state = with_buffers(given, site, {**state, **unflatten(moved, state, names)})
                visits += spent
            states[site.name] = state
        return modified(given, sites, states, visits)

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Of all stretches."""
        return self._planned(plan, shard, forget)[1]

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Of all stretches, one after the other."""
        planned = [self._planned(plan, shard, members) for shard, members in forget.items()]
        return Batches(len(planned), sum(b for b, _ in planned), sum(v for _, v in planned))

    def _planned(self, plan: Plan, shard: int, forget: Members) -> tuple[int, int]:
        costs = [self.advance.cost(plan, size) for size in sizes_of(plan, shard, forget)]
        return sum(b for b, _ in costs), sum(v for _, v in costs)

    def unsuitable(self, plan: Plan) -> str:
        """As the advance says."""
        return self.advance.unsuitable(plan)


def only_sgd(what: str, plan: Plan) -> str:
    """Why this is not on offer for a plan; empty if it was trained by SGD."""
    if plan.spec.optimizer == "sgd":
        return ""
    return (
        f"{what} holds for SGD, and this ensemble was trained with {plan.spec.optimizer}, so it is "
        "retrained exactly"
    )
