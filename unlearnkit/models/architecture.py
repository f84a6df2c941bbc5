"""Models: a name or any callable becomes an architecture with keyed initial weights and dropout.

An :class:`Architecture` is checked once, at the door: its output width, where its randomness comes
from, and that it can be built twice alike. After that, the engine trusts it.
"""

import copy
import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.registry import Registry
from unlearnkit.seeding import (
    PrivateRandomness,
    RefuseGlobalRandomness,
    derive,
    digest,
    state_bytes,
    torch_generator,
)

State = dict[str, Tensor]
Factory = Callable[[], nn.Module]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression: one linear layer, initial weights 0 by convention."""

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build for these features."""
        head = nn.Linear(_width(feature_shape), num_outputs)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return nn.Sequential(nn.Flatten(), head)


@dataclass(frozen=True)
class Linear(Logistic):
    """The same layer by the name that it has with squared error: linear regression."""


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron: linear layers with an activation between them.

    Attributes:
        hidden: widths of the hidden layers.
        activation: ``"gelu"``, ``"tanh"`` or ``"relu"``. The derivative of a ReLU jumps, so that
            two runs which differ in a few examples part further than these tell, and no first-order
            correction brings them together; those of the other two are smooth. (Fashion-MNIST, a
            shard of 10,800 examples, 784-256-10, 20 epochs in 64 bits, three choices of twenty
            examples: if these weigh 1 % less, outputs move by 21 to 29 % of what they move by
            without them for a ReLU, in KL, and by less than 1 % for the others. ``make study
            ACTIVATIONS=1`` has what that means for unlearning.)
        dropout: rate after each hidden layer.
    """

    hidden: tuple[int, ...] = (256,)
    activation: str = "gelu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden} needs at least one width, each 1 or more")
        if self.activation not in ACTIVATIONS:
            raise KeyError(f"activation={self.activation!r}; known are {', '.join(ACTIVATIONS)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} is out of range; give 0 up to below 1")

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build for these features."""
        widths = [_width(feature_shape), *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))


@dataclass(frozen=True)
class CNN:
    """A small convolutional network: two convolutions that halve the image, and a linear head.

    After a convolution stands a ReLU: with GELUs training takes a seventh longer and ends less
    accurate, .862 for .867, and no more is removed for sure. (60,000 examples of Fashion-MNIST, 5
    shards of one slice, one seed, the last layer modified: of 100, 600 and 6,000 examples 91, 88
    and 11 % of the output KL for 77, 86 and -6 %, before ``StagedInfluence.references``; of 10,000
    examples a tenth, 57 for 64 %.)

    Attributes:
        channels: of the two convolutions.
        batch_norm: normalise by batch statistics after each convolution.
    """

    channels: tuple[int, int] = (8, 16)
    batch_norm: bool = False

    def __call__(self, feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Build for images of shape (channels, height, width)."""
        if len(feature_shape) != 3 or min(feature_shape[1:]) < 8:
            raise ValueError(
                f"the cnn needs images of shape (channels, height, width), 8 x 8 or larger; the "
                f"data has features of shape {feature_shape}. Reshape them, or use 'mlp'."
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
    initial weights must come from torch's random numbers alone.
    """,
    {"logistic": Logistic(), "mlp": MLP(), "cnn": CNN(), "linear": Linear()},
)

BUILT_IN: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (Logistic, MLP, CNN, Linear)
}


def describe(model: Any) -> dict[str, Any] | None:
    """A built-in model in plain values, from which :func:`built_in` makes it; None for another.

    >>> built_in(describe(MLP((7, 5)))) == MLP((7, 5))
    True
    """
    builder: Any = MODELS.get(model) if isinstance(model, str) else model
    for name, kind in BUILT_IN.items():
        if type(builder) is kind:
            return {"kind": name, **asdict(builder)}
    return None


