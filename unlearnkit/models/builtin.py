"""The built-in models: logistic and linear regression, multi-layer perceptrons, a small CNN."""

import operator
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from unlearnkit.registry import Registry

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def _widths(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    if isinstance(values, int):
        raise TypeError(f"{name}={values}; give a tuple with a width for each layer, ({values},)")
    widths = tuple(values)
    if any(isinstance(width, bool) or not hasattr(width, "__index__") for width in widths):
        raise TypeError(f"{name}={widths}; give whole numbers")
    return tuple(map(operator.index, widths))


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression: one linear layer whose initial weights are 0."""

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build the module for features of this shape."""
        head = nn.Linear(_width(feature_shape), num_outputs)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return nn.Sequential(nn.Flatten(), head)


@dataclass(frozen=True)
class Linear(Logistic):
    """Linear regression: the module of :class:`Logistic`, to be trained with squared error."""


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron: linear layers with an activation between them.

    Attributes:
        hidden: widths of the hidden layers, each at least 1.
        activation: ``"gelu"``, ``"tanh"`` or ``"relu"``. The derivative of a ReLU is not
            continuous, so two runs that differ in a few examples diverge further than a first-order
            correction can follow; GELU and tanh are smooth (tests/benchmarks/defaults.md has the
            measurements).
        dropout: rate after each hidden layer, from 0 up to below 1.

    Raises:
        KeyError: the activation is not known.
        TypeError: a width is not a whole number.
        ValueError: a width or the dropout rate is out of range.

    >>> import unlearnkit as uk
    >>> uk.MLP((32, 16), activation="tanh")(feature_shape=(64,), num_outputs=10)[1]
    Linear(in_features=64, out_features=32, bias=True)
    >>> uk.Session("digits", model=uk.MLP((32, 16), dropout=0.2))
    Session(digits, mlp, 5 shards x 3 slices, not trained)
    """

    hidden: tuple[int, ...] = (256,)
    activation: str = "gelu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "hidden", _widths("hidden", self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden}; give at least one width, each 1 or more")
        if self.activation not in ACTIVATIONS:
            raise KeyError(
                f"activation={self.activation!r} is not known; use one of {', '.join(ACTIVATIONS)}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} is out of range; give 0 up to below 1")

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build the module for features of this shape."""
        widths = [_width(feature_shape), *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))


@dataclass(frozen=True)
class CNN:
    """A small convolutional network: two 3 x 3 convolutions with stride 2, and a linear head.

    Each convolution is followed by a ReLU. Unlearning corrects only the linear head here, and GELUs
    would make training slower (tests/benchmarks/defaults.md has the measurements).

    Attributes:
        channels: output channels of the two convolutions.
        batch_norm: whether each convolution is followed by batch normalisation.

    Raises:
        TypeError: a number of channels is not a whole number.
        ValueError: there are no channels, or fewer than 1.

    >>> import unlearnkit as uk
    >>> uk.CNN((4, 8))(feature_shape=(1, 8, 8), num_outputs=10)[0]
    Conv2d(1, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> uk.Session("digits", model=uk.CNN((4, 8)))
    Session(digits, cnn, 5 shards x 3 slices, not trained)
    """

    channels: tuple[int, int] = (8, 16)
    batch_norm: bool = False

    def __post_init__(self) -> None:
        """Check the channels."""
        object.__setattr__(self, "channels", _widths("channels", self.channels))
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels={self.channels}; give two numbers, each 1 or more")

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build the module for images of shape (channels, height, width).

        Raises:
            ValueError: the features are not images of at least 8 x 8 pixels.
        """
        if len(feature_shape) != 3 or min(feature_shape[1:]) < 8:
            raise ValueError(
                f"the cnn needs images of shape (channels, height, width), 8 x 8 or larger; the "
                f"data has features of shape {feature_shape}. Reshape the features, or use 'mlp'."
            )
        layers: list[nn.Module] = []
        width, size = feature_shape[0], torch.Size(feature_shape[1:])
        for channels in self.channels:
            layers.append(nn.Conv2d(width, channels, 3, stride=2, padding=1))
            layers += [nn.BatchNorm2d(channels)] if self.batch_norm else []
            layers.append(nn.ReLU())
            width, size = channels, torch.Size((n + 1) // 2 for n in size)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * size.numel(), num_outputs))


MODELS: Registry[Callable[[tuple[int, ...], int], nn.Module]] = Registry(
    "MODELS",
    "model",
    """Models by name, for ``model=`` of a session.

    An entry is a callable ``(feature_shape, num_outputs) -> nn.Module`` that returns a new module
    each time, for one example's shape and as many outputs as there are classes or targets. Its
    initial weights must come from torch's random numbers alone. To add an entry, assign it; a
    built-in model with other options is one too:

    >>> import unlearnkit as uk
    >>> uk.MODELS["narrow"] = uk.MLP((8,))
    >>> uk.Session("digits", model="narrow")
    Session(digits, narrow, 5 shards x 3 slices, not trained)
    >>> del uk.MODELS["narrow"]
    """,
    {"logistic": Logistic(), "mlp": MLP(), "cnn": CNN(), "linear": Linear()},
)

BUILT_IN: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (Logistic, MLP, CNN, Linear)
}


def describe(model: Any) -> dict[str, Any] | None:
    """Describe a built-in model by plain values for :func:`built_in`; None for any other model.

    >>> built_in(describe(MLP((7, 5)))) == MLP((7, 5))
    True
    """
    builder: Any = MODELS.get(model) if isinstance(model, str) else model
    for name, kind in BUILT_IN.items():
        if type(builder) is kind:
            return {"kind": name, **asdict(builder)}
    return None


def built_in(description: dict[str, Any]) -> Callable[[tuple[int, ...], int], nn.Module]:
    """Return the model that :func:`describe` described.

    Raises:
        KeyError, TypeError, ValueError: the values do not describe a built-in model.
    """
    values: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in description.items()
    }
    model: Callable[[tuple[int, ...], int], nn.Module] = BUILT_IN[values.pop("kind")](**values)
    return model


def _width(feature_shape: tuple[int, ...]) -> int:
    return torch.Size(feature_shape).numel()
