"""The training specification: every setting that determines the bits of a run."""

import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from unlearnkit.models.losses import CrossEntropy, Loss, as_loss, plain_loss
from unlearnkit.seeding import digest

EPOCH_RULES = ("sisa", "full", "equal_work")
OPTIMIZERS = ("sgd", "adam", "adamw")
KERNELS = ("auto", "loop")
LARGEST = sys.float_info.max  # integers can be larger
MOST = 2**31 - 1  # epochs and steps are counted in 32 bits
MOST_THREADS = 1024  # the process ends where the system cannot start them
LONG_EPOCH = 3.9  # effective time of an epoch from which the default replay has two epochs
MANY_STEPS = 16  # least number of steps of such an epoch
LONG_STAGE = 16  # epochs of a stage from which it has tails early on
DEVICES = r"auto|cpu|cuda(:[0-9]+)?"


@dataclass(frozen=True)
class TrainSpec:
    """How the ensemble is trained.

    Attributes:
        num_shards: S, the number of disjoint parts of the data; each has one constituent model.
        num_slices: R, the number of parts of a shard that join training one after the other; a
            checkpoint is stored after each.
        epochs: E, the training effort of a shard (see ``epoch_rule``).
        epoch_rule: how E determines the epochs of stage r = 1..R. ``"sisa"``: 2E/(R+1) each
            (Bourtoule et al. 2021, section V), so that slicing costs no more example gradients than
            E epochs on the whole shard; ``"full"``: E each; ``"equal_work"``: E/r, so that all
            stages cost about the same, at the total cost of ``"sisa"``. The numbers are rounded
            cumulatively and are at least 1; see :meth:`stage_epochs`.
        batch_size: number of slots of a batch; a revoked example leaves its slot empty.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: learning rate, above 0 and constant over the run.
        momentum: momentum of SGD, from 0 up to below 1; other optimizers ignore it.
        weight_decay: lambda of the L2 penalty (lambda/2) ||w||^2, 0 or more; decoupled for AdamW.
        loss: a :class:`~unlearnkit.models.losses.Loss` or the name of one.
        seed: seed of the partition, the initial weights, the orders and the dropout masks.
        num_threads: compute threads of torch during training. The resulting bits depend on it. One
            thread is fastest for small models.
        kernel: ``"auto"`` trains multi-layer perceptrons and logistic regression in stacked lanes,
            and other models lane by lane; ``"loop"`` trains all models lane by lane.
        device: device for training: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` and so on, or ``"auto"``
            for a CUDA device if there is one. The resulting bits depend on it. Small models are
            faster on a CPU.
        tails: how many epochs before the end of stage R weights are kept, as distinct numbers in
            any order; None for those that :meth:`tail_epochs` states. The resulting bits depend on
            it. The default replay starts from the last tail.

    Raises:
        KeyError: there is no loss of that name.
        TypeError: a field has the wrong type.
        ValueError: a field is out of range or not known.

    >>> import unlearnkit as uk
    >>> spec = uk.TrainSpec(num_shards=4, num_slices=2, learning_rate=0.01)
    >>> uk.Session("digits", model="logistic", spec=spec, epochs=5).spec.stage_epochs()
    (3, 4)
    """

    num_shards: int = 5
    num_slices: int = 3
    epochs: int = 20
    epoch_rule: str = "sisa"
    batch_size: int = 64
    optimizer: str = "sgd"
    learning_rate: float = 0.003
    momentum: float = 0.9
    weight_decay: float = 1e-4
    loss: Loss = CrossEntropy()
    seed: int = 0
    num_threads: int = 1
    kernel: str = "auto"
    device: str = "cpu"
    tails: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check every field, and take numbers of NumPy and devices of torch for what they are."""
        for name, value in vars(self).items():
            if isinstance(value, np.generic):
                object.__setattr__(self, name, value.item())
        if isinstance(self.device, torch.device):
            object.__setattr__(self, "device", str(self.device))
        object.__setattr__(self, "loss", as_loss(self.loss))
        counts = ("num_shards", "num_slices", "epochs", "batch_size", "num_threads")
        for name in counts:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(
                    f"{name}={value!r} is a {type(value).__name__}; give a whole number"
                )
            if value < 1:
                raise ValueError(f"{name}={value} is below 1; give at least 1")
            most = MOST_THREADS if name == "num_threads" else MOST
            if value > most:
                raise ValueError(f"{name} is above {most:,}; give a smaller number")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"seed={self.seed!r} is not a whole number; give an integer such as 0")
        _check_choice("epoch_rule", self.epoch_rule, EPOCH_RULES)
        _check_choice("kernel", self.kernel, KERNELS)
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if not isinstance(self.device, str) or not re.fullmatch(DEVICES, self.device):
            raise ValueError(
                f"device={self.device!r} is not known; use 'cpu', 'cuda', 'cuda:0' and so on, or "
                "'auto'"
            )
        if self.tails is not None:
            object.__setattr__(self, "tails", _as_tails(self.tails))
        _check_range("learning_rate", self.learning_rate, 0, math.inf, "above 0", open_low=True)
        _check_range("momentum", self.momentum, 0, 1, "from 0 up to, not including, 1")
        _check_range("weight_decay", self.weight_decay, 0, math.inf, "0 or more")

    def stage_epochs(self) -> tuple[int, ...]:
        """Return the epochs of stages 1..R, at least 1 each.

        Real-valued shares are rounded cumulatively, so that rounding changes their sum by less than
        one.

        >>> TrainSpec(num_slices=3, epochs=20).stage_epochs()
        (10, 10, 10)
        >>> TrainSpec(num_slices=5, epochs=20).stage_epochs()
        (7, 6, 7, 7, 6)
        >>> TrainSpec(num_slices=3, epochs=20, epoch_rule="equal_work").stage_epochs()
        (20, 10, 7)
        """
        slices, epochs = self.num_slices, self.epochs
        if self.epoch_rule == "full":
            shares = [float(epochs)] * slices
        elif self.epoch_rule == "sisa":
            shares = [2 * epochs / (slices + 1)] * slices
        else:  # e_r * r is constant, so that every stage visits equally many examples
            shares = [epochs / r for r in range(1, slices + 1)]
        result, total, given = [], 0.0, 0
        for share in shares:
            total += share
            stage = max(1, math.floor(total + 0.5) - given)
            given += stage
            result.append(stage)
        return tuple(result)

    def tail_epochs(self) -> tuple[int, ...]:
        """Return how many epochs before the end of stage R weights are kept, largest first.

        Such stored weights are called *tails*. Training resets the optimizer at each tail, so a
        replay from a tail with a reset optimizer repeats what training did. They are those of
        ``tails``; one that is longer than the stage is kept at its start. If ``tails`` is None,
        they are 4 epochs and 1 epoch before the end, and a stage of 16 epochs or more has another
        one after its first third, at which an influence step evaluates gradients and curvature
        once more.

        >>> TrainSpec(num_slices=3, epochs=20).tail_epochs()
        (4, 1)
        >>> TrainSpec(num_slices=1, epochs=20).tail_epochs()
        (13, 4, 1)
        >>> TrainSpec(num_slices=1, epochs=1).tail_epochs()
        (1,)
        >>> TrainSpec(num_slices=3, epochs=20, tails=(2, 30)).tail_epochs()
        (10, 2)
        """
        last = self.stage_epochs()[-1]
        if self.tails is not None:
            return tuple(sorted({min(tail, last) for tail in self.tails}, reverse=True))
        early = {2 * last // 3} if last >= LONG_STAGE else set[int]()
        return tuple(sorted({min(4, last), 1} | early, reverse=True))

    def with_(self, **changes: Any) -> "TrainSpec":
        """Return a copy with some fields changed.

        Args:
            **changes: the fields to change, by name.

        Raises:
            KeyError, TypeError, ValueError: as for the class.
        """
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for ``TrainSpec(**values)``; a user-defined loss is left out.

        >>> TrainSpec(**TrainSpec(seed=3).to_dict()) == TrainSpec(seed=3)
        True
        """
        values = self._values()
        loss = plain_loss(values.pop("loss"))
        return values if loss is None else {**values, "loss": loss}

    @property
    def digest(self) -> str:
        """Digest of every field; specs with equal digests train identically."""
        return digest(*(f"{name}={value!r}" for name, value in self._values().items()))

    def __repr__(self) -> str:
        return f"TrainSpec({', '.join(f'{n}={value!r}' for n, value in self._values().items())})"

    def _values(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if values["tails"] is None:  # as in specs of stores that know no tails
            del values["tails"]
        return values


def default_tails(
    spec: TrainSpec, num_examples: int, input_span: float = 2.0, *, convolutional: bool = False
) -> tuple[int, ...]:
    """Return the tails of a session that is given none.

    The replay from the last tail should last for some effective time, so it has two epochs if an
    epoch of stage R has at least ``MANY_STEPS`` steps and the effective time ``LONG_EPOCH``
    (roughly rate / (1 - momentum) for each step, times the square of half the span of the inputs),
    and otherwise three; but at most half of the stage. Convolutional networks always replay three
    epochs, because only their last layer is corrected before. A stage of 16 epochs or more has
    three tails besides, after each fifth of it up to the third, because a correction in a single
    long step is inaccurate. This was devised for unlearnkit; tests/benchmarks/defaults.md has the
    measurements.

    Args:
        spec: the spec, for SGD.
        num_examples: number of training examples of all shards.
        input_span: difference between the largest and the smallest possible input.
        convolutional: whether the model is a convolutional network.

    >>> default_tails(TrainSpec(num_slices=5, num_shards=10, batch_size=32), 10_000)
    (3,)
    >>> default_tails(TrainSpec(num_slices=1, num_shards=10, batch_size=32), 60_000)
    (16, 12, 8, 2)
    """
    last = spec.stage_epochs()[-1]
    steps = math.ceil(num_examples / spec.num_shards / spec.batch_size)
    time = steps * spec.learning_rate / (1 - spec.momentum) * (input_span / 2) ** 2
    long = time >= LONG_EPOCH and steps >= MANY_STEPS and not convolutional
    tail = min(2 if long else 3, max(1, last // 2))
    early = tuple(last * fifths // 5 for fifths in (4, 3, 2)) if last >= LONG_STAGE else ()
    return (*early, tail)


@dataclass(frozen=True, repr=False)
class SpecWithFactors(TrainSpec):
    """The spec of a store in which an earlier version kept K-FAC factors next to its checkpoints.

    Training is the same as without factors. The field remains part of the digest, and therefore of
    the keys under which the store's stages are found.

    Attributes:
        kfac_examples: upper limit of examples of a shard on which the factors were computed.
    """

    kfac_examples: int = 0


def spec_from(values: dict[str, Any]) -> TrainSpec:
    """Return the spec from the values of its ``to_dict()``.

    >>> spec_from(TrainSpec(seed=3).to_dict()) == TrainSpec(seed=3)
    True
    """
    return (SpecWithFactors if "kfac_examples" in values else TrainSpec)(**values)


def as_recorded(spec: TrainSpec, recorded: object) -> TrainSpec:
    """Return a session's spec with the digest of the one that its store was written with.

    Earlier versions kept float64 numbers of NumPy, whose repr differs from that of the same number
    of Python, and wrote a :class:`SpecWithFactors`.

    Args:
        spec: the spec given to the session.
        recorded: the spec's ``repr`` in the store's manifest, if there is one.

    >>> as_recorded(TrainSpec(), repr(TrainSpec())[:-1] + ", kfac_examples=512)").kfac_examples
    512
    >>> as_recorded(TrainSpec(), repr(TrainSpec())) == TrainSpec()
    True
    """
    recorded = str(recorded)
    if "=np.float64(" in recorded:
        spec = replace(spec)
        for name in ("learning_rate", "momentum", "weight_decay"):
            number = repr(getattr(spec, name))
            if f" {name}=np.float64({number})" in recorded:
                object.__setattr__(spec, name, np.float64(number))
    found = re.fullmatch(r"(.*), kfac_examples=([1-9]\d{0,17})\)", recorded, re.DOTALL)
    if not found or found[1] != repr(spec)[:-1]:
        return spec
    values = {f.name: getattr(spec, f.name) for f in fields(TrainSpec)}
    return SpecWithFactors(**values, kfac_examples=int(found[2]))


def _as_tails(tails: Any) -> tuple[int, ...]:
    """Return tails as a descending tuple, so that equal ones have the same digest."""
    if isinstance(tails, str) or not isinstance(tails, Iterable):
        raise TypeError(f"tails={tails!r} is no sequence of whole numbers; give one such as (2,)")
    found = tuple(int(t) if isinstance(t, np.integer) else t for t in tails)
    if any(isinstance(t, bool) or not isinstance(t, int) for t in found):
        raise TypeError(f"tails={tails!r} are not all whole numbers; give numbers such as (2,)")
    if not found or min(found) < 1 or max(found) > MOST or len(set(found)) < len(found):
        raise ValueError(
            f"tails={tails!r} are no distinct numbers of 1 or more; give at least one, as in (2,)"
        )
    return tuple(sorted(found, reverse=True))


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, known))}")


def _check_range(
    name: str, value: object, low: float, high: float, words: str, *, open_low: bool = False
) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a number {words}")
    inside = (low < value if open_low else low <= value) and value < min(high, LARGEST)
    if not inside:  # also NaN
        raise ValueError(f"{name}={value} is out of range; give a number {words}")
