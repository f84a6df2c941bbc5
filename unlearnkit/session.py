"""The session: the mutable front door of a notebook.

Everything that a session does is also there as plain functions on frozen values; the session holds
the current ones, checks what comes in, and replaces them one by one.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Int

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import Comparison, compare
from unlearnkit.metrics.tasks import require_classes, task_of
from unlearnkit.models.losses import Loss
from unlearnkit.progress import Progress
from unlearnkit.records.certificate import Certificate, certify
from unlearnkit.records.journal import Journal
from unlearnkit.records.ledger import (
    entry_of,
    ledger_frame,
)
from unlearnkit.records.persistence import open_store, provenance
from unlearnkit.selection.queries import chosen_ids
from unlearnkit.store import DiskStore, MemoryStore
from unlearnkit.training.clock import Clock
from unlearnkit.training.defaults import choose_model_and_spec
from unlearnkit.training.ensemble import Ensemble, assemble
from unlearnkit.training.partition import Partition
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.spec import TrainSpec, as_recorded
from unlearnkit.training.train import TrainReport, train
from unlearnkit.training.workers import check_parallel
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import EXACT, Boundary, Decision
from unlearnkit.unlearning.deadlines import Queue, as_deadline
from unlearnkit.unlearning.debt import debts_of, total_debt
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import PROBE_MAX, Probe
from unlearnkit.unlearning.repay import repay
from unlearnkit.unlearning.request import Request, check_pending, check_request
from unlearnkit.unlearning.timing import time_large_batches
from unlearnkit.unlearning.unlearn import Unlearned, unlearn
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

PROBE_SHARE = 0.01  # of the time of a training that measurements for the clock may take
PROBES_AGAIN, PROBE_SHARE_AGAIN = 3, 0.05  # so many exact requests repeat them, at this share
NOTHING = np.empty(0, np.int64)


class Session:
    """Train, revoke, estimate, decide, unlearn, compare.

    >>> session = Session("digits", model="logistic", epochs=2, seed=0)
    >>> session
    Session(digits, logistic, 5 shards x 3 slices, not trained)
    >>> report = session.train()
    >>> request = session.revoke([3, 141, 592])
    >>> session.unlearn(max_share=1).debt_after
    0
    >>> session.compare().bit_identical
    True
    """

    def __init__(
        self,
        data: Any = "digits",
        *,
        model: Any = "mlp",
        hidden: tuple[int, ...] | None = None,
        num_shards: int | None = None,
        num_slices: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        loss: str | Loss | None = None,
        seed: int = 0,
        spec: TrainSpec | None = None,
        store: str | os.PathLike[str] | MemoryStore | DiskStore | None = None,
        aggregation: str = "mean-probability",
        partition: Partition | None = None,
        version: str | None = None,
        parallel: int | None = None,
    ) -> None:
        """Start a session; nothing is trained yet.

        Args:
            data: a name such as ``"digits"`` (those in ``DATASETS``, for
                :func:`~unlearnkit.data.datasets.load`), a
                :class:`~unlearnkit.data.datasets.Dataset`, a pair (features, labels) of arrays or
                tensors, a pair (DataFrame, target column) or (``"file.csv"``, target column), a
                torch ``Dataset``, or a Hugging Face one; see
                :func:`~unlearnkit.data.datasets.as_dataset`, and call it yourself for their
                options.
            model: ``"logistic"`` (of a regression: ``"linear"``), ``"mlp"``, ``"cnn"``, or a
                callable that returns a new ``nn.Module``.
            hidden: widths of the hidden layers of ``"mlp"``.
            num_shards: see :class:`~unlearnkit.training.spec.TrainSpec`, as for the next six;
                what is not given has the default measured for data of this size
                (:func:`~unlearnkit.training.defaults.default_spec`).
            num_slices: see there.
            epochs: see there.
            batch_size: see there.
            learning_rate: see there.
            loss: see there; cross-entropy by default, or squared error where the data have
                targets; ``WeightedCrossEntropy((1, 5))`` weighs classes.
            seed: see there.
            spec: all of it at once, instead of the seven arguments above.
            store: a folder that keeps everything and is resumed from, or a store of either kind;
                memory by default. A folder that another process holds is only read, with a warning
                that says who does; ``DiskStore(folder, wait_seconds=60)`` waits for it.
            aggregation: how constituents vote, a name in ``AGGREGATIONS``.
            partition: shards and slices of your own.
            version: identifies a model given as a callable.
            parallel: a number of workers that train shards beside each other, to the same bits; -1
                for all there are (:func:`~unlearnkit.training.train.train`). This process by
                default; it can be changed at any time: ``session.parallel = 2``.

        Raises:
            ValueError, TypeError, KeyError: bad input, in one sentence each.
            StoreError: the folder belongs to another run.
        """
        self.dataset: Dataset = as_dataset(data)
        architecture, spec = choose_model_and_spec(
            self.dataset,
            model,
            hidden=hidden,
            version=version,
            spec=spec,
            seed=seed,
            num_shards=num_shards,
            num_slices=num_slices,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            loss=loss,
        )
        regression, width = self.dataset.is_regression, self.dataset.num_outputs
        Ensemble(architecture, spec.loss, (), aggregation, regression)  # checks the aggregation
        # Checks that the loss takes such labels, and so many classes.
        trial = self.dataset.train.labels.new_zeros((1, width) if regression else 1)
        spec.loss.value(torch.zeros(1, width), trial)
        self.aggregation = aggregation
        self.boundary = FixedBoundary()
        check_parallel(parallel)
        self.parallel = parallel
        self.store = open_store(store)
        self._work = threading.Lock()
        if isinstance(self.store, DiskStore):
            spec = as_recorded(spec, (self.store.manifest or {}).get("spec"))
        plan = make_plan(self.dataset.train, architecture, spec, partition=partition)
        try:
            self._journal = Journal(self.dataset, plan, self.store)
        except BaseException:
            if isinstance(self.store, DiskStore) and self.store is not store:
                self.store.close()  # a traceback that is kept somewhere would hold its lock
            raise
        self._pending: Int[np.ndarray, " request"] = self._journal.queue.ids
        self._original: Ensemble | None = None
        self._last: Unlearned | None = None
        self._probes_again = 0

    def __repr__(self) -> str:
        spec = self.plan.spec
        state = "trained" if self.trained else "not trained"
        extra = ""
        if len(self._journal.history.revocations.ids):
            extra += f", {len(self._journal.history.revocations.ids)} revoked"
        if len(self._pending):
            extra += f", {len(self._pending)} pending"
        if self._journal.queue.first is not None:
            extra += f", due by {self._journal.queue.first:%Y-%m-%d %H:%M} UTC"
        if self.debt:
            extra += f", debt in {len(self.debt)} shards"
        return (
            f"Session({self.dataset.name}, {self.plan.architecture.name}, {spec.num_shards} shards "
            f"x {spec.num_slices} slices, {state}{extra})"
        )

    # What there is

    @property
    def plan(self) -> Plan:
        """The plan of the current retain set."""
        return self._journal.plan

    @property
    def spec(self) -> TrainSpec:
        """How the ensemble is trained."""
        return self._journal.plan.spec

    @property
    def boundary(self) -> Boundary:
        """The boundary that decides where a call names none; set it by name or as an object."""
        return self._boundary

    @boundary.setter
    def boundary(self, boundary: str | Boundary) -> None:
        self._boundary = BOUNDARIES.choose(boundary)

    @property
    def clock(self) -> Clock:
        """Measured rates, refitted after every run."""
        return self._journal.clock

    @property
    def error_model(self) -> ErrorModel:
        """What past repayments say of the errors of approximations."""
        return self._journal.history.error_model

    @property
    def revoked(self) -> Int[np.ndarray, " id"]:
        """Ids of all completed requests, ascending."""
        return self._journal.history.revocations.ids

    @property
    def pending(self) -> Int[np.ndarray, " id"]:
        """Ids to be forgotten by the next :meth:`unlearn`, ascending."""
        return self._pending

    @property
    def queue(self) -> Queue:
        """Those of the pending ids that have a deadline; kept with a store in a folder."""
        return self._journal.queue

    def due(self, ahead: timedelta = timedelta(0)) -> Int[np.ndarray, " due"]:
        """Pending ids whose deadline has come, or comes within the time ``ahead``, ascending.

        Requests that wait for each other cost far less than one by one, so it pays to call
        :meth:`unlearn`, which takes all that is pending, only when this is not empty::

            if len(session.due(timedelta(hours=1))):
                session.unlearn()
        """
        return self._journal.queue.due(datetime.now(UTC) + ahead)

    @property
    def debt(self) -> dict[int, Int[np.ndarray, " debt"]]:
        """For each shard with debt the ids that were removed approximately only."""
        return debts_of(self._journal.plan, self.store)

    @property
    def trained(self) -> bool:
        """Whether every shard with examples has a model."""
        try:
            self.ensemble  # noqa: B018 (raises where a model is missing)
        except LookupError:
            return False
        return True

    @property
    def busy(self) -> bool:
        """Whether a training or unlearning is running, in whatever thread."""
        return self._work.locked()

    @property
    def ensemble(self) -> Ensemble:
        """The current models.

        Raises:
            LookupError: not trained yet.
        """
        return assemble(self._journal.plan, self.store, self.aggregation)

    @property
    def original(self) -> Ensemble | None:
        """The models before the last unlearning: in memory only, until discarded."""
        return self._original

    @property
    def last(self) -> Unlearned | None:
        """The result of the last unlearning."""
        return self._last

    def accuracy(self) -> dict[str, float]:
        """Accuracy of the ensemble on the test part and on what is left of the probe part.

        Raises:
            LookupError: not trained yet.
            ValueError: this is a regression.
        """
        require_classes(self.dataset, "accuracy", "session.score() gives its R2")
        return self.score()

    def score(self) -> dict[str, float]:
        """Accuracy, or R2 of a regression, on the test part and what is left of the probe part.

        R2 is the coefficient of determination: 1 for all right, 0 for the part's mean target.

        Raises:
            LookupError: not trained yet.
        """
        task = task_of(self.dataset)
        ensemble, probe = self.ensemble, self.dataset.probe
        ids = {
            "test": self.dataset.test.ids,
            "probe": probe.ids[self._journal.history.revocations.retained(probe)],
        }
        result = {}
        for part, chosen in ids.items():
            inputs, labels = self.dataset.examples(chosen)
            result[part] = task.score(ensemble.probabilities(inputs), labels)
        return result

    # The route

    def train(
        self,
        *,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
        pause: threading.Event | None = None,
    ) -> TrainReport:
        """Train every shard that has no model; a second call finds nothing to do.

        Debt is not repaid here: that is :meth:`repay`.

        Args:
            on_progress: None shows a progress bar on a terminal or in a notebook once training has
                taken a second, True shows it at once, False shows none; a callable gets a
                :class:`~unlearnkit.progress.ProgressEvent` at a time instead.
            cancel: stops at once when set.
            pause: ends the call when set, once every shard at work has finished its stage: nothing
                is lost, and another call goes on from there, to the same bits.

        Raises:
            Cancelled: stopped by ``cancel``; finished stages are kept.
        """
        with self._working():
            debts = self.debt
            shards = [s for s in range(self._journal.plan.num_shards) if s not in debts]
            self._journal.save()
            report = train(
                self._journal.plan,
                self.store,
                shards=shards,
                on_progress=on_progress,
                cancel=cancel,
                pause=pause,
                probe=not self._journal.clock.calibrated,
                parallel=self.parallel,
            )
            self._journal.clock = self._journal.clock.observe(report.timed, report.tick)
            if report.runs:
                if not self._journal.clock.modify and not report.paused:
                    self._time_modifying(PROBE_SHARE * report.seconds - report.probe_seconds)
                self._journal.save()
            return report

    def _time_modifying(self, budget: float) -> None:
        """Tell the clock what a few large batches take."""
        for timed in time_large_batches(self._journal.plan, self.store, budget):
            self._journal.clock = self._journal.clock.observe_probe(*timed)

    def revoke(
        self,
        ids: int | Iterable[int] | None = None,
        *,
        label: int | str | None = None,
        count: int | None = None,
        share: float | None = None,
        query: str | None = None,
        seed: int = 0,
        deadline: datetime | timedelta | None = None,
    ) -> Request:
        """Put examples on the list of what is to be forgotten; nothing is forgotten yet.

        Args:
            ids: examples by id; or choose by the other arguments.
            label: examples of this class, by number or name.
            count: so many at random (of the class).
            share: this part at random (of the class), from 0 to 1.
            query: those of which this holds, such as ``"label == 3 and loss > 2"``; see
                :func:`~unlearnkit.selection.queries.query_ids`.
            seed: of the random choice.
            deadline: by when they have to be forgotten, a moment or a time from now. The request is
                then kept with a store in a folder, and :meth:`due` tells when it has to be
                executed; without, the list is a draft that ends with the session.

        Raises:
            KeyError: unknown ids or class.
            LookupError: the query asks for a loss before the first training.
            ValueError: nothing would be left, the arguments do not fit together, or the query
                cannot be read.
            RuntimeError: there is a deadline, and the session is at work in another thread.
        """
        gone = self._journal.history.revocations
        ids = chosen_ids(
            self.dataset,
            self._journal.plan,
            self.store,
            gone.with_request(self._pending),
            ids,
            label=label,
            count=count,
            share=share,
            query=query,
            seed=seed,
        )
        request = check_request(ids, self.dataset, gone)
        merged = np.union1d(self._pending, request.ids)
        check_request(merged, self.dataset, gone)  # together they must leave something
        if deadline is not None:
            self._enqueue(self._journal.queue.with_request(request.ids, as_deadline(deadline)))
        self._pending = merged
        return request

    def withdraw(self, ids: int | Iterable[int] | None = None) -> None:
        """Take ids off the pending list again; all of them by default.

        Raises:
            TypeError: an id is not a whole number.
            KeyError: ids that the dataset does not have, or that are not pending; none is then
                taken off.
            RuntimeError: one of them has a deadline, and the session is at work in another thread.
        """
        gone = self._pending if ids is None else check_pending(ids, self.dataset, self._pending)
        queue = self._journal.queue.without(gone.tolist())
        if len(queue) < len(self._journal.queue):
            self._enqueue(queue)
        self._pending = np.setdiff1d(self._pending, gone)

    def workload(self) -> Workload:
        """What retraining exactly for the pending request would cost. No side effects."""
        return self.assess().workload

    def assess(
        self, *, method: str | Method | None = None, amend: str | Amend | None = None
    ) -> Assessment:
        """Assess the pending request: its workload, and the cost of either way. No side effects.

        Any number of boundaries can then decide on it without another look at the store::

            assessment = session.assess()
            [assessment.decide(uk.FixedBoundary(share)) for share in (0.1, 0.2, 0.3)]

        Args:
            method: as in :meth:`unlearn`.
            amend: as in :meth:`unlearn`.

        Raises:
            LookupError: not trained yet.
        """
        self._need_training()
        approximator = Approximator.of(
            self._journal.plan,
            METHODS.choose(method),
            AMENDS.choose(amend),
            error_model=self._journal.history.error_model,
        )
        return assess(
            self._journal.plan, self.store, self._pending, self._journal.clock, approximator
        )

    def preview(
        self,
        max_share: float | None = None,
        *,
        boundary: str | Boundary | None = None,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
    ) -> Decision:
        """What a boundary would decide on the pending request. No side effects.

        Args:
            max_share: a :class:`~unlearnkit.unlearning.boundary.fixed.FixedBoundary` with this
                threshold.
            boundary: another one, a name in ``BOUNDARIES`` or an object; :attr:`boundary` by
                default.
            method: as in :meth:`unlearn`.
            amend: as in :meth:`unlearn`.
        """
        self._need_training()
        chosen = self._chosen_boundary(max_share, boundary)
        return self.assess(method=method, amend=amend).decide(chosen)

    def unlearn(
        self,
        max_share: float | None = None,
        *,
        boundary: str | Boundary | None = None,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
    ) -> Unlearned:
        """Forget the pending examples; without any, do nothing and say so.

        Args:
            max_share: threshold of a
                :class:`~unlearnkit.unlearning.boundary.fixed.FixedBoundary`: 1 is always exact,
                0 always approximate.
            boundary: another one, a name in ``BOUNDARIES`` or an object; :attr:`boundary` by
                default.
            method: of modification, a name in ``METHODS`` or an object; staged influence by
                default (its last-layer form for convolutional networks).
            amend: after it, a name in ``AMENDS`` or an object; replay by default.
            on_progress: as in :meth:`train`.
            cancel: stops when set; then nothing has changed.

        Raises:
            LookupError: not trained yet.
            KeyError: no boundary, method or amend has this name.
            TypeError: an object that lacks a part of its protocol.
            Cancelled: stopped by ``cancel``.
        """
        chosen = self._chosen_boundary(max_share, boundary)
        chosen_method, chosen_amend = METHODS.choose(method), AMENDS.choose(amend)
        self._need_training()
        with self._working():
            original, request = self.ensemble, self._pending
            owed = total_debt(self.debt)

            def commit(plan: Plan, decision: Decision) -> None:
                if len(request):
                    self._journal.commit_request(
                        request,
                        plan,
                        decision,
                        owed,
                        method=chosen_method or default_method(plan),
                        amend=chosen_amend or Replay(),
                    )
                    self._pending = np.setdiff1d(self._pending, request)

            result = unlearn(
                self._journal.plan,
                self.store,
                request,
                chosen,
                clock=self._journal.clock,
                method=chosen_method,
                amend=chosen_amend,
                on_progress=on_progress,
                cancel=cancel,
                parallel=self.parallel,
                probe=self._probe(request),
                error_model=self._journal.history.error_model,
                commit=commit,
            )
            self._journal.clock = result.clock
            if len(request):
                self._original, self._last = original, result
                self._journal.record_outcome(entry_of(result))
            # Else a first measurement that was far off would stand, and nothing ever be modified.
            kinds = {route.kind for route in result.decision.routes}
            probed_only = all(work.shards == 0 for work, _ in self._journal.clock.modify)
            if kinds == {EXACT} and probed_only and self._probes_again < PROBES_AGAIN:
                self._probes_again += 1
                self._time_modifying(PROBE_SHARE_AGAIN * result.seconds)
            return result

    def repay(
        self,
        shards: Iterable[int] | None = None,
        *,
        seconds: float | None = None,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
    ) -> Unlearned:
        """Clear debt by retraining exactly: of these shards, or of all that carry any.

        Args:
            shards: only these.
            seconds: as much as is predicted to fit into this time, first where an id is cleared by
                the fewest visits; for when the machine is idle.
            on_progress: as in :meth:`train`.
            cancel: stops when set; shards that were finished are repaid.

        Raises:
            LookupError: there is a time, and nothing has been timed yet.
            Cancelled: stopped by ``cancel``.
        """
        with self._working():
            result = repay(
                self._journal.plan,
                self.store,
                shards,
                seconds=seconds,
                clock=self._journal.clock,
                on_progress=on_progress,
                cancel=cancel,
                parallel=self.parallel,
                probe=self._probe(),
                commit=self._journal.commit_repayment,
            )
            self._journal.clock = result.clock
            if result.decision.routes:
                self._journal.record_outcome(entry_of(result, "repay"))
            return result

    def compare(
        self, *, on_progress: Progress = None, cancel: threading.Event | None = None
    ) -> Comparison:
        """Compare the unlearned models with training from scratch, which is run for it.

        Only shards that the last request hit, or that carry debt, are trained from scratch.

        Args:
            on_progress: as in :meth:`train`.
            cancel: stops when set.

        Raises:
            LookupError: nothing was unlearned yet, or the original was discarded.
        """
        if self._last is None:
            raise LookupError(
                "nothing was unlearned in this session yet: session.revoke([...]), then "
                "session.unlearn()"
            )
        if self._original is None:
            raise LookupError(
                "the original models were discarded, so there is nothing to compare with; "
                "session.ensemble holds the unlearned ones"
            )
        return compare(
            self._last,
            self.store,
            self._original,
            self.dataset,
            on_progress=on_progress,
            cancel=cancel,
            parallel=self.parallel,
        )

    def fork(self) -> Self:
        """A cheap branch in memory, to try another threshold on the same request."""
        with self._working(writes=False):
            other = object.__new__(type(self))
            other.__dict__.update(self.__dict__)
            other._work = threading.Lock()
            other.store = self.store.fork()
            other._journal = self._journal.fork(other.store)
            return other

    def discard_original(self) -> None:
        """Let go of the models from before the last unlearning, which are kept in memory only."""
        self._original = None

    def ledger(self) -> "pd.DataFrame":
        """Completed requests, oldest first."""
        return ledger_frame(entry for _, entry in self._journal.history.records)

    def certificate(self, *, name_ids: bool = False) -> Certificate:
        """What is forgotten, how, and what of it can be checked, as of now.

        Args:
            name_ids: list revoked ids by themselves, not by keyed digests.
        """
        store = self.store
        return certify(
            self._journal.plan,
            store,
            self._journal.history.records,
            provenance(self.dataset, self._journal.plan),
            head=store.head if isinstance(store, DiskStore) else None,
            secret=None if name_ids else self._journal.secret(),
            original_in_memory=self._original is not None,
        )

    # Inside

    @contextmanager
    def _working(self, writes: bool = True) -> Iterator[None]:
        if writes and isinstance(self.store, DiskStore):
            self.store.need_writable()
        if not self._work.acquire(blocking=False):
            raise RuntimeError(
                "this session is at work in another thread; wait for it, or cancel it there"
            )
        try:
            if writes:
                self._journal.settle_repaid()
            yield
        finally:
            self._work.release()

    def _need_training(self) -> None:
        if not self.trained:
            raise LookupError("the session is not trained yet; train first: session.train()")

    def _chosen_boundary(
        self, max_share: float | None, boundary: str | Boundary | None
    ) -> Boundary:
        if max_share is not None and boundary is not None:
            raise ValueError("max_share and boundary were both given; give one of them")
        if isinstance(max_share, str) or hasattr(max_share, "decide"):
            raise TypeError(
                f"{max_share!r} was given where a number is, the threshold max_share; give it as "
                f"boundary={max_share!r}"
            )
        if max_share is not None:
            return FixedBoundary(max_share)
        return self.boundary if boundary is None else BOUNDARIES.choose(boundary)

    def _probe(self, leaving: Int[np.ndarray, " request"] = NOTHING) -> Probe:
        """What approximations are looked at on; nothing of it is revoked, or about to be."""
        examples, plan = self.dataset.probe, self._journal.plan
        rows, there = examples.find(np.union1d(self._journal.history.revocations.ids, leaving))
        ids = np.delete(examples.ids, rows[there])[:PROBE_MAX]
        return Probe(plan.architecture, plan.spec.loss, *self.dataset.examples(ids))

    def _enqueue(self, queue: Queue) -> None:
        with self._working():
            self._journal.save(queue=queue)
