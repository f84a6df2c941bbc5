"""Estimators in scikit-learn's manner: fit, predict, and unlearn.

They stand beside :class:`~unlearnkit.session.Session`, on the same plain functions, for code that
speaks scikit-learn: grid search, cross-validation, pipelines.
"""

from collections.abc import Iterable, Sequence
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
from unlearnkit.data.coercion import constants_of, targets_of
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Linear, Logistic
from unlearnkit.store import MemoryStore
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

FEW = 30  # rows below which there are fewer shards by default: 5 of 6 rows, 2 in a slice


class _Unlearnable(BaseEstimator):  # type: ignore[misc]  # no types
    """What the two estimators share: everything but y."""

    def _fit(self, dataset: Dataset, model: Any, aggregation: str) -> Self:
        """Train on all of a dataset's training part, from scratch."""
        self.dataset_ = dataset
        architecture = as_architecture(model, dataset.feature_shape, dataset.num_outputs)
        spec = self._spec(architecture.name)
        self.store_ = MemoryStore()
        self.plan_ = make_plan(dataset.train, architecture, spec)
        report = train(self.plan_, self.store_, on_progress=False)
        self.clock_ = Clock().observe(report.timed, report.tick)
        self.ensemble_ = assemble(self.plan_, self.store_, aggregation)
        self.revoked_: Int[np.ndarray, " row"] = np.empty(0, np.int64)
        self.unlearned_: Unlearned | None = None
        return self

    def _outputs(self, X: Any) -> Float[Tensor, "row output"]:
        """What the ensemble gives for some rows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32, allow_nd=True)
        inputs = self._examples(X, np.zeros(len(X), np.int64)).inputs()
        if self.plan_.architecture.described is not None:
            # In float32 a row's last digits depend on its place in the batch, by up to 1.5e-7.
            inputs = inputs.double()
        return self.ensemble_.probabilities(inputs)

    def unlearn(
        self,
        rows: int | Iterable[int],
        *,
        boundary: str | Boundary | float = 1.0,
        method: str | Method | None = None,
        amend: str | Amend | None = None,
    ) -> Self:
        """Forget rows of the X that ``fit`` was given.

        Args:
            rows: numbers of the rows, from 0. Rows forgotten before are passed over.
            boundary: chooses between exact and approximate for each shard: a boundary, its name in
                ``BOUNDARIES``, or the threshold of a ``FixedBoundary``. 1 is always exact, 0 always
                approximate.
            method: of modification, a name in ``METHODS`` or an object.
            amend: after it, a name in ``AMENDS`` or an object.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            TypeError: row numbers that are not whole, or an object that lacks a part of its
                protocol.
            KeyError: no such row, or no boundary, method or amend of this name.
            ValueError: no row would be left.
        """
        check_is_fitted(self)
        request = check_request(rows, self.dataset_, Revocations((self.revoked_,)))
        chosen = FixedBoundary(boundary) if isinstance(boundary, int | float) else boundary
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
        """For each shard with debt the rows that were removed approximately only."""
        check_is_fitted(self)
        return debts_of(self.plan_, self.store_)

    def _spec(self, model: str) -> TrainSpec:
        spec, rows = default_spec(self.dataset_, model), len(self.dataset_.train)
        if rows < FEW:
            spec = spec.with_(num_shards=max(1, rows // 6), num_slices=min(rows, spec.num_slices))
        given = {
            # A grid of numpy's holds numpy's numbers.
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
            if name in spec.to_dict() and value is not None
        }
        return spec.with_(**given, seed=_seed(self.random_state))

    def _examples(self, X: Float[np.ndarray, "row *feature"], labels: np.ndarray) -> Examples:
        # A copy, so that later changes to the caller's arrays cannot reach it.
        features, ids = torch.tensor(X), np.arange(len(X))
        return Examples(ids, features, torch.as_tensor(labels), self.offset, self.scale)


class UnlearnableClassifier(ClassifierMixin, _Unlearnable):  # type: ignore[misc]  # no types
    """A sharded and sliced ensemble that forgets rows of the X that it was fitted on.

    All rows are trained on: no probe or test part is split off.

    A step before it in a pipeline that learns from the data (StandardScaler, PCA, a vocabulary)
    keeps what it learned of rows that are forgotten here. Scale by constants of your own instead:
    ``offset`` and ``scale``.

    Args:
        model: as for :class:`~unlearnkit.session.Session`. X may have more than two dimensions
            where the model takes them, as ``"cnn"`` does: (rows, channels, height, width).
        num_shards: S. None takes the default of a session on data of this size, and so for
            num_slices, batch_size and learning_rate; below 30 rows, as many shards as have 6 each.
        num_slices: R.
        epochs: as for :class:`~unlearnkit.training.spec.TrainSpec`, and so the rest up to
            weight_decay.
        batch_size: see there.
        optimizer: see there.
        learning_rate: see there.
        momentum: see there.
        weight_decay: see there.
        aggregation: how constituents vote, a name in ``AGGREGATIONS``.
        offset: a fixed constant, subtracted from X; never a statistic of it.
        scale: a fixed constant that divides the difference.
        random_state: an int is the seed, as in a session. None, or a RandomState: a seed is drawn.

    Attributes:
        classes_: values of y, ascending: they stay when the last row of one is forgotten.
        n_features_in_: number of columns of X.
        feature_names_in_: their names, where X was a DataFrame with text for column names.
        dataset_: rows of X under their numbers, all of them in the training part.
        plan_: what is trained: its spec, partition and stages.
        store_: checkpoints, in memory.
        ensemble_: the current models.
        clock_: measured rates, for boundaries that count seconds.
        revoked_: rows that were forgotten, ascending.
        unlearned_: what the last :meth:`unlearn` did; None before it.

    >>> X, y = np.eye(30, 4, dtype="float32"), np.arange(30) % 2
    >>> classifier = UnlearnableClassifier("logistic", epochs=2, random_state=0).fit(X, y)
    >>> classifier.unlearn([3, 14]).revoked_
    array([ 3, 14])
    >>> classifier.unlearned_.debt_after  # exact by default
    0
    """

    def __init__(
        self,
        model: Any = "mlp",
        *,
        num_shards: int | None = None,
        num_slices: int | None = None,
        epochs: int = 20,
        batch_size: int | None = None,
        optimizer: str = "sgd",
        learning_rate: float | None = None,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        aggregation: str = "mean-probability",
        offset: float = 0.0,
        scale: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.num_shards = num_shards
        self.num_slices = num_slices
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.aggregation = aggregation
        self.offset = offset
        self.scale = scale
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train on all rows, from scratch.

        Args:
            X: numbers, (rows, columns) or (rows, ...).
            y: a class for each row: numbers, text or booleans.

        Raises:
            ValueError: bad contents, fewer than two classes, or too few rows for so many shards and
                slices.
        """
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class, {self.classes_[0]!r}; give examples of at least two"
            )
        examples = self._examples(X, labels)
        none = self._examples(X[:0], labels[:0])
        names = tuple(map(str, self.classes_))
        dataset = Dataset("X", examples, none, none, len(names), names)
        return self._fit(dataset, self.model, self.aggregation)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """The ensemble's probability of each of ``classes_``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            ValueError: bad contents, or another number of columns than ``fit`` was given.
        """
        probabilities: np.ndarray = self._outputs(X).numpy()
        return probabilities

    def predict(self, X: Any) -> Shaped[np.ndarray, " row"]:
        """The most probable class.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            ValueError: as :meth:`predict_proba`.
        """
        places = self.predict_proba(X).argmax(1)
        predicted: np.ndarray = self.classes_[places]
        return predicted