def built_in(description: dict[str, Any]) -> Callable[[tuple[int, ...], int], nn.Module]:
    """The model of a description.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    values: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in description.items()
    }
    model: Callable[[tuple[int, ...], int], nn.Module] = BUILT_IN[values.pop("kind")](**values)
    return model


@dataclass
class StepContext:
    """Where training is: what a keyed dropout needs to draw its masks."""

    generator: torch.Generator = field(default_factory=torch.Generator)
    slots: Tensor | None = None
    num_slots: int = 0

    def begin_step(self, slots: Tensor, num_slots: int, *key: int | str) -> None:
        """Enter a step: the survivors sit in ``slots`` of ``num_slots``."""
        self.generator.manual_seed(derive(*key))
        self.slots, self.num_slots = slots, num_slots


class KeyedDropout(nn.Module):
    """Dropout whose masks are a function of (seed, shard, stage, epoch, step) and the slot.

    The mask is drawn for the full slot shape and read at the survivors' slots, so revoking one
    example leaves the masks of all others as they were.
    """

    def __init__(self, rate: float, shared_dims: int, context: StepContext) -> None:
        """Drop with this rate; the last ``shared_dims`` dimensions share one mask value."""
        super().__init__()
        self.rate, self.shared_dims, self.context = rate, shared_dims, context

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale while training; pass through otherwise."""
        if not self.training or self.rate == 0:
            return x
        slots = self.context.slots
        if slots is None or len(slots) != len(x):
            raise ValueError(
                f"dropout met a tensor of shape {tuple(x.shape)} whose first dimension is not the "
                "batch; keep the batch first so that masks can follow the examples."
            )
        inner = x.shape[1 : x.ndim - self.shared_dims] + (1,) * self.shared_dims
        noise = torch.rand((self.context.num_slots, *inner), generator=self.context.generator)
        kept = (noise >= self.rate).to(x.dtype)[slots].to(x.device)
        return x * kept / (1 - self.rate)


_DROPOUTS: dict[type[nn.Module], int] = {
    nn.Dropout: 0,
    nn.Dropout1d: 1,
    nn.Dropout2d: 2,
    nn.Dropout3d: 3,
}


@dataclass(frozen=True, eq=False, repr=False)
class Architecture:
    """A model, checked: it can be built alike any number of times.

    Attributes:
        name: for people.
        factory: makes a new module.
        feature_shape: of one example.
        num_outputs: width of the output.
        digest: identity by structure, shapes and initial state (or by the version given).
        described: a built-in model in plain values; None for any other.
        version: as given.
    """

    name: str
    factory: Factory
    feature_shape: tuple[int, ...]
    num_outputs: int
    digest: str
    described: dict[str, Any] | None = None
    version: str | None = None

    def __repr__(self) -> str:
        return f"Architecture({self.name}, {self.num_parameters:,} parameters)"

    def initial(self, seed: int, shard: int) -> State:
        """Initial parameters and buffers of a shard's constituent: a function of the key alone."""
        if self.described is not None and BUILT_IN[self.described["kind"]] is Logistic:
            return get_state(self._skeleton)  # zeros, whatever the key
        return get_state(_build(self.factory, derive(seed, "initial", shard)))

    @cached_property
    def _skeleton(self) -> nn.Module:
        return _build(self.factory, 0)

    def module(self, state: State | None = None) -> nn.Module:
        """A private module, in evaluation mode, with this state loaded."""
        module = copy.deepcopy(self._skeleton)
        if state is not None:
            module.load_state_dict(state)
        return module.eval()

    @cached_property
    def trainable_names(self) -> tuple[str, ...]:
        """Names of the parameters that are trained, in the order of the module."""
        return tuple(name for name, p in self._skeleton.named_parameters() if p.requires_grad)

    @property
    def num_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self._skeleton.parameters() if p.requires_grad)

    @cached_property
    def has_batch_statistics(self) -> bool:
        """Whether a layer's output depends on the other examples of its batch."""
        return any(True for _ in batch_statistics_layers(self._skeleton))

    @cached_property
    def stack(self) -> "Stack | None":
        """The module as a stack of linear layers, if it is one."""
        return as_stack(self._skeleton)

    @cached_property
    def head(self) -> "Stack | None":
        """The last linear layer as a stack of one, if the outputs are its own."""
        inputs = torch.randn((3, *self.feature_shape), generator=torch_generator("trial"))
        return as_head(self.module(), inputs)

    @cached_property
    def is_linear(self) -> bool:
        """Whether its outputs are linear in its parameters, so that every loss here is convex."""
        return self.stack is not None and len(self.stack.linears) == 1

    @cached_property
    def is_convolutional(self) -> bool:
        """Whether there is a convolution in it."""
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        return any(isinstance(layer, kinds) for layer in self._skeleton.modules())


@dataclass(frozen=True)
class Stack:
    """A multi-layer perceptron, as the stacked-lane kernel needs to know it.

    Attributes:
        linears: names of the linear layers.
        widths: of the input, the hidden layers and the output.
        activations: after each linear layer but the last, by name.
        dropouts: rates after each activation; 0 where there is none.
    """

    linears: tuple[str, ...]
    widths: tuple[int, ...]
    activations: tuple[str, ...]
    dropouts: tuple[float, ...]


