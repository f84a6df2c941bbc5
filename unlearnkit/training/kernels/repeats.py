"""Repeats: some steps of a foreign module are computed twice, and their bits compared.

Exact retraining needs a module whose training step is a function of its state and its batch alone.
For a module that the user has written this cannot be known, so it is checked by samples. A step is
repeated on a copy of the module as it was before the step; if outputs, gradients or buffers differ
in any bit, training stops. If a global generator of random numbers was used since the module was
created, all steps since then are repeated, because the module may have used it.

Besides, each stage keeps a *witness*, a digest of the state after its first step. Before training
continues from a kept checkpoint, the first step of its stage is computed again and compared with
the witness, which shows whether the module still computes what it computed then.
"""

import copy
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearnkit.models.architecture import Architecture
from unlearnkit.seeding import digest, numpy_generator, state_bytes
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.stepper import Stepper
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import Job

ONE_IN = 300  # steps of training per repeated step; a repetition costs about three steps
LEAST = 3  # repeated steps of a training, however short
MOST_ALARMS = 4  # segments of a training that are repeated because random numbers were drawn


class NotReproducibleError(ValueError):
    """A module computes different bits from the same state and batch, so it is never exact."""


class ChangedModelError(ValueError):
    """A model computes something else than when the checkpoints in its store were made."""


@dataclass(frozen=True)
class Repeated:
    """How much of a training was repeated, and with the same bits.

    Attributes:
        steps: steps of foreign modules that were trained.
        repeated: how many of them were computed twice.
        partial: how many of the repeated ones had fewer examples than a full batch.
        kept: kept stages whose first step was computed again before training continued.
    """

    steps: int = 0
    repeated: int = 0
    partial: int = 0
    kept: int = 0

    def __add__(self, other: "Repeated") -> "Repeated":
        """Return the sums of both."""
        mine, theirs = asdict(self), asdict(other)
        return Repeated(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def sentence(self) -> str:
        """What was checked, in words.

        >>> print(Repeated(1320, 4, 2, 3).sentence)
        4 of 1,320 training steps were computed twice (2 of them with a partial batch), and the
        first steps of 3 kept stages again, each with the same bits
        """
        return (
            f"{self.repeated:,} of {self.steps:,} training steps were computed twice "
            f"({self.partial:,} of them with a partial batch), and the first steps of "
            f"{self.kept:,} kept stage{'' if self.kept == 1 else 's'} again, each with the same "
            "bits"
        )

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None) -> "Repeated":
        """Return the value of its counts; of None, one without repetitions.

        Raises:
            TypeError, ValueError: the values are not counts.
        """
        for value in (values or {}).values():
            if type(value) is not int or not 0 <= value < 2**62:
                raise ValueError(f"{value!r} is not a count")
        return cls(**(values or {}))


NOTHING_REPEATED = Repeated()