class UnlearnableRegressor(RegressorMixin, _Unlearnable):  # type: ignore[misc]  # no types
    """The same for targets: squared error, and the mean of the predictions.

    Arguments and attributes are those of :class:`UnlearnableClassifier`, without ``aggregation``
    and ``classes_``; and two more arguments.

    Args:
        model: see there; a logistic regression is a linear one here.
        num_shards: see there, and so the rest up to scale.
        num_slices: see there.
        epochs: see there.
        batch_size: see there.
        optimizer: see there.
        learning_rate: see there.
        momentum: see there.
        weight_decay: see there.
        offset: see there.
        scale: see there.
        target_offset: a fixed constant, subtracted from y; or one for each column of y.
        target_scale: a fixed constant that divides the difference; or one for each column. Targets
            that are then of the order of 1 suit the default learning rate.
        random_state: see there.

    >>> X = np.linspace(-1, 1, 60, dtype="float32")[:, None]
    >>> y = 300 + 40 * X[:, 0]
    >>> regressor = UnlearnableRegressor(target_offset=300, target_scale=40, random_state=0)
    >>> regressor.fit(X, y).unlearn([3, 14]).predict(X[:1]).round(-1)
    array([260.])
    """

    def __init__(
        self,
        model: Any = "mlp",
        *,
        num_shards: int | None = None,
        num_slices: int | None = None,
        epochs: int = 20,
        batch_size: int | None = None,
        optimizer: str = "sgd",
        learning_rate: float | None = None,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        offset: float = 0.0,
        scale: float = 1.0,
        target_offset: float | Sequence[float] = 0.0,
        target_scale: float | Sequence[float] = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.num_shards = num_shards
        self.num_slices = num_slices
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.offset = offset
        self.scale = scale
        self.target_offset = target_offset
        self.target_scale = target_scale
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train on all rows, from scratch.

        Args:
            X: numbers, (rows, columns) or (rows, ...).
            y: a number for each row, or a row of them.

        Raises:
            ValueError: bad contents, or too few rows for so many shards and slices.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float32, allow_nd=True, multi_output=True, y_numeric=True
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
        """Targets may be several."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Float[np.ndarray, "row *target"]:
        """The mean prediction, in the units of y.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            ValueError: bad contents, or another number of columns than ``fit`` was given.
        """
        outputs = self._outputs(X)
        predicted: np.ndarray = self.dataset_.in_units(outputs).numpy()
        return predicted[:, 0] if self._flat else predicted


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    drawn: int = check_random_state(random_state).randint(2**31 - 1)
    return drawn
