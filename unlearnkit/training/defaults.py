"""Default model and spec of a session, which depend on the data."""

import math
from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.texts import Texts
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import MLP, Linear, Logistic
from unlearnkit.models.frozen.backbone import Frozen
from unlearnkit.models.frozen.features import backbone_of
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy, as_loss
from unlearnkit.training.spec import TrainSpec, default_tails

SMALL = 5000  # training examples below which there are fewer shards, slices and hidden units
EPOCHS = 20  # of the trainings from which TIMES was fitted
TIMES = {  # t, q and p of the effective time; own modules are trained as the CNN
    "logistic": (40.0, 0.5, 0.5),
    "mlp": (12.5, 0.65, 0.4),
    "cnn": (4.9, 0.65, 0.25),
    "regression": (25.0, 0.5, 0.5),
}
FOLLOWED = ("num_shards", "batch_size", "momentum", "optimizer")  # by the default rate
FEWEST_INPUTS, FEWEST_EXAMPLES = 64, 100  # the least for which h was fitted
LONGEST_VISIT = 0.014  # effective time of an example in an epoch; none needed more
ADAPTIVE_RATE = 0.003  # of Adam and AdamW


def choose_model_and_spec(
    dataset: Dataset,
    model: Any,
    *,
    hidden: tuple[int, ...] | None = None,
    version: str | None = None,
    spec: TrainSpec | None = None,
    **given: Any,
) -> tuple[Architecture, TrainSpec]:
    """Return the model and the spec for the arguments of a session.

    Args:
        dataset: the data to train on.
        model: a name, or any model that
            :func:`~unlearnkit.models.architecture.as_architecture` accepts; None for ``"mlp"``.
            Of a :class:`~unlearnkit.models.frozen.backbone.Frozen` model the architecture is the
            head; the data are those that
            :func:`~unlearnkit.models.frozen.features.with_features` returned.
        hidden: widths of the hidden layers; for ``"mlp"`` only.
        version: identifies a model that is given as a callable.
        spec: the spec that ``given`` changes; None takes :func:`default_spec`, with the learning
            rate of SGD divided by the largest class weight. A regression replaces its
            cross-entropy, the default of a spec, by the squared error.
        **given: fields of :class:`~unlearnkit.training.spec.TrainSpec`; None leaves a field as it
            is.

    Raises:
        TypeError: the spec is not a TrainSpec, or the model is of another kind than accepted.
        ValueError: the arguments contradict each other.
    """
    frozen, model = (model, model.head) if isinstance(model, Frozen) else (None, model)
    if hidden is not None:
        if model not in (None, "mlp"):
            raise ValueError(
                f"hidden={hidden} applies to model='mlp' only, but model is {model!r}. Leave out "
                "hidden, or use 'mlp'."
            )
        model = MLP(hidden)
    elif model is None or (isinstance(model, str) and model == "mlp"):
        model = MLP((64,) if len(dataset.train) < SMALL else (256,))
    given = {name: value for name, value in given.items() if value is not None}
    if spec is not None and not isinstance(spec, TrainSpec):
        raise TypeError(f"spec={spec!r} is not a TrainSpec; give an instance: TrainSpec(epochs=10)")
    if dataset.is_regression and (model == "logistic" or type(model) is Logistic):
        model = Linear()
    if frozen is None and isinstance(dataset.train.features, Texts):
        raise TypeError(
            f"the features of {dataset.name} are texts, which {model!r} does not take; give "
            "model=uk.Frozen(encoder, head=...), where the encoder maps a list of strings to "
            "features, or make the data without dtype=str"
        )
    shape = dataset.train.input_shape
    architecture = as_architecture(model, shape, dataset.num_outputs, version=version)
    if frozen is not None:
        architecture = architecture.on(backbone_of(dataset.train))
    if spec is None:
        chosen = {name: given.get(name) for name in FOLLOWED}
        spec = default_spec(dataset, architecture.name, **chosen)
        if given.get("optimizer", spec.optimizer) == "sgd":
            rate = spec.learning_rate / largest_weight(given.get("loss", spec.loss))
            spec = spec.with_(learning_rate=rate)
        spec = spec.with_(**given)
        if spec.optimizer == "sgd" and spec.tails is None:
            count, convolutional = len(dataset.train), architecture.is_convolutional
            tails = default_tails(spec, count, dataset.input_span, convolutional=convolutional)
            spec = spec.with_(tails=tails)
        return architecture, spec
    if dataset.is_regression and type(spec.loss) is CrossEntropy:
        given = {"loss": SquaredError(), **given}
    return architecture, spec.with_(**given)


