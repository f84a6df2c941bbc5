"""Many models instead of one: does a population of unlearned models look like one of retrained?

One unlearned model can only be compared with one retrained model. Trained again and again with
other seeds, both give a distribution of outputs for every example, and forgetting means that these
distributions are the same. For overnight runs: a population is kept in a file as it grows.
"""

import json
import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.metrics.metrics import SMALLEST_PROBABILITY, Measure, auc
from unlearnkit.metrics.tasks import require_classes
from unlearnkit.progress import Progress, ProgressEvent, running
from unlearnkit.seeding import digest
from unlearnkit.session import Session
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary

Margins = Float[np.ndarray, "model example"]
KINDS = ("original", "unlearned", "scratch")
KLOM_SOURCE = "Georgiev et al. 2024 (Attribute-to-Delete)"
ULIRA_SOURCE = "Hayes et al. 2024 (Inexact Unlearning Needs More Careful Evaluations)"


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Margins of forgotten and of test examples under many models.

    A margin is log p/(1 - p) of the label's probability p, the logit of being right.

    Attributes:
        forget: ids that were forgotten.
        test: ids of the test examples looked at.
        margins: for ``"original"``, ``"unlearned"`` and ``"scratch"`` models, a row a seed;
            forgotten examples first.
    """

    forget: Int[np.ndarray, " forget"]
    test: Int[np.ndarray, " test"]
    margins: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Models of each kind."""
        return len(self.margins["scratch"])

    def __repr__(self) -> str:
        return f"Population({len(self)} models, {len(self.forget)} examples forgotten)"

    def of(self, kind: str, part: str = "forget") -> Margins:
        """Margins of one kind of model on the forgotten or on the test examples."""
        count = len(self.forget)
        rows = self.margins[kind]
        return rows[:, :count] if part == "forget" else rows[:, count:]


def populate(
    data: Any,
    ids: Iterable[int],
    *,
    seeds: Iterable[int] = range(100),
    boundary: str | Boundary | None = None,
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    num_test: int = 200,
    path: str | os.PathLike[str] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    **options: Any,
) -> Population:
    """Train, unlearn and retrain once for every seed, and collect margins.

    Args:
        data: as for :class:`~unlearnkit.session.Session`.
        ids: to forget, the same for all seeds.
        seeds: of partition, initial weights and orders.
        boundary: how to unlearn, a name in ``BOUNDARIES`` or an object; everything approximate by
            default.
        method: of modification, a name in ``METHODS`` or an object; None for the default of the
            model.
        amend: after it, a name in ``AMENDS`` or an object; None for replay.
        num_test: test examples looked at, the first ones.
        path: a file to which every model is added at once; those that it has are not made again.
        on_progress: gets an event after every seed; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops between two seeds when set.
        **options: ``model``, ``num_shards`` and so on, as for the session.

    Raises:
        ValueError: the file holds another population.
        KeyError: no boundary, method or amend has this name.
        TypeError: an object that lacks a part of its protocol.
        Cancelled: stopped by ``cancel``; what is done is in the file.
    """
    dataset = as_dataset(data)
    require_classes(dataset, "a population of margins", "compare single models: session.compare()")
    forget = np.unique(np.asarray(list(ids), np.int64))
    test = np.asarray(dataset.test.ids[:num_test])
    inputs, labels = dataset.examples(np.concatenate([forget, test]))
    seeds = list(seeds)
    boundary = BOUNDARIES.choose(boundary) or FixedBoundary(0.0)
    METHODS.choose(method), AMENDS.choose(amend)  # refuse what cannot be before any work
    how = [repr(boundary), method, amend]
    known = _read(path)
    margins: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    with running(on_progress, cancel) as run:
        for number, seed in enumerate(seeds):
            run.check()
            session = Session(dataset, seed=seed, **options)
            plan = session.plan
            names = (dataset.fingerprint, plan.architecture.digest, plan.spec.digest, repr(how))
            key = digest(*names, forget.tobytes(), test.tobytes())
            if key not in known:
                session.train(on_progress=run.details)
                unlearned, scratch = session.fork(), session.fork()
                unlearned.revoke(forget)
                unlearned.unlearn(
                    boundary=boundary, method=method, amend=amend, on_progress=run.details
                )
                scratch.revoke(forget)
                scratch.unlearn(1.0, on_progress=run.details)  # exact, so from scratch bit for bit
                models = zip(KINDS, (session, unlearned, scratch), strict=True)
                known[key] = {
                    kind: margins_of(one.ensemble.probabilities(inputs), labels).tolist()
                    for kind, one in models
                }
                _append(path, {"key": key, "seed": seed, "margins": known[key]})
            for kind in KINDS:
                margins[kind].append(known[key][kind])
            run.on_progress(ProgressEvent("population", None, None, number + 1, len(seeds)))
    return Population(forget, test, {kind: np.array(rows) for kind, rows in margins.items()})


