"""Estimators with scikit-learn's interface: ``fit``, ``predict``, and ``unlearn``.

Use them with grid search, cross-validation and pipelines. They call the same functions as
:class:`~unlearnkit.session.Session`, but keep no ledger and store nothing on disk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from unlearnkit.approximate import Amend, Method
from unlearnkit.data.coercion import check_contents, constants_of, targets_of
from unlearnkit.data.column_constants import (
    Constants,
    by_column,
    one_constant,
    scaled,
    warn_of_magnitudes,
)
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Linear, Logistic
from unlearnkit.store import MemoryStore
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Clock
from unlearnkit.training.defaults import default_spec
from unlearnkit.training.ensemble import assemble
from unlearnkit.training.plan import make_plan
from unlearnkit.training.spec import TrainSpec
from unlearnkit.training.train import train
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.debt import debts_of
from unlearnkit.unlearning.request import Revocations, check_request
from unlearnkit.unlearning.unlearn import Unlearned, unlearn

FEW = 30  # with fewer rows the default number of shards leaves at least 6 rows in each


# A dataclass gives each estimator an __init__ whose signature names all parameters, the shared ones
# too: scikit-learn reads the parameters from this signature.
@dataclass(eq=False, repr=False)
class _Unlearnable(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The parameters and methods that both estimators share."""

    model: Any = "mlp"
    _: KW_ONLY
    num_shards: int | None = None
    num_slices: int | None = None
    epochs: int = 20
    batch_size: int | None = None
    optimizer: str = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    offset: Constants = 0.0
    scale: Constants = 1.0
    random_state: int | np.random.RandomState | None = None

    @own_settings()
    def _fit(self, dataset: Dataset, model: Any, aggregation: str) -> Self:
        """Train an ensemble from scratch on the training part of a dataset."""
        self.dataset_ = dataset
        architecture = as_architecture(model, dataset.feature_shape, dataset.num_outputs)
        if architecture.described is not None:
            warn_of_magnitudes(dataset)
        spec = self._spec(architecture.name)
        self.store_ = MemoryStore()
        self.plan_ = make_plan(dataset.train, architecture, spec)
        report = train(self.plan_, self.store_, on_progress=False)
        self.clock_ = Clock().observe(report.timed, report.tick)
        self.ensemble_ = assemble(self.plan_, self.store_, aggregation)
        self.revoked_: Int[np.ndarray, " row"] = np.empty(0, np.int64)
        self.unlearned_: Unlearned | None = None
        return self

    @own_settings()
    def _outputs(self, X: Any) -> Float[Tensor, "row output"]:
        """Outputs of the ensemble: probabilities of classes, or standardised targets."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=self._precision, allow_nd=True)
        inputs = self._examples(X, np.zeros(len(X), np.int64)).inputs()
        if self.plan_.architecture.described is not None:
            # In float32 the last digits of an output depend on the row's position in the batch.
            inputs = inputs.double()
        return self.ensemble_.probabilities(inputs)

    @own_settings()
    def unlearn(
        self,
        rows: int | Iterable[int],
        *,
        boundary: str | Boundary | float = 1.0,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
    ) -> Self:
        """Forget rows of the X that was passed to ``fit``.

        Args:
            rows: row numbers, counted from 0. Rows that were forgotten before are ignored.
            boundary: the rule that decides for each shard whether it is retrained exactly or
                modified: a boundary, its name in ``BOUNDARIES``, or the threshold of a
                ``FixedBoundary``. With 1, the default, every shard is retrained exactly; with 0
                every shard is modified.
            method: how a shard is modified: a name in ``METHODS`` or an object; None chooses the
                default for the model.
            amend: what amends a modified shard: a name in ``AMENDS`` or an object; None chooses
                replay.

        Returns:
            The estimator itself, as ``fit`` does.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            TypeError: a row number is not a whole number, or an object lacks a part of its
                protocol.
            KeyError: there is no such row, or no boundary, method or amend has this name.
            ValueError: no row would remain.
        """
        check_is_fitted(self)
        request = check_request(rows, self.dataset_, Revocations((self.revoked_,)))
        given = boundary.item() if isinstance(boundary, np.generic) else boundary
        chosen = FixedBoundary(given) if isinstance(given, int | float) else given
        result = unlearn(
            *(self.plan_, self.store_, request.ids, chosen),
            clock=self.clock_,
            method=method,
            amend=amend,
            on_progress=False,
        )
        self.plan_, self.clock_, self.unlearned_ = result.plan, result.clock, result
        self.ensemble_ = assemble(self.plan_, self.store_, self.ensemble_.aggregation)
        self.revoked_ = np.union1d(self.revoked_, request.ids)
        return self

    @property
    def debt_(self) -> dict[int, Int[np.ndarray, " debt"]]:
        """For each shard with debt, the rows that were removed from it only approximately."""
        check_is_fitted(self)
        return debts_of(self.plan_, self.store_)

    def _spec(self, model: str) -> TrainSpec:
        spec, rows = default_spec(self.dataset_, model), len(self.dataset_.train)
        if rows < FEW:
            spec = spec.with_(num_shards=max(1, rows // 6), num_slices=min(rows, spec.num_slices))
        given = {
            # A parameter grid made with NumPy holds NumPy scalars.
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
            if name in spec.to_dict() and value is not None
        }
        return spec.with_(**given, seed=_seed(self.random_state))

    @property
    def _by_column(self) -> bool:
        return by_column(self.offset) or by_column(self.scale)

    @property
    def _precision(self) -> type[np.floating[Any]]:
        """The precision in which X is read; constants for each column are applied in float64."""
        return np.float64 if self._by_column else np.float32

    def _examples(self, X: Float[np.ndarray, "row *feature"], labels: np.ndarray) -> Examples:
        ids, marks = np.arange(len(X)), torch.as_tensor(labels)
        features = torch.tensor(X)  # a copy, which later changes to the caller's array do not reach
        if self._by_column:
            names = getattr(self, "feature_names_in_", None)
            features = scaled(features, self.offset, self.scale, names)
            check_contents("X", features, marks, 0)
            return Examples(ids, features, marks)
        offset, scale = one_constant("offset", self.offset), one_constant("scale", self.scale)
        return Examples(ids, features, marks, offset, scale)


@dataclass(eq=False, repr=False, kw_only=True)
class UnlearnableClassifier(ClassifierMixin, _Unlearnable):  # type: ignore[misc]  # no types
    """A sharded and sliced classifier that can forget rows of its training data.

    It is trained on all rows: no probe or test part is split off.

    A preceding pipeline step that learns from the data (StandardScaler, PCA, a vocabulary) keeps
    what it learned from rows that are forgotten here. Scale X by constants that you know
    beforehand instead: ``offset`` and ``scale``.

    Args:
        model: the architecture of the constituents: ``"logistic"``, ``"mlp"``, ``"cnn"``, a
            built-in model with options such as ``MLP((64,))``, or a callable that returns a new
            ``nn.Module``. ``"cnn"`` takes X of shape (rows, channels, height, width).
        num_shards: the number of shards, each of which trains one constituent. None chooses the
            default of a session for data of this size, or, below 30 rows, one shard for every six
            rows.
        num_slices: the number of slices per shard; each ends in a checkpoint. None chooses the
            default for data of this size.
        epochs: the training effort of a shard, in epochs;
            :class:`~unlearnkit.training.spec.TrainSpec` distributes it over the slices.
        batch_size: examples per step. None chooses the default for data of this size.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: the step size, constant during training. None chooses the default for data
            of this size.
        momentum: the momentum of SGD, at least 0 and below 1; other optimizers ignore it.
        weight_decay: the coefficient of L2 regularisation, at least 0.
        aggregation: how the constituents' outputs are combined, a name in
            ``unlearnkit.training.ensemble.AGGREGATIONS``.
        offset: a constant that is subtracted from X: one number, or one for each column as a
            sequence, an array, or a mapping by name or number of the column. It must not be
            estimated from the data. :func:`~unlearnkit.data.suggestions.suggest_scaling` prints
            constants to copy.
        scale: a constant by which X is divided after that, given as ``offset`` is. It must not be
            estimated from the data.
        random_state: the seed of partition, initial weights and batches. With None or a
            ``RandomState`` the seed is drawn at each ``fit``.

    Attributes:
        classes_: the distinct values of y, ascending. A class stays when its last row is forgotten.
        n_features_in_: the number of columns of X.
        feature_names_in_: the column names, if X was a DataFrame whose column names are strings.
        dataset_: the training rows as a dataset; row numbers are the ids.
        plan_: the current plan: spec, partition and stages.
        store_: the checkpoints, in memory.
        ensemble_: the current constituents.
        clock_: measured rates, for boundaries that weigh seconds.
        revoked_: the rows that were forgotten, ascending.
        unlearned_: the result of the last :meth:`unlearn`, or None before the first.

    >>> X, y = np.eye(30, 4, dtype="float32"), np.arange(30) % 2
    >>> classifier = UnlearnableClassifier("logistic", epochs=2, random_state=0).fit(X, y)
    >>> classifier.unlearn([3, 14]).revoked_
    array([ 3, 14])
    >>> classifier.unlearned_.debt_after  # retraining is exact and leaves no debt
    0
    """

    aggregation: str = "mean-probability"

    @own_settings()
    def fit(self, X: Any, y: Any) -> Self:
        """Train on all rows from scratch.

        Args:
            X: features of shape (rows, columns), or (rows, ...) if the model takes more dimensions.
            y: the class of each row: integers, strings or booleans.

        Raises:
            KeyError, TypeError: constants name unknown columns, or are not numbers.
            ValueError: X or y has missing, infinite or non-numeric values, y holds fewer than two
                classes, constants do not fit the columns, or there are too few rows for this number
                of shards and slices.

        Warns:
            UserWarning: inputs are so large or so small that a built-in model learns badly.
        """
        X, y = validate_data(self, X, y, dtype=self._precision, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_[0]!r}; pass rows of at least two classes"
            )
        examples = self._examples(X, labels)
        none = self._examples(X[:0], labels[:0])
        names = tuple(map(str, self.classes_))
        dataset = Dataset("X", examples, none, none, len(names), names)
        return self._fit(dataset, self.model, self.aggregation)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """The ensemble's probability of each class, in the order of ``classes_``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: X has missing, infinite or non-numeric values, or another number of columns
                than the X passed to ``fit``.
        """
        probabilities: np.ndarray = self._outputs(X).numpy()
        return probabilities

    def predict(self, X: Any) -> Shaped[np.ndarray, " row"]:
        """The most probable class of each row.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: as for :meth:`predict_proba`.
        """
        chosen = self.predict_proba(X).argmax(1)
        predicted: np.ndarray = self.classes_[chosen]
        return predicted


@dataclass(eq=False, repr=False, kw_only=True)
class UnlearnableRegressor(RegressorMixin, _Unlearnable):  # type: ignore[misc]  # no types
    """A sharded and sliced regressor that can forget rows of its training data.

    It minimises the squared error and predicts the mean of its constituents' predictions. Its
    fitted attributes are those of :class:`UnlearnableClassifier`, without ``classes_``.

    Args:
        model: the architecture of the constituents: ``"linear"``, ``"mlp"``, ``"cnn"``, a built-in
            model with options such as ``MLP((64,))``, or a callable that returns a new
            ``nn.Module``. ``"logistic"`` means ``"linear"`` here.
        num_shards: the number of shards, each of which trains one constituent. None chooses the
            default of a session for data of this size, or, below 30 rows, one shard for every six
            rows.
        num_slices: the number of slices per shard; each ends in a checkpoint. None chooses the
            default for data of this size.
        epochs: the training effort of a shard, in epochs;
            :class:`~unlearnkit.training.spec.TrainSpec` distributes it over the slices.
        batch_size: examples per step. None chooses the default for data of this size.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: the step size, constant during training. None chooses the default for data
            of this size.
        momentum: the momentum of SGD, at least 0 and below 1; other optimizers ignore it.
        weight_decay: the coefficient of L2 regularisation, at least 0.
        offset: a constant that is subtracted from X: one number, or one for each column as a
            sequence, an array, or a mapping by name or number of the column. It must not be
            estimated from the data. :func:`~unlearnkit.data.suggestions.suggest_scaling` prints
            constants to copy.
        scale: a constant by which X is divided after that, given as ``offset`` is. It must not be
            estimated from the data.
        target_offset: a constant that is subtracted from y, or one for each column of y.
        target_scale: a constant by which y is divided after that, or one for each column of y. The
            default learning rate suits targets whose magnitude is then about 1.
        random_state: the seed of partition, initial weights and batches. With None or a
            ``RandomState`` the seed is drawn at each ``fit``.

    >>> X = np.linspace(-1, 1, 60, dtype="float32")[:, None]
    >>> y = 300 + 40 * X[:, 0]
    >>> regressor = UnlearnableRegressor(target_offset=300, target_scale=40, random_state=0)
    >>> regressor.fit(X, y).unlearn([3, 14]).predict(X[:1]).round(-1)
    array([260.])
    """

    target_offset: float | Sequence[float] = 0.0
    target_scale: float | Sequence[float] = 1.0

    @own_settings()
    def fit(self, X: Any, y: Any) -> Self:
        """Train on all rows from scratch.

        Args:
            X: features of shape (rows, columns), or (rows, ...) if the model takes more dimensions.
            y: targets of shape (rows,) or (rows, targets).

        Raises:
            KeyError, TypeError: constants name unknown columns, or are not numbers.
            ValueError: X or y has missing, infinite or non-numeric values, constants do not fit the
                columns, or there are too few rows for this number of shards and slices.

        Warns:
            UserWarning: inputs or targets are so large or so small that a built-in model learns
                badly.
        """
        X, y = validate_data(
            self, X, y, dtype=self._precision, allow_nd=True, multi_output=True, y_numeric=True
        )
        self._flat = y.ndim == 1
        width = 1 if self._flat else y.shape[1]
        offset = constants_of("target_offset", self.target_offset, width)
        scale = constants_of("target_scale", self.target_scale, width)
        targets = targets_of("y", torch.tensor(y), offset, scale).numpy()
        examples = self._examples(X, targets)
        none = self._examples(X[:0], targets[:0])
        dataset = Dataset(
            "X", examples, none, none, 0, (), target_offset=offset, target_scale=scale
        )
        logistic = self.model == "logistic" or type(self.model) is Logistic
        return self._fit(dataset, Linear() if logistic else self.model, "mean-probability")

    def __sklearn_tags__(self) -> Tags:
        """Declare that y may have several columns."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Float[np.ndarray, "row *target"]:
        """The mean prediction of the constituents, in the units and the shape of y.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: X has missing, infinite or non-numeric values, or another number of columns
                than the X passed to ``fit``.
        """
        outputs = self._outputs(X)
        predicted: np.ndarray = self.dataset_.in_units(outputs).numpy()
        return predicted[:, 0] if self._flat else predicted


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    drawn: int = check_random_state(random_state).randint(2**31 - 1)
    return drawn
