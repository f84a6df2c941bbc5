"""Architectures: a checked model whose initial weights and dropout masks are keyed by the seed.

:func:`as_architecture` takes a model's name or a callable and checks once that the output has the
expected width, that all random numbers come from torch's generator, and that two builds from one
seed have the same initial state. The rest of the package relies on these checks.
"""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.models.builtin import BUILT_IN, Logistic, describe
from unlearnkit.models.checks import check_module
from unlearnkit.models.dropout import key_dropout
from unlearnkit.models.factories import Factory, as_factory, new_module, unshared
from unlearnkit.models.frozen.backbone import Backbone
from unlearnkit.models.handling import Handling
from unlearnkit.models.stack import Stack, as_stack
from unlearnkit.models.state import batch_statistics_layers, copied, get_state
from unlearnkit.seeding import (
    PrivateRandomness,
    derive,
    digest,
    state_bytes,
    torch_generator,
)
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings


@dataclass(frozen=True, eq=False, repr=False)
class Architecture:
    """A checked model that can be built identically any number of times.

    Attributes:
        name: name for display.
        factory: returns a new module.
        feature_shape: shape of one example's features.
        num_outputs: width of the output.
        digest: identifies the model by its structure, its shapes and its initial state, or by
            ``version`` in place of the initial state.
        described: plain values that describe a built-in model; None for any other model.
        version: the version that the user gave, or None.
        trials: results of what was tried on the module, such as the approximate routes that are
            open, so that nothing is tried twice. They are plain values.
        backbone: the frozen backbone that computes the features; None if the model takes the
            examples themselves. Only the head above it is an architecture's module.
    """

    name: str
    factory: Factory
    feature_shape: tuple[int, ...]
    num_outputs: int
    digest: str
    described: dict[str, Any] | None = None
    version: str | None = None
    trials: dict[str, Any] = field(default_factory=dict)
    backbone: Backbone | None = None

    def __repr__(self) -> str:
        return f"Architecture({self.title}, {self.num_parameters:,} parameters)"

    @property
    def title(self) -> str:
        """The name for display, with that of a frozen backbone."""
        return self.name if self.backbone is None else f"{self.name} on {self.backbone.name}"

    def on(self, backbone: Backbone) -> "Architecture":
        """Return the architecture as the head on a frozen backbone, with a digest of both."""
        both = digest("frozen backbone", backbone.digest, self.digest)
        return replace(self, digest=both, backbone=backbone)

    @own_settings()
    def initial(self, seed: int, shard: int) -> State:
        """Return the initial state of a shard's constituent, determined by seed and shard alone."""
        if self.described is not None and BUILT_IN[self.described["kind"]] is Logistic:
            return get_state(self._skeleton)  # zeros, whatever the key
        return get_state(_build(self.factory, derive(seed, "initial", shard), self.name))

    @cached_property
    def _skeleton(self) -> nn.Module:
        """A module that is never run. It shares no tensor with other objects of the user."""
        module = _build(self.factory, 0, self.name)
        try:
            return copied(module)
        except Exception:  # some attributes cannot be copied; see Handling.rebuilt
            return module

    @property
    def foreign(self) -> bool:
        """Whether the user has written the module, so that its behaviour has to be tried."""
        return self.described is None

    @property
    def handling(self) -> Handling:
        """How modules are created and called; the defaults before the module was tried."""
        found: Handling = self.trials.get(Handling.__name__, Handling())
        return found

    @own_settings()
    def module(self, state: State | None = None) -> nn.Module:
        """Return a new module in evaluation mode, with ``state`` loaded if it is given."""
        handling = self.handling
        rebuilt = handling.rebuilt
        module = _build(self.factory, 0, self.name) if rebuilt else copied(self._skeleton)
        if state is not None:
            module.load_state_dict(state)
        if handling.clones_inputs:
            module.register_forward_pre_hook(_clone_inputs)
        if handling.casts_outputs:
            module.register_forward_hook(_cast_outputs)
        return module.eval()

    @cached_property
    def trainable_names(self) -> tuple[str, ...]:
        """Names of the trained parameters, in the order of ``named_parameters``."""
        return tuple(name for name, p in self._skeleton.named_parameters() if p.requires_grad)

    @property
    def num_parameters(self) -> int:
        """Number of trainable scalar parameters."""
        return sum(p.numel() for p in self._skeleton.parameters() if p.requires_grad)

    @cached_property
    def state_bytes(self) -> int:
        """Bytes of all parameters and buffers of one model."""
        return sum(tensor.nbytes for tensor in self._skeleton.state_dict().values())

    @cached_property
    def kinds(self) -> dict[str, tuple[torch.Size, torch.dtype | None]]:
        """Shape and dtype of every tensor of a state by name.

        Of a module that the user has written only the parameters are listed, without dtypes.
        """
        if self.foreign:
            return {name: (p.shape, None) for name, p in self._skeleton.named_parameters()}
        return {name: (t.shape, t.dtype) for name, t in self._skeleton.state_dict().items()}

    @cached_property
    def has_batch_statistics(self) -> bool:
        """Whether a layer's output depends on the other examples of its batch."""
        return any(True for _ in batch_statistics_layers(self._skeleton))

    @cached_property
    def stack(self) -> "Stack | None":
        """The module as a stack of linear layers; None if it is not one."""
        return as_stack(self._skeleton)

    @cached_property
    def tied_names(self) -> dict[str, str]:
        """For each further name of a parameter or buffer of several names, its first name."""
        first = dict[int, str]()
        return {
            name: first[id(tensor)]
            for name, tensor in self._skeleton.state_dict(keep_vars=True).items()
            if first.setdefault(id(tensor), name) != name
        }

    def moved(self, state: State, values: State) -> State:
        """Return a copy of the state with the values of some parameters, under all their names."""
        values = values | {
            name: values[first] for name, first in self.tied_names.items() if first in values
        }
        return {name: values.get(name, tensor).clone() for name, tensor in state.items()}

    @cached_property
    def is_linear(self) -> bool:
        """Whether outputs are linear in the parameters, so that the built-in losses are convex."""
        return self.stack is not None and len(self.stack.linears) == 1

    @cached_property
    def is_convolutional(self) -> bool:
        """Whether the model contains a convolution."""
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        return any(isinstance(layer, kinds) for layer in self._skeleton.modules())


