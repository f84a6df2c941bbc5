"""Default model and spec of a session, which depend on the data."""

from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import MLP, Linear, Logistic
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy, as_loss
from unlearnkit.training.spec import TrainSpec

SMALL = 5000  # number of training examples below which the defaults for small data apply


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
    architecture = as_architecture(
        model, dataset.feature_shape, dataset.num_outputs, version=version
    )
    if spec is None:
        spec = default_spec(dataset, architecture.name)
        if given.get("optimizer", spec.optimizer) == "sgd":
            rate = spec.learning_rate / largest_weight(given.get("loss", spec.loss))
            spec = spec.with_(learning_rate=rate)
    elif dataset.is_regression and type(spec.loss) is CrossEntropy:
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


def default_spec(dataset: Dataset, model: str = "mlp") -> TrainSpec:
    """Return the default spec for this data and model.

    - Below 5,000 training examples: 5 shards, 3 slices, batches of 32, and the learning rate 0.03
      (0.01 for ``"cnn"``).
    - Otherwise: 10 shards, 5 slices, batches of 64, and the learning rate 0.003 (0.001 for
      ``"logistic"``).

    Higher learning rates make models a little more accurate and approximate unlearning less
    accurate (tests/benchmarks/defaults.md has the measurements).
    """
    small = len(dataset.train) < SMALL
    rate = {"cnn": 0.01}.get(model, 0.03) if small else {"logistic": 0.001}.get(model, 0.003)
    return TrainSpec(
        loss=SquaredError() if dataset.is_regression else CrossEntropy(),
        num_shards=5 if small else 10,
        num_slices=3 if small else 5,
        batch_size=32 if small else 64,
        learning_rate=rate,
    )
