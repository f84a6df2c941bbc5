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
    fitted attributes are those of :class:`UnlearnableClassifier`, without ``classes_``.

    Args:
        model: the architecture of the constituents: ``"linear"``, which ``"logistic"`` means here,
            ``"mlp"``, ``"cnn"``, a built-in model with options such as ``MLP((64,))``, or a
            callable that returns a new ``nn.Module``.
        hidden: widths of the hidden layers of ``"mlp"``.
        num_shards: the number of shards, each of which trains one constituent. For this and all
            parameters up to ``device``, None takes the value of ``spec``, else the default of a
            session for data of this size, as for :class:`UnlearnableClassifier`.
        num_slices: the number of slices per shard; each ends in a checkpoint.
        epochs: the training effort of a shard, in epochs.
        epoch_rule: how ``epochs`` determines the epochs of each stage: ``"sisa"``, ``"full"`` or
            ``"equal_work"``.
        batch_size: examples per step.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: the step size, above 0 and constant during training.
        momentum: the momentum of SGD, at least 0 and below 1; other optimizers ignore it.
        weight_decay: the coefficient of L2 regularisation, at least 0.
        loss: a :class:`~unlearnkit.models.losses.Loss` or its name; squared error by default.
        num_threads: compute threads of torch during training. The resulting bits depend on it.
        kernel: ``"auto"``, or ``"loop"`` to train every model lane by lane.
        device: device for training, such as ``"cpu"``, ``"cuda"`` or ``"auto"``. The resulting bits
            depend on it.
        tails: how many epochs before the end of the last stage weights are kept, from which an
            amend may replay. The resulting bits depend on it.
        spec: a :class:`~unlearnkit.training.spec.TrainSpec` with all settings of training; the
            parameters from ``num_shards`` to ``tails`` change single ones of them, and
            ``random_state`` its seed.
        aggregation: how the constituents' outputs are combined, a name in
            ``unlearnkit.training.ensemble.AGGREGATIONS``.
        version: a text that identifies a model given as a callable.
        parallel: the number of worker processes that train shards at the same time; -1 uses all
            processors. The resulting bits are the same. None trains in this process.
        threads: upper limit of the number of threads of this process that train shards at the same
            time. The resulting bits are the same. None uses one for each core.
        offset: a constant that is subtracted from X: one number, or one for each column. It must
            not be estimated from the data.
        scale: a constant by which X is divided after that, given as ``offset`` is.
        dtype: ``torch.int64`` keeps X as whole numbers, exactly, for a model of your own that looks
            them up. None makes them float32.
        random_state: the seed of partition, initial weights and batches. With None the seed is that
            of ``spec``, or, like with a ``RandomState``, drawn at each ``fit``.
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

        Args:
            X: rows of features.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: X has missing, infinite or non-numeric values, or another number of columns
                than the X passed to ``fit``.
        """
        outputs = self._outputs(X)
        predicted: np.ndarray = self.dataset_.in_units(outputs).numpy()
        return predicted[:, 0] if self._flat else predicted
