"""Metrics of how far one model's predictions are from another's, each returned as a `Measure`.

A metric compares a model `a`, usually the unlearned model, with a reference `b`, usually the model
retrained from scratch, by their predicted probabilities on the same examples. Unlearning methods
are judged by their gaps to the retrained model (best 0), because test accuracy alone cannot tell
them apart. Results are computed in float64. Without examples the value is nan rather than an error,
since a forget set may be empty.
"""

import math
import re
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from unlearnkit.metrics.shard_scores import ShardScores, found_in, worst_shard
from unlearnkit.metrics.true_positives import RATES, threshold_at, true_positives
from unlearnkit.registry import Registry, instance_of

SMALLEST_PROBABILITY = 1e-12
"""Probabilities are clamped to this value before taking logarithms, so none exceeds 27.6 nats."""

Z95 = 1.959963984540054
"""Quantile of the standard normal distribution for two-sided 95 % intervals."""


NO_CLASSES = "a regression has no classes"
NO_EXAMPLES = "no examples"
NO_SHARDS = "the forgotten examples and the constituents of at least two shards are needed"

OF_NULLS = ("_of_nothing", "_of_another_seed")  # ends of the columns of what has no policy
TABLE_COLUMNS = frozenset(
    [
        *"data examples kind amount revoked policy method amend model seed debt visits".split(),
        *"num_shards num_slices learning_rate exact_shards approximate_shards".split(),
        "amplification",
        *"workload_share expected_share gap_removed membership_gap_removed membership_auc".split(),
        *"seconds predicted_seconds cpu_seconds speed speed_over_scratch".split(),
        *(
            f"{gap}{end}"
            for gap in ("output_kl", "churn", "membership_gap")
            for end in ("", *OF_NULLS)
        ),
        *(
            f"{part}_{score}{kind}{end}"
            for part in ("forget", "retain", "test")
            for score in ("accuracy", "rmse")
            for kind in ("", "_gap")
            for end in ("", *OF_NULLS)
        ),
    ]
)
"""Columns that comparisons and studies fill themselves; a metric cannot be named like one."""

Direction = Literal["lower", "higher", "zero"]


@dataclass(frozen=True)
class Measure:
    """The value of a metric, with its interval, its source and its best direction.

    Attributes:
        name: the metric.
        value: the number; nan if there were no examples.
        direction: whether lower values, higher values or values near zero are best.
        source: the publication that defines the metric.
        interval: a 95 % confidence interval over the choice of examples; None if it is unknown.
        note: why the value or the interval is missing; empty otherwise.
        null: the value to expect if there is no difference to measure, where that is not simply 0.
        p_value: the probability of a value at least this far from best without a difference.
    """

    name: str
    value: float
    direction: Direction
    source: str
    interval: tuple[float, float] | None = None
    note: str = ""
    null: float | None = None
    p_value: float | None = None

    def __repr__(self) -> str:
        """For example `klom 0.8700 [0.7000, 1.0400], null 6.4000, p 0.995, best zero`."""
        value = format_value(self.value, self.interval, self.note)
        null = "" if self.null is None else f", null {self.null:.4f}"
        chance = "" if self.p_value is None else f", p {self.p_value:.3f}"
        return f"{self.name} {value}{null}{chance}, best {self.direction}"


Targets = Integer[Tensor, " batch"] | Float[Tensor, "batch class"]
"""Labels of a classification, or target rows of a regression."""


