"""The session: one object that trains, revokes, unlearns and compares.

Each step is also a plain function on frozen values (:func:`~unlearnkit.training.train.train`,
:func:`~unlearnkit.unlearning.unlearn.unlearn` and so on). The session holds the current values,
checks arguments, and replaces the values after each step.
"""

import os
import threading
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from jaxtyping import Int

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.approximate.timing import time_large_batches
from unlearnkit.data.column_constants import warn_of_magnitudes
from unlearnkit.data.datasets import as_dataset, text_options
from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.groups import named_groups
from unlearnkit.display import plural
from unlearnkit.evaluation.amplification import Amplification, amplification
from unlearnkit.evaluation.comparison import Comparison, compare
from unlearnkit.evaluation.original import Original
from unlearnkit.evaluation.rehearsal import rehearse
from unlearnkit.interrupts import Cancelled, check, finishing, interruptible, stopped_by
from unlearnkit.metrics.tasks import require_classes, task_of
from unlearnkit.models.frozen.backbone import Frozen
from unlearnkit.models.frozen.features import features_of, with_features
from unlearnkit.models.losses import Loss
from unlearnkit.models.signature import Signature
from unlearnkit.progress import Progress
from unlearnkit.records.certificates.certificate import Certificate, certify
from unlearnkit.records.certificates.group_certificate import GroupCertificate, certify_group
from unlearnkit.records.journal import CommittedState, Journal
from unlearnkit.records.ledger import entry_of, ledger_frame
from unlearnkit.records.persistence import open_store, provenance, warn_of_changed_code
from unlearnkit.records.stored_settings import stored_settings
from unlearnkit.records.tombstones import Tombstones, as_tombstones, returned, tombstones_of
from unlearnkit.selection.held_out import held_out_frame
from unlearnkit.selection.queries import chosen_ids
from unlearnkit.store import DiskStore, MemoryStore, StoreError
from unlearnkit.store.footprint import Footprint, announced
from unlearnkit.threads import check_threads
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Clock
from unlearnkit.training.defaults import choose_model_and_spec
from unlearnkit.training.door import try_module
from unlearnkit.training.ensemble import Ensemble, assemble
from unlearnkit.training.kernels.dealing import threads_used
from unlearnkit.training.partition import Partition
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.spec import TrainSpec, as_recorded
from unlearnkit.training.train import TrainReport, bytes_at_work, train
from unlearnkit.training.workers import check_parallel
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import EXACT, Boundary, Decision
from unlearnkit.unlearning.boundary.spot_check import SpotCheck, check_once
from unlearnkit.unlearning.boundary.verdict import warn
from unlearnkit.unlearning.deadlines import Queue, as_deadline
from unlearnkit.unlearning.debt import debts_of, total_debt
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.expected_workload import GroupCosts, expected_share, group_costs
from unlearnkit.unlearning.inspection import PROBE_MAX, Probe
from unlearnkit.unlearning.repay import repay
from unlearnkit.unlearning.request import Request, check_pending, check_request, pending_of
from unlearnkit.unlearning.unlearn import Unlearned, unlearn
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

PROBE_SHARE = 0.01  # share of the training time that may be spent on timing large batches
# The first exact requests time large batches again, within this share of the request's time.
PROBES_AGAIN, PROBE_SHARE_AGAIN = 3, 0.05
NOTHING = np.empty(0, np.int64)
TRAINING = "training"  # the work of which the other steps ask whether it is running


