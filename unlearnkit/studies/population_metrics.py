"""KLoM and U-LiRA: comparing many unlearned models with as many retrained ones.

Each value stands beside its null, the value to expect if the unlearned models are distributed like
the retrained ones, because with a finite number of models it is not 0. The unlearned and the
retrained model of one seed share partition, initial weights and batches. Compared *paired*, seed by
seed, they show differences that are far smaller than those between two seeds; compared as
*independent* models of different seeds, they show what the literature reports.
"""

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from unlearnkit.metrics.metrics import Measure
from unlearnkit.studies.arguments import as_count
from unlearnkit.studies.population import Margins, Population

if TYPE_CHECKING:
    import pandas as pd

PerExample = Float[np.ndarray, " example"]
ESTIMATORS = ("histogram", "gaussian")
SEEDS = ("paired", "independent")
FLOOR = 1e-5  # the least probability of a bin; that of EasyDUB
FARTHEST = 100.0  # margins are clipped here, as EasyDUB does
SMALLEST_SPREAD = 1e-6  # of a fitted Gaussian


def klom(
    population: Population,
    kind: str = "unlearned",
    part: str = "forget",
    bins: int = 20,
    estimator: str = "histogram",
    *,
    reverse: bool = False,
    seeds: str = "paired",
    swaps: int = 199,
) -> Measure:
    """KLoM: how far margins of unlearned models diverge from those of retrained models.

    For each example, this is the KL divergence between the distributions of its margin over models,
    in nats; the value is the mean over examples, and 0 is best. The distributions are histograms
    with equal bins over the common range, in which the second argument of the divergence has at
    least a probability of 1e-5 where the first is positive. Alternatively, Gaussians are fitted to
    both samples (our addition). Histograms need hundreds of models; Gaussians need few, but capture
    only mean and spread.

    The measure's ``null`` is what to expect without a difference: for independent seeds the
    divergence between two halves of the retrained models, and for paired seeds the mean divergence
    after the unlearned and the retrained model of random seeds were swapped. (Where the two differ
    much, swapping mixes their distributions, so this null is rough; the p-value holds anyway.) Its
    ``p_value`` is the share of such swaps with a divergence at least as large. Its interval is the
    95 % interval of the mean over examples, by Student's t, and None for a single one; it leaves
    out what other seeds would change.

    Sources: Georgiev et al. 2024, Attribute-to-Delete (appendix E.1); bins, floor and clipping are
    those of the code of EasyDUB (Rinberg et al. 2026). Departure: the largest margin counts in the
    last bin, from which EasyDUB's code leaves it out. With tens of models this changes values by
    hundredths, so compare values of one code only.

    Args:
        population: the models.
        kind: which models are compared with the retrained ones: ``"unlearned"`` or ``"original"``.
        part: the examples: ``"forget"`` or ``"test"``.
        bins: the number of bins of a histogram.
        estimator: ``"histogram"`` or ``"gaussian"``.
        reverse: whether to take KL(unlearned || retrained), as the code of EasyDUB does, instead of
            KL(retrained || unlearned).
        seeds: ``"paired"`` compares all models; ``"independent"`` compares the unlearned models of
            every other seed with the retrained models of the remaining seeds, and the reverse.
        swaps: the number of random swaps from which the p-value and the paired null are computed.

    Raises:
        KeyError: no estimator, kind of model or part has this name, or ``seeds`` is unknown.
        ValueError: the population has fewer than four models, no examples of the part, or margins
            that are not finite; or ``bins`` or ``swaps`` is below 1.

    >>> import unlearnkit as uk
    >>> population = uk.populate("digits", [3, 141], seeds=range(8), model="logistic", epochs=1)
    >>> forgotten = uk.klom(population, estimator="gaussian")
    >>> forgotten.value < uk.klom(population, "original", estimator="gaussian").value
    True
    """
    need_models(population, 4)
    _check_choice("estimator", estimator, ESTIMATORS)
    as_count("bins", bins, 1)

    def divergences(retrained: Margins, other: Margins) -> PerExample:
        p, q = (other, retrained) if reverse else (retrained, other)
        return _gaussians(p, q) if estimator == "gaussian" else _histograms(p, q, bins)

    retrained, other = population.of("scratch", part), population.of(kind, part)
    values, null, p_value = _beside_null(retrained, other, divergences, seeds, swaps)
    interval = _mean_interval(values)
    if interval is not None:
        interval = max(0.0, interval[0]), interval[1]
    note = f"{len(population)} models, {seeds} seeds"
    note += ", Gaussians fitted" if estimator == "gaussian" else ""
    note += ", reverse" if reverse else ""
    note += ", one example gives no interval" if interval is None else ""
    mean = float(values.mean())
    return Measure("klom", mean, "zero", KLOM_SOURCE, interval, note, null, p_value)