def as_stack(module: nn.Module) -> Stack | None:
    """Read a module as a stack: Sequential(Flatten?, (Linear, activation, Dropout?)*, Linear).

    >>> as_stack(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))).widths
    (4, 3, 2)
    >>> as_stack(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(4, 2))) is None
    True
    """
    if type(module) is not nn.Sequential or any(not p.requires_grad for p in module.parameters()):
        return None
    layers = list(module.named_children())
    if layers and _is_plain_flatten(layers[0][1]):
        layers = layers[1:]
    linears: list[str] = []
    widths: list[int] = []
    activations: list[str] = []
    dropouts: list[float] = []
    while layers:
        name, linear = layers.pop(0)
        if type(linear) is not nn.Linear or linear.bias is None:
            return None
        if linear.weight.dtype != torch.float32:
            return None
        linears.append(name)
        widths.append(linear.in_features)
        if not layers:
            return Stack(
                tuple(linears),
                (*widths, linear.out_features),
                tuple(activations),
                tuple(dropouts),
            )
        activation = _activation_name(layers.pop(0)[1])
        if activation is None:
            return None
        activations.append(activation)
        rate = 0.0
        if layers and isinstance(layers[0][1], KeyedDropout):
            dropout = layers.pop(0)[1]
            assert isinstance(dropout, KeyedDropout)
            if dropout.shared_dims:
                return None
            rate = dropout.rate
        dropouts.append(rate)
    return None


def as_head(module: nn.Module, inputs: Tensor) -> Stack | None:
    """Read a module's last linear layer as a stack of one, if the outputs are its own.

    That is, if what it makes of its inputs, the *features*, is returned as it is, and no parameter
    of it has shaped them.

    >>> as_head(nn.Sequential(nn.Tanh(), nn.Linear(8, 3)), torch.ones(2, 8))
    Stack(linears=('1',), widths=(8, 3), activations=(), dropouts=())
    >>> as_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)) is None
    True

    Args:
        module: private, in eval mode; its parameters' ``requires_grad`` are changed.
        inputs: some examples to try it on.
    """
    linears = [each for each in module.named_modules() if isinstance(each[1], nn.Linear)]
    name, head = linears[-1] if linears else ("", module)
    parts = [part for part, _ in head.named_parameters()]
    if type(head) is not nn.Linear or not name or parts != ["weight", "bias"]:
        return None
    for parameter in module.parameters():
        parameter.requires_grad_(parameter is head.weight or parameter is head.bias)
    seen: list[tuple[Tensor, Tensor, int]] = []

    def see(layer: nn.Module, given: tuple[Tensor, ...], outputs: Tensor) -> None:
        if len(given) == 1:
            seen.append((given[0], outputs, outputs._version))

    hook = head.register_forward_hook(see)
    outputs = module(inputs)
    hook.remove()
    if len(seen) != 1:
        return None
    features, returned, version = seen[0]
    if outputs is not returned or outputs._version != version:  # changed, if only in place
        return None
    if features.requires_grad or features.ndim != 2 or features.dtype != torch.float32:
        return None
    made = nn.functional.linear(features, head.weight, head.bias)
    if outputs.dtype != torch.float32 or not torch.equal(made, outputs):
        return None
    return Stack((name,), (head.in_features, head.out_features), (), ())


