"""Studies: the same requests under many settings and policies, as one tidy table.

A study trains an ensemble for every combination of model, shards, slices, learning rate and seed.
It first unlearns each request exactly. The result equals retraining from scratch bit for bit, so it
is the reference for all gaps, and its CPU time is the baseline for all speeds. Each policy then
unlearns the same request from the same trained ensemble. Gaps are also given relative to the gap of
the original ensemble, which forgets nothing: on large shards that gap is small from the start.
"""

import math
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.metrics.membership_auc import membership_auc
from unlearnkit.metrics.metrics import (
    METRICS,
    OF_NULLS,
    TABLE_COLUMNS,
    churn,
    column_of,
    measure_all,
    try_metrics,
)
from unlearnkit.metrics.tasks import task_of
from unlearnkit.progress import OnProgress, Progress, ProgressEvent, running
from unlearnkit.seeding import digest, numpy_generator
from unlearnkit.session import Session
from unlearnkit.studies.arguments import as_seeds
from unlearnkit.studies.identity import described
from unlearnkit.studies.log import Log
from unlearnkit.studies.requests import NO_GROUPS, NO_PROPENSITIES, Ids, RequestLike, Revoked
from unlearnkit.studies.seed_models import of_another_seed, rehearse
from unlearnkit.threads import check_threads
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.expected_workload import expected_like
from unlearnkit.unlearning.unlearn import Unlearned

if TYPE_CHECKING:
    import pandas as pd

SHORT, REPEATS = 1.0, 3  # work below this many CPU seconds is repeated; the median counts
POLICIES: dict[str, Boundary] = {
    "hybrid": FixedBoundary(),
    "approximate": FixedBoundary(0.0),
}