class Repeats:
    """Chooses the steps of one training that are repeated, and compares them.

    Attributes:
        repeated: what was compared so far.
        witnesses: witness of each stage that was begun, by its key.
    """

    def __init__(self, architecture: Architecture, seed: int, batch_size: int) -> None:
        self.architecture, self.seed, self.batch_size = architecture, seed, batch_size
        self.repeated = Repeated()
        self.witnesses: dict[str, str] = {}
        self._chosen: set[tuple[str, int]] = set()  # first stage of a job, and step
        self._alarms = 0
        self._heard: object = None

    def begin(self, jobs: Sequence[Job]) -> None:
        """Choose the steps: the first, a partial and a last batch first of all, then at random.

        The choice is made once, among the jobs of all threads.
        """
        total = sum(map(len, jobs))
        if not total or self._chosen:  # a thread trains some of the jobs among which was chosen
            return
        wanted: list[tuple[int, int]] = [(0, 0), *self._partial(jobs)]
        wanted.append((len(jobs) - 1, len(jobs[-1]) - 1))
        generator = numpy_generator(self.seed, "repeat", jobs[0].shard, total)
        bounds = np.cumsum([len(job) for job in jobs])
        for at in np.sort(generator.choice(total, min(total, total // ONE_IN), replace=False)):
            number = int(np.searchsorted(bounds, at, side="right"))
            wanted.append((number, int(at - bounds[number] + len(jobs[number]))))
        kept = wanted[: max(LEAST, total // ONE_IN)]
        self._chosen = {(jobs[number].key, step) for number, step in kept}
        self.repeated = replace(self.repeated, steps=self.repeated.steps + total)

    def _partial(self, jobs: Sequence[Job]) -> list[tuple[int, int]]:
        for number, job in enumerate(jobs):
            partial = np.flatnonzero((job.rows >= 0).sum(1) < self.batch_size)
            if len(partial):
                return [(number, int(partial[0]))]
        return []

    def for_thread(self) -> "Repeats":
        """Return repeats of the same choice, for the jobs that one thread trains."""
        mine = copy.copy(self)
        mine.repeated, mine.witnesses, mine._heard = Repeated(), {}, None
        return mine

    def wants(self, job: Job, step: int) -> bool:
        """Whether a step of a job is to be repeated."""
        return (job.key, step) in self._chosen

    def hear(self) -> bool:
        """Whether a global generator of torch, numpy or Python was used since the last call."""
        kind, keys, position, *_ = np.random.get_state()
        state = (
            torch.default_generator.get_state().numpy().tobytes(),
            (str(kind), np.asarray(keys).tobytes(), int(position)),
            random.getstate(),
        )
        used = self._heard is not None and state != self._heard
        self._heard = state
        return used

    def suspects(self) -> bool:
        """Whether the steps since the last call are to be repeated.

        They are if a global generator was used. As another thread may have used it, this is
        limited to a few times, so that a busy process is not slowed down for ever.
        """
        used = self.hear()
        self._alarms += used
        return used and self._alarms <= MOST_ALARMS

    def compare(self, stepper: Stepper, twin: Stepper, outputs: tuple[Tensor, Tensor]) -> None:
        """Compare a step with its repetition, before the parameters are updated.

        Args:
            stepper: the module in training.
            twin: its copy from before the step, which has computed the same step.
            outputs: outputs of both.

        Raises:
            NotReproducibleError: some bits differ.
        """
        what = difference(stepper, twin, outputs)
        if what:
            raise NotReproducibleError(unequal(self.architecture.name, what))
        partial = len(outputs[0]) < self.batch_size
        found = Repeated(repeated=1, partial=int(partial))
        self.repeated = self.repeated + found

    def compare_states(self, state: State, again: State, steps: int) -> None:
        """Compare the states after two runs of the same steps.

        Raises:
            NotReproducibleError: some bits differ.
        """
        for name, value in state.items():
            if not same_bits(value, again[name]):
                raise NotReproducibleError(
                    unequal(self.architecture.name, f"{name} after {steps} steps")
                )
        self.repeated = self.repeated + Repeated(repeated=steps)

    def note_kept(self) -> None:
        """Count a kept stage whose first step was computed again."""
        self.repeated = self.repeated + Repeated(kept=1)


def repeats_of(plan: Plan) -> Repeats | None:
    """Return the repeats of a training, or None where nothing has to be repeated.

    Built-in models need none, and neither do stacks of plain linear layers, which the stacked
    kernel trains without running the module.
    """
    if not plan.architecture.foreign or plan.stacked:
        return None
    return Repeats(plan.architecture, plan.spec.seed, plan.spec.batch_size)


def witness_of(state: State) -> str:
    """Return the digest of a state that serves as a witness."""
    return digest("witness", state_bytes(state))


def difference(stepper: Stepper, twin: Stepper, outputs: tuple[Tensor, Tensor]) -> str:
    """Return in words what differs between two computations of a step, or "" if nothing does."""
    if not same_bits(*outputs):
        return "its outputs"
    pairs = zip(stepper.module.named_parameters(), twin.module.parameters(), strict=True)
    for (name, one), other in pairs:
        if (one.grad is None) != (other.grad is None):
            return f"whether {name} gets a gradient"
        if one.grad is not None and other.grad is not None and not same_bits(one.grad, other.grad):
            return f"the gradient of {name}"
    theirs = twin.module.state_dict()
    for name, value in stepper.module.state_dict().items():
        if not same_bits(value, theirs[name]):
            return f"its {name} after the step"
    return ""


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in shape, type and every bit, NaN included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    raw = [each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (one, other)]
    return torch.equal(*raw)


def unequal(name: str, what: str) -> str:
    """Return the message on a module whose repeated steps differ."""
    return (
        f"{name} computes different bits when a training step is repeated from the same state and "
        f"batch; the first difference is in {what}. So its forward draws random numbers outside "
        "torch's own dropout layers (Python's random, numpy, its own generator), or reads "
        "something that changes between calls, such as a counter in a global variable or the time. "
        "No retraining of such a model is exact. Remove the randomness, or keep what changes in a "
        "buffer of the module (register_buffer)."
    )
