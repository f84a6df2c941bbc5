"""Studies: the same requests under many settings and policies, as one tidy table.

A study trains an ensemble for every combination of model, shards, slices, learning rate and seed.
Each request is unlearned exactly first: by construction that is training from scratch, bit for bit,
so it serves as the reference of every gap and as the baseline of every speed. Then each policy
unlearns the same request from the same trained ensemble. Doing nothing stands beside all of them:
on large shards it already looks close to from scratch, so gaps are given as the part of it that is
removed.
"""

import math
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.membership_auc import membership_auc
from unlearnkit.metrics.metrics import METRICS, churn, column_of, measure_all, try_metrics
from unlearnkit.metrics.tasks import task_of
from unlearnkit.progress import OnProgress, Progress, ProgressEvent, running
from unlearnkit.seeding import digest, numpy_generator
from unlearnkit.session import Session
from unlearnkit.studies.log import Log
from unlearnkit.studies.requests import Ids, Revoked, What
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.expected_workload import expected_visits
from unlearnkit.unlearning.unlearn import Unlearned

if TYPE_CHECKING:
    import pandas as pd

SHORT, REPEATS = 1.0, 3  # what takes less CPU seconds is timed so often
POLICIES: dict[str, Boundary] = {
    "hybrid": FixedBoundary(),
    "approximate": FixedBoundary(0.0),
}