@own_settings()
def as_architecture(
    model: Any, feature_shape: tuple[int, ...], num_outputs: int, *, version: str | None = None
) -> Architecture:
    """Check a model and compute its digest.

    Args:
        model: a name in :data:`MODELS`; a callable without arguments that returns a new
            ``nn.Module``; or a callable of (feature shape, number of outputs). If its modules share
            tensors with each other, such as frozen layers that were loaded once, each is copied. An
            :class:`Architecture` is returned unchanged.
        feature_shape: shape of one example's features.
        num_outputs: width that the output must have.
        version: identifies a callable in the digest, in place of its initial state. Give it if the
            initial state differs between builds from one seed.

    Raises:
        KeyError: there is no model of that name.
        TypeError: the model is not a callable, needs other arguments, or does not return a module
            or a tensor; or the module is compiled, quantised or replicated over devices.
        ValueError: the callable raised an error; the output has another width; the module does not
            accept the features; it has no trainable parameter, or a parameter or layer that cannot
            be trained exactly, which the message names; or it draws random numbers outside torch.
    """
    if isinstance(model, Architecture):
        wanted, given = (
            (tuple(feature_shape), num_outputs),
            (model.feature_shape, model.num_outputs),
        )
        if wanted != given:
            raise ValueError(
                f"{model} was made for features of shape {given[0]} and {given[1]} outputs; the "
                f"data has {wanted[0]} and {wanted[1]}. Give the model itself."
            )
        return model
    name, model, factory = as_factory(model, tuple(feature_shape), num_outputs)
    module, other = (_build_plain(factory, 0, name) for _ in range(2))
    check_module(module, name)
    initial = state_bytes(get_state(module))
    if version is None and initial != state_bytes(get_state(other)):
        raise ValueError(
            f"{name} has two different initial states for one seed: it draws random numbers "
            "outside torch. Initialise with torch; or give version='...', which skips this "
            "check, and make the weights equal yourself."
        )
    factory = unshared(factory, name, module, other)
    module = _build(factory, 0, name)
    # The repr may hold memory addresses, which differ between runs of the same model.
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


def _clone_inputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.clone() for each in inputs)


def _cast_outputs(module: nn.Module, inputs: object, outputs: Tensor) -> Tensor:
    return outputs.float()


@own_settings()
def _build(factory: Factory, seed: int, name: str = "model") -> nn.Module:
    """Build a module with keyed dropout; its initial weights depend on the seed alone."""
    module = _build_plain(factory, seed, name)
    key_dropout(module)
    return module


@own_settings()
def _build_plain(factory: Factory, seed: int, name: str) -> nn.Module:
    with PrivateRandomness(torch_generator(seed, "weights")):
        return new_module(factory, name)
