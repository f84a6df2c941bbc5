"""The training specification: every number that shapes the bits of a run, in one frozen value."""

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from unlearnkit.models.losses import LOSSES, CrossEntropy, Loss, WeightedCrossEntropy, as_loss
from unlearnkit.seeding import digest

EPOCH_RULES = ("sisa", "full", "equal_work")
OPTIMIZERS = ("sgd", "adam", "adamw")
KERNELS = ("auto", "loop")
DEVICES = r"auto|cpu|cuda(:[0-9]+)?"


@dataclass(frozen=True)
class TrainSpec:
    """How the ensemble is trained.

    Attributes:
        num_shards: S, disjoint parts of the data with one constituent model each.
        num_slices: R, parts of a shard that are added one after the other; a checkpoint each.
        epochs: E, the training effort of a shard (see ``epoch_rule``).
        epoch_rule: epochs of stage r = 1..R. ``"sisa"``: 2E/(R+1) each (Bourtoule et al. 2021,
            section V), so that slicing costs no more example gradients than E epochs on the whole
            shard; ``"full"``: E each; ``"equal_work"``: proportional to 1/r, the total as in
            ``"sisa"``. Rounded cumulatively, at least 1 each: see :meth:`stage_epochs`.
        batch_size: slots of a batch; a revoked example leaves its slot empty.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: constant over the run.
        momentum: of SGD; ignored by the others.
        weight_decay: lambda of an L2 penalty (lambda/2) ||w||^2; decoupled for AdamW.
        loss: a :class:`~unlearnkit.models.losses.Loss` or the name of one.
        seed: of the partition, the initial weights, the orders and the dropout masks.
        num_threads: compute threads of torch during training. Bits depend on it; one is fastest
            for small models.
        kernel: ``"auto"``: stacked lanes for multi-layer perceptrons and logistic regression, the
            per-lane loop for other models; ``"loop"``: always the loop.
        device: to train on: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` and so on, or ``"auto"``: a CUDA
            device where there is one. Bits depend on it. Small models are faster on a CPU.
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

    def __post_init__(self) -> None:
        """Check every field at the door."""
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
        _check_range("learning_rate", self.learning_rate, 0, math.inf, "above 0", open_low=True)
        _check_range("momentum", self.momentum, 0, 1, "from 0 up to, not including, 1")
        _check_range("weight_decay", self.weight_decay, 0, math.inf, "0 or more")

    def stage_epochs(self) -> tuple[int, ...]:
        """Epochs of stages 1..R: whole numbers, at least 1 each.

        Real-valued shares are rounded cumulatively, so that their sum is off by less than one.

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
        else:  # e_r * r constant, so that every stage costs the same: E in units of the shard / R
            shares = [epochs / r for r in range(1, slices + 1)]
        result, total, given = [], 0.0, 0
        for share in shares:
            total += share
            stage = max(1, math.floor(total + 0.5) - given)
            given += stage
            result.append(stage)
        return tuple(result)

    def tail_epochs(self) -> tuple[int, ...]:
        """Epochs before the end of stage R at which weights are kept: largest first.

        Training resets the optimizer there, so that a replay from a tail with a fresh optimizer
        does what training did. A long stage has one two thirds before its end as well: a point on
        the way at which an influence step reads gradients and curvature anew. (Fashion-MNIST,
        60,000 examples, 5 shards of one slice, a hundredth revoked: with one at the half 59 %
        instead of 54 % of the output KL removed for a perceptron, 93 % instead of 88 % for logistic
        regression. Two thirds before the end, where the steep start ends, instead of there:
        logistic regression, means of four requests of 100, a hundredth and a tenth, 97, 97 and
        96 % of the KL and 97, 98 and 96 % of the membership-inference gap for 96, 97 and 96 % and
        95, 94 and 92 %; a perceptron 38, 66 and 78 % and 86, 88 and 84 % for 41, 66 and 79 % and
        83, 87 and 81 %. With both, a little more at .85 times the speed.)

        >>> TrainSpec(num_slices=3, epochs=20).tail_epochs()
        (4, 1)
        >>> TrainSpec(num_slices=1, epochs=20).tail_epochs()
        (13, 4, 1)
        >>> TrainSpec(num_slices=1, epochs=1).tail_epochs()
        (1,)
        """
        last = self.stage_epochs()[-1]
        early = {2 * last // 3} if last >= 16 else set[int]()
        return tuple(sorted({min(4, last), 1} | early, reverse=True))

    def with_(self, **changes: Any) -> "TrainSpec":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """In plain values, ``TrainSpec(**values)`` again; a loss of one's own is left out.

        >>> TrainSpec(**TrainSpec(seed=3).to_dict()) == TrainSpec(seed=3)
        True
        """
        values = self._values()
        loss = values.pop("loss")
        if type(loss) is WeightedCrossEntropy:
            return {**values, "loss": {"class_weights": list(loss.class_weights)}}
        return {**values, "loss": loss.name} if LOSSES.get(loss.name) == loss else values

    @property
    def digest(self) -> str:
        """A digest of every field; two specs with one digest train alike."""
        return digest(*(f"{name}={value!r}" for name, value in self._values().items()))

    def __repr__(self) -> str:
        return f"TrainSpec({', '.join(f'{n}={value!r}' for n, value in self._values().items())})"

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, repr=False)
class SpecWithFactors(TrainSpec):
    """The spec of a store in which an earlier version kept K-FAC factors beside its checkpoints.

    It trains as the same spec without factors does. The field stays in its digest, and so in the
    keys of the store's stages, which could not be found otherwise.

    Attributes:
        kfac_examples: the examples of a shard, at most, that the factors were computed on.
    """

    kfac_examples: int = 0


def spec_from(values: dict[str, Any]) -> TrainSpec:
    """The spec whose ``to_dict()`` was recorded.

    >>> spec_from(TrainSpec(seed=3).to_dict()) == TrainSpec(seed=3)
    True
    """
    return (SpecWithFactors if "kfac_examples" in values else TrainSpec)(**values)


def as_recorded(spec: TrainSpec, recorded: object) -> TrainSpec:
    """The spec of a session, as a :class:`SpecWithFactors` where its store was written with one.

    Args:
        spec: as given to the session.
        recorded: the spec's ``repr`` in the store's manifest, if there is one.

    >>> as_recorded(TrainSpec(), repr(TrainSpec())[:-1] + ", kfac_examples=512)").kfac_examples
    512
    >>> as_recorded(TrainSpec(), repr(TrainSpec())) == TrainSpec()
    True
    """
    found = re.fullmatch(r"(.*), kfac_examples=([1-9]\d{0,17})\)", str(recorded), re.DOTALL)
    if not found or found[1] != repr(spec)[:-1]:
        return spec
    values = {f.name: getattr(spec, f.name) for f in fields(TrainSpec)}
    return SpecWithFactors(**values, kfac_examples=int(found[2]))


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, known))}")


def _check_range(
    name: str, value: object, low: float, high: float, words: str, *, open_low: bool = False
) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a number {words}")
    inside = (low < value if open_low else low <= value) and value < high
    if not inside:  # also NaN
        raise ValueError(f"{name}={value} is out of range; give a number {words}")