def _is_plain_flatten(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1


def _activation_name(layer: nn.Module) -> str | None:
    if type(layer) is nn.GELU and layer.approximate != "none":
        return None
    return next((name for name, kind in ACTIVATIONS.items() if type(layer) is kind), None)


def batch_statistics_layers(module: nn.Module) -> list[nn.Module]:
    """Layers that normalise by statistics of the batch."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def step_context(module: nn.Module) -> StepContext | None:
    """The context that the module's keyed dropouts share, if it has any."""
    for layer in module.modules():
        if isinstance(layer, KeyedDropout):
            return layer.context
    return None


def get_state(module: nn.Module) -> State:
    """A copy of parameters and buffers, by name."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }


def as_architecture(
    model: Any, feature_shape: tuple[int, ...], num_outputs: int, *, version: str | None = None
) -> Architecture:
    """Check a model and give it an identity.

    Args:
        model: a name in :data:`MODELS`; a callable without arguments that returns a new
            ``nn.Module``; or one that takes (feature shape, number of outputs).
        feature_shape: of one example.
        num_outputs: width that the output must have.
        version: identifies a callable instead of its initial state.

    Raises:
        KeyError: no model of that name.
        TypeError: not a callable, or one that does not return a module.
        ValueError: the output has another width, or the model draws random numbers of its own.
    """
    if isinstance(model, Architecture):
        return model
    name, factory = _as_factory(model, feature_shape, num_outputs)
    module = _build(factory, 0)
    _check_module(module, name)
    initial = state_bytes(get_state(module))
    if version is None and initial != state_bytes(get_state(_build(factory, 0))):
        raise ValueError(
            f"{name} has two different initial states for one seed: it draws random numbers "
            "outside torch. Initialise with torch, or give version='...' and equal weights."
        )
    outputs = [_trial_outputs(_build(factory, 0), feature_shape, name) for _ in range(2)]
    if outputs[0].shape != (3, num_outputs):
        raise ValueError(
            f"{name} turns 3 examples into an output of shape {tuple(outputs[0].shape)}; the data "
            f"has {num_outputs} classes or targets, so (3, {num_outputs}) was expected. Change the "
            "width of its last layer."
        )
    if not torch.equal(outputs[0], outputs[1]):
        raise ValueError(f"{name} gives two outputs for one input; remove its own randomness.")
    # Memory addresses in a repr differ from run to run and say nothing of the model.
    structure = re.sub(r"0x[0-9a-f]+", "", repr(module))
    identity = initial if version is None else f"version {version}"
    return Architecture(
        name,
        factory,
        tuple(feature_shape),
        num_outputs,
        digest(structure, identity),
        describe(model),
        version,
    )


def _as_factory(
    model: Any, feature_shape: tuple[int, ...], num_outputs: int
) -> tuple[str, Factory]:
    if isinstance(model, str):
        return model, partial(MODELS[model], feature_shape, num_outputs)
    if isinstance(model, nn.Module) or not callable(model):
        raise TypeError(
            f"model is a {type(model).__name__}; give a name ({', '.join(MODELS)}) or a callable "
            "that returns a new nn.Module each time, such as a function or a class."
        )
    name = getattr(model, "__name__", None) or type(model).__name__.lower()
    needed = [
        p
        for p in inspect.signature(model).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) == 2:
        return name, partial(model, feature_shape, num_outputs)  # unlike a lambda, it pickles
    if needed:
        raise TypeError(
            f"{name} needs {len(needed)} arguments ({', '.join(p.name for p in needed)}); give a "
            "callable with none, or with two: feature shape and number of outputs."
        )
    return name, model


def _build(factory: Factory, seed: int) -> nn.Module:
    with PrivateRandomness(torch_generator(seed, "weights")):
        module = factory()
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"the model callable returned a {type(module).__name__}; an nn.Module was expected"
        )
    context = StepContext()
    for parent in list(module.modules()):
        for child_name, child in list(parent.named_children()):
            if type(child) in _DROPOUTS:
                rate = float(getattr(child, "p"))  # noqa: B009 (typed as Tensor | Module)
                setattr(parent, child_name, KeyedDropout(rate, _DROPOUTS[type(child)], context))
    return module


def _check_module(module: nn.Module, name: str) -> None:
    for parameter_name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"{name}: {parameter_name} has no shape yet (a lazy layer); give its sizes"
            )
        if not torch.isfinite(parameter).all():
            raise ValueError(f"{name}: {parameter_name} starts with NaN or infinite values")
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError(f"{name} has no trainable parameter, so there is nothing to unlearn")


def _trial_outputs(module: nn.Module, feature_shape: tuple[int, ...], name: str) -> Tensor:
    """One forward and backward pass in training mode, refusing global randomness."""
    place: list[str] = [name]
    for layer_name, layer in module.named_modules():
        label = f"{name}: layer {layer_name!r} ({type(layer).__name__})" if layer_name else name
        layer.register_forward_pre_hook(lambda *_, label=label: place.append(label))
        layer.register_forward_hook(lambda *_: place.pop() and None)
    context = step_context(module)
    if context is not None:
        context.begin_step(torch.arange(3), 3, "trial")
    inputs = torch.randn((3, *feature_shape), generator=torch_generator("trial"))
    module.train()
    try:
        with RefuseGlobalRandomness(lambda: place[-1]):
            outputs = module(inputs)
            if isinstance(outputs, Tensor):
                outputs.float().sum().backward()
    except RuntimeError as error:
        raise ValueError(
            f"{place[-1]} cannot take examples of shape {tuple(feature_shape)}: {error}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise TypeError(f"{name} returns a {type(outputs).__name__}; a tensor was expected")
    return outputs.detach()


def _width(feature_shape: tuple[int, ...]) -> int:
    return torch.Size(feature_shape).numel()