def study(
    data: Any = "digits",
    *,
    models: Sequence[Any] = ("mlp",),
    num_shards: Sequence[int | None] = (None,),
    num_slices: Sequence[int | None] = (None,),
    learning_rates: Sequence[float | None] = (None,),
    epochs: int | None = None,
    seeds: Iterable[int] = (0,),
    revoked: Sequence[What] = (1, 0.01, 0.1),
    policies: Mapping[str, str | Boundary] | Sequence[str] | None = None,
    methods: Sequence[str | Method | None] = (None,),
    amends: Sequence[str | Amend | None] = (None,),
    path: str | os.PathLike[str] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Sweep settings and policies over the same requests.

    Args:
        data: as for :class:`~unlearnkit.session.Session`.
        models: names or callables; None among the next three stands for the default of the data.
        num_shards: S.
        num_slices: R.
        learning_rates: constant over a run.
        epochs: per example over the whole run; the default of the data otherwise.
        seeds: each gives another partition, training and choice of examples.
        revoked: what is forgotten: a count, a share as a float, ``"class"``, ``"half-class"``, a
            pair (kind, amount) with a kind of ``KINDS``, or your own choice as a pair of a name and
            the ids.
        policies: boundaries, objects or names in ``BOUNDARIES``, each under the name that its rows
            get; or names alone, such as ``["adaptive"]``. By default the fixed boundary with its
            default threshold, and everything approximate. Everything exact is always there as
            ``"exact"``.
        methods: of modification, names in ``METHODS`` or objects; None for the default of the
            model.
        amends: after it, names in ``AMENDS`` or objects; None for replay.
        path: a file that rows are added to as soon as they are measured. Rows that it already has
            for the same settings are not measured again.
        on_progress: gets an event after every request; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops between two requests when set; rows so far are in the file.

    Returns:
        A row for each policy and request. ``speed`` is exact retraining's CPU seconds over the
        policy's, ``speed_over_scratch`` those of training everything over the policy's;
        ``output_kl`` is the mean divergence of test outputs from training from scratch, in nats,
        ``gap_removed`` the part of doing nothing's that is removed, and
        ``membership_gap_removed`` the same of the membership-inference gap. ``workload_share`` is
        the request's, ``expected_share`` what was to be expected of a uniform one of its size.
        CPU seconds are those of this process, in which all of it runs, so that other work on the
        machine counts less; after a warm-up, and of what takes less than a second the median of
        three. ``visits`` are the example gradients of retraining the request exactly. A
        metric of your own in ``METRICS`` has a column of its name, of test outputs against training
        from scratch, and one ``..._of_nothing``.

    Raises:
        KeyError, TypeError, ValueError: settings that cannot be, before any work.
        Cancelled: stopped by ``cancel``.
    """
    import pandas as pd

    requests = [Revoked.of(what) for what in revoked]
    ways = _ways(POLICIES if policies is None else policies, methods, amends)
    dataset = as_dataset(data)
    for request in requests:
        unknown = np.setdiff1d(request.ids or (), dataset.train.ids)
        if len(unknown):
            raise ValueError(
                f"{len(unknown)} of the {len(request.ids or ())} ids of {request.kind!r} are no "
                f"training examples of {dataset.name}, such as {int(unknown[0])}; take them from "
                "load(...).train.ids"
            )
        if len(request.ids or ()) >= len(dataset.train):
            raise ValueError(f"{request.kind!r} are all training examples; leave some")
    try_metrics(dataset.examples(dataset.test.ids)[1], dataset.num_outputs)
    log = Log(path)
    settings = list(product(models, num_shards, num_slices, learning_rates, seeds))
    total, done = len(settings) * len(requests), 0
    rows: list[dict[str, Any]] = []
    with running(on_progress, cancel) as run:
        for model, shards, slices, rate, seed in settings:
            session = Session(
                dataset,
                model=model,
                num_shards=shards,
                num_slices=slices,
                epochs=epochs,
                learning_rate=rate,
                seed=seed,
            )
            bench = _Bench(dataset, session, log, ways, run.details)
            for request in requests:
                run.check()
                rows += bench.measure(request)
                done += 1
                run.on_progress(ProgressEvent("study", None, None, done, total))
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Way:
    """A policy with a method and an amend; None for the default of either."""

    policy: str
    boundary: Boundary
    method: Method | None = None
    amend: Amend | None = None
    method_name: str = "default"
    amend_name: str = "default"


EXACTLY = _Way("exact", FixedBoundary(1.0))


def _ways(
    policies: Mapping[str, str | Boundary] | Sequence[str],
    methods: Sequence[str | Method | None],
    amends: Sequence[str | Amend | None],
) -> list[_Way]:
    """Every combination, checked.

    Raises:
        KeyError: no boundary, method or amend has this name.
        TypeError: an object that lacks a part of its protocol, or policies of another kind.
    """
    if isinstance(policies, str):
        raise TypeError(f"policies={policies!r} is one name; give a list of them: [{policies!r}]")
    named = policies if isinstance(policies, Mapping) else {name: name for name in policies}
    return [
        _Way(
            policy,
            BOUNDARIES.choose(boundary),
            METHODS.choose(method),
            AMENDS.choose(amend),
            _name(method),
            _name(amend),
        )
        for policy, boundary in named.items()
        for method, amend in product(methods, amends)
    ]


def _name(choice: object) -> str:
    """What a row says of a method or an amend."""
    if choice is None:
        return "default"
    return choice if isinstance(choice, str) else repr(choice)


class _Bench:
    """One trained ensemble and the ways to unlearn from it."""

    def __init__(
        self,
        dataset: Dataset,
        session: Session,
        log: Log,
        ways: Sequence["_Way"],
        on_progress: OnProgress,
    ) -> None:
        self.dataset, self.session, self.log, self.ways = dataset, session, log, ways
        self.on_progress = on_progress
        plan = session.plan
        self.settings = {
            "data": dataset.name,
            "examples": len(dataset.train),
            "model": plan.architecture.name,
            "num_shards": plan.spec.num_shards,
            "num_slices": plan.spec.num_slices,
            "learning_rate": plan.spec.learning_rate,
            "seed": plan.spec.seed,
        }
        self.key = digest(
            dataset.fingerprint, plan.architecture.digest, plan.spec.digest, plan.environment.digest
        )
        usual = default_method(plan), Replay()
        self._keyed = [
            (way.policy, way.boundary, way.method or usual[0], way.amend or usual[1])
            for way in ways
        ]
        self.scratch_cpu = math.nan
        self.test = dataset.examples(dataset.test.ids)

    def measure(self, request: Revoked) -> list[dict[str, Any]]:
        """Rows of one request, from the log where it has them all."""
        own = [column_of(name) for name in METRICS.own]
        keys = [digest(self.key, request.key, repr(way)) for way in [("exact",), *self._keyed]]
        # A metric that was entered since a row was measured is measured now.
        if all(key in self.log.rows and self.log.rows[key].keys() >= set(own) for key in keys):
            return [self.log.rows[key] for key in keys]
        self._train()
        plan = self.session.plan
        ids = request.draw(plan, numpy_generator(plan.spec.seed, "study", repr(request)))
        forget = self.dataset.examples(ids)
        before = self._outputs(self.session, forget)
        exact, result, cpu = self._unlearn(ids, FixedBoundary(1.0), None, None)
        reference = self._outputs(exact, forget)
        nothing = self._gaps(reference, before, forget)
        baseline = cpu
        expected = expected_visits(
            len(plan.examples), plan.num_shards, plan.spec.stage_epochs(), len(ids)
        )
        rows = []
        for key, way in zip(keys, [EXACTLY, *self.ways], strict=True):
            outputs = reference
            if way is not EXACTLY:
                fork, result, cpu = self._unlearn(ids, way.boundary, way.method, way.amend)
                outputs = self._outputs(fork, forget)
            gaps = self._gaps(reference, outputs, forget)
            row = {
                **self.settings,
                "kind": request.kind,
                "amount": request.amount,
                "revoked": len(ids),
                "policy": way.policy,
                "method": way.method_name,
                "amend": way.amend_name,
                "visits": result.workload.visits,
                "workload_share": result.workload.share,
                "expected_share": expected / max(1, result.plan.total_visits),
                "exact_shards": len(result.decision.exact),
                "approximate_shards": len(result.decision.approximate),
                "seconds": result.seconds,
                "predicted_seconds": result.predicted_seconds,
                "cpu_seconds": cpu,
                "speed": baseline / cpu,
                "speed_over_scratch": self.scratch_cpu / cpu,
                **gaps,
                "gap_removed": _removed(gaps, nothing, "output_kl"),
                "membership_gap_removed": _removed(gaps, nothing, "membership_gap"),
                **{f"{gap}_of_nothing": value for gap, value in nothing.items()},
                "debt": result.debt_after,
            }
            rows.append(self.log.add(key, row))
        return rows

    def _train(self) -> None:
        if self.session.trained:
            return
        begun = time.process_time()
        self.session.train(on_progress=self.on_progress)
        self.scratch_cpu = time.process_time() - begun
        # The first call of anything is slow, and no business of the policies.
        one = self.session.plan.partition.ids[:1]
        self._unlearn(one, FixedBoundary(1.0), None, None)
        tried = {(way.method_name, way.amend_name): way for way in self.ways}
        for way in tried.values():
            self._unlearn(one, FixedBoundary(0.0), way.method, way.amend)

    def _unlearn(
        self, ids: Ids, boundary: Boundary, method: Method | None, amend: Amend | None
    ) -> tuple[Session, Unlearned, float]:
        """The session afterwards, the result, and CPU seconds."""
        taken: list[float] = []
        while len(taken) < REPEATS and max(taken, default=0.0) < SHORT:
            fork = self.session.fork()
            fork.revoke(ids)
            begun = time.process_time()
            result = fork.unlearn(
                boundary=boundary, method=method, amend=amend, on_progress=self.on_progress
            )
            taken.append(time.process_time() - begun)
        return fork, result, float(np.median(taken))

    def _outputs(self, session: Session, forget: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Probabilities of test and of forgotten examples."""
        ensemble = session.ensemble
        return ensemble.probabilities(self.test[0]), ensemble.probabilities(forget[0])

    def _gaps(
        self,
        reference: tuple[Tensor, Tensor],
        outputs: tuple[Tensor, Tensor],
        forget: tuple[Tensor, Tensor],
    ) -> dict[str, float]:
        """How far outputs are from the reference; best 0."""
        labels, task = self.test[1], task_of(self.dataset)
        scores, attacks = [], []
        for test, gone in (outputs, reference):
            scores.append((task.part_score(test, labels), task.part_score(gone, forget[1])))
            attacks.append(membership_auc(gone, forget[1], test, labels).auc)
        name = task.part_score_name.lower()
        return {
            f"test_{name}": scores[0][0],
            "output_kl": float(task.divergence(reference[0], outputs[0]).mean()),
            "churn": math.nan if name == "rmse" else churn(reference[0], outputs[0]),
            f"test_{name}_gap": scores[0][0] - scores[1][0],
            f"forget_{name}_gap": scores[0][1] - scores[1][1],
            "membership_gap": attacks[0] - attacks[1],
            **{
                column_of(metric): measure.value
                for metric, measure in measure_all(outputs[0], reference[0], labels).items()
                if metric in METRICS.own
            },
        }


def _removed(gaps: dict[str, float], nothing: dict[str, float], name: str) -> float:
    """The part of doing nothing's gap that is removed; nan where it leaves none."""
    left = abs(nothing[name])
    return 1 - abs(gaps[name]) / left if left > 0 else math.nan
