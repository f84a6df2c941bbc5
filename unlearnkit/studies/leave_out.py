"""Leave-k-out: data attribution judged by exact retraining without random subsets.

Attribution scores say how much each training example contributes to the prediction of a test
example. Whether they are right shows when examples are left out: the scores of a subset, summed,
should predict how the margins change if a model is trained without it. Retraining is exact here, so
what differs between the models is the subset and nothing else. Any scores can be judged, whichever
library computed them, as plain arrays.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset
from unlearnkit.display import as_html
from unlearnkit.metrics.metrics import Measure
from unlearnkit.metrics.tasks import margins_of, require_classes
from unlearnkit.progress import OnProgress, Progress, ProgressEvent, running
from unlearnkit.seeding import digest
from unlearnkit.session import Session
from unlearnkit.studies.arguments import as_count, as_seeds, check_margins, refuse_options
from unlearnkit.studies.log import Log
from unlearnkit.studies.seed_models import trained, unlearned
from unlearnkit.studies.shared_features import with_shared_features
from unlearnkit.studies.workers import results_of
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.workers import check_parallel

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Park et al. 2023 (TRAK), linear datamodeling score"


@dataclass(frozen=True, eq=False, repr=False)
class LeftOut:
    """Margins of test examples under models that were retrained without random subsets.

    The margin of an example is log(p / (1 - p)), the logit of the label's probability p.

    Attributes:
        train: ids of the training examples, in the order in which scores are given.
        test: ids of the test examples.
        subsets: ids of the examples that each model was retrained without.
        margins: the margins under each of these models, averaged over seeds.
        whole: the margins under the models that were trained with all examples.
    """

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    subsets: Int[np.ndarray, "subset left_out"]
    margins: Float[np.ndarray, "subset test"]
    whole: Float[np.ndarray, " test"]

    def __len__(self) -> int:
        """The number of subsets."""
        return len(self.subsets)

    def __repr__(self) -> str:
        return (
            f"LeftOut({len(self)} subsets of {self.subsets.shape[1]} examples, "
            f"{len(self.test)} test examples)"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per subset and test example: subset, id, margin, change (of leaving it out)."""
        import pandas as pd

        subset, place = np.indices(self.margins.shape)
        return pd.DataFrame(
            {
                "subset": subset.ravel(),
                "id": self.test[place.ravel()],
                "margin": self.margins.ravel(),
                "change": (self.margins - self.whole).ravel(),
            }
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def judge(self, scores: Any, *, shuffles: int = 199) -> Measure:
        """Judge attribution scores by the linear datamodeling score; 1 is best, and 0 is chance.

        For each test example this is Spearman's rank correlation, over subsets, between the margin
        without the subset and minus the sum of the subset's scores; the value is the mean over test
        examples. Scores of one dimension are values of training examples for all test examples, and
        are compared with the mean margin.

        The interval is a 95 % interval over the choice of subsets, from the jackknife (Efron and
        Tibshirani 1993, section 11.5) with Student's t. The ``p_value`` is the share of random
        assignments of predictions to subsets that correlate at least as well, and ``null`` their
        mean.

        Sources: Park, Georgiev, Ilyas, Leclerc and Madry 2023, TRAK (definition of the linear
        datamodeling score); Ilyas et al. 2022, Datamodels. Departures: subsets of a given size are
        left out instead of kept, and partition, initial weights and batches are those of the model
        with all examples.

        Args:
            scores: an array (test example, training example) or (training example), in the order of
                ``test`` and ``train``; larger means that an example raises the margin more.
            shuffles: the number of random assignments.

        Raises:
            ValueError: the array has another shape or holds nan or infinite numbers, there are
                fewer than 10 subsets, or ``shuffles`` is below 1.
        """
        scores = self._checked(scores)
        if len(self) < 10 or shuffles < 1:
            raise ValueError(
                f"{len(self)} subsets and shuffles={shuffles} are too few; give at least 10 and 1"
            )
        margins = self.margins if len(scores) > 1 else self.margins.mean(1, keepdims=True)
        places = np.searchsorted(self.train, self.subsets)
        predicted = -scores[:, places].sum(-1).T
        value = _correlation(predicted, margins)
        rows = np.arange(len(self))
        without = np.array([_correlation(predicted[rows != i], margins[rows != i]) for i in rows])
        # Tukey's pseudo-values; the jackknife's variance is that of their mean.
        pseudo = len(self) * value - (len(self) - 1) * without
        from scipy.special import stdtrit  # slow to import

        half = float(stdtrit(len(self) - 1, 0.975) * pseudo.std(ddof=1) / np.sqrt(len(self)))
        generator = np.random.default_rng(0)
        chance = [_correlation(generator.permutation(predicted), margins) for _ in range(shuffles)]
        p_value = (1 + sum(one >= value - 1e-12 for one in chance)) / (1 + shuffles)
        return Measure(
            "linear-datamodeling-score",
            value,
            "higher",
            SOURCE,
            (max(value - half, -1.0), min(value + half, 1.0)),
            f"{len(self)} subsets of {self.subsets.shape[1]}",
            float(np.mean(chance)),
            p_value,
        )

    def _checked(self, scores: Any) -> Float[np.ndarray, "row train"]:
        found = np.asarray(scores, dtype=np.float64)
        if found.shape not in ((len(self.train),), (len(self.test), len(self.train))):
            raise ValueError(
                f"scores of shape {found.shape} do not fit; give ({len(self.test)}, "
                f"{len(self.train)}) for each test and training example, or ({len(self.train)},)"
            )
        if not np.isfinite(found).all():
            raise ValueError("some scores are nan or infinite; replace them by numbers")
        return np.atleast_2d(found)


@own_settings()
def leave_out(
    data: Any,
    k: int,
    *,
    num_subsets: int = 200,
    seeds: int | Iterable[int] = 0,
    draw: int = 0,
    num_test: int = 100,
    path: str | os.PathLike[str] | None = None,
    parallel: int | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    **options: Any,
) -> LeftOut:
    """Retrain exactly without each of many random subsets, to judge attribution scores.

    The scores are given afterwards, so any number of them can be judged by the same models::

        left = leave_out("digits", k=50, path="left-out.jsonl", model="logistic")
        left.judge(scores)  # an array (test example, training example)

    Args:
        data: the data, as :class:`~unlearnkit.session.Session` takes them. They must have classes.
        k: the number of training examples in a subset.
        num_subsets: the number of subsets; more can be added later to the same file.
        seeds: the seeds of training; margins are averaged over them, which removes noise.
        draw: the seed by which subsets are drawn.
        num_test: the number of test examples; the first ones are taken.
        path: a file to which the margins of each retrained model are added. Those that it already
            holds are not computed again, so the work can be interrupted and resumed.
        parallel: the number of worker processes, with the same bits; -1 uses all cores. Each trains
            the models with all examples of a seed once. None works in this process.
        on_progress: a callable that receives an event after each model; True shows a progress bar,
            False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops after the current model, and stops workers at once.
        **options: ``model``, ``num_shards`` and other arguments of the session. With a single shard
            and slice, margins are those of one model.

    Raises:
        ValueError: ``k`` is not between 1 and one less than the number of training examples, there
            are no subsets or test examples, no seeds or one twice, ``draw`` is negative, this is a
            regression, ``parallel`` is 0, or a line of the file is something else.
        TypeError: a number or a seed is not whole, or the options have a ``seed`` or a ``store``.
        Cancelled: ``cancel`` was set; completed models are in the file.
    """
    dataset = as_dataset(data)
    require_classes(dataset, "leaving out by margins", "measure losses of single models")
    refuse_options(options)
    k, num_subsets = as_count("k", k), as_count("num_subsets", num_subsets)
    draw, num_test = as_count("draw", draw, 0), as_count("num_test", num_test, 1)
    train, test = np.sort(np.asarray(dataset.train.ids)), np.asarray(dataset.test.ids[:num_test])
    seeds = as_seeds(seeds)
    if not 1 <= k < len(train) or num_subsets < 1:
        raise ValueError(
            f"k={k} and num_subsets={num_subsets} of {len(train)} training examples leave nothing "
            f"to measure; give k from 1 to {len(train) - 1}, and at least one subset"
        )
    # A separate generator draws each subset, so the first ones stay the same if more are drawn.
    subsets = np.stack(
        [
            np.sort(np.random.default_rng([draw, number]).choice(train, k, replace=False))
            for number in range(num_subsets)
        ]
    )
    check_parallel(parallel)
    log = Log(path)
    chosen = [np.empty(0, train.dtype), *subsets]
    models = [_models_of(dataset, test, {**options, "seed": seed}, chosen) for seed in seeds]
    whole = [model for some in models for model in some]
    for model in whole:
        if model.key in log.rows:
            row = log.rows[model.key].get("margins")
            check_margins(log.path, row, len(test), f"of the key {model.key}")
    missing = {model.key: model for model in whole if model.key not in log.rows}
    with running(on_progress, cancel, parallel=parallel) as run:
        done = sum(model.key in log.rows for model in whole)
        if done:
            run.on_progress(ProgressEvent("population", None, None, done, len(whole)))
        shared = with_shared_features(dataset, options, test) if missing else dataset
        calls = ((replace(model, dataset=shared),) for model in missing.values())
        try:
            for key, margins in results_of(_margins, calls, run):
                log.add(key, {"margins": margins}, {})
                done += 1
                run.on_progress(ProgressEvent("population", None, None, done, len(whole)))
        finally:
            _LAST.clear()
    found = np.array([[log.rows[model.key]["margins"] for model in some] for some in models])
    means = found.mean(0)
    return LeftOut(train, test, subsets, means[1:], means[0])


@dataclass(frozen=True, eq=False)
class _Model:
    """A model to retrain.

    Attributes:
        dataset: the data.
        test: ids of the test examples.
        options: arguments of the session, with the seed.
        trained: digest of what the model with all examples depends on.
        key: digest of what this model depends on.
        ids: the examples that are left out.
    """

    dataset: Dataset
    test: Int[np.ndarray, " test"]
    options: dict[str, Any]
    trained: str
    key: str
    ids: Int[np.ndarray, " some"]


def _models_of(
    dataset: Dataset,
    test: Int[np.ndarray, " test"],
    options: dict[str, Any],
    chosen: list[np.ndarray],
) -> list[_Model]:
    """Return the models of a seed, each without some examples."""
    session = Session(dataset, **options)
    plan = session.plan
    about = (
        *(dataset.fingerprint, plan.architecture.digest, plan.spec.digest),
        *(plan.partition.digest, session.aggregation, test.tobytes()),
    )
    whole = digest(*about)
    return [
        _Model(dataset, test, options, whole, digest(*about, ids.tobytes()), ids) for ids in chosen
    ]


# The last session that this process trained, by what it depends on: successive models of a seed
# are retrained from the same one.
_LAST: dict[str, Session] = {}


def _margins(model: _Model, on_progress: OnProgress) -> tuple[str, list[float]]:
    """Return the key of a model, and the margins of the test examples under it."""
    session = _LAST.get(model.trained)
    if session is None:
        session = trained(model.dataset, model.options, on_progress=on_progress)
        _LAST.clear()
        _LAST[model.trained] = session
    ensemble = unlearned(session, model.ids, on_progress=on_progress) if len(model.ids) else None
    inputs, labels = model.dataset.examples(model.test)
    found = margins_of((ensemble or session.ensemble).probabilities(inputs), labels)
    return model.key, found.tolist()


def _correlation(
    predicted: Float[np.ndarray, "subset row"], margins: Float[np.ndarray, "subset row"]
) -> float:
    """Return the mean over columns of Spearman's correlation; 0 for a column that never varies."""
    from scipy.stats import rankdata  # slow to import

    x, y = (rankdata(each, axis=0) - (len(each) + 1) / 2 for each in (predicted, margins))
    norms = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return float(((x * y).sum(0) / np.where(norms > 0, norms, 1.0)).mean())
