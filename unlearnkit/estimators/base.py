"""The parameters and methods that both estimators share."""

import os
import threading
import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from unlearnkit.approximate import Amend, Method
from unlearnkit.data.coercion import (
    check_contents,
    check_dtype,
    tell_lost_columns,
    whole_numbers,
)
from unlearnkit.data.column_constants import (
    Constants,
    by_column,
    one_constant,
    scaled,
    warn_of_magnitudes,
)
from unlearnkit.data.conversion import as_tensor, listed
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.reading.groups import named_groups, numbers_of_groups
from unlearnkit.data.reading.propensities import propensities_of
from unlearnkit.estimators.reading import validated
from unlearnkit.evaluation.comparison import RETAIN_MAX, Comparison, affected_shards, compare
from unlearnkit.evaluation.original import cut_last_error
from unlearnkit.models.builtin import MLP
from unlearnkit.models.frozen.features import features_of, with_features
from unlearnkit.models.losses import Loss
from unlearnkit.models.signature import Signature
from unlearnkit.progress import Progress
from unlearnkit.records.tombstones import (
    NOTHING_FORGOTTEN,
    Tombstones,
    as_tombstones,
    returned,
    tombstones_of,
)
from unlearnkit.store import MemoryStore
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Clock
from unlearnkit.training.defaults import choose_model_and_spec, default_spec
from unlearnkit.training.ensemble import Ensemble, assemble
from unlearnkit.training.plan import make_plan
from unlearnkit.training.spec import TrainSpec
from unlearnkit.training.train import train
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.spot_check import SpotCheck, check_once
from unlearnkit.unlearning.boundary.verdict import warn
from unlearnkit.unlearning.debt import debts_of
from unlearnkit.unlearning.repay import repay
from unlearnkit.unlearning.request import Revocations, check_request
from unlearnkit.unlearning.unlearn import Unlearned, unlearn

FEW = 30  # with fewer rows the default number of shards leaves at least 6 rows in each
SETTINGS = (  # parameters that are fields of a TrainSpec
    *("num_shards", "num_slices", "epochs", "epoch_rule", "batch_size", "optimizer"),
    *("learning_rate", "momentum", "weight_decay", "num_threads", "kernel", "device"),
    "tails",
)
KEY_BYTES = 32  # of the key of tombstones