@runtime_checkable
class Metric(Protocol):
    """A comparison of two models' outputs on the same examples.

    :func:`measure_all` calls every entry of ``METRICS``. A comparison passes the unlearned and
    the original model as `a`, the retrained model as `b`, on the forget, retain and test part.
    """

    @property
    def name(self) -> str:
        """Key of this metric in `METRICS`."""

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Compare model `a` with the reference `b` on examples with the labels `data`.

        For a regression, `a` and `b` are predictions and `data` targets, in units of their scale; a
        metric for classes then returns nan and a note.

        Args:
            a: probabilities of the model that is judged, one row for each example.
            b: probabilities of the reference.
            data: labels of the examples.

        Raises:
            ValueError: the number of examples or classes of `a`, `b` and the labels differ.
        """


def accuracy(
    probabilities: Float[Tensor, "batch class"], labels: Integer[Tensor, " batch"]
) -> float:
    """Share of examples whose most probable class is their label; nan without examples.

    >>> accuracy(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0]))
    0.5

    Raises:
        ValueError: the number of labels differs from the number of rows.
    """
    return _mean(_correct(probabilities, labels))


def output_kl(p: Float[Tensor, "batch class"], q: Float[Tensor, "batch class"]) -> float:
    """Mean KL(p || q) in nats, where p is the retrained model and q the model under evaluation.

    Kullback and Leibler 1951: sum_c p_c log(p_c / q_c), 0 only where p = q.
    Probabilities are clamped at `SMALLEST_PROBABILITY` inside the logarithms, so the divergence
    stays finite if q gives a class probability 0. The value is nan without examples.

    >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    >>> round(output_kl(p, q), 6) == round(math.log(4 / 3) / 2, 6)
    True

    Raises:
        ValueError: the shapes of p and q differ.
    """
    return _mean(example_kl(p, q))


def example_kl(
    p: Float[Tensor, "batch class"], q: Float[Tensor, "batch class"]
) -> Float[Tensor, " batch"]:
    """KL(p || q) in nats of each example; `output_kl` is the mean.

    Raises:
        ValueError: the shapes of p and q differ.
    """
    _check_pair(p, q)
    p, q = p.double(), q.double()
    logs = p.clamp_min(SMALLEST_PROBABILITY).log() - q.clamp_min(SMALLEST_PROBABILITY).log()
    return (p * logs).sum(-1)


def gaussian_kl(
    p: Float[Tensor, "batch target"], q: Float[Tensor, "batch target"]
) -> Float[Tensor, " batch"]:
    """KL in nats of each example between normal distributions of variance 1 around p and q.

    KL(N(p, I) || N(q, I)) = |p - q|^2 / 2 (Kullback and Leibler 1951; of Gaussians for example in
    Bishop 2006, exercise 2.13).

    >>> gaussian_kl(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    tensor([2.], dtype=torch.float64)
    """
    return (p.double() - q.double()).square().sum(-1) / 2


def churn(p: Float[Tensor, "batch class"], q: Float[Tensor, "batch class"]) -> float:
    """Share of examples that p and q assign to different classes; nan without examples.

    Milani Fard, Cormier, Canini and Gupta 2016, "Launch and iterate: reducing prediction churn".

    >>> churn(torch.eye(3), torch.eye(3)[[0, 2, 1]])
    0.6666666666666666

    Raises:
        ValueError: the shapes of p and q differ.
    """
    _check_pair(p, q)
    return _mean(p.argmax(-1) != q.argmax(-1))


def placements(
    values: Float[Tensor, " value"], others: Float[Tensor, " other"]
) -> Float[Tensor, " value"]:
    """For each value, the share of `others` below it, with ties counted half, in float64.

    The mean of the placements is the area under the ROC curve. `others` must not be empty.

    >>> placements(torch.tensor([2.0, 9.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([0.3750, 1.0000], dtype=torch.float64)
    """
    ordered, values = others.double().sort().values, values.double().contiguous()
    below = torch.searchsorted(ordered, values)
    below_or_tied = torch.searchsorted(ordered, values, right=True)
    return (below + below_or_tied).double() / (2 * len(others))


def auc(positive: Float[Tensor, " positive"], negative: Float[Tensor, " negative"]) -> float:
    """Probability that a positive scores above a negative, with ties counted half.

    This is the area under the ROC curve: the Mann-Whitney statistic divided by both sample sizes
    (Hanley and McNeil 1982). It is nan if either side is empty or contains nan.

    >>> auc(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))     # (1 + 1/2 + 1 + 1) / 4
    0.875
    """
    if not len(positive) or not len(negative) or (positive.isnan().any() | negative.isnan().any()):
        return math.nan
    return _mean(placements(positive, negative))


def share_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share of `count` examples: Wilson's 1927 score interval.

    >>> [round(bound, 3) for bound in share_interval(0.0, 10)]
    [0.0, 0.278]
    """
    shrink = 1 + Z95**2 / count
    middle = (share + Z95**2 / (2 * count)) / shrink
    spread = share * (1 - share) / count + Z95**2 / (4 * count**2)
    half = Z95 * math.sqrt(spread) / shrink
    # At 0 and 1 the bound equals the share; min and max remove rounding errors there.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def tug_of_war(gap_forget: float, gap_retain: float, gap_test: float) -> float:
    """Product of 1 - |gap| over the forget, retain and test accuracies; range 0 to 1, best 1.

    A gap is the accuracy of the unlearned model minus that of the retrained model, both as shares.
    A single large gap makes the product small. Zhao, Kurmanji, Barbulescu, Triantafillou and
    Triantafillou 2024 (RUM), "What makes unlearning hard and what to do about it".

    >>> tug_of_war(0.0, 0.0, 0.0)
    1.0
    >>> tug_of_war(-0.5, 0.2, 0.0)
    0.4

    Raises:
        ValueError: a gap lies outside -1..1.
    """
    gaps = (gap_forget, gap_retain, gap_test)
    if any(abs(gap) > 1 for gap in gaps):
        raise ValueError(f"gaps {gaps} are not all in -1..1; give shares, not percentages.")
    return math.prod(1 - abs(gap) for gap in gaps)


@dataclass(frozen=True)
class AccuracyGap:
    """Accuracy of `a` minus accuracy of `b`, with the interval of Agresti and Min 2005.

    The examples are paired, so only those that exactly one of the models predicts correctly count.
    """

    name: ClassVar[str] = "accuracy-gap"

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Compare `a` with `b` on labelled examples."""
        if data.is_floating_point():
            return Measure(self.name, math.nan, "zero", "difference of shares", None, NO_CLASSES)
        _check_pair(a, b)
        gain = _correct(a, data).double() - _correct(b, data).double()
        interval = _paired_interval(gain.cpu().numpy()) if len(gain) else None
        source = "difference of shares; interval: Agresti and Min 2005"
        return Measure(self.name, _mean(gain), "zero", source, interval, _empty(len(gain)))


@dataclass(frozen=True)
class OutputKL:
    """`output_kl` of the reference `b` to `a`, in nats; for a regression `gaussian_kl`."""

    name: ClassVar[str] = "output-kl"

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Compare `a` with `b`."""
        value = _mean(gaussian_kl(b, a)) if data.is_floating_point() else output_kl(b, a)
        return Measure(self.name, value, "lower", "Kullback and Leibler 1951", None, _empty(len(a)))


@dataclass(frozen=True)
class Churn:
    """`churn` between `a` and `b`, with Wilson's 1927 score interval; the labels are not used."""

    name: ClassVar[str] = "churn"

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Compare `a` with `b`."""
        if data.is_floating_point():
            return Measure(
                self.name, math.nan, "lower", "Milani Fard et al. 2016", None, NO_CLASSES
            )
        value, count, interval = churn(a, b), len(a), None
        if count:
            interval = share_interval(value, count)
        source = "Milani Fard et al. 2016; interval: Wilson 1927"
        return Measure(self.name, value, "lower", source, interval, _empty(count))


@dataclass(frozen=True)
class TruePositiveGap:
    """How many more examples `a` fits conspicuously well than `b`: best 0.

    The examples are ranked by the label's probability. The threshold is the one that at most a
    share ``false`` of the reference `b`'s probabilities exceeds, and the value is the share of the
    probabilities of `a` above it minus that of `b`. On the forget set this is an attack by one
    threshold for all examples (Carlini et al. 2022, section II-D, by Yeom et al. 2018), with the
    retrained model as the non-member. The ``null`` is the value to expect of a model that fits the
    examples as well as `b`, independently of it; after exact unlearning the value is 0. Attacks on
    single examples find more; they need many models (:mod:`unlearnkit.studies.population_attacks`)
    or many shards (:mod:`unlearnkit.evaluation.shard_attack`).

    Attributes:
        false: the false positive rate.
    """

    false: float = 0.01

    @property
    def name(self) -> str:
        """For example ``"tpr-gap-at-0.1%"``."""
        return f"tpr-gap-at-{self.false * 100:g}%"

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Compare `a` with `b` on labelled examples."""
        source = "Carlini et al. 2022; Yeom et al. 2018"
        if data.is_floating_point():
            return Measure(self.name, math.nan, "zero", source, None, NO_CLASSES)
        _check_pair(a, b)
        if not len(a):
            return Measure(self.name, math.nan, "zero", source, None, NO_EXAMPLES)
        rows = data.long().unsqueeze(1)
        own, reference = (p.double().gather(1, rows).squeeze(1).cpu() for p in (a, b))
        if not (own.isfinite().all() and reference.isfinite().all()):
            return Measure(self.name, math.nan, "zero", source, None, "outputs are not finite")
        found = true_positives(own.numpy(), reference.numpy(), self.false)
        value, (low, high) = found.true - found.false, found.interval
        interval = (min(low - self.false, value), max(high - self.false, value))
        note = "" if len(a) * self.false >= 1 else f"{len(a)} examples are few for this rate"
        null = found.null - found.false
        return Measure(self.name, value, "zero", source, interval, note, null)


@dataclass(frozen=True)
class ShardTruePositiveGap:
    """How many more forgotten examples an attack finds in the constituents of `a` than of `b`.

    Each forgotten example is attacked in the constituent of its shard, calibrated by the other
    constituents (:class:`~unlearnkit.metrics.shard_scores.ShardScores`). The value is the true
    positive rate at a false positive rate ``false`` among test examples, minus the same rate of the
    retrained model: best 0. The paired interval of Agresti and Min takes the thresholds as given.

    With ``worst`` the value is that of the shard with the clearest gap, its interval holds for all
    shards at once (Bonferroni), and null and p-value allow for looking at several shards
    (:func:`~unlearnkit.metrics.shard_scores.worst_shard`).

    Attributes:
        false: the false positive rate.
        worst: whether to judge the worst shard instead of all shards together.
    """

    false: float = 0.01
    worst: bool = False

    @property
    def name(self) -> str:
        """For example ``"shard-tpr-gap-at-1%"`` or ``"worst-shard-tpr-gap-at-1%"``."""
        return f"{'worst-' if self.worst else ''}shard-tpr-gap-at-{self.false * 100:g}%"

    def __call__(
        self,
        a: Float[Tensor, "batch class"],
        b: Float[Tensor, "batch class"],
        data: Targets,
    ) -> Measure:
        """Return nan: the outputs of the whole ensembles do not tell."""
        _check_pair(a, b)
        return Measure(self.name, math.nan, "zero", "Carlini et al. 2022", None, NO_SHARDS)

    def of_shards(self, a: ShardScores, b: ShardScores) -> Measure:
        """Compare the constituents of two ensembles."""
        source = "Carlini et al. 2022; interval: Agresti and Min 2005"
        if not a.shards:
            return Measure(self.name, math.nan, "zero", source, None, NO_SHARDS)
        others = min(map(len, a.others.values()))
        note = "" if others * self.false >= 1 else f"{others} test examples are few for this rate"
        if not self.worst:
            gain = _found(a, self.false) - _found(b, self.false)
            value, interval = float(gain.mean()), _paired_interval(gain)
            return Measure(self.name, value, "zero", source, interval, note)
        worst = worst_shard(a, b, self.false)
        own, reference = (found_in(each, worst.shard, self.false) for each in (a, b))
        interval = _paired_interval(own.astype(float) - reference, len(a.shards))
        return Measure(
            self.name,
            worst.gap,
            "zero",
            f"{source}; p: Westfall and Young 1993",
            interval,
            f"shard {worst.shard}" + (f"; {note}" if note else ""),
            worst.null,
            worst.p_value,
        )


def _found(scores: ShardScores, false: float) -> Float[np.ndarray, " member"]:
    """Return 1 for each member that the attack with one threshold for all shards finds, else 0."""
    threshold = threshold_at(scores.all_others, false)
    return (scores.all_members > threshold).astype(float)


def _paired_interval(gain: Float[np.ndarray, " example"], looks: int = 1) -> tuple[float, float]:
    """Interval of a mean of paired differences -1, 0, 1 (Agresti and Min 2005); 95 %.

    Half an example is added to each cell of the 2 x 2 table, so that the interval keeps a positive
    width for few examples and for models that never disagree.

    Args:
        gain: the differences.
        looks: the number of intervals that hold at once (Bonferroni).
    """
    z = NormalDist().inv_cdf(1 - 0.025 / looks) if looks > 1 else Z95
    won, lost = float((gain > 0).sum()) + 0.5, float((gain < 0).sum()) + 0.5
    count = len(gain) + 2
    middle = (won - lost) / count
    half = z * math.sqrt(won + lost - (won - lost) ** 2 / count) / count
    return max(middle - half, -1.0), min(middle + half, 1.0)


BUILT_IN: tuple[Metric, ...] = (
    AccuracyGap(),
    OutputKL(),
    Churn(),
    *(TruePositiveGap(rate) for rate in RATES),
    *(ShardTruePositiveGap(rate, worst) for worst in (False, True) for rate in RATES),
)

METRICS: Registry[Metric] = Registry(
    "METRICS",
    "metric",
    """Metrics by name, each a gap between two models; a comparison and a study list all of them.

    An entry is a callable ``(a, b, data) -> Measure``. It gets the outputs of a model `a` and of
    the reference `b`, the retrained model, as tensors (example, class) of probabilities, and the
    labels `data` of the examples; of a regression predictions and targets. The measure it returns
    says its value, which direction is best and who defined it. A metric with a method
    ``of_shards(a, b) -> Measure`` is called on the forget set with the attack scores of both
    models' constituents (:class:`unlearnkit.metrics.shard_scores.ShardScores`) instead. Its name,
    in snake case, is also the name of its column, and therefore must not be that of another column
    of a table. The protocol is :class:`unlearnkit.metrics.metrics.Metric`. To add an entry, assign
    it:

    >>> import unlearnkit as uk
    >>> from unlearnkit.metrics.metrics import Measure
    >>> def total_variation(a, b, data):
    ...     value = float((a - b).abs().sum(-1).mean() / 2)
    ...     return Measure("total-variation", value, "lower", "half the L1 distance")
    >>> uk.METRICS["total-variation"] = total_variation
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> result = session.unlearn(max_share=1)  # the shards are retrained exactly
    >>> float(session.compare().to_frame().loc["unlearned", "total_variation"])
    0.0
    >>> del uk.METRICS["total-variation"]
    """,
    {metric.name: metric for metric in BUILT_IN},
    adapt=instance_of,
)


def measure_all(
    a: Float[Tensor, "batch class"],
    b: Float[Tensor, "batch class"],
    data: Targets,
    shards: tuple[ShardScores, ShardScores] | None = None,
) -> dict[str, Measure]:
    """Measure how far model `a` is from the reference `b` by every metric of `METRICS`.

    Without examples no metric is called and all values are nan. A metric with a method
    ``of_shards`` is called with the ``shards`` of both models, if they are given.

    >>> measures = measure_all(torch.eye(3), torch.eye(3)[[0, 2, 1]], torch.arange(3))
    >>> round(measures["accuracy-gap"].value, 3), round(measures["churn"].value, 3)
    (0.667, 0.667)

    Raises:
        ValueError: a metric fails, or a part of its `Measure` has a wrong type.
        TypeError: a metric does not return a `Measure`.
    """
    return {name: _measured(name, metric, a, b, data, shards) for name, metric in METRICS.items()}


def try_metrics(data: Targets, num_outputs: int) -> None:
    """Call every metric of `METRICS` once on made-up outputs, to find errors before any work.

    Raises:
        ValueError: a metric fails, or its name cannot be that of a table column.
        TypeError: a metric does not return a `Measure`.
    """
    _check_names()
    outputs = torch.full((len(data), num_outputs), 1 / num_outputs)
    measure_all(outputs, outputs, data)


def column_of(name: str) -> str:
    """Name the table column of a metric.

    >>> column_of("output-kl")
    'output_kl'
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _check_names() -> None:
    """Refuse names of metrics that give no column, or one that is filled by something else."""
    columns: dict[str, str] = {}
    usual = {metric.name for metric in BUILT_IN}
    for name in METRICS:
        column = column_of(name)
        nulls = [f"{column}{end}" for end in OF_NULLS]
        if not column:
            reason = "it has no letter or digit, so its column would have no name"
        elif name not in usual and {column, *nulls} & TABLE_COLUMNS:
            reason = f"comparisons and studies fill the column {column!r} with another number"
        elif column in columns:
            reason = f"the metric {columns[column]!r} has the same column {column!r}"
        else:
            columns |= dict.fromkeys((column, *nulls), name)
            continue
        raise ValueError(
            f"{name!r} cannot be the name of a metric, because {reason}; give the metric another "
            f"name, and remove this one: del uk.METRICS[{name!r}]"
        )


def _measured(
    name: str,
    metric: Metric,
    a: Tensor,
    b: Tensor,
    data: Tensor,
    shards: tuple[ShardScores, ShardScores] | None,
) -> Measure:
    """Call one metric on copies, which it may change; errors name the metric."""
    if not len(a):
        return Measure(name, math.nan, "zero", "", None, _empty(0))
    of_shards = getattr(metric, "of_shards", None)
    try:
        if shards is not None and of_shards is not None:
            measure = of_shards(*shards)
        else:
            measure = metric(a.clone(), b.clone(), data.clone())
    except Exception as error:  # whatever a user's code may raise
        raise ValueError(
            f"the metric {name!r} failed with {type(error).__name__}: {error}; fix it, or remove "
            f"it: del uk.METRICS[{name!r}]"
        ) from error
    if not isinstance(measure, Measure):
        raise TypeError(
            f"the metric {name!r} returned a {type(measure).__name__}; return an "
            "unlearnkit.metrics.metrics.Measure(name, value, direction, source)"
        )
    value, interval, wrong = _number(measure.value), None, ""
    if value is None:
        wrong = f"value={measure.value!r}; give one number"
    elif measure.interval is not None:
        interval = _pair(measure.interval)
        wrong = "" if interval else f"interval={measure.interval!r}; give (low, high), or None"
    if not wrong and measure.direction not in get_args(Direction):
        wrong = f"direction={measure.direction!r}; give 'lower', 'higher' or 'zero'"
    for field in ("source", "note"):
        if not wrong and not isinstance(getattr(measure, field), str):
            wrong = f"{field}={getattr(measure, field)!r}; give a string"
    if value is None or wrong:
        raise ValueError(f"the metric {name!r} returned a Measure with {wrong}")
    return replace(measure, value=value, interval=interval)


def _number(given: object) -> float | None:
    """Return what a metric gave as a float; None if it is not one number."""
    try:
        return None if isinstance(given, str | bytes) else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None


def _pair(given: object) -> tuple[float, float] | None:
    """Return what a metric gave as an interval; None if it is not a pair of numbers."""
    try:
        low, high = map(_number, given)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    return None if low is None or high is None else (low, high)


def format_value(value: float, interval: tuple[float, float] | None, note: str) -> str:
    """Format a value, and its interval and note if there are any, on one line.

    >>> format_value(0.25, (0.0, 0.5), "")
    '0.2500 [0.0000, 0.5000]'
    """
    bounds = "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"
    return f"{value:.4f}{bounds}" + (f" ({note})" if note else "")


def _empty(count: int) -> str:
    """Return the note of a measure over this many examples."""
    return "" if count else NO_EXAMPLES


def _mean(values: Tensor) -> float:
    """Mean in float64; nan without values."""
    return float(values.double().mean()) if len(values) else math.nan


def _correct(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Whether the most probable class of each row is its label."""
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not match probabilities of shape "
            f"{tuple(probabilities.shape)}; give one label per example."
        )
    return probabilities.argmax(-1) == labels


def _check_pair(p: Tensor, q: Tensor) -> None:
    """Check that two models' probabilities are on the same examples and classes."""
    if p.shape != q.shape:
        raise ValueError(
            f"probabilities of shapes {tuple(p.shape)} and {tuple(q.shape)} cannot be compared; "
            "predict the same examples and classes with both models."
        )
