"""KLoM and U-LiRA: comparing many unlearned models with as many retrained ones."""

import math

import numpy as np
import torch
from jaxtyping import Float

from unlearnkit.metrics.metrics import Measure, auc
from unlearnkit.studies.population import Margins, Population


def klom(
    population: Population,
    kind: str = "unlearned",
    part: str = "forget",
    bins: int = 20,
    estimator: str = "histogram",
) -> Measure:
    """KLoM: how far margins of unlearned models diverge from those of retrained models.

    For each example, this is KL(retrained || unlearned) between the distributions of its margin
    over models; the value is the mean over examples, in nats, and 0 is best. The distributions are
    histograms with equal bins over the common range, with 1e-5 added to each bin; a divergence is
    capped at 12 nats (bins, smoothing and cap are our choice). Alternatively, Gaussians are fitted
    to both samples (our addition). Histograms need hundreds of models; Gaussians need few, but
    capture only mean and spread.

    With a finite number of models the value stays above 0. The note therefore gives a null value,
    the divergence between two halves of the retrained models. The unlearned and the retrained model
    of a seed are related, the two halves are not, so a value can lie far below the null. The
    interval is the normal 95 % interval of the mean over examples.

    Source: Georgiev et al. 2024, Attribute-to-Delete.

    Args:
        population: the models.
        kind: which models are compared with the retrained ones: ``"unlearned"`` or ``"original"``.
        part: the examples: ``"forget"`` or ``"test"``.
        bins: the number of bins of a histogram.
        estimator: ``"histogram"`` or ``"gaussian"``.

    Raises:
        KeyError: no estimator, kind of model or part has this name.
        ValueError: the population has fewer than four models.
    """
    _need(population, 4)
    if estimator not in ("histogram", "gaussian"):
        raise KeyError(f"no estimator is named {estimator!r}; use 'histogram' or 'gaussian'")
    scratch, other = population.of("scratch", part), population.of(kind, part)

    def divergences(p: Margins, q: Margins) -> Float[np.ndarray, " example"]:
        return _gaussians(p, q) if estimator == "gaussian" else _divergences(p, q, bins)

    values, null = divergences(scratch, other), divergences(scratch[::2], scratch[1::2]).mean()
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    mean = float(values.mean())
    note = f"null {null:.3g}, {len(population)} models"
    note += ", Gaussians fitted" if estimator == "gaussian" else ""
    return Measure("klom", mean, "zero", KLOM_SOURCE, (max(0.0, mean - half), mean + half), note)


def ulira(population: Population, kind: str = "unlearned") -> Measure:
    """U-LiRA: how well a likelihood ratio tells unlearned from retrained models; 0 is best.

    For each forgotten example, Gaussians are fitted to its margins under one half of the models of
    each kind, and the log-likelihood ratio ranks the other half. The value is the area under the
    ROC curve minus 1/2, from -0.5 to 0.5, averaged over examples; the interval is the normal 95 %
    interval of this mean.

    Source: Hayes et al. 2024, Inexact Unlearning Needs More Careful Evaluations. Departures: all
    models share one forget set, and the area replaces the accuracy.

    Args:
        population: the models.
        kind: which models are compared with the retrained ones: ``"unlearned"`` or ``"original"``.

    Raises:
        KeyError: no kind of model has this name.
        ValueError: the population has fewer than eight models: each Gaussian is fitted to at least
            four.
    """
    _need(population, 8)
    scratch, other = population.of("scratch"), population.of(kind)
    areas = []
    for a, b in zip(other.T, scratch.T, strict=True):
        ratios = [_log_density(x[1::2], a[::2]) - _log_density(x[1::2], b[::2]) for x in (a, b)]
        areas.append(auc(torch.from_numpy(ratios[0]), torch.from_numpy(ratios[1])))
    mean = float(np.mean(areas)) - 0.5
    half = 1.96 * float(np.std(areas, ddof=1)) / math.sqrt(len(areas)) if len(areas) > 1 else 0.0
    note = f"{len(population)} models"
    return Measure("u-lira", mean, "zero", ULIRA_SOURCE, (mean - half, mean + half), note)


def _divergences(p: Margins, q: Margins, bins: int) -> Float[np.ndarray, " example"]:
    found = []
    for a, b in zip(p.T, q.T, strict=True):
        low, high = min(a.min(), b.min()), max(a.max(), b.max())
        edges = np.linspace(low, high + 1e-12 + 1e-9 * abs(high), bins + 1)
        x, y = (np.histogram(m, edges)[0] / len(m) + 1e-5 for m in (a, b))
        x, y = x / x.sum(), y / y.sum()
        found.append(min(float((x * np.log(x / y)).sum()), 12.0))
    return np.array(found)


def _gaussians(p: Margins, q: Margins) -> Float[np.ndarray, " example"]:
    """For each example, KL(p || q) between Gaussians fitted to its margins."""
    a, b = (np.maximum(margins.std(0, ddof=1), 1e-6) for margins in (p, q))
    away = p.mean(0) - q.mean(0)
    found: np.ndarray = np.log(b / a) + (a**2 + away**2) / (2 * b**2) - 0.5
    return found


def _log_density(x: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """The log-density at x of the Gaussian fitted to a sample, up to a constant."""
    spread = max(float(sample.std(ddof=1)), 1e-6)
    density: np.ndarray = -0.5 * ((x - sample.mean()) / spread) ** 2 - math.log(spread)
    return density


def _need(population: Population, count: int) -> None:
    if len(population) < count:
        raise ValueError(
            f"{population!r} is too small; call populate with at least {count} seeds (hundreds are "
            "better)"
        )


KLOM_SOURCE = "Georgiev et al. 2024 (Attribute-to-Delete)"
ULIRA_SOURCE = "Hayes et al. 2024 (Inexact Unlearning Needs More Careful Evaluations)"
