"""Models: a name or any callable becomes an architecture with keyed initial weights and dropout.

An :class:`Architecture` is checked once, at the door: its output width, where its randomness comes
from, and that it can be built twice alike. After that, the engine trusts it.
"""

import copy
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.models.builtin import BUILT_IN, MODELS, Logistic, describe
from unlearnkit.models.dropout import DROPOUTS, KeyedDropout, StepContext, step_context
from unlearnkit.models.stack import Stack, as_head, as_stack
from unlearnkit.models.state import batch_statistics_layers, get_state
from unlearnkit.seeding import (
    PrivateRandomness,
    RefuseGlobalRandomness,
    derive,
    digest,
    state_bytes,
    torch_generator,
)
from unlearnkit.store.checkpoint import State

Factory = Callable[[], nn.Module]


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
            if type(child) in DROPOUTS:
                rate = float(getattr(child, "p"))  # noqa: B009 (typed as Tensor | Module)
                setattr(parent, child_name, KeyedDropout(rate, DROPOUTS[type(child)], context))
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