class Session:
    """An ensemble that can forget: train, revoke, assess, decide, unlearn and compare.

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

    @own_settings()
    def __init__(
        self,
        data: Any = None,
        *,
        model: Any = None,
        hidden: tuple[int, ...] | None = None,
        num_shards: int | None = None,
        num_slices: int | None = None,
        epochs: int | None = None,
        epoch_rule: str | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        loss: str | Loss | None = None,
        seed: int | None = None,
        num_threads: int | None = None,
        kernel: str | None = None,
        device: str | None = None,
        tails: Iterable[int] | None = None,
        spec: TrainSpec | None = None,
        store: str | os.PathLike[str] | MemoryStore | DiskStore | None = None,
        aggregation: str = "mean-probability",
        partition: Partition | None = None,
        version: str | None = None,
        parallel: int | None = None,
        threads: int | None = None,
        tombstones: str | os.PathLike[str] | Tombstones | None = None,
    ) -> None:
        """Start a session. Nothing is trained yet.

        In a folder that holds a run, the session takes the run's dataset (if it has a name in
        ``DATASETS``), built-in model, settings of training and partition for whatever is not given.

        Args:
            data: the name of a dataset in ``DATASETS``, by default ``"digits"``; a
                :class:`~unlearnkit.data.examples.Dataset`; a pair (features, labels) of arrays or
                tensors; a pair (DataFrame, target column) or (``"file.csv"``, target column); a
                torch ``Dataset``; or a Hugging Face dataset. For options of reading call
                :func:`~unlearnkit.data.datasets.load`, ``from_arrays``, ``from_frame`` and so on
                yourself and pass the result.
            model: the architecture of the constituents: ``"logistic"`` (for regression
                ``"linear"``), ``"mlp"`` (the default), ``"cnn"``, a built-in model with options
                such as ``MLP((64,))``, a callable that returns a new ``nn.Module``, or a
                :class:`~unlearnkit.models.frozen.backbone.Frozen` backbone with a head.
            hidden: widths of the hidden layers of ``"mlp"``: by default one layer, of 64 units
                below 5,000 training examples and of 256 otherwise.
            num_shards: the number of shards, each of which trains one constituent. For this and
                all arguments up to ``tails``, None takes the value of ``spec``, else that of the
                run in the store, else the default, which was measured for data of this size
                (:func:`~unlearnkit.training.defaults.default_spec`): here 5 below 5,000 training
                examples and 10 otherwise.
            num_slices: the number of slices per shard; each ends in a checkpoint, from which
                retraining can start. By default 3 below 5,000 training examples and 5 otherwise.
            epochs: the training effort of a shard, in epochs, by default 20;
                :class:`~unlearnkit.training.spec.TrainSpec` distributes it over the slices.
            epoch_rule: how ``epochs`` determines the epochs of each stage: ``"sisa"`` (the
                default), ``"full"`` or ``"equal_work"``.
            batch_size: examples per step, by default 32.
            optimizer: ``"sgd"`` (the default), ``"adam"`` or ``"adamw"``.
            learning_rate: the step size, above 0 and constant during training. The default of SGD
                follows from the model, the number of inputs, the size of a shard, the batch size
                and the momentum (:func:`~unlearnkit.training.defaults.default_rate`), and is
                divided by the largest class weight of the loss; of ``"mlp"`` on ``"digits"`` it
                is 0.045. The default of the other optimizers is 0.003.
            momentum: the momentum of SGD, at least 0 and below 1, by default 0.9; other optimizers
                ignore it.
            weight_decay: the coefficient of L2 regularisation, at least 0, by default 0.0001.
            loss: a :class:`~unlearnkit.models.losses.Loss` or its name; cross-entropy by default,
                or squared error for regression. ``WeightedCrossEntropy((1, 5))`` weights classes.
            seed: the seed of partition, initial weights, batches and dropout masks; 0 by default.
            num_threads: compute threads of torch during training, by default 1. The resulting bits
                depend on it.
            kernel: ``"auto"`` (the default), or ``"loop"`` to train every model lane by lane.
            device: device for training: ``"cpu"`` (the default), ``"cuda"``, ``"cuda:1"`` and so
                on, or ``"auto"``. The resulting bits depend on it.
            tails: how many epochs before the end of the last stage weights are kept, from which an
                amend may replay. By default they follow from the length of the stage
                (:func:`~unlearnkit.training.spec.default_tails`); of ``"mlp"`` on ``"digits"``
                they are (3,). The resulting bits depend on it.
            spec: a :class:`~unlearnkit.training.spec.TrainSpec` with all settings of training; the
                arguments from ``num_shards`` to ``tails`` change single ones of them. Without
                ``spec`` the settings that are not given follow the size of the data.
            store: a folder that keeps checkpoints and ledger, and from which a later session
                resumes; or a :class:`~unlearnkit.store.DiskStore` or
                :class:`~unlearnkit.store.MemoryStore`. By default everything is kept in memory. If
                another process uses the folder, this session can only read it and warns;
                ``DiskStore(folder, wait_seconds=60)`` waits for the other process.
            aggregation: how the constituents' outputs are combined, a name in
                ``unlearnkit.training.ensemble.AGGREGATIONS``.
            partition: a :class:`~unlearnkit.training.partition.Partition` that assigns examples to
                shards and slices, instead of a random one.
            version: a text that identifies a model given as a callable. Change it whenever the
                code of the model changes.
            parallel: the number of worker processes that train shards at the same time; -1 uses
                all processors. The resulting bits are the same. None, the default, trains in this
                process. The attribute can be set at any time: ``session.parallel = 2``.
            threads: the number of threads of this process that train shards at the same time, each
                on its own core. The resulting bits do not depend on it. By default there is one
                thread for each core, and small models are trained in one thread, which is faster.
                The attribute can be set at any time: ``session.threads = 1``.
            tombstones: what earlier sessions have forgotten, as :meth:`tombstones` returned it, or
                the file in which it was saved. Rows of the data that were forgotten before, or
                belong to a forgotten group, are revoked before anything is trained, and a warning
                says how many they are. If models are there already, the rows are added to the
                pending request. A store on disk keeps the tombstones.

        Raises:
            FileNotFoundError: there is no such file of tombstones.
            KeyError: a dataset, model, loss or aggregation of this name is not known.
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, or arguments contradict each other.
            StoreError: the folder belongs to another run.

        Warns:
            UserWarning: inputs or targets are so large or so small that a built-in model learns
                badly; or rows of the data were forgotten before.
        """
        forgotten = as_tombstones(tombstones)
        stored = stored_settings(store)
        self.dataset: Dataset = (
            stored.dataset() if data is None else as_dataset(data, **_options(data, model))
        )
        stored = stored.of(self.dataset)
        given = {
            "num_shards": num_shards,
            "num_slices": num_slices,
            "epochs": epochs,
            "epoch_rule": epoch_rule,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "loss": loss,
            "seed": seed,
            "num_threads": num_threads,
            "kernel": kernel,
            "device": device,
            "tails": tails,
        }
        chosen = stored.chosen_model(model, hidden, self.dataset)
        spec = stored.chosen_spec(given) if spec is None else spec
        compute = getattr(spec, "num_threads", 1) if num_threads is None else num_threads
        self.dataset = with_features(self.dataset, chosen, compute)
        architecture, spec = choose_model_and_spec(
            self.dataset,
            chosen,
            hidden=hidden,
            version=stored.version if version is model is hidden is None else version,
            spec=spec,
            **given,
        )
        regression, width = self.dataset.is_regression, self.dataset.num_outputs
        Ensemble(architecture, spec.loss, (), aggregation, regression)  # checks the aggregation
        # This checks that the loss takes these labels and this number of classes.
        trial = self.dataset.train.labels.new_zeros((1, width) if regression else 1)
        spec.loss.value(torch.zeros(1, width), trial)
        self.aggregation = aggregation
        self.boundary = FixedBoundary()
        self._rehearsed: Clock | None = None
        check_parallel(parallel)
        self.parallel = parallel
        check_threads(threads)
        self.threads = threads
        self.store = open_store(store)
        self._work = threading.Lock()
        self._at_work = ""  # names the work while the lock is held
        if isinstance(self.store, DiskStore):
            spec = as_recorded(spec, (self.store.manifest or {}).get("spec"))
        if partition is None:
            partition = stored.partition(self.dataset.train, spec)
        plan = make_plan(self.dataset.train, architecture, spec, partition=partition)
        features = features_of(self.dataset.train)
        if architecture.described is not None and not self.store.keys and features is None:
            warn_of_magnitudes(self.dataset)
        try:
            self._journal = Journal(self.dataset, plan, self.store)
            if features is not None:
                self._journal.destroy_features()
                features.keep_in(self.store, plan.environment.digest)
                self._journal.destroy_features()  # those that a crash left in the store
            try_module(self._journal.plan)
            if features is not None and architecture.described and not self.store.keys:
                features.warn_of_magnitudes()
            warn_of_changed_code(self._journal.plan, self.store)
            self._pending: Int[np.ndarray, " request"] = self._journal.queue.ids
            self._revoke_returned(forgotten)
        except BaseException:
            if isinstance(self.store, DiskStore) and self.store is not store:
                self.store.close()  # otherwise a kept traceback would keep the folder locked
            raise
        if not self.trained and (text := self.footprint.warning()):
            warnings.warn(text, stacklevel=3)  # 3: the caller, beyond the decorator
        self._original = Original()
        self._last: Unlearned | None = None
        self._probes_again = 0

    def __repr__(self) -> str:
        spec = self.plan.spec
        state = "trained" if self.trained else "not trained"
        extra = ""
        for ids, what in ((self.revoked, "revoked"), (self._pending, "pending")):
            if len(ids):
                extra += f", {len(ids)} {what}"
                if (groups := self.dataset.count_groups(ids)) is not None:
                    extra += f" of {plural(groups, 'group')}"
        if self._journal.queue.first is not None:
            extra += f", due by {self._journal.queue.first:%Y-%m-%d %H:%M} UTC"
        if debts := self.debt:
            whose = self.dataset.count_groups(np.concatenate(list(debts.values())))
            of = "" if whose is None else f" of {plural(whose, 'group')}"
            extra += f", debt{of} in {plural(len(debts), 'shard')}"
        extra += announced(self.plan.checkpoint_bytes)
        return (
            f"Session({self.dataset.name}, {self.plan.architecture.title}, "
            f"{spec.num_shards} shards x {spec.num_slices} slices, {state}{extra})"
        )

    # State

    @property
    def plan(self) -> Plan:
        """The current plan: stages, partition and settings, without the revoked examples."""
        return self._journal.plan

    @property
    def spec(self) -> TrainSpec:
        """The settings of training."""
        return self._journal.plan.spec

    @property
    def footprint(self) -> Footprint:
        """The bytes that checkpoints take, and the peak memory of each step, before it is run."""
        plan = self._journal.plan
        folder = self.store.folder if isinstance(self.store, DiskStore) else None
        return Footprint(
            plan.architecture.state_bytes,
            sum(map(plan.alive, range(plan.num_shards))),
            plan.checkpoint_bytes,
            bytes_at_work(plan, self.threads),
            (1 + len(plan.spec.tail_epochs())) * plan.architecture.state_bytes,
            folder,
            threads_used(plan, plan.num_shards, self.threads),
        )

    @property
    def boundary(self) -> Boundary:
        """The boundary for calls that name none. Assign a name in ``BOUNDARIES`` or an object."""
        return self._boundary

    @boundary.setter
    def boundary(self, boundary: str | Boundary) -> None:
        self._boundary = BOUNDARIES.require(boundary)

    @property
    def clock(self) -> Clock:
        """The clock: measured rates of computation, from which seconds are predicted."""
        return self._journal.clock

    @property
    def error_model(self) -> ErrorModel:
        """The error model of approximations, fitted to past repayments."""
        return self._journal.history.error_model

    @property
    def spot_checks(self) -> tuple[SpotCheck, ...]:
        """The spot checks of all requests, oldest first; see ``spot_check`` of :meth:`unlearn`."""
        return self._journal.history.spot_checks

    @property
    def revoked(self) -> Int[np.ndarray, " id"]:
        """The ids that were forgotten by completed requests, ascending."""
        return self._journal.history.revocations.ids

    @property
    def pending(self) -> Int[np.ndarray, " id"]:
        """The ids that the next :meth:`unlearn` will forget, ascending."""
        return self._pending

    @property
    def queue(self) -> Queue:
        """The pending ids that have a deadline, and their groups. A store on disk keeps the ids."""
        queue = self._journal.queue
        return queue.with_groups(self.dataset.group_of_each(queue.ids))

    def due(self, ahead: timedelta = timedelta(0)) -> Int[np.ndarray, " due"]:
        """The pending ids whose deadline has passed, or passes within ``ahead``, ascending.

        Several requests executed together cost far less than one by one. So collect requests, and
        call :meth:`unlearn`, which executes all of them, only when one of them is due::

            if len(session.due(timedelta(hours=1))):
                session.unlearn()

        Whose they are ``session.dataset.group_names(session.due())`` says.

        Args:
            ahead: how far to look into the future.
        """
        return self._journal.queue.due(datetime.now(UTC) + ahead)

    @property
    def debt(self) -> dict[int, Int[np.ndarray, " debt"]]:
        """For each shard with debt, the ids that were removed from it only approximately."""
        return debts_of(self._journal.plan, self.store)

    @property
    def trained(self) -> bool:
        """Whether every shard that has examples also has a model."""
        plan = self._journal.plan
        alive = (shard for shard in range(plan.num_shards) if plan.alive(shard))
        last = plan.spec.num_slices
        return all(ShardModel(plan, self.store, shard).has(last) for shard in alive)

    @property
    def busy(self) -> bool:
        """Whether training or unlearning is running in any thread."""
        return self._work.locked()

    @property
    def ensemble(self) -> Ensemble:
        """The current models, combined; ``ensemble.probabilities(inputs)`` predicts with them.

        Raises:
            LookupError: the session is not trained yet.
        """
        signature = Signature.of(self.dataset)
        return assemble(self._journal.plan, self.store, self.aggregation, signature)

    @property
    def original(self) -> Ensemble | None:
        """The models before the last unlearning, for comparison; None if there are none.

        They are kept in memory only, until :meth:`discard_original`.
        """
        return self._original.ensemble

    @property
    def last(self) -> Unlearned | None:
        """The result of the last :meth:`unlearn` in this session; None before the first."""
        return self._last

    def accuracy(self) -> dict[str, float]:
        """The ensemble's accuracy, from 0 to 1, on the test part and on the probe part.

        Revoked examples are left out. The keys are ``"test"`` and ``"probe"``.

        Raises:
            LookupError: the session is not trained yet.
            ValueError: this is a regression; use :meth:`score`.
        """
        require_classes(self.dataset, "accuracy", "session.score() gives its R2")
        return self.score()

    @interruptible()
    @own_settings()
    def score(self) -> dict[str, float]:
        """The ensemble's accuracy, or R2 for regression, on the test part and on the probe part.

        Revoked examples are left out. R2 is the coefficient of determination: 1 for perfect
        predictions, 0 for predicting the mean target. The keys are ``"test"`` and ``"probe"``.

        Raises:
            LookupError: the session is not trained yet.
        """
        task = task_of(self.dataset)
        ensemble, gone = self.ensemble, self._journal.history.revocations
        parts = {"test": self.dataset.test, "probe": self.dataset.probe}
        ids = {part: examples.ids[gone.retained(examples)] for part, examples in parts.items()}
        result = {}
        for part, chosen in ids.items():
            inputs, labels = self.dataset.examples(chosen)
            result[part] = task.score(ensemble.probabilities(inputs), labels)
        return result

    @interruptible()
    def held_out_probabilities(self) -> "pd.DataFrame":
        """Predict each training example by the models that never saw it: those of other shards.

        The result is what packages that look for label errors ask for as out-of-sample
        probabilities. cleanlab, for example, takes the numbers and the labels as arrays::

            p = session.held_out_probabilities()
            labels = session.dataset.labels(p.index)
            issues = cleanlab.filter.find_label_issues(labels.numpy(), p.to_numpy())
            session.revoke(p.index[issues])

        The mean of the other constituents' probabilities is taken, whatever the aggregation of the
        ensemble. All examples of a group are in one shard, so no model that predicts them saw
        another example of the group.

        Returns:
            One row for each training example that is not revoked, with its id as index, and one
            column for each class, in the order of the class numbers. Of a regression the columns
            are the targets, and the values are predictions in their units.

        Raises:
            LookupError: the session is not trained yet.
            ValueError: fewer than two shards have models.
        """
        return held_out_frame(self)

    # Steps

    @interruptible(
        "finished stages are kept, and another call continues from them",
        "the training was completed before it could be stopped",
    )
    def train(
        self,
        *,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
        pause: threading.Event | None = None,
    ) -> TrainReport:
        """Train every shard that has no model yet; a second call has nothing to do.

        Debt is not repaid here; :meth:`repay` does that.

        Args:
            on_progress: with None, a progress bar appears on a terminal or in a notebook after one
                second; with True it appears at once, and with False never. A callable receives
                every :class:`~unlearnkit.progress.ProgressEvent` instead.
            cancel: setting this event stops training at once.
            pause: setting this event ends the call as soon as each shard in training has finished
                its stage. No work is lost: the next call continues, to the same bits.

        Returns:
            The stages that were trained, with their visits and seconds.

        Raises:
            Cancelled: ``cancel`` was set; finished stages are kept.
            NotFiniteError: the training of a shard diverged; finished stages are kept.
            RuntimeError: the session is busy in another thread.
        """
        with self._working(TRAINING):
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
                threads=self.threads,
            )
            clock = self._journal.clock.observe(report.timed, report.tick)
            if report.runs:
                clock = clock.observe_pace(report.cpu_seconds, report.seconds)
            self._journal.clock = clock
            self._journal.repeated += report.repeated
            if report.runs:
                if not self._journal.clock.modify and not report.paused:
                    spent = report.seconds if report.cpu_seconds is None else report.cpu_seconds
                    self._time_modifying(PROBE_SHARE * spent - report.probe_seconds)
                self._journal.save()
            return report

    def _time_modifying(self, budget: float) -> None:
        """Time a few large batches for the clock, within a budget in CPU seconds."""
        for timed in time_large_batches(self._journal.plan, self.store, budget):
            self._journal.clock = self._journal.clock.observe_probe(*timed)

    @interruptible(completed="the examples were added to the request before it could be stopped")
    @own_settings()
    def revoke(
        self,
        ids: int | Iterable[int] | None = None,
        *,
        group: Hashable = None,
        groups: Iterable[Hashable] | None = None,
        label: int | str | None = None,
        count: int | None = None,
        share: float | None = None,
        query: str | None = None,
        by_group: bool = False,
        seed: int = 0,
        deadline: datetime | timedelta | None = None,
    ) -> Request:
        """Add examples to the pending request. :meth:`unlearn` then forgets them.

        Give ``ids``, or groups, or ``query``, or a random choice by ``label``, ``count`` and
        ``share``::

            session.revoke([3, 141])
            session.revoke(group="ann")
            session.revoke(count=3, by_group=True)
            session.revoke(label=7, count=20)
            session.revoke(query="label == 3 and loss > 2")

        Args:
            ids: the ids of the examples.
            group: name of a group of examples, such as a person, if the data have groups. All its
                examples are revoked, those of the probe and test parts too, which evaluations do
                not read from then on.
            groups: names of several groups.
            label: a class, by number or name: all its examples, or those that ``count`` or
                ``share`` draw from it.
            count: how many examples are drawn at random, from the class or from all.
            share: which share of the examples is drawn at random, above 0 and at most 1.
            query: a condition on the examples' columns; see
                :func:`~unlearnkit.selection.queries.query_ids`.
            by_group: whether ``count`` and ``share`` draw whole groups instead of examples.
            seed: the seed of the random choice.
            deadline: when the examples have to be forgotten: a ``datetime``, or a ``timedelta``
                from now. A store on disk keeps requests with a deadline, and :meth:`due` lists
                them. A request without a deadline ends with the session.

        Returns:
            The request: the ids that were added.

        Raises:
            KeyError: an id, a group or the class is not known.
            LookupError: the query needs losses, and the session is not trained yet.
            TypeError: an id is not a whole number.
            ValueError: no examples would remain, arguments contradict each other, the query is not
                valid, or groups are named and the data have none.
            RuntimeError: there is a deadline, and the session is busy in another thread.
        """
        gone = self._journal.history.revocations
        ids = chosen_ids(
            self.dataset,
            self._journal.plan,
            self.store,
            gone.with_request(self._pending),
            ids,
            groups=named_groups(group, groups),
            label=label,
            count=count,
            share=share,
            query=query,
            seed=seed,
            by_group=by_group,
        )
        request = check_request(ids, self.dataset, gone)
        merged = np.union1d(self._pending, request.ids)
        check_request(merged, self.dataset, gone)  # together they must leave examples to train on
        if deadline is not None:
            self._enqueue(self._journal.queue.with_request(request.ids, as_deadline(deadline)))
        self._pending = merged
        return request

    @interruptible(completed="the examples were withdrawn before it could be stopped")
    def withdraw(
        self,
        ids: int | Iterable[int] | None = None,
        *,
        group: Hashable = None,
        groups: Iterable[Hashable] | None = None,
    ) -> None:
        """Remove ids from the pending request.

        Args:
            ids: the ids to remove; without any argument all are removed.
            group: name of a group whose pending examples are removed.
            groups: names of several groups.

        Raises:
            TypeError: an id is not a whole number.
            KeyError: an id is not in the dataset or not pending, or a group is not known or has no
                pending example; in this case no id is removed.
            ValueError: ids and groups are both given, or the data have no groups.
            RuntimeError: an id has a deadline, and the session is busy in another thread.
        """
        named = named_groups(group, groups)
        if named is not None:
            if ids is not None:
                raise ValueError("ids and groups were both given; give one of them")
            ids = pending_of(named, self.dataset, self._pending)
        gone = self._pending if ids is None else check_pending(ids, self.dataset, self._pending)
        queue = self._journal.queue.without(gone.tolist())
        if len(queue) < len(self._journal.queue):
            self._enqueue(queue)
        self._pending = np.setdiff1d(self._pending, gone)

    def workload(self) -> Workload:
        """Estimate what exact retraining for the pending request would cost, without doing it.

        ``workload.visits`` counts example gradients; ``workload.share`` is their share of
        retraining all shards from scratch.

        Raises:
            LookupError: the session is not trained yet.
        """
        return self.assess().workload

    def group_costs(self) -> GroupCosts:
        """What exact retraining costs if one group is forgotten, or several together.

        The costs depend on the plan alone, so the session need not be trained. They leave the
        pending request and debt out; :meth:`workload` counts both.

        Raises:
            ValueError: the data have no groups.
        """
        return group_costs(self._journal.plan, self.dataset.named_grouping())

    def expected_share(self, num_requests: int = 1) -> float:
        """What requests cost on average, executed together, as a share of training from scratch.

        Requests are for one group each, or for one example where the data have no groups, and come
        in proportion to the propensities, or uniformly without propensities. The pending request
        and debt do not count::

            session.expected_share(10)  # such as the requests of a month

        Args:
            num_requests: number of requests.

        Raises:
            TypeError: it is not a whole number.
            ValueError: there are not as many groups or examples that may leave, or all would.
        """
        return expected_share(self._journal.plan, num_requests)

    @interruptible()
    @own_settings()
    def assess(
        self, *, method: str | Method | None = None, amend: str | Amend | None = None
    ) -> Assessment:
        """Estimate workload, costs and debt of the pending request, without executing it.

        Several boundaries can decide on one assessment, which is faster than several calls of
        :meth:`preview`::

            assessment = session.assess()
            [assessment.decide(uk.FixedBoundary(share)) for share in (0.1, 0.2, 0.3)]

        Args:
            method: the method of modification whose cost is estimated, as in :meth:`unlearn`.
            amend: the amend whose cost is estimated, as in :meth:`unlearn`.

        Raises:
            LookupError: the session is not trained yet.
            KeyError: no method or amend has this name.
            TypeError: an object lacks a part of its protocol.
        """
        self._need_training()
        approximator = Approximator.of(
            self._journal.plan,
            METHODS.choose(method),
            AMENDS.choose(amend),
            probe=self._probe(self._pending),
            error_model=self._journal.history.error_model,
        )
        if not self.busy:
            self._rehearse()
        return assess(
            self._journal.plan,
            self.store,
            self._pending,
            self._journal.clock,
            approximator,
            self.threads,
        )

    def preview(
        self,
        max_share: float | None = None,
        *,
        boundary: str | Boundary | None = None,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
        spot_check: bool | str | None = None,
    ) -> Decision:
        """Show what a boundary would decide on the pending request, without executing it.

        Args:
            max_share: the threshold of a fixed boundary, as in :meth:`unlearn`.
            boundary: another boundary, as in :meth:`unlearn`.
            method: the method of modification whose cost is estimated, as in :meth:`unlearn`.
            amend: the amend whose cost is estimated, as in :meth:`unlearn`.
            spot_check: whether the prediction includes a spot check, as in :meth:`unlearn`.

        Returns:
            The decision: exact or approximate for each shard, with the predicted seconds.

        Raises:
            LookupError: the session is not trained yet.
            KeyError: no boundary, method or amend has this name.
            TypeError: an object lacks a part of its protocol.
            ValueError: ``max_share`` and ``boundary`` are both given, or ``spot_check`` is a string
                other than ``"auto"``.
        """
        self._need_training()
        chosen = self._chosen_boundary(max_share, boundary)
        check = check_once(spot_check, self.spot_checks)
        return self.assess(method=method, amend=amend).decide(chosen, check)

    def unlearn(
        self,
        max_share: float | None = None,
        *,
        boundary: str | Boundary | None = None,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
        spot_check: bool | str | None = None,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
    ) -> Unlearned:
        """Forget the pending examples: retrain or modify each shard, as a boundary decides.

        Without pending examples nothing is changed.

        Args:
            max_share: the threshold of a
                :class:`~unlearnkit.unlearning.boundary.fixed.FixedBoundary`, from 0 to 1. With 1
                every shard is retrained exactly, with 0 every shard is modified.
            boundary: another boundary: a name in ``BOUNDARIES`` or an object. If neither is given,
                :attr:`boundary` decides.
            method: how a shard is modified: a name in ``METHODS`` or an object. The default is
                staged influence (for convolutional networks its last-layer form).
            amend: how a modified shard is amended: a name in ``AMENDS`` or an object. The default
                is replay.
            spot_check: whether one of the modified shards is retrained exactly as well, to measure
                what modifying removed there; it keeps the exact model. The result is in
                ``unlearned.spot_check`` and in the ledger. It tells a training setting in which
                approximation fails, not a single bad request, so one is enough for each trained
                ensemble. ``"auto"``, the default, checks once, at the first approximate request
                where that takes at most a tenth of the visits of retraining all hit shards,
                unless the boundary has a deadline. A check of another method or amend than the
                default does not count as this one. True checks in any case, and False never.
            on_progress: progress bar or callable, as in :meth:`train`.
            cancel: setting this event stops the work; nothing is changed then.

        Returns:
            The decision, the new plan, seconds, and the debt before and after.

        Raises:
            LookupError: the session is not trained yet.
            KeyError: no boundary, method or amend has this name.
            TypeError: an object lacks a part of its protocol.
            ValueError: ``max_share`` and ``boundary`` are both given, or ``spot_check`` is a string
                other than ``"auto"``.
            NotFiniteError: exact retraining diverged; the request stays pending.
            Cancelled: ``cancel`` was set.
            RuntimeError: the session is busy in another thread.

        Warns:
            UserWarning: modified shards are doubtful, or less than half of the gap was removed in
                the spot check.
        """
        chosen = self._chosen_boundary(max_share, boundary)
        how = METHODS.choose(method), AMENDS.choose(amend)
        check = check_once(spot_check, self.spot_checks)
        self._need_training()
        result = self._unlearn(chosen, *how, check, on_progress, cancel)
        if result.spot_check is not None and result.spot_check.fails:
            warnings.warn(result.spot_check.sentence, stacklevel=2)
        warn(result.decision.warning, 2)
        return result

    @interruptible(
        completed="the request was completed before it could be stopped; see session.last"
    )
    def _unlearn(
        self,
        boundary: Boundary,
        method: Method | None,
        amend: Amend | None,
        spot_check: bool | str,
        on_progress: Progress,
        cancel: threading.Event | None,
    ) -> Unlearned:
        with self._working("unlearning"):
            # A fixed threshold needs no prediction: it is worth no more memory where the models are
            # on disk, and no time where nothing is modified.
            fixed = boundary.max_share if isinstance(boundary, FixedBoundary) else None
            if fixed is None or not (isinstance(self.store, DiskStore) or fixed >= 1):
                self._rehearse(cancel)
            original, request = self.ensemble, self._pending
            owed = total_debt(self.debt)

            def commit(plan: Plan, decision: Decision) -> None:
                if len(request):
                    self._journal.commit_request(
                        request,
                        plan,
                        decision,
                        owed,
                        method=method or default_method(plan),
                        amend=amend or Replay(),
                    )
                    self._pending = np.setdiff1d(self._pending, request)

            result = unlearn(
                self._journal.plan,
                self.store,
                request,
                boundary,
                clock=self._journal.clock,
                method=method,
                amend=amend,
                on_progress=on_progress,
                cancel=cancel,
                parallel=self.parallel,
                threads=self.threads,
                probe=self._probe(request),
                error_model=self._journal.history.error_model,
                commit=commit,
                spot_check=spot_check,
            )
            with finishing():
                result = replace(result, num_groups=self.dataset.count_groups(request))
                self._take_note(result, original)
            return result

    @interruptible(
        "the shards finished by then are repaid",
        "the debt was repaid before it could be stopped",
    )
    def repay(
        self,
        shards: Iterable[int] | None = None,
        *,
        seconds: float | None = None,
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
    ) -> Unlearned:
        """Clear debt by retraining shards exactly.

        Args:
            shards: the shards to repay; None repays all shards with debt.
            seconds: a time budget, for example while the machine is idle. Only the shards that are
                predicted to fit into it are repaid, beginning with those that need the fewest
                visits for each id cleared.
            on_progress: progress bar or callable, as in :meth:`train`.
            cancel: setting this event stops the work; the shards finished by then are repaid.

        Returns:
            The decision, seconds, and the debt before and after.

        Raises:
            LookupError: ``seconds`` is given, and nothing has been timed yet.
            Cancelled: ``cancel`` was set.
            RuntimeError: the session is busy in another thread.
        """
        with self._working("a repayment"):
            result = repay(
                self._journal.plan,
                self.store,
                shards,
                seconds=seconds,
                clock=self._journal.clock,
                on_progress=on_progress,
                cancel=cancel,
                parallel=self.parallel,
                threads=self.threads,
                probe=self._probe(),
                commit=self._journal.commit_repayment,
            )
            self._journal.clock = result.clock
            if result.decision.routes:
                self._journal.record_outcome(entry_of(result, "repay"))
            return result

    @interruptible()
    @own_settings()
    def compare(
        self, *, on_progress: Progress = None, cancel: threading.Event | None = None
    ) -> Comparison:
        """Compare the unlearned models with models retrained from scratch.

        The retraining is part of the call. It covers only the shards that the last request hit and
        those that carry debt.

        Args:
            on_progress: progress bar or callable, as in :meth:`train`.
            cancel: setting this event stops the work.

        Returns:
            Metrics, distances of parameters and scores; ``comparison.bit_identical`` says whether
            all compared models are identical, and ``comparison.to_frame()`` lists the metrics.

        Raises:
            LookupError: this session has not unlearned anything yet, or the original was discarded.
            Cancelled: ``cancel`` was set.
        """
        if self._last is None:
            raise LookupError(
                "this session has not unlearned anything yet; call session.revoke([...]) and "
                "session.unlearn() first"
            )
        original = self._original.ensemble
        if original is None:
            raise LookupError(
                "the original models were discarded, so there is nothing to compare with; "
                "session.ensemble holds the unlearned ones"
            )
        return compare(
            self._last,
            self.store,
            original,
            self.dataset.without_test(self.revoked),
            on_progress=on_progress,
            cancel=cancel,
            parallel=self.parallel,
            threads=self.threads,
        )

    @interruptible()
    def amplification(
        self,
        shard: int | None = None,
        *,
        rates: Iterable[float] = (),
        on_progress: Progress = None,
        cancel: threading.Event | None = None,
    ) -> Amplification:
        """Measure how chaotic the training is, and so how much approximations can remove.

        A shard is trained once more, from slightly changed initial weights, and the outputs on the
        probe are compared. This costs one S-th of training, or twice that before a shard is
        trained, and for each of ``rates`` twice as much again. Nothing is stored or changed::

            session.amplification(rates=[0.01])

        Args:
            shard: the shard to train; by default the first one that is trained.
            rates: further learning rates at which to measure.
            on_progress: progress bar or callable, as in :meth:`train`.
            cancel: setting this event stops the work.

        Returns:
            The amplification, with a sentence that says what it means.

        Raises:
            KeyError: there is no such shard, or it has no examples.
            ValueError: a learning rate is not above 0.
            Cancelled: ``cancel`` was set.
        """
        return amplification(
            self._journal.plan,
            self.store,
            self._probe(),
            shard=shard,
            rates=rates,
            on_progress=on_progress,
            cancel=cancel,
        )

    def fork(self) -> Self:
        """Copy the session in memory, for example to try another boundary on the same request.

        The copy shares checkpoints with the session, so it is fast; neither changes the other.
        Only :meth:`discard_original` reaches both, if both hold the models of the same request.

        >>> session = Session("digits", model="logistic", epochs=2, seed=0)
        >>> report = session.train()
        >>> branch = session.fork()
        >>> request = branch.revoke([3, 141])
        >>> len(branch.pending), len(session.pending)
        (2, 0)
        """
        with self._working("copying the session", writes=False):
            other = object.__new__(type(self))
            other.__dict__.update(self.__dict__)
            other._work, other._at_work = threading.Lock(), ""
            other.store = self.store.fork()
            other._journal = self._journal.fork(other.store)
            other.dataset = other._journal.dataset
            return other

    def discard_original(self) -> None:
        """Delete the models from before the last unlearning, which are kept in memory only.

        They remember the forgotten examples; :meth:`compare` needs them. Panels that compared
        release them too, and so do forks that were made after the unlearning. The functions of
        unlearnkit are taken out of the traceback of Python's last uncaught error, because a
        traceback keeps local variables.

        What you hold yourself is not reached: a ``Comparison`` or an ensemble in a variable or in a
        notebook's ``Out``, an exception that you kept, a fork from before the unlearning, a saved
        copy. Memory is freed, not overwritten.
        """
        self._original.discard()

    def on_discard(self, callback: Callable[[], object]) -> None:
        """Call a method once, when the present original is discarded or replaced.

        Args:
            callback: a method, to which only a weak reference is kept. It is to release what its
                object holds of :attr:`original`, and runs in whatever thread discards.
        """
        self._original.watch(callback)

    def ledger(self) -> "pd.DataFrame":
        """A table with one row for each completed request or repayment, oldest first.

        Its last columns are the shard that was spot-checked and the share of the gap of doing
        nothing that modifying had removed there; they are missing where no shard was checked.
        """
        return ledger_frame(self._journal.history.records)

    def tombstones(self) -> Tombstones:
        """What was forgotten, as keyed digests, for sessions on data in which it may return.

        Data come back from backups, and new rows of a person arrive after their request::

            session.tombstones().save("tombstones.json")
            later = uk.Session(new_data, tombstones="tombstones.json")

        They cover all completed requests, and the tombstones that this session was given. A group
        is forgotten once all of its rows are. Save them before you delete rows from the data: a
        store on disk opens with the data that it was trained on only.
        """
        state = self._journal.state
        revoked, given = state.history.revocations.ids, self._journal.tombstones
        return tombstones_of(self.dataset, revoked, self._journal.secret(), given)

    @overload
    def certificate(self, *, name_ids: bool = False) -> Certificate: ...

    @overload
    def certificate(
        self, *, group: Hashable, exact_by: datetime | timedelta | None = None
    ) -> GroupCertificate: ...

    def certificate(
        self,
        *,
        group: Hashable = None,
        exact_by: datetime | timedelta | None = None,
        name_ids: bool = False,
    ) -> Certificate | GroupCertificate:
        """A document that states which examples were forgotten, how, and how to check it.

        Args:
            group: name of a group, such as a person. The document is then a page for that person,
                which lists all of their rows in plain and holds nothing of anybody else.
            exact_by: on the page of a group, when the debt of its rows will be cleared, as you
                promise it: a ``datetime``, or a ``timedelta`` from now.
            name_ids: whether revoked ids are listed in plain text. By default keyed digests replace
                them, so that the certificate does not disclose whose data were removed.

        Raises:
            KeyError: the group is not known.
            ValueError: a group is named and the data have none, or ``exact_by`` is given without
                a group.
        """
        if group is None and exact_by is not None:
            raise ValueError("exact_by goes with the page of a group; give group= as well")
        secret = None if name_ids and group is None else self._journal.secret()
        while True:
            state = self._journal.state
            try:
                certificate = (
                    self._certify(state, secret)
                    if group is None
                    else self._certify_group(state, secret, group, exact_by)
                )
            except (KeyError, StoreError):
                if self._journal.state == state:
                    raise
                continue  # another thread has unlearned meanwhile, and destroyed what was read
            if self._journal.state == state:
                return certificate

    def _certify(self, state: CommittedState, secret: bytes | None) -> Certificate:
        return certify(
            state.plan,
            self.store,
            state.history.records,
            provenance(self.dataset, state.plan),
            head=state.head,
            secret=secret,
            original_in_memory=self.original is not None,
            repeated=state.repeated,
        )

    def _certify_group(
        self,
        state: CommittedState,
        secret: bytes | None,
        group: Hashable,
        exact_by: datetime | timedelta | None,
    ) -> GroupCertificate:
        return certify_group(
            group,
            self.dataset,
            state.plan,
            debts_of(state.plan, self.store),
            state.history.records,
            pending=self._pending,
            queue=self._journal.queue,
            head=state.head,
            secret=secret if state.head else None,
            original_in_memory=self.original is not None,
            exact_by=None if exact_by is None else as_deadline(exact_by),
        )

    # Helpers

    @contextmanager
    def _working(self, work: str, writes: bool = True) -> Iterator[None]:
        """Do one piece of work at a time; ``work`` names it in the error that others meet."""
        if writes and isinstance(self.store, DiskStore):
            self.store.need_writable()
        if not self._work.acquire(blocking=False):
            raise self._busy_error()
        self._at_work = work
        try:
            with own_settings():
                if writes:
                    self._journal.settle_repaid()
                try:
                    yield
                except BaseException:
                    with suppress(OSError):  # the error of the work is the one to tell
                        self._journal.commit_finished()
                    raise
        finally:
            self._at_work = ""
            self._work.release()

    def _busy_error(self) -> RuntimeError:
        return RuntimeError(
            f"{self._at_work or 'other work'} is running: this session is at work in another "
            "thread; wait for that work or cancel it"
        )

    def _revoke_returned(self, forgotten: Tombstones) -> None:
        """Revoke the rows that tombstones name, those that the store keeps among them."""
        journal, store = self._journal, self.store
        if not (journal.tombstones | forgotten).marks:
            return
        found = returned(journal.tombstones | forgotten, self.dataset, journal.history.revocations)
        late = bool(store.keys or self.debt) or getattr(store, "read_only", False)
        journal.take_tombstones(forgotten)
        if len(found.ids) and not late:
            journal.commit_returned(found.ids)
        elif len(found.ids):
            self._pending = np.union1d(self._pending, found.ids)
        if len(found.ids) or (found.num_unread and forgotten.marks):
            warnings.warn(found.sentence(late), stacklevel=4)  # 4: the caller, as in __init__

    def _need_training(self) -> None:
        if not self.trained and self._at_work == TRAINING:
            raise self._busy_error()  # it is being trained, so "train first" would be no help
        if not self.trained:
            raise LookupError("the session is not trained yet; train first: session.train()")

    def _rehearse(self, cancel: threading.Event | None = None) -> None:
        """Time small modifications on a copy, once, if none was timed.

        What fails there does not count: the request itself meets it and says so.
        """
        clock = self._journal.clock
        known = not clock.calibrated or any(work.shards for work, _ in clock.modify)
        if known or clock is self._rehearsed or not len(self._pending):
            return
        with stopped_by(cancel):
            check()
            try:
                given = self._journal.plan, self.store, clock, self._probe()
                rehearsed = rehearse(*given, threads=self.threads)
            except Cancelled:
                raise
            except Exception:
                rehearsed = clock
        if self._journal.clock is clock:
            self._journal.clock = self._rehearsed = rehearsed

    def _chosen_boundary(
        self, max_share: float | None, boundary: str | Boundary | None
    ) -> Boundary:
        if max_share is not None and boundary is not None:
            raise ValueError("max_share and boundary were both given; give only one of them")
        if isinstance(max_share, str) or hasattr(max_share, "decide"):
            raise TypeError(
                f"max_share={max_share!r} is a {type(max_share).__name__}, but a threshold is a "
                f"number from 0 to 1; give a boundary as boundary={max_share!r}"
            )
        if max_share is not None:
            return FixedBoundary(max_share)
        return self.boundary if boundary is None else BOUNDARIES.choose(boundary)

    def _probe(self, leaving: Int[np.ndarray, " request"] = NOTHING) -> Probe:
        """Probe examples for checking approximations, without revoked and pending ids."""
        examples, plan = self.dataset.probe, self._journal.plan
        rows, there = examples.find(np.union1d(self._journal.history.revocations.ids, leaving))
        ids = np.delete(examples.ids, rows[there])[:PROBE_MAX]
        return Probe(plan.architecture, plan.spec.loss, *self.dataset.examples(ids))

    def _take_note(self, result: Unlearned, original: Ensemble) -> None:
        """Keep the result of a request that was committed."""
        self._journal.clock = result.clock
        if len(result.ids):
            earlier, self._original, self._last = self._original, Original(original), result
            earlier.tell()
            self._journal.record_outcome(entry_of(result))
        # Without new timings, a first one that was far too slow would rule out modification
        # forever: only a modification corrects it.
        kinds = {route.kind for route in result.decision.routes}
        probed_only = all(work.shards == 0 for work, _ in self._journal.clock.modify)
        if kinds == {EXACT} and probed_only and self._probes_again < PROBES_AGAIN:
            self._probes_again += 1
            spent = result.seconds if result.cpu_seconds is None else result.cpu_seconds
            self._time_modifying(PROBE_SHARE_AGAIN * spent)

    def _enqueue(self, queue: Queue) -> None:
        with self._working("noting a deadline"):
            self._journal.save(queue=queue)


def _options(data: Any, model: Any) -> dict[str, Any]:
    """Return how data are read for a model: a frozen backbone takes texts as they are."""
    return text_options(data) if isinstance(model, Frozen) else {}