def ulira(
    population: Population,
    kind: str = "unlearned",
    *,
    seeds: str = "paired",
    swaps: int = 199,
) -> Measure:
    """U-LiRA: how well a likelihood ratio tells unlearned from retrained models; 0 is best.

    For each forgotten example, Gaussians are fitted to its margins under one half of the models of
    each kind, and the log-likelihood ratio ranks the other half. The value is the area under the
    ROC curve minus 1/2, from -0.5 to 0.5, averaged over examples.

    The measure's ``null`` is the mean distance from 0 after the unlearned and the retrained model
    of random seeds were swapped, and its ``p_value`` the share of swaps at least as far from 0. Its
    interval is the 95 % interval of the mean over examples, by Student's t, and None for a single
    one; it leaves out what other seeds would change, which the null includes.

    Source: Hayes et al. 2024, Inexact Unlearning Needs More Careful Evaluations. Departures: all
    models share one forget set, and the area replaces the accuracy.

    Args:
        population: the models.
        kind: which models are compared with the retrained ones: ``"unlearned"`` or ``"original"``.
        seeds: ``"paired"`` compares all models; ``"independent"`` compares the unlearned models of
            every other seed with the retrained models of the remaining seeds, and the reverse.
        swaps: the number of random swaps from which null and p-value are computed.

    Raises:
        KeyError: no kind of model has this name, or ``seeds`` is unknown.
        ValueError: the population has fewer than eight models, or 16 with independent seeds (each
            Gaussian is fitted to at least four), or margins that are not finite; or ``swaps`` is
            below 1.

    >>> import unlearnkit as uk
    >>> population = uk.populate("digits", [3, 141], seeds=range(8), model="logistic", epochs=1)
    >>> -0.5 <= uk.ulira(population).value <= 0.5
    True
    """
    need_models(population, 16 if seeds == "independent" else 8)
    retrained, other = population.of("scratch"), population.of(kind)
    values, null, p_value = _beside_null(retrained, other, _areas, seeds, swaps, signed=True)
    note = f"{len(population)} models, {seeds} seeds"
    mean = float(values.mean())
    interval = _mean_interval(values)
    note += ", one example gives no interval" if interval is None else ""
    return Measure("u-lira", mean, "zero", ULIRA_SOURCE, interval, note, null, p_value)


def judge(population: Population, part: str = "forget", *, swaps: int = 199) -> "pd.DataFrame":
    """Judge a population by KLoM and U-LiRA in all their forms, each beside its null.

    Args:
        population: the models, at least 8; U-LiRA with independent seeds is left out below 16.
        part: the examples for KLoM: ``"forget"`` or ``"test"``. U-LiRA attacks forgotten ones.
        swaps: the number of random swaps from which p-values are computed.

    Returns:
        One row per kind of model and form: models (``"original"`` is doing nothing), measure,
        divergence, seeds, value, low, high (the interval over examples), null, p_value.

    Raises:
        KeyError: no part has this name.
        ValueError: the population has fewer than eight models, no examples of the part, or margins
            that are not finite; or ``swaps`` is below 1.
    """
    import pandas as pd

    need_models(population, 8)
    rows = []
    for kind, seeds in itertools.product(("original", "unlearned"), SEEDS):
        found = {
            (
                f"klom, {estimator}",
                "unlearned || retrained" if reverse else "retrained || unlearned",
            ): (
                klom(
                    population,
                    kind,
                    part,
                    estimator=estimator,
                    reverse=reverse,
                    seeds=seeds,
                    swaps=swaps,
                )
            )
            for estimator, reverse in itertools.product(ESTIMATORS, (False, True))
        }
        if seeds == "paired" or len(population) >= 16:
            found["u-lira", ""] = ulira(population, kind, seeds=seeds, swaps=swaps)
        for (name, divergence), measure in found.items():
            low, high = measure.interval or (math.nan, math.nan)
            rows.append(
                {
                    "models": kind,
                    "measure": name,
                    "divergence": divergence,
                    "seeds": seeds,
                    "value": measure.value,
                    "low": low,
                    "high": high,
                    "null": measure.null,
                    "p_value": measure.p_value,
                }
            )
    return pd.DataFrame(rows)