@own_settings()
def study(
    data: Any = "digits",
    *,
    models: Any = ("mlp",),
    num_shards: int | Iterable[int | None] | None = (None,),
    num_slices: int | Iterable[int | None] | None = (None,),
    learning_rates: float | Iterable[float | None] | None = (None,),
    epochs: int | None = None,
    seeds: int | Iterable[int] = (0,),
    revoked: RequestLike | Iterable[RequestLike] = (1, 0.01, 0.1),
    policies: Mapping[str, str | Boundary] | Iterable[str] | None = None,
    methods: str | Method | Iterable[str | Method | None] | None = (None,),
    amends: str | Amend | Iterable[str | Amend | None] | None = (None,),
    amplification: bool = False,
    another_seed: bool = False,
    threads: int | None = None,
    path: str | os.PathLike[str] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Measure policies of unlearning over requests, settings and seeds.

    Use it to choose a boundary, the number of shards and slices, or a method for your data::

        table = uk.study("digits", num_shards=(5, 10), revoked=(1, 0.1), path="study.jsonl")
        uk.explore(table)

    Where a list is expected, a single name, number or object stands for a list of one; only
    ``policies`` must be a list or a dict.

    Args:
        data: the data, as :class:`~unlearnkit.session.Session` takes them.
        models: the architectures, names or callables.
        num_shards: the numbers of shards; None is the default for these data, also in the
            next two arguments.
        num_slices: the numbers of slices per shard.
        learning_rates: the learning rates, each constant during training.
        epochs: the training effort of a shard, in epochs; None chooses the default for these data.
        seeds: the seeds; each determines a partition, a training run and a draw of the requests.
        revoked: the requests. Each is a number of examples (an int), a share of the examples (a
            float), ``"class"``, ``"half-class"``, a pair (kind, amount) with a kind in
            ``unlearnkit.studies.requests.KINDS``, or a pair of a name and ids. Amounts without a
            kind are drawn uniformly, or by propensity (the kind ``"likely"``) if the data have
            unequal ones; so are groups.
        policies: a dict of boundaries by their names in the column ``policy``, or a list of
            names in ``BOUNDARIES`` such as ``["adaptive"]``. The default is ``"hybrid"`` (a fixed
            boundary with its default threshold) and ``"approximate"`` (every shard is modified).
            ``"exact"`` is always added.
        methods: methods of modification, names in ``METHODS`` or objects; None is the
            default for the model.
        amends: amends, names in ``AMENDS`` or objects; None is replay.
        amplification: whether to measure how chaotic the training is under every setting, as
            :meth:`Session.amplification() <unlearnkit.session.Session.amplification>` does. This
            costs the training of one more shard for each.
        another_seed: whether to train a model of another seed on the retained examples of every
            request, whose distance to the retrained model is due to chance alone. This costs one
            training more for each.
        threads: upper limit of the number of threads that train shards at the same time, as for a
            session; None uses one for each core. Results are the same, but CPU seconds are more
            with several threads.
        path: a file to which each row is added once it is measured. Rows that it already holds for
            the same settings are read instead of measured again, so a study can be resumed. Your
            own methods, amends, boundaries and metrics are recognised by their repr, and functions
            by their code.
        on_progress: a callable that receives an event after each request; True shows a progress
            bar, False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops the study after the current request; the measured rows are
            in the file.

    Returns:
        A table with one row for each setting, request and policy. Among its columns are:

        - ``visits``: the example gradients that exact retraining needs; ``workload_share`` is
          their share of training everything, ``expected_share`` the expected share for a uniform
          request of this size;
        - ``cpu_seconds``: CPU time of this process for the request, after a warm-up and after the
          rehearsal that precedes a session's first request; below one second the median of three
          runs;
        - ``speed`` and ``speed_over_scratch``: the CPU time of exact retraining, and of training
          everything, divided by the policy's;
        - ``output_kl``: the mean divergence of test outputs from those of the retrained model, in
          nats;
        - ``gap_removed`` and ``membership_gap_removed``: which part of the original ensemble's
          ``output_kl`` and ``membership_gap`` the policy removes, at most 1;
        - ``amplification``, if it is asked for: how much training multiplies a small change of the
          initial weights; above about 10 to 12 training is chaotic, and approximations remove
          little;
        - ``..._of_nothing``: the gap of the original ensemble, which forgets nothing;
        - ``..._of_another_seed``, if it is asked for: the gap of a model of another seed;
        - a column for each metric that you entered in ``METRICS``.

    Raises:
        KeyError: a model, kind of request, boundary, method or amend of this name is not known.
        TypeError: an argument has the wrong type, or an object lacks a part of its protocol.
        ValueError: a list is empty, a seed is given twice, ``threads`` is below 1, a setting or a
            request is out of range, its ids are not training examples, a metric fails, a policy is
            named ``"exact"``, or with ``path`` only its memory address identifies an object.
        Cancelled: ``cancel`` was set.

    >>> import unlearnkit as uk
    >>> table = uk.study("digits", models="logistic", epochs=2, revoked=(1, 3))
    >>> table["policy"].tolist()
    ['exact', 'hybrid', 'approximate', 'exact', 'hybrid', 'approximate']
    """
    import pandas as pd

    axes = {"models": models, "num_shards": num_shards, "num_slices": num_slices}
    axes |= {"learning_rates": learning_rates, "revoked": revoked}
    axes = {name: _listed(given) for name, given in axes.items()}
    for name, given in axes.items():
        if not given:
            raise ValueError(f"{name} is empty; give at least one, or leave {name} out")
    asked = axes.pop("revoked")
    for each in asked:
        Revoked.of(each)  # refuse wrong requests before data are read
    variants = _variants(
        POLICIES if policies is None else policies, _listed(methods), _listed(amends)
    )
    check_threads(threads)
    seeds = as_seeds(seeds)
    dataset = as_dataset(data)
    rates = dataset.train.propensity
    usual = "likely" if has_unequal(rates) else "uniform"
    requests = [Revoked.of(request, usual) for request in asked]
    for request in requests:
        if request.kind == "group" and dataset.grouping is None:
            raise ValueError(NO_GROUPS)
        if request.kind == "likely" and rates is None:
            raise ValueError(NO_PROPENSITIES)
        unknown = np.setdiff1d(request.ids or (), dataset.train.ids)
        if len(unknown):
            raise ValueError(
                f"id {int(unknown[0])} of the request {request.kind!r} is not a training example "
                f"of {dataset.name} (unknown ids: {len(unknown)} of {len(request.ids or ())}); "
                "take ids from load(...).train.ids"
            )
        if len(request.ids or ()) >= len(dataset.train):
            raise ValueError(
                f"the ids of {request.kind!r} are all training examples; leave some to train on"
            )
    try_metrics(dataset.labels(dataset.test.ids), dataset.num_outputs)
    metrics = {name: repr(metric) for name, metric in METRICS.own.items()}
    if path is not None:
        metrics = {name: described("metric", metric) for name, metric in METRICS.own.items()}
        for variant in variants:
            for noun in ("boundary", "method", "amend"):
                described(noun, getattr(variant, noun))  # refuse what the file cannot recognise
    log = Log(path)
    examples = dataset

    def session_of(setting: tuple[Any, ...]) -> Session:
        nonlocal examples
        model, shards, slices, rate, seed = setting
        session = Session(
            examples,
            model=model,
            num_shards=shards,
            num_slices=slices,
            epochs=epochs,
            learning_rate=rate,
            seed=seed,
            threads=threads,
        )
        examples = session.dataset  # the next session uses features of the same backbone again
        return session

    settings = list(product(*axes.values(), seeds))
    total, done = len(settings) * len(requests), 0
    rows: list[dict[str, Any]] = []
    with running(on_progress, cancel) as run:
        for setting in settings:
            if setting[-1] == seeds[0]:
                session_of(setting)  # refuse wrong settings before any is measured
        for setting in settings:
            session = session_of(setting)
            nulls = _Nulls(amplification, another_seed)
            bench = _Bench(examples, session, log, variants, metrics, nulls, run.details)
            for request in requests:
                run.check()
                rows += bench.measure(request)
                done += 1
                run.on_progress(ProgressEvent("study", None, None, done, total))
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Variant:
    """A policy with a method and an amend; None is the default of either."""

    policy: str
    boundary: Boundary
    method: Method | None = None
    amend: Amend | None = None
    method_name: str = "default"
    amend_name: str = "default"


@dataclass(frozen=True)
class _Nulls:
    """What is measured besides the policies where it is asked for, as in :func:`study`."""

    amplification: bool
    another_seed: bool


EXACT_VARIANT = _Variant("exact", FixedBoundary(1.0))


def _listed(given: Any) -> list[Any]:
    """Return the items of a list, or a single name, number or object as a list of one."""
    # Methods, amends and models are callable, and some models are iterable too.
    single = isinstance(given, str) or callable(given) or not isinstance(given, Iterable)
    return [given] if single else list(given)


def _variants(
    policies: Mapping[str, str | Boundary] | Iterable[str],
    methods: Sequence[str | Method | None],
    amends: Sequence[str | Amend | None],
) -> list[_Variant]:
    """All combinations of policies, methods and amends.

    Raises:
        KeyError: no boundary, method or amend has this name.
        TypeError: an object lacks a part of its protocol, or ``policies`` is a single name or
            object, or has an object without a name.
        ValueError: a policy is named ``"exact"``.
    """
    if isinstance(policies, str):
        raise TypeError(f"policies={policies!r} is one name; give a list of them: [{policies!r}]")
    given = policies if isinstance(policies, Iterable) else [policies]
    unnamed = [each for each in given if not isinstance(each, str)]
    if unnamed:
        raise TypeError(
            f"the policy {unnamed[0]!r} has no name for the column 'policy'; give a dict such as "
            "policies={'mine': boundary}"
        )
    named = dict(policies) if isinstance(policies, Mapping) else {name: name for name in policies}
    if EXACT_VARIANT.policy in named:
        raise ValueError(
            "'exact' cannot be the name of a policy, because every study adds exact retraining "
            "under this name; give the boundary another one"
        )
    return [
        _Variant(
            policy,
            BOUNDARIES.require(boundary),
            METHODS.choose(method),
            AMENDS.choose(amend),
            _name(method),
            _name(amend),
        )
        for policy, boundary in named.items()
        for method, amend in product(methods, amends)
    ]


def _name(choice: object) -> str:
    """The name of a method or an amend in a row."""
    if choice is None:
        return "default"
    return choice if isinstance(choice, str) else repr(choice)


class _Bench:
    """Measures the variants on one trained ensemble."""

    def __init__(
        self,
        dataset: Dataset,
        session: Session,
        log: Log,
        variants: Sequence["_Variant"],
        metrics: dict[str, str],
        nulls: _Nulls,
        on_progress: OnProgress,
    ) -> None:
        self.dataset, self.session, self.log, self.variants = dataset, session, log, variants
        self.metrics, self.nulls, self.on_progress = metrics, nulls, on_progress
        plan = session.plan
        self.settings = {
            "data": dataset.name,
            "examples": len(dataset.train),
            "model": plan.architecture.title,
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
            (
                variant.policy,
                variant.boundary,
                variant.method or usual[0],
                variant.amend or usual[1],
            )
            for variant in variants
        ]
        self.scratch_cpu = math.nan

    def measure(self, request: Revoked) -> list[dict[str, Any]]:
        """The rows of one request: from the log if it has all of them, else measured."""
        keys = [
            digest(self.key, request.key, repr(variant)) for variant in [("exact",), *self._keyed]
        ]
        if all(self._up_to_date(key) for key in keys):
            own = {column_of(name) for name in self.metrics}
            shown = TABLE_COLUMNS | {f"{column}{end}" for column in own for end in ("", *OF_NULLS)}
            return [
                {column: value for column, value in row.items() if column in shown}
                for row in self._completed(keys, request)
            ]
        self._train()
        plan, ids = self.session.plan, self._drawn(request)
        forget = self.dataset.examples(ids)
        before = self._outputs(self.session.ensemble, forget)
        exact, result, cpu = self._unlearn(ids, FixedBoundary(1.0), None, None)
        reference = self._outputs(exact.ensemble, forget)
        nothing = self._gaps(reference, before, forget)
        by_chance = self._by_chance(exact, reference, forget) if self.nulls.another_seed else {}
        baseline = cpu
        expected = expected_like(plan, ids)
        rows = []
        for key, variant in zip(keys, [EXACT_VARIANT, *self.variants], strict=True):
            outputs = reference
            if variant is not EXACT_VARIANT:
                fork, result, cpu = self._unlearn(
                    ids, variant.boundary, variant.method, variant.amend
                )
                outputs = self._outputs(fork.ensemble, forget)
            gaps = self._gaps(reference, outputs, forget)
            row = {
                **self.settings,
                "kind": request.kind,
                "amount": request.amount,
                "revoked": len(ids),
                "policy": variant.policy,
                "method": variant.method_name,
                "amend": variant.amend_name,
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
                **by_chance,
                "debt": result.debt_after,
                **({"amplification": self.amplification} if self.nulls.amplification else {}),
            }
            rows.append(self.log.add(key, row, self.metrics))
        return rows

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the test examples."""
        return self.dataset.examples(self.dataset.test.ids)

    @cached_property
    def amplification(self) -> float:
        """The amplification of the training, which is measured once."""
        self._train()
        return self.session.amplification(on_progress=self.on_progress).value

    def _completed(self, keys: list[str], request: Revoked) -> list[dict[str, Any]]:
        """Return the rows of a request in the log, with the nulls that were missing."""
        missing: dict[str, float] = {}
        first = self.log.rows[keys[0]]
        if self.nulls.amplification and "amplification" not in first:
            missing["amplification"] = self.amplification
        if self.nulls.another_seed and f"output_kl{OF_NULLS[1]}" not in first:
            self._train()
            exact, forget = self.session.fork(), self.dataset.examples(self._drawn(request))
            exact.revoke(self._drawn(request))
            exact.unlearn(boundary=FixedBoundary(1.0), on_progress=self.on_progress)
            missing |= self._by_chance(exact, self._outputs(exact.ensemble, forget), forget)
        if missing:
            for key in keys:
                self.log.add(key, self.log.rows[key] | missing, self.log.metrics[key])
        return [self.log.rows[key] for key in keys]

    def _drawn(self, request: Revoked) -> Ids:
        """The ids of a request."""
        plan = self.session.plan
        return request.draw(plan, numpy_generator(plan.spec.seed, "study", repr(request)))

    def _by_chance(
        self, exact: Session, reference: tuple[Tensor, Tensor], forget: tuple[Tensor, Tensor]
    ) -> dict[str, float]:
        """The gaps of a model of another seed, by the names of their columns."""
        outputs = self._outputs(of_another_seed(exact, self.on_progress), forget)
        gaps = self._gaps(reference, outputs, forget)
        return {f"{gap}{OF_NULLS[1]}": value for gap, value in gaps.items()}

    def _up_to_date(self, key: str) -> bool:
        """Whether the log has this row, with every metric of the user's as it is now."""
        if key not in self.log.rows:
            return False
        measured = self.log.metrics[key]
        # A metric that replaced one of the package's stands in a column that is always shown.
        counted = {name for name in measured if column_of(name) in TABLE_COLUMNS} | {*self.metrics}
        return all(measured.get(name) == self.metrics.get(name) for name in counted)

    def _train(self) -> None:
        if self.session.trained:
            return
        begun = time.process_time()
        self.session.train(on_progress=self.on_progress)
        self.scratch_cpu = time.process_time() - begun
        rehearse(self.session)
        # The first call of each function is slow; this warm-up keeps it out of the timings.
        one = self.session.plan.partition.ids[:1]
        self._unlearn(one, FixedBoundary(1.0), None, None)
        tried = {(variant.method_name, variant.amend_name): variant for variant in self.variants}
        for variant in tried.values():
            self._unlearn(one, FixedBoundary(0.0), variant.method, variant.amend)

    def _unlearn(
        self, ids: Ids, boundary: Boundary, method: Method | None, amend: Amend | None
    ) -> tuple[Session, Unlearned, float]:
        """Unlearn in a fork; return the fork, the result, and the median of CPU seconds."""
        taken: list[float] = []
        while len(taken) < REPEATS and max(taken, default=0.0) < SHORT:
            fork = self.session.fork()
            fork.revoke(ids)
            begun = time.process_time()
            with quietly():  # the study compares with the retrained models
                result = fork.unlearn(
                    boundary=boundary,
                    method=method,
                    amend=amend,
                    spot_check=False,  # measures the modified models themselves
                    on_progress=self.on_progress,
                )
            taken.append(time.process_time() - begun)
        return fork, result, float(np.median(taken))

    def _outputs(self, ensemble: Ensemble, forget: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The outputs on the test examples and on the forgotten ones."""
        return ensemble.probabilities(self.test[0]), ensemble.probabilities(forget[0])

    def _gaps(
        self,
        reference: tuple[Tensor, Tensor],
        outputs: tuple[Tensor, Tensor],
        forget: tuple[Tensor, Tensor],
    ) -> dict[str, float]:
        """Scores, and gaps between outputs and those of the retrained model (0 is best)."""
        labels, task = self.test[1], task_of(self.dataset)
        scores, attacks = [], []
        for test, forgotten in (outputs, reference):
            scores.append((task.part_score(test, labels), task.part_score(forgotten, forget[1])))
            attacks.append(membership_auc(forgotten, forget[1], test, labels).auc)
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
    """The part of the original ensemble's gap that is removed; nan if it has no gap."""
    left = abs(nothing[name])
    return 1 - abs(gaps[name]) / left if left > 0 else math.nan