def largest_weight(loss: Any) -> float:
    """Return the largest class weight of a loss if it is above 1; 1 for losses without weights.

    A weight multiplies the steps of its class, so SGD needs a learning rate that is so much lower.

    >>> largest_weight({"class_weights": [1, 20]}), largest_weight("cross-entropy")
    (20.0, 1.0)
    """
    chosen = as_loss(loss)
    weights = chosen.class_weights if isinstance(chosen, WeightedCrossEntropy) else ()
    return max((1.0, *weights))


def default_spec(
    dataset: Dataset,
    model: str = "mlp",
    *,
    num_shards: int | None = None,
    batch_size: int | None = None,
    momentum: float | None = None,
    optimizer: str | None = None,
) -> TrainSpec:
    """Return the default spec for this data and model.

    Below 5,000 training examples there are 5 shards of 3 slices, otherwise 10 of 5. Batches have 32
    examples. The learning rate of SGD follows from the effective time (:func:`default_rate`); that
    of the other optimizers, whose steps do not grow with the gradient, is ``ADAPTIVE_RATE``.

    Args:
        dataset: the data to train on; only shapes and the number of training examples are read, so
            that no revoked example has an influence on the spec.
        model: name of the architecture.
        num_shards: number of shards, if it is chosen; the rate follows the size of a shard.
        batch_size: batch size, if it is chosen; the rate of SGD grows with it.
        momentum: momentum of SGD, if it is chosen; the rate falls as it grows.
        optimizer: the optimizer, if it is chosen.
    """
    few = len(dataset.train) < SMALL
    spec = TrainSpec(
        loss=SquaredError() if dataset.is_regression else CrossEntropy(),
        num_slices=3 if few else 5,
        num_shards=(5 if few else 10) if num_shards is None else num_shards,
        batch_size=32 if batch_size is None else batch_size,
        momentum=TrainSpec.momentum if momentum is None else momentum,
        optimizer=TrainSpec.optimizer if optimizer is None else optimizer,
    )
    if spec.optimizer != "sgd":
        return spec.with_(learning_rate=ADAPTIVE_RATE)
    return spec.with_(learning_rate=default_rate(dataset, model, spec))


def default_rate(dataset: Dataset, model: str, spec: TrainSpec) -> float:
    """Return the default learning rate of SGD.

    Training moves the parameters by the effective time times the mean gradient along the way
    (:func:`~unlearnkit.approximate.curvature.effective_time`). A shard of n examples with d inputs
    is trained for the effective time

        h = t n^q / d^p

    in 20 epochs, with t, q and p from ``TIMES``, but at most for ``LONGEST_VISIT`` for each example
    in each epoch, since no small shard needed more. In the long run a step adds rate / (1 - b) to
    the effective time, with the momentum b, and 20 epochs with batches of B examples have 20 n / B
    steps, so

        rate = h (1 - b) B / (20 n).

    More epochs than 20 therefore train for longer, and do not lower the rate. This holds for inputs
    that span 2, as from -1 to 1. Multiplying the inputs of a linear model by a multiplies what a
    step changes in its outputs by a^2, so the rate is divided by the square of half the span; that
    of networks is too.

    The constants are
    chosen such that test accuracy is within about one point of the best of a grid, at rates that
    are as low as this allows, because approximations are better at lower rates; "Accuracy" in
    tests/benchmarks/README.md has what that costs. The form of h was devised for unlearnkit and
    fitted on images with 64 and 784 inputs and shards of 130 to 12,000 examples; fewer inputs than
    64 and fewer examples than 100 count as so many (tests/benchmarks/defaults.md).

    A step of gradient descent with momentum b is stable on a quadratic loss of curvature L if rate
    < 2 (1 + b) / L (Polyak 1964). The rate is limited to that, with the curvature that one output
    of a linear model has for d inputs near 1 and a bias: L = d + 1 for the squared error and (d +
    1)/4 for cross-entropy, since p (1 - p) <= 1/4.

    Args:
        dataset: the data to train on; inputs are taken to have its ``input_span``.
        model: name of the architecture.
        spec: the spec whose shards, batch size and momentum are used.
    """
    inputs = math.prod(dataset.train.input_shape)
    examples = max(1, len(dataset.train) // spec.num_shards)
    kind = "regression" if dataset.is_regression else model
    time, growth, power = TIMES.get(kind, TIMES["cnn"])
    n = max(FEWEST_EXAMPLES, examples)
    duration = time * n**growth / max(FEWEST_INPUTS, inputs) ** power
    duration = min(duration, EPOCHS * n * LONGEST_VISIT)
    wanted = duration * (1 - spec.momentum) * min(spec.batch_size, n) / (EPOCHS * n)
    curvature = (inputs + 1) * (1.0 if dataset.is_regression else 0.25)
    rate = min(wanted, 2 * (1 + spec.momentum) / curvature) / (dataset.input_span / 2) ** 2
    return float(f"{rate:.2g}")