def _beside_null(
    retrained: Margins,
    other: Margins,
    statistic: Callable[[Margins, Margins], PerExample],
    seeds: str,
    swaps: int,
    signed: bool = False,
) -> tuple[PerExample, float, float]:
    """Return a statistic of each example, the null of its mean, and the p-value of the mean.

    If the unlearned and the retrained models are distributed alike within every seed, swapping them
    in any seeds changes nothing, so the p-value is uniform up to its steps (Phipson and Smyth 2010:
    the observed labelling counts as one of the swaps).

    Args:
        retrained: margins of the retrained models.
        other: margins of the models compared with them.
        statistic: compares such margins, example by example.
        seeds: an entry of ``SEEDS``.
        swaps: the number of swaps.
        signed: whether the statistic can be negative, so that its distance from 0 counts.
    """
    _check_choice("pairing of seeds", seeds, SEEDS)
    as_count("swaps", swaps, 1)
    if not retrained.shape[1]:
        raise ValueError("there are no examples of this part; call populate with a larger num_test")
    if not (np.isfinite(retrained).all() and np.isfinite(other).all()):
        raise ValueError("some margins are nan or infinite; leave out these models or examples")

    def measured(a: Margins, b: Margins) -> PerExample:
        if seeds == "paired":
            return statistic(a, b)
        end = len(a) // 2 * 2  # two halves of one size
        halves = statistic(a[:end:2], b[1:end:2]), statistic(a[1:end:2], b[:end:2])
        values: PerExample = (halves[0] + halves[1]) / 2
        return values

    def distance(values: PerExample) -> float:
        mean = float(values.mean())
        return abs(mean) if signed else mean

    generator, values, swapped = np.random.default_rng(0), measured(retrained, other), []
    for _ in range(swaps):
        kept = generator.random((len(retrained), 1)) < 0.5
        a, b = np.where(kept, retrained, other), np.where(kept, other, retrained)
        swapped.append(distance(measured(a, b)))
    found = distance(values)
    # Rounding must not tell apart swaps that only reorder the models, as after exact unlearning.
    least = found - 1e-9 * max(1.0, abs(found))
    p_value = (1 + sum(value >= least for value in swapped)) / (1 + swaps)
    null = float(np.mean(swapped))
    if seeds == "independent" and not signed:
        null = distance(measured(retrained, retrained))
    return values, null, p_value


def _histograms(p: Margins, q: Margins, bins: int) -> PerExample:
    """For each example, KL(p || q) between histograms over the common range of its margins."""
    p, q = (np.clip(margins, -FARTHEST, FARTHEST) for margins in (p, q))
    low = np.minimum(p.min(0), q.min(0))
    width = (np.maximum(p.max(0), q.max(0)) - low) / bins
    width = np.where(width > 0, width, 1.0)
    x, y = (_shares((margins - low) / width, bins) for margins in (p, q))
    terms = np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0) / np.maximum(y, FLOOR)), 0.0)
    found: np.ndarray = terms.sum(1)
    return found


def _shares(
    places: Float[np.ndarray, "model example"], bins: int
) -> Float[np.ndarray, "example bin"]:
    """Return the share of models in each bin, given each model's place on the scale of bins."""
    first = bins * np.arange(places.shape[1])  # of the bins of each example, in one long histogram
    numbers = np.minimum(places.astype(np.int64), bins - 1) + first
    counts = np.bincount(numbers.ravel(), minlength=bins * places.shape[1])
    found: np.ndarray = counts.reshape(-1, bins) / len(places)
    return found


def _gaussians(p: Margins, q: Margins) -> PerExample:
    """For each example, KL(p || q) between Gaussians fitted to its margins."""
    a, b = (np.maximum(margins.std(0, ddof=1), SMALLEST_SPREAD) for margins in (p, q))
    away = p.mean(0) - q.mean(0)
    found: np.ndarray = np.log(b / a) + (a**2 + away**2) / (2 * b**2) - 0.5
    return found


def _areas(retrained: Margins, other: Margins) -> PerExample:
    """For each example, the area under the curve of the likelihood ratio, minus 1/2."""
    scores = [
        log_density(margins[1::2], other[::2]) - log_density(margins[1::2], retrained[::2])
        for margins in (other, retrained)
    ]
    higher = np.stack([(scores[0] > row).mean(0) for row in scores[1]])
    tied = np.stack([(scores[0] == row).mean(0) for row in scores[1]])
    found: np.ndarray = (higher + tied / 2).mean(0) - 0.5
    return found


def log_density(x: Margins, sample: Float[np.ndarray, "shadow example"]) -> Margins:
    """The log-density at x of the Gaussians fitted to the columns of a sample, up to a constant."""
    spread = np.maximum(sample.std(0, ddof=1), SMALLEST_SPREAD)
    density: np.ndarray = -0.5 * ((x - sample.mean(0)) / spread) ** 2 - np.log(spread)
    return density


def _mean_interval(values: PerExample) -> tuple[float, float] | None:
    """The 95 % interval of a mean over examples, by Student's t; None for a single example."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # slow to import

    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    return mean - half, mean + half


def need_models(population: Population, count: int) -> None:
    """Refuse a population of fewer models.

    Raises:
        ValueError: it has fewer.
    """
    if len(population) < count:
        raise ValueError(
            f"{population!r} is too small; call populate with at least {count} seeds (hundreds are "
            "better)"
        )


def _check_choice(noun: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        names = " or ".join(map(repr, known))
        raise KeyError(f"no {noun} is named {given!r}; use {names}")


KLOM_SOURCE = "Georgiev et al. 2024 (Attribute-to-Delete)"
ULIRA_SOURCE = "Hayes et al. 2024 (Inexact Unlearning Needs More Careful Evaluations)"