# A dataclass gives each estimator an __init__ whose signature names all parameters, the shared ones
# too: scikit-learn reads the parameters from this signature.
@dataclass(eq=False, repr=False)
class Unlearnable(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters and methods that both estimators share."""

    model: Any = "mlp"
    _: KW_ONLY
    hidden: tuple[int, ...] | None = None
    num_shards: int | None = None
    num_slices: int | None = None
    epochs: int | None = None
    epoch_rule: str | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    loss: str | Loss | None = None
    num_threads: int | None = None
    kernel: str | None = None
    device: str | None = None
    tails: Iterable[int] | None = None
    spec: TrainSpec | None = None
    aggregation: str = "mean-probability"
    version: str | None = None
    parallel: int | None = None
    threads: int | None = None
    offset: Constants = 0.0
    scale: Constants = 1.0
    dtype: torch.dtype | None = None
    random_state: int | np.random.RandomState | None = None

    # Those of estimators that were pickled before there were tombstones.
    _key, _tombstones = b"", NOTHING_FORGOTTEN

    @own_settings()
    def fit(
        self,
        X: Any,
        y: Any,
        groups: Any = None,
        propensity: Any = None,
        tombstones: Any = None,
        **unsupported: Any,
    ) -> Self:
        """Train on all rows from scratch.

        Args:
            X: features of shape (rows, columns), or (rows, ...) if the model takes more dimensions.
            y: one class or target per row; a regressor also takes several targets per row.
            groups: the group that each row belongs to, such as the person who can ask for its
                removal; one name or number per row. Groups are no features. All rows of a group
                are in one shard and slice, where it is small enough, so that forgetting it is
                cheap; :meth:`unlearn` takes groups by name then.
            propensity: how likely each row is to be forgotten, as relative rates of 0 or more: one
                per row, or a mapping from the name of each group to its rate. Those who are likely
                to leave are put where forgetting them is cheap; see
                :func:`~unlearnkit.training.partition.make_partition`.
            tombstones: what was forgotten before, as :meth:`tombstones` or that of a session
                returned it, or the file in which it was saved; True if nothing was yet. Rows that
                were forgotten before, or are of a forgotten group, are forgotten at once: no model
                is trained on them, and a warning says how many they are. The estimator then keeps
                tombstones of its own requests as well, for :meth:`tombstones`.
            unsupported: nothing, or None. ``sample_weight`` is refused with the reason.

        Raises:
            KeyError, TypeError: constants name unknown columns, or are not numbers; a setting has
                the wrong type or an unknown name; propensities are no numbers, or not those of the
                groups; ``tombstones`` are of another kind; or ``sample_weight`` is given.
            FileNotFoundError: there is no such file of tombstones.
            ValueError: X, y or groups have missing values, X or y infinite or non-numeric ones, y
                holds fewer than two classes, there is not one group per row, propensities are
                negative, infinite, all 0 or not one per row, constants do not fit the columns,
                settings are out of range, there are too few rows for this number of shards and
                slices, or all rows were forgotten before.
            NotFiniteError: the training of a shard diverged.

        Warns:
            UserWarning: inputs or targets are so large or so small that a built-in model learns
                badly; or rows were forgotten before.
        """
        kept = tombstones is not None and tombstones is not False
        forgotten = as_tombstones(tombstones if kept and tombstones is not True else None)
        unsupported = {name: value for name, value in unsupported.items() if value is not None}
        if unsupported:
            raise TypeError(_unsupported(unsupported))
        dataset = self._prepared(X, y)
        dataset = dataset if groups is None else _grouped(dataset, groups)
        dataset = dataset if propensity is None else _with_rates(dataset, propensity)
        found = returned(forgotten, dataset, Revocations())
        self._fit(dataset, found.ids)
        self._key = os.urandom(KEY_BYTES) if kept else b""
        self._tombstones = NOTHING_FORGOTTEN
        if kept:
            self._tombstones = tombstones_of(dataset, found.ids, self._key, forgotten)
        if len(found.ids):
            self._erase()
            warnings.warn(found.sentence(False), stacklevel=3)  # 3: beyond the decorator
        return self

    def _prepared(self, X: Any, y: Any) -> Dataset:
        """Check X and y of ``fit``, and return them as the training part of a dataset."""
        raise NotImplementedError

    def _read(self, X: Any, y: Any) -> Examples:
        """Check rows like those of ``fit``, and return them as examples with the ids 0, 1, ..."""
        raise NotImplementedError

    def _chosen_loss(self, dataset: Dataset) -> str | Loss | None:
        return self.loss

    def _fit(self, dataset: Dataset, revoked: Int[np.ndarray, " row"]) -> None:
        """Train an ensemble from scratch on the training part of a dataset, without some rows."""
        plain = self.hidden is None and isinstance(self.model, str) and self.model == "mlp"
        given = self._given(dataset)
        compute = given["num_threads"] or getattr(self.spec, "num_threads", 1)
        dataset = with_features(dataset, self.model, compute)
        architecture, spec = choose_model_and_spec(
            dataset,
            MLP() if plain else self.model,
            hidden=self.hidden,
            version=self.version,
            spec=self.spec,
            **given,
        )
        regression, width = dataset.is_regression, dataset.num_outputs
        Ensemble(architecture, spec.loss, (), self.aggregation, regression)  # checks its name
        trial = dataset.train.labels.new_zeros((1, width) if regression else 1)
        spec.loss.value(torch.zeros(1, width), trial)  # checks that the loss fits the labels
        if architecture.described is not None and architecture.backbone is None:
            warn_of_magnitudes(dataset)
        self.dataset_ = dataset
        self.store_ = MemoryStore()
        self.plan_ = make_plan(dataset.train, architecture, spec, revoked=revoked)
        given = {"parallel": self.parallel, "threads": plain_value(self.threads)}
        report = train(self.plan_, self.store_, on_progress=False, **given)
        timed = Clock().observe(report.timed, report.tick)
        self.clock_ = timed.observe_pace(report.cpu_seconds, report.seconds)
        signature = Signature.of(dataset)
        self.ensemble_ = assemble(self.plan_, self.store_, self.aggregation, signature)
        self.revoked_: Int[np.ndarray, " row"] = revoked
        self.unlearned_: Unlearned | None = None
        self.spot_checks_: tuple[SpotCheck, ...] = ()
        self.repaid_: Unlearned | None = None
        self.original_: Ensemble | None = None

    def _given(self, dataset: Dataset) -> dict[str, Any]:
        """The settings that are given, as fields of a spec; None leaves a field as it is."""
        given = {name: plain_value(getattr(self, name)) for name in SETTINGS}
        rows = len(dataset.train)
        if self.spec is None and rows < FEW:
            slices = min(rows, default_spec(dataset).num_slices)
            few = {"num_shards": max(1, rows // 6), "num_slices": slices}
            given |= {name: few[name] for name in few if given[name] is None}
        if self.spec is None or self.random_state is not None:
            given["seed"] = _seed(self.random_state)
        return {**given, "loss": self._chosen_loss(dataset)}

    @own_settings()
    def _outputs(self, X: Any) -> Float[Tensor, "row output"]:
        """Outputs of the ensemble: probabilities of classes, or standardised targets."""
        check_is_fitted(self)
        X = validated(self, X, reset=False, **self._reading)
        inputs = self._examples(X, np.zeros(len(X), np.int64)).inputs()
        if self.plan_.architecture.described is not None:
            # In float32 the last digits of an output depend on the row's position in the batch.
            inputs = inputs.double()
        return self.ensemble_.probabilities(inputs)

    @own_settings()
    def unlearn(
        self,
        rows: int | Iterable[int] | None = None,
        *,
        group: Hashable = None,
        groups: Iterable[Hashable] | None = None,
        boundary: str | Boundary | float = 1.0,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
        spot_check: bool | str | None = None,
        on_progress: Progress = False,
        cancel: threading.Event | None = None,
    ) -> Self:
        """Forget rows of the X that was passed to ``fit``.

        Afterwards the estimator holds no features of these rows, on whatever route they were
        removed: ``dataset_`` and ``plan_`` have NaN in their place, and your own X does not
        change. (The classes of rows that were removed approximately stay until :meth:`repay`.)
        During the call the estimator's copy of X takes twice its memory.
        ``original_``, the models that were trained on the rows, stays for :meth:`compare` until
        :meth:`discard_original`.

        Args:
            rows: row numbers, counted from 0. Rows that were forgotten before are ignored.
            group: name of the group whose rows are forgotten, instead of ``rows``, if ``fit`` was
                given groups. Its name is forgotten as well.
            groups: names of several groups.
            boundary: the rule that decides for each shard whether it is retrained exactly or
                modified: a boundary, its name in ``BOUNDARIES``, or the threshold of a
                ``FixedBoundary``. With 1, the default, every shard is retrained exactly; with 0
                every shard is modified.
            method: how a shard is modified: a name in ``METHODS`` or an object; None chooses the
                default for the model.
            amend: what amends a modified shard: a name in ``AMENDS`` or an object; None chooses
                replay.
            spot_check: whether one of the modified shards is retrained exactly as well, which
                shows what modifying removes in this training setting; it keeps the exact model, and
                the result is the last of ``spot_checks_``. ``"auto"``, the default, checks once
                after each ``fit``, if it takes at most a tenth of the visits of retraining all hit
                shards, and no deadline is set. A check of another method or amend than the default
                does not count as this one.
            on_progress: True shows a progress bar; a callable receives the events
                (:mod:`unlearnkit.progress`).
            cancel: setting this event stops the work; nothing is changed then.

        Returns:
            The estimator itself, as ``fit`` does; the outcome is in ``unlearned_``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            TypeError: a row number is not a whole number, an object lacks a part of its protocol,
                or not exactly one of ``rows``, ``group`` and ``groups`` is given.
            KeyError: there is no such row, or no group, boundary, method or amend has this name.
            ValueError: no row would remain, groups are named and ``fit`` was given none, or
                ``spot_check`` is a string other than ``"auto"``.
            NotFiniteError: exact retraining diverged; nothing is changed then.
            Cancelled: ``cancel`` was set.

        Warns:
            UserWarning: modified shards are doubtful, or less than half of the gap was removed in
                the spot check.
        """
        check_is_fitted(self)
        earlier = getattr(self, "spot_checks_", ())
        check = check_once(spot_check, earlier)
        named = named_groups(group, groups)
        if (rows is None) is (named is None):
            raise TypeError("unlearn needs row numbers, group= or groups=; give one of them")
        if named is not None:
            rows = self.dataset_.ids_of_groups(named)
        assert rows is not None
        request = check_request(rows, self.dataset_, Revocations((self.revoked_,)))
        given = boundary.item() if isinstance(boundary, np.generic) else boundary
        chosen = FixedBoundary(given) if isinstance(given, int | float) else given
        original = self.ensemble_
        result = unlearn(
            *(self.plan_, self.store_, request.ids, chosen),
            clock=self.clock_,
            method=method,
            amend=amend,
            on_progress=on_progress,
            cancel=cancel,
            parallel=self.parallel,
            threads=plain_value(self.threads),
            spot_check=check,
        )
        self.clock_ = result.clock
        if len(request) == 0:
            return self
        result = replace(result, num_groups=request.num_groups)
        self.plan_, self.unlearned_, self.original_ = result.plan, result, original
        earlier_ids, self.revoked_ = self.revoked_, np.union1d(self.revoked_, request.ids)
        if self._key:
            self._tombstones = tombstones_of(
                self.dataset_, self.revoked_, self._key, self._tombstones, erased=earlier_ids
            )
        self._erase()
        warn(result.decision.warning, 3)  # 3: beyond the decorator
        if result.spot_check is not None:
            self.spot_checks_ = (*earlier, result.spot_check)
            if result.spot_check.fails:
                warnings.warn(result.spot_check.sentence, stacklevel=3)  # 3: beyond the decorator
        return self

    def _erase(self) -> None:
        """Assemble the current models, and drop what is held of rows that were forgotten."""
        aggregation, signature = self.ensemble_.aggregation, self.ensemble_.signature
        self.ensemble_ = assemble(self.plan_, self.store_, aggregation, signature)
        self.plan_ = self.plan_.without_contents(self.debt_.values())
        grouping, numbers = self.dataset_.grouping, self.plan_.examples.groups
        if grouping is not None and numbers is not None:
            left = numbers[self.plan_.retained]
            grouping = grouping.without_names(np.setdiff1d(np.arange(len(grouping)), left))
        self.dataset_ = replace(self.dataset_, train=self.plan_.examples, grouping=grouping)
        if self.unlearned_ is not None:
            self.unlearned_ = replace(self.unlearned_, plan=self.plan_)

    def tombstones(self) -> Tombstones:
        """What was forgotten, as keyed digests, for ``fit`` on data in which it may return.

        ::

            classifier.fit(X, y, groups, tombstones=True).unlearn(group="ann")
            classifier.tombstones().save("tombstones.json")
            classifier.fit(X_of_a_backup, y, groups, tombstones="tombstones.json")

        They cover all requests since ``fit``, and the tombstones that it was given. The estimator
        and its pickles hold them with their key, so that whoever has one can check guesses about
        who was forgotten; without ``tombstones=`` it holds nothing of the kind.

        Raises:
            LookupError: ``fit`` was given no ``tombstones``.
        """
        check_is_fitted(self)
        if not self._key:
            raise LookupError(
                "this estimator keeps no tombstones, which would let others check guesses about "
                "what it has forgotten; ask for them by fit(..., tombstones=True)"
            )
        return self._tombstones

    @property
    def debt_(self) -> dict[int, Int[np.ndarray, " debt"]]:
        """For each shard with debt, the rows that were removed from it only approximately."""
        check_is_fitted(self)
        return debts_of(self.plan_, self.store_)

    def repay(
        self,
        shards: Iterable[int] | None = None,
        *,
        seconds: float | None = None,
        on_progress: Progress = False,
        cancel: threading.Event | None = None,
    ) -> Self:
        """Clear debt by retraining shards exactly.

        Args:
            shards: the shards to repay; None repays all shards with debt.
            seconds: a time budget. Only the shards that are predicted to fit into it are repaid,
                beginning with those that need the fewest visits for each row cleared.
            on_progress: as in :meth:`unlearn`.
            cancel: setting this event stops the work; the shards finished by then are repaid.

        Returns:
            The estimator itself; the outcome is in ``repaid_``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            LookupError: ``seconds`` is given, and nothing has been timed yet.
            Cancelled: ``cancel`` was set.
        """
        check_is_fitted(self)
        try:
            self.repaid_ = repay(
                self.plan_,
                self.store_,
                shards,
                seconds=seconds,
                clock=self.clock_,
                on_progress=on_progress,
                cancel=cancel,
                parallel=self.parallel,
                threads=plain_value(self.threads),
            )
            self.clock_ = self.repaid_.clock
        finally:  # an interrupted repayment keeps the shards that it finished
            self._erase()
        return self

    @own_settings()
    def compare(
        self,
        X: Any = None,
        y: Any = None,
        *,
        forgotten: tuple[Any, Any] | None = None,
        on_progress: Progress = False,
        cancel: threading.Event | None = None,
    ) -> Comparison:
        """Compare the unlearned models with models retrained from scratch.

        The retraining is part of the call. It covers only the shards that the last call of
        :meth:`unlearn` hit and those that carry debt. The estimator holds neither test rows nor
        forgotten rows, so what is measured on them needs them once more.

        Args:
            X: features of test rows, which were not trained on; None measures nothing on them.
            y: their classes or targets.
            forgotten: features and classes or targets of the rows that the last :meth:`unlearn`
                forgot, in ascending order of their row numbers (``X[rows], y[rows]``); None
                measures nothing on them.
            on_progress: as in :meth:`unlearn`.
            cancel: setting this event stops the work.

        Returns:
            Metrics, distances of parameters and scores; ``comparison.bit_identical`` says whether
            all compared models are identical, and ``comparison.to_frame()`` lists the metrics.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            LookupError: nothing has been unlearned yet, or the original was discarded.
            TypeError: only one of X and y is given.
            ValueError: the rows do not fit those of ``fit``, or their number is not that of the
                forgotten rows.
            Cancelled: ``cancel`` was set.
        """
        check_is_fitted(self)
        last = self.unlearned_
        if last is None:
            raise LookupError("nothing has been unlearned yet; call unlearn([...]) first")
        original = getattr(self, "original_", None)  # pickles of earlier versions have none
        if original is None:
            raise LookupError(
                "the original models were discarded, so there is nothing to compare with; "
                "ensemble_ holds the unlearned ones"
            )
        if (X is None) != (y is None):
            raise TypeError("compare needs X and y together; give both, or none of them")
        train = self.plan_.examples
        none = train.ids[:0]
        test = none if X is None else np.arange(len(train), len(train) + len(np.asarray(y)))
        rows = None if forgotten is None else self._read(*forgotten)
        if rows is not None and len(rows) != len(last.ids):
            raise ValueError(
                f"forgotten holds {len(rows)} rows, but the last call of unlearn forgot "
                f"{len(last.ids)}; give those of the row numbers {listed(last.ids)}, ascending"
            )
        data = self.dataset_.without_groups()
        dataset = replace(
            data,
            train=self._measured(last.ids, rows),
            probe=replace(data.probe, computed=None),
            test=replace(data.test, computed=None)
            if X is None
            else replace(self._read(X, y), ids=test),
        )
        features = features_of(train)
        if features is not None:  # the raw rows are given here; their features are not kept
            dataset = features.of_dataset(dataset)
        return compare(
            last if rows is not None else replace(last, ids=none),
            self.store_,
            original,
            dataset,
            shards=affected_shards(last.plan, self.ensemble_, last.ids),
            on_progress=on_progress,
            cancel=cancel,
            parallel=self.parallel,
            threads=plain_value(self.threads),
        )

    def _measured(self, ids: Int[np.ndarray, " request"], rows: Examples | None) -> Examples:
        """The retained rows on which a comparison measures, and the forgotten rows if given."""
        train = self.plan_.examples
        kept = np.flatnonzero(self.plan_.retained)[:RETAIN_MAX]
        found, features, labels = kept, train.features[kept], train.labels[kept]
        if rows is not None:
            found = np.concatenate([found, ids])
            features = torch.cat([features, rows.features])
            labels = torch.cat([labels, rows.labels])
        order = np.argsort(found)
        return Examples(found[order], features[order], labels[order], train.offset, train.scale)

    def discard_original(self) -> None:
        """Delete the models from before the last :meth:`unlearn`.

        They were trained on the forgotten rows, and a pickle of the estimator holds them until
        then; :meth:`compare` needs them. The functions of unlearnkit are taken out of the traceback
        of Python's last uncaught error, because a traceback keeps local variables. What you hold
        yourself, such as a ``Comparison``, a copy of the estimator or an exception that you kept,
        is not reached. Memory is freed, not overwritten.
        """
        check_is_fitted(self)
        self.original_ = None
        cut_last_error()

    @property
    def _by_column(self) -> bool:
        return by_column(self.offset) or by_column(self.scale)

    @property
    def _reading(self) -> dict[str, Any]:
        """How scikit-learn reads X; constants for each column are applied in float64."""
        check_dtype(self.dtype)
        real = np.float64 if self._by_column else np.float32
        return {"dtype": real if self.dtype is None else "numeric", "allow_nd": True}

    def _tell_lost_digits(self, X: Any) -> None:
        """Warn of whole numbers in X that float32 cannot tell apart."""
        rows = np.asarray(X)
        large = rows.dtype.kind in "iuf" and rows.itemsize >= 4 and rows.dtype != np.float32
        if large and self.dtype is None:
            kept = None
            if self._by_column:
                names = getattr(self, "feature_names_in_", None)
                kept = scaled(as_tensor(rows, "X", "features"), self.offset, self.scale, names)
            tell_lost_columns(
                "X",
                rows.reshape(len(rows), -1),
                None if kept is None else kept.flatten(1).numpy(),
            )

    def _examples(self, X: Shaped[np.ndarray, "row *feature"], labels: np.ndarray) -> Examples:
        ids, marks = np.arange(len(X)), torch.as_tensor(labels)
        if self.dtype is not None:
            if self._by_column or (self.offset, self.scale) != (0, 1):
                raise ValueError(
                    f"offset and scale do not apply to features of type {self.dtype}, which stay "
                    "as they are; leave out the constants, or dtype="
                )
            return Examples(ids, whole_numbers("X", torch.tensor(X)), marks)
        features = torch.tensor(X)  # a copy, which later changes to the caller's array do not reach
        if self._by_column:
            names = getattr(self, "feature_names_in_", None)
            features = scaled(features, self.offset, self.scale, names)
            check_contents("X", features, marks, 0)
            return Examples(ids, features, marks)
        offset, scale = one_constant("offset", self.offset), one_constant("scale", self.scale)
        return Examples(ids, features, marks, offset, scale)


def _grouped(dataset: Dataset, groups: Any) -> Dataset:
    """Return the dataset of ``fit`` with the group of each row."""
    train = dataset.train
    numbers, grouping = numbers_of_groups(groups, {"train": len(train)})
    none = replace(dataset.test, groups=numbers[:0])
    return replace(
        dataset, train=replace(train, groups=numbers), probe=none, test=none, grouping=grouping
    )


def _with_rates(dataset: Dataset, propensity: Any) -> Dataset:
    """Return the dataset of ``fit`` with the propensity of each row."""
    train = dataset.train
    rates = propensities_of(propensity, len(train), train.groups, dataset.grouping)
    return replace(dataset, train=replace(train, propensity=rates))


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    drawn: int = check_random_state(random_state).randint(2**31 - 1)
    return drawn


def plain_value(value: Any) -> Any:
    """Return a NumPy scalar, such as a parameter grid made with NumPy holds, as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _unsupported(given: Mapping[str, Any]) -> str:
    """Say why ``fit`` does not take these arguments."""
    if "sample_weight" not in given:
        return f"fit got unexpected arguments {listed(list(given))}; give only X and y"
    return (
        "sample_weight is not supported: training, corrections and comparisons count every row "
        "once, so that a row takes all of its influence with it when it is forgotten; weight "
        "classes by class_weight={...}, or repeat a row in X and forget all its copies together"
    )
