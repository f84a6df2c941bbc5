"""The Protocols of methods and amends, with the values that they receive and return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int, Num
from torch import Tensor

from unlearnkit.store import Checkpoint
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan, Stage


@dataclass(frozen=True, eq=False)
class Members:
    """A set of examples of one shard.

    Attributes:
        rows: positions in the partition, ascending.
        slices: 1-based slice of each example.
    """

    rows: Int[np.ndarray, " member"]
    slices: Int[np.ndarray, " member"]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, keep: Int[np.ndarray, " kept"] | Bool[np.ndarray, " member"]) -> "Members":
        """Select examples by position or by a mask."""
        return Members(self.rows[keep], self.slices[keep])

    def until(self, stage: int) -> "Members":
        """Select the examples that take part in this stage: those of slices up to it."""
        return self.take(self.slices <= stage)

    def since(self, stage: int) -> "Members":
        """Select the examples that join after this stage."""
        return self.take(self.slices > stage)

    def sample(self, count: int, generator: np.random.Generator) -> "Members":
        """Draw at most ``count`` examples without replacement."""
        if len(self) <= count:
            return self
        return self.take(np.sort(generator.choice(len(self), count, replace=False)))


@dataclass(frozen=True, eq=False)
class ShardState:
    """The state of a shard when a round begins.

    Attributes:
        plan: plan of the retain set after the round.
        shard: 0-based shard.
        checkpoints: stored checkpoints of stages 1..R, exact or left by earlier approximate rounds.
    """

    plan: Plan
    shard: int
    checkpoints: dict[int, Checkpoint]

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The shard's stages."""
        return self.plan.chains[self.shard]

    def data(self, members: Members) -> tuple[Num[Tensor, "member ..."], Tensor]:
        """Return inputs and targets of these examples."""
        return self.plan.examples[self.plan.partition.ids[members.rows]]


@dataclass(frozen=True, eq=False)
class ShardRound:
    """One approximate unlearning round on one shard.

    Attributes:
        state: the shard when the round begins; it is not changed.
        forget: examples that the round forgets.
        retain: examples that the shard keeps.
        generator: random numbers for subsampling.
    """

    state: ShardState
    forget: Members
    retain: Members
    generator: np.random.Generator


@dataclass(frozen=True, eq=False)
class Modified:
    """A shard after its parameters were modified.

    Attributes:
        checkpoints: corrected checkpoints from the first affected stage to R, tails included.
        correction_norm: L2 norm of the correction of the last stage's parameters.
        visits: example gradients computed in large batches; a curvature product counts as one per
            example.
        bound: proven upper bound on the L2 distance of the last stage's parameters from the
            minimiser of their objective on the retained examples; None if nothing is proven.
    """

    checkpoints: dict[int, Checkpoint]
    correction_norm: float
    visits: int
    bound: float | None = None


@dataclass(frozen=True, eq=False)
class Amended:
    """A shard after the amend.

    Attributes:
        checkpoint: checkpoint of stage R that the ensemble uses from now on.
        epochs: epochs trained.
        visits: example gradients computed in training steps.
        steps: optimizer steps taken.
    """

    checkpoint: Checkpoint
    epochs: int = 0
    visits: int = 0
    steps: int = 0


OnStep = Callable[[str, float], None]
"""Called with a short sentence on the next piece of work and the share done; may raise to stop."""


def progress_within(on_progress: OnStep, number: int, count: int) -> OnStep:
    """Map the progress within part ``number`` of ``count`` equal parts to progress of the whole.

    >>> progress_within(print, 1, 4)("half of the second of four", 0.5)
    half of the second of four 0.375
    """
    return lambda sentence, share: on_progress(sentence, (number + share) / count)


class Method(Protocol):
    """Changes the parameters of shards towards those of training without the forget set."""

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """Correct every stored checkpoint that depends on the forget set.

        Several shards are passed together so that they can share work; except for rounding, the
        result of one shard must not depend on the others.

        Args:
            rounds: rounds of different shards of one plan; they are not changed.
            on_progress: called before each stage.
        """
        ...

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Return an upper bound on the large-batch visits of a call for one shard.

        Args:
            plan: plan of the retain set.
            shard: 0-based shard.
            forget: the examples of the shard that are to be forgotten.
        """
        ...

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Return the expected work of a call, from which the clock predicts its seconds.

        Args:
            plan: plan of the retain set.
            forget: for each shard of the call, the examples that are to be forgotten.
        """
        ...

    def unsuitable(self, plan: Plan) -> str:
        """Return a sentence on why the method does not fit a plan, or "" if it does.

        Args:
            plan: plan with the model and the settings of training in question.
        """
        ...


class Amend(Protocol):
    """Brings modified shards closer to the retrained model by a little training."""

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """Return the checkpoints of stage R after the amend.

        Args:
            rounds: as for a method.
            modified: result of the method for each round.
            on_progress: as for a method.
        """
        ...

    def epochs(self, plan: Plan) -> int:
        """Return the number of epochs of the last stage that a call runs.

        Args:
            plan: plan of the retain set.
        """
        ...

    def longer(self, plan: Plan) -> "Amend | None":
        """Return the amend to try next if this one was not enough, or None.

        Args:
            plan: plan of the retain set.
        """
        ...
