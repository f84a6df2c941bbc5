"""What a session does where nothing is said: model, shards, slices, batches, rates, as measured."""

from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import MLP, Linear, Logistic
from unlearnkit.models.losses import CrossEntropy, SquaredError
from unlearnkit.training.spec import TrainSpec

SMALL = 5000  # training examples below which the defaults are those measured on digits


def choose(
    dataset: Dataset,
    model: Any,
    *,
    hidden: tuple[int, ...] | None = None,
    version: str | None = None,
    spec: TrainSpec | None = None,
    seed: int = 0,
    **given: Any,
) -> tuple[Architecture, TrainSpec]:
    """The model and the spec that the arguments of a session lead to.

    Args:
        dataset: to be trained on.
        model: a name, or anything that :func:`~unlearnkit.models.architecture.as_architecture`
            takes.
        hidden: widths of the hidden layers of ``"mlp"``.
        version: identifies a model given as a callable.
        spec: all of it at once.
        seed: see :class:`~unlearnkit.training.spec.TrainSpec`.
        **given: its other fields; None takes the default.

    Raises:
        ValueError: arguments that do not fit together.
    """
    if hidden is not None:
        if model != "mlp":
            raise ValueError(f"hidden={hidden} fits model='mlp' only; model is {model!r}")
        model = MLP(hidden)
    elif isinstance(model, str) and model == "mlp":
        model = MLP((64,) if len(dataset.train) < SMALL else (256,))
    given = {name: value for name, value in given.items() if value is not None}
    if spec is not None and (given or seed):
        names = ", ".join([*given, *(["seed"] if seed else [])])
        raise ValueError(f"spec= and {names} were both given; put them into the spec")
    if dataset.is_regression and (model == "logistic" or type(model) is Logistic):
        model = Linear()
    architecture = as_architecture(
        model, dataset.feature_shape, dataset.num_outputs, version=version
    )
    if spec is None:
        spec = default_spec(dataset, architecture.name).with_(seed=seed, **given)
    return architecture, spec


def default_spec(dataset: Dataset, model: str = "mlp") -> TrainSpec:
    """The defaults, as measured.

    Below 5,000 training examples (measured on digits): 5 shards, 3 slices, batches of 32, learning
    rate 0.03, for the cnn 0.01. Otherwise (measured on Fashion-MNIST): 10 shards, 5 slices, batches
    of 64, learning rate 0.003, for logistic regression 0.001.

    Higher rates are a little more accurate and harder to unlearn approximately. Measured on 10,000
    examples of Fashion-MNIST (5 shards, 5 slices, a tenth revoked): logistic regression at 0.003
    instead of 0.001 gains 1.8 points and leaves .11 instead of .04 of the output gap to training
    from scratch (one seed); the mlp at 0.01 instead of 0.003 gains 2.0 points and leaves .59
    instead of .15 (two seeds).
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