def margins_of(probabilities: Float[Tensor, "n class"], labels: Tensor) -> Float[np.ndarray, " n"]:
    """The logit of the label's probability, clamped at the smallest probability either way.

    >>> margins_of(torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([0, 0])).round(3).tolist()
    [0.0, 2.197]
    """
    p = probabilities.double().gather(1, labels.long().unsqueeze(1)).squeeze(1)
    p = p.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    margins: np.ndarray = (p.log() - torch.log1p(-p)).numpy()
    return margins


def klom(
    population: Population,
    kind: str = "unlearned",
    part: str = "forget",
    bins: int = 20,
    estimator: str = "histogram",
) -> Measure:
    """KLoM: the divergence of margins from those of retrained models, mean over examples.

    For each example, KL(retrained || unlearned) of the distributions of its margins over models,
    as histograms with equal bins over the range of both and 1e-5 added to each, at most 12 nats
    (bins, smoothing and cap are our choice), or as Gaussians fitted to both (ours). Histograms need
    hundreds of models: of 16, most bins hold none. Gaussians can be told apart from few, but see
    mean and spread alone. Best 0, but so few models as are affordable never reach it: the note
    gives the null, the mean between two halves of the retrained models. Unlearned and retrained
    models of one seed go together, halves do not, so a value may lie far below the null. The
    interval is of the mean over examples (normal, 95 %).

    Args:
        population: of models.
        kind: compared with the retrained: ``"unlearned"`` or ``"original"``.
        part: ``"forget"`` or ``"test"``.
        bins: of the histograms.
        estimator: ``"histogram"`` or ``"gaussian"``.

    Raises:
        KeyError: no estimator has this name.
        ValueError: fewer than four models, which have no halves to speak of.
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
    """U-LiRA: how well a likelihood ratio tells unlearned from retrained models; best 0.

    For each forgotten example, Gaussians are fitted to its margins under half of the models of each
    kind, and the log-likelihood ratio ranks the other half; the value is the area under that curve
    less one half, mean over examples, with an interval of that mean (normal, 95 %). Departures: one
    forget set for all models instead of a fresh one for each, and the area instead of the accuracy.

    Raises:
        ValueError: fewer than eight models: each Gaussian takes four.
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
    """KL of Gaussians fitted to the margins of each example."""
    a, b = (np.maximum(margins.std(0, ddof=1), 1e-6) for margins in (p, q))
    away = p.mean(0) - q.mean(0)
    found: np.ndarray = np.log(b / a) + (a**2 + away**2) / (2 * b**2) - 0.5
    return found


def _log_density(x: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Of the Gaussian fitted to a sample, up to a constant."""
    spread = max(float(sample.std(ddof=1)), 1e-6)
    density: np.ndarray = -0.5 * ((x - sample.mean()) / spread) ** 2 - math.log(spread)
    return density


def _need(population: Population, count: int) -> None:
    if len(population) < count:
        raise ValueError(
            f"{population!r} is too small; give populate at least {count} seeds (hundreds are "
            "better)"
        )


def _read(path: str | os.PathLike[str] | None) -> dict[str, dict[str, list[float]]]:
    if path is None or not Path(path).exists():
        return {}
    known, whole = {}, 0
    for line in Path(path).read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            os.truncate(path, whole)  # a model that was being written when the run ended
            break
        try:
            entry = json.loads(line)
            known[entry["key"]] = {kind: entry["margins"][kind] for kind in KINDS}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} has a line that is no model of a population ({line[:60]!r}); give another "
                "path"
            ) from error
        whole += len(line)
    return known


def _append(path: str | os.PathLike[str] | None, entry: dict[str, Any]) -> None:
    if path is None:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
