"""What a method and an amend get and give."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.store import Checkpoint
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan, Stage


@dataclass(frozen=True, eq=False)
class Members:
    """Some examples of one shard.

    Attributes:
        rows: positions in the partition, ascending.
        slices: 1-based slice of each.
        owing: whether their shard owes others, so that some of its checkpoints are not as trained.
    """

    rows: Int[np.ndarray, " member"]
    slices: Int[np.ndarray, " member"]
    owing: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, keep: Int[np.ndarray, " kept"] | Bool[np.ndarray, " member"]) -> "Members":
        """Some of them, by position or by a mask."""
        return Members(self.rows[keep], self.slices[keep], self.owing)

    def until(self, stage: int) -> "Members":
        """Those that take part in this stage."""
        return self.take(self.slices <= stage)

    def since(self, stage: int) -> "Members":
        """Those that take part only after this stage."""
        return self.take(self.slices > stage)

    def sample(self, count: int, generator: np.random.Generator) -> "Members":
        """At most ``count`` of them, chosen without replacement."""
        if len(self) <= count:
            return self
        return self.take(np.sort(generator.choice(len(self), count, replace=False)))


@dataclass(frozen=True, eq=False)
class ShardState:
    """A shard as it stands when a round begins.

    Attributes:
        plan: of the retain set after the round.
        shard: 0-based.
        checkpoints: of stages 1..R as stored, clean or left by earlier approximate rounds.
    """

    plan: Plan
    shard: int
    checkpoints: dict[int, Checkpoint]

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The shard's stages."""
        return self.plan.chains[self.shard]

    def data(self, members: Members) -> tuple[Float[Tensor, "member ..."], Tensor]:
        """Inputs and targets of some members."""
        return self.plan.examples[self.plan.partition.ids[members.rows]]


@dataclass(frozen=True, eq=False)
class ShardRound:
    """One approximate round on one shard.

    Attributes:
        state: the shard when the round begins; not changed.
        forget: what this round forgets.
        retain: what the shard keeps.
        generator: for subsampling.
    """

    state: ShardState
    forget: Members
    retain: Members
    generator: np.random.Generator


@dataclass(frozen=True, eq=False)
class Modified:
    """A shard after its parameters were modified.

    Attributes:
        checkpoints: corrected, from the first affected stage to R, tails included.
        correction_norm: L2 norm of the correction of the last stage's parameters.
        visits: large-batch example gradients computed; a curvature product counts as one each.
        bound: proven L2 distance, at most, of the last stage's parameters from the minimiser of
            their objective on the retained examples; None where nothing is proven.
    """

    checkpoints: dict[int, Checkpoint]
    correction_norm: float
    visits: int
    bound: float | None = None


@dataclass(frozen=True, eq=False)
class Amended:
    """A shard after the amend.

    Attributes:
        checkpoint: of stage R, to be used from now on.
        epochs: replayed.
        visits: example gradients of training steps computed.
        steps: optimizer steps done.
    """

    checkpoint: Checkpoint
    epochs: int = 0
    visits: int = 0
    steps: int = 0


OnStep = Callable[[str, float], None]
"""Gets a short sentence on what comes next, and the share that is done; may raise to stop."""


def part_of(on_progress: OnStep, number: int, count: int) -> OnStep:
    """For one of several equal parts of the work.

    >>> part_of(print, 1, 4)("half of the second of four", 0.5)
    half of the second of four 0.375
    """
    return lambda sentence, share: on_progress(sentence, (number + share) / count)


class Method(Protocol):
    """Modifies the parameters of shards directly, towards those without the forget set."""

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """Correct every stored checkpoint that the forget sets shaped.

        Several shards are given so that they can share work; the result for one must not depend on
        the others, but for rounding.

        Args:
            rounds: of different shards of one plan; not changed.
            on_progress: called before each stage.
        """
        ...

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Large-batch visits that a call will take at most."""
        ...

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """The work that a call for these shards is expected to be, for the clock."""
        ...

    def unsuitable(self, plan: Plan) -> str:
        """Why the method is not on offer for this plan, in a sentence; empty if it is."""
        ...


class Amend(Protocol):
    """Brings modified shards closer to training from scratch, cheaply."""

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """The checkpoints of stage R after the amend; arguments as for a method."""
        ...

    def epochs(self, plan: Plan) -> int:
        """Epochs of the last stage that a call will run."""
        ...

    def longer(self, plan: Plan) -> "Amend | None":
        """What is tried where this was not enough; None if there is nothing."""
        ...
