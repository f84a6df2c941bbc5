"""The regressor that can forget rows of its training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils import Tags

from unlearnkit.data.coercion import (
    constants_of,
    targets_of,
)
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.estimators.base import Unlearnable
from unlearnkit.estimators.reading import validated


@dataclass(eq=False, repr=False, kw_only=True)
class UnlearnableRegressor(RegressorMixin, Unlearnable):  # type: ignore[misc]  # no types
    """A sharded and sliced regressor that can forget rows of its training data.

    It minimises the squared error and predicts the mean of its constituents' predictions. Its
    parameters and fitted attributes are those of :class:`UnlearnableClassifier`, without
    ``class_weight`` and ``classes_``, and with the two below. ``model`` may be ``"linear"``, which
    ``"logistic"`` means here, and ``loss`` is the squared error by default.

    Args:
        target_offset: a constant that is subtracted from y, or one for each column of y.
        target_scale: a constant by which y is divided after that, or one for each column of y. The
            default learning rate suits targets whose magnitude is then about 1.

    >>> X = np.linspace(-1, 1, 60, dtype="float32")[:, None]
    >>> y = 300 + 40 * X[:, 0]
    >>> regressor = UnlearnableRegressor(target_offset=300, target_scale=40, random_state=0)
    >>> regressor.fit(X, y).unlearn([3, 14]).predict(X[:1]).round(-1)
    array([260.])
    """

    target_offset: float | Sequence[float] = 0.0
    target_scale: float | Sequence[float] = 1.0

    def _prepared(self, X: Any, y: Any) -> Dataset:
        given = X
        X, y = self._validated(X, y, reset=True)
        self._tell_lost_digits(given)
        self._flat = y.ndim == 1
        width = 1 if self._flat else y.shape[1]
        offset = constants_of("target_offset", self.target_offset, width)
        scale = constants_of("target_scale", self.target_scale, width)
        targets = targets_of("y", torch.tensor(y), offset, scale).numpy()
        examples = self._examples(X, targets)
        none = self._examples(X[:0], targets[:0])
        return Dataset("X", examples, none, none, 0, (), target_offset=offset, target_scale=scale)

    def _read(self, X: Any, y: Any) -> Examples:
        X, y = self._validated(X, y, reset=False)
        data = self.dataset_
        targets = targets_of("y", torch.tensor(y), data.target_offset, data.target_scale)
        return self._examples(X, targets.numpy())

    def _validated(self, X: Any, y: Any, *, reset: bool) -> Any:
        kinds = {"multi_output": True, "y_numeric": True, **self._reading}
        return validated(self, X, y, reset=reset, **kinds)

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
