"""The classifier that can forget rows of its training data."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from unlearnkit.data.conversion import listed
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.estimators.base import Unlearnable, plain_value
from unlearnkit.estimators.reading import validated
from unlearnkit.models.losses import CrossEntropy, Loss, WeightedCrossEntropy, as_loss


@dataclass(eq=False, repr=False, kw_only=True)
class UnlearnableClassifier(ClassifierMixin, Unlearnable):  # type: ignore[misc]  # no types
    """A sharded and sliced classifier that can forget rows of its training data.

    It is trained on all rows: no probe or test part is split off.

    A preceding pipeline step that learns from the data (StandardScaler, PCA, a vocabulary) keeps
    what it learned from rows that are forgotten here. Scale X by constants that you know
    beforehand instead: ``offset`` and ``scale``.

    Args:
        model: the architecture of the constituents: ``"logistic"``, ``"mlp"``, ``"cnn"``, a
            built-in model with options such as ``MLP((64,))``, or a callable that returns a new
            ``nn.Module``. ``"cnn"`` takes X of shape (rows, channels, height, width).
        hidden: widths of the hidden layers of ``"mlp"``.
        num_shards: the number of shards, each of which trains one constituent. For this and all
            parameters up to ``device``, None takes the value of ``spec``, else the default of a
            session for data of this size (:func:`~unlearnkit.training.defaults.default_spec`).
            Below 30 rows the default is one shard for every six rows.
        num_slices: the number of slices per shard; each ends in a checkpoint.
        epochs: the training effort of a shard, in epochs;
            :class:`~unlearnkit.training.spec.TrainSpec` distributes it over the slices.
        epoch_rule: how ``epochs`` determines the epochs of each stage: ``"sisa"``, ``"full"`` or
            ``"equal_work"``.
        batch_size: examples per step.
        optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        learning_rate: the step size, above 0 and constant during training. The default of SGD is
            divided by the largest class weight.
        momentum: the momentum of SGD, at least 0 and below 1; other optimizers ignore it.
        weight_decay: the coefficient of L2 regularisation, at least 0.
        loss: a :class:`~unlearnkit.models.losses.Loss` or its name; cross-entropy by default. With
            ``"squared-error"``, ``predict_proba`` returns outputs that estimate 0 or 1 and may lie
            outside.
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
        offset: a constant that is subtracted from X: one number, or one for each column as a
            sequence, an array, or a mapping by name or number of the column. It must not be
            estimated from the data. :func:`~unlearnkit.data.suggestions.suggest_scaling` prints
            constants to copy.
        scale: a constant by which X is divided after that, given as ``offset`` is. It must not be
            estimated from the data.
        dtype: ``torch.int64`` keeps X as whole numbers, exactly, for a model of your own that looks
            them up, such as one that begins with ``nn.Embedding``. None makes them float32.
        random_state: the seed of partition, initial weights and batches. With None the seed is that
            of ``spec``, or, like with a ``RandomState``, drawn at each ``fit``.
        class_weight: a fixed weight for each class, as a mapping such as ``{"rare": 5}``; 1 for
            classes that it leaves out. It multiplies the cross-entropy of the rows of the class.
            ``"balanced"`` is refused, because it would be computed from all rows.

    Attributes:
        classes_: the distinct values of y, ascending. A class stays when its last row is forgotten.
        n_features_in_: the number of columns of X.
        feature_names_in_: the column names, if X was a DataFrame whose column names are strings.
        dataset_: the training rows as a dataset; row numbers are the ids. Forgotten rows hold NaN
            and the label -1.
        plan_: the current plan: spec, partition and stages.
        store_: the checkpoints, in memory.
        ensemble_: the current constituents.
        original_: the constituents before the last :meth:`unlearn`, or None.
        clock_: measured rates, for boundaries that weigh seconds.
        revoked_: the rows that were forgotten, ascending.
        unlearned_: the result of the last :meth:`unlearn`, or None before the first.
        repaid_: the result of the last :meth:`repay`, or None before the first.

    >>> X, y = np.eye(30, 4, dtype="float32"), np.arange(30) % 2
    >>> classifier = UnlearnableClassifier("logistic", epochs=2, random_state=0).fit(X, y)
    >>> classifier.unlearn([3, 14]).revoked_
    array([ 3, 14])
    >>> classifier.unlearned_.debt_after  # retraining is exact and leaves no debt
    0
    >>> classifier.compare().bit_identical
    True
    """

    class_weight: Mapping[Hashable, float] | None = None

    def _prepared(self, X: Any, y: Any) -> Dataset:
        given = X
        X, y = validated(self, X, y, reset=True, **self._reading)
        self._tell_lost_digits(given)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_[0]!r}; pass rows of at least two classes"
            )
        examples = self._examples(X, labels)
        none = self._examples(X[:0], labels[:0])
        names = tuple(map(str, self.classes_))
        return Dataset("X", examples, none, none, len(names), names)

    def _read(self, X: Any, y: Any) -> Examples:
        X, y = validated(self, X, y, reset=False, **self._reading)
        unknown = ~np.isin(y, self.classes_)
        if unknown.any():
            raise ValueError(
                f"y holds {listed(np.unique(y[unknown]))}, which are not among the classes of fit "
                f"({listed(self.classes_)}); leave these rows out"
            )
        return self._examples(X, np.searchsorted(self.classes_, y))

    def _chosen_loss(self, dataset: Dataset) -> str | Loss | None:
        if self.class_weight is None:
            return self.loss
        classes = self.classes_.tolist()
        if not isinstance(self.class_weight, Mapping):
            raise _no_mapping(self.class_weight, classes, dataset.train.labels)
        given = None if self.loss is None else as_loss(self.loss)
        given = self.spec.loss if given is None and self.spec is not None else given
        if given is not None and type(given) is not CrossEntropy:
            raise ValueError(
                f"class_weight weights the cross-entropy, but loss is {given!r}; leave out one of "
                "them"
            )
        weights = {
            plain_value(name): plain_value(weight) for name, weight in self.class_weight.items()
        }
        unknown, free = set(weights) - set(classes), set(classes) - set(weights)
        if unknown and free:  # as in scikit-learn, where a part of the rows may lack a class
            raise ValueError(
                f"class_weight names {listed(sorted(map(repr, unknown)))}, but y holds the classes "
                f"{listed(classes)}; name these"
            )
        return WeightedCrossEntropy(tuple(weights.get(name, 1.0) for name in classes))

    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """The ensemble's probability of each class, in the order of ``classes_``.

        Args:
            X: rows of features.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: X has missing, infinite or non-numeric values, or another number of columns
                than the X passed to ``fit``.
        """
        probabilities: np.ndarray = self._outputs(X).numpy()
        return probabilities

    def predict(self, X: Any) -> Shaped[np.ndarray, " row"]:
        """The most probable class of each row.

        Args:
            X: rows of features.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` has not been called yet.
            ValueError: as for :meth:`predict_proba`.
        """
        chosen = self.predict_proba(X).argmax(1)
        predicted: np.ndarray = self.classes_[chosen]
        return predicted


def _no_mapping(given: object, classes: list[Any], labels: Tensor) -> Exception:
    """Return the error for a ``class_weight`` other than a mapping from classes to weights."""
    if given != "balanced":
        return TypeError(
            f"class_weight={given!r} is a {type(given).__name__}; give a mapping from classes to "
            f"weights, such as {{{classes[0]!r}: 2.0}}"
        )
    counts = torch.bincount(labels, minlength=len(classes))
    weights = (len(labels) / (len(classes) * counts.double())).tolist()
    fixed = {name: float(f"{weight:.3g}") for name, weight in zip(classes, weights, strict=True)}
    return ValueError(
        "class_weight='balanced' counts the classes of all rows, so every model would keep an "
        "influence of rows that are forgotten later; decide on fixed weights, for these rows such "
        f"as class_weight={fixed}"
    )
