"""A module in training: computes gradients of batches in the memory layout of the per-lane kernel.

The module receives only the surviving examples of a batch, so that batch statistics do not depend
on empty slots.
"""

import copy
from enum import Enum
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unlearnkit.models.architecture import Architecture
from unlearnkit.models.dropout import KeyedDropout, step_context
from unlearnkit.models.losses import Loss
from unlearnkit.models.state import (
    batch_statistics_layers,
    copied,
    get_state,
    gradient_hooks,
)
from unlearnkit.models.surroundings import MODULE_HOOKS
from unlearnkit.store.checkpoint import State

STANDARD = frozenset(vars(nn.Module()))  # attributes that every module has
PLAIN = (bool, int, float, str, type(None))


class Stepper:
    """A fresh module in training mode.

    Attributes:
        module: the module.
        parameters: its trained parameters.
        context: the current step of its keyed dropout layers; None without dropout.
        channels_last: whether images are in the channels-last layout.
    """

    def __init__(
        self, architecture: Architecture, state: State, loss: Loss, device: torch.device
    ) -> None:
        """Create the module at a state, in the layout that its architecture is trained in."""
        self.architecture, self.loss, self.device = architecture, loss, device
        handling = architecture.handling
        image = len(architecture.feature_shape) == 3
        self.channels_last = image and architecture.is_convolutional and handling.channels_last
        module = architecture.module(state).train().to(device)
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for layer in module.modules():
                if not list(layer.children()):
                    layer.register_forward_hook(_keep_channels_last)
        self._take(module)

    def _take(self, module: nn.Module) -> None:
        self.module = module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.context = step_context(module)
        self._normalising = batch_statistics_layers(module)
        self._plain = _plain_attributes(module)

    def remembers(self) -> bool:
        """Whether the module may have changed something outside its state since it was created.

        It has not if all attributes are plain values and the same as at first. Other values that
        torch's own layers come with, such as activation functions, are not changed by calls.
        """
        return self._plain is None or self._plain != _plain_attributes(self.module)

    def twin(self) -> "Stepper":
        """Return a copy in the same state, hidden attributes included where they can be copied."""
        if self.architecture.handling.rebuilt:
            return Stepper(self.architecture, get_state(self.module), self.loss, self.device)
        twin = copy.copy(self)
        twin._take(copied(self.module))
        return twin

    def outputs(self, inputs: Tensor) -> Tensor:
        """Call the module on a batch in the layout of the kernel."""
        if not (self.channels_last and self.architecture.handling.reshapes):
            outputs: Tensor = self.module(inputs)
            return outputs
        with _ReshapeViews():
            return self.module(inputs)  # type: ignore[no-any-return]

    def gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the gradients of the mean loss of a batch, and return the batch's outputs."""
        alone = len(inputs) == 1
        if alone:  # a single example has no batch statistics: use the running statistics
            for layer in self._normalising:
                layer.eval()
        outputs = self.outputs(inputs)
        fixed: Tensor = outputs.detach()
        for parameter in self.parameters:
            parameter.grad = None
        outputs.backward(self.loss.output_gradient(fixed, targets) / len(inputs))
        if alone:
            for layer in self._normalising:
                layer.train()
        return fixed


def _plain_attributes(module: nn.Module) -> list[tuple[int, str, object]] | None:
    """Return the plain attributes of all layers; None if there may be others that calls change."""
    found: list[tuple[int, str, object]] = []
    for number, layer in enumerate(module.modules()):
        hooks = [hook for name in MODULE_HOOKS for hook in getattr(layer, name).values()]
        if layer._non_persistent_buffers_set or not all(map(_is_own, hooks)):
            return None
        found += [(number, "class", type(layer)), (number, "training", layer.training)]
        for name, value in vars(layer).items():
            if name in STANDARD:
                continue
            if _is_plain(value):
                found.append((number, name, value))
            elif not (isinstance(layer, KeyedDropout) or _is_torchs(layer, name, value)):
                return None
    for number, parameter in enumerate(module.parameters()):
        if vars(parameter) or gradient_hooks(parameter):
            return None
        found.append((number, "requires_grad", parameter.requires_grad))
    return found


def _is_plain(value: object) -> bool:
    """Whether a value cannot be changed in place."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _is_torchs(layer: nn.Module, name: str, value: object) -> bool:
    """Whether one of torch's layers holds a value that is not plain, but that no call changes."""
    if not type(layer).__module__.startswith("torch.nn."):
        return False
    if isinstance(layer, nn.RNNBase) and name in ("_all_weights", "_flat_weights_names"):
        return True  # names of the parameters
    if isinstance(layer, nn.RNNBase) and name in ("_flat_weights", "_flat_weight_refs"):
        return True  # the parameters
    owner = value if isinstance(value, FunctionType) else type(value)
    return isinstance(value, FunctionType | Enum) and owner.__module__.startswith("torch.nn.")


def _is_own(hook: object) -> bool:
    return getattr(hook, "__module__", "").startswith("unlearnkit.")


class _ReshapeViews(TorchFunctionMode):
    """Context in which a view that the strides of a tensor do not allow is copied instead.

    The context is local to its thread. The values are those of the view.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch; fall back to ``reshape`` for ``view``."""
        kwargs = kwargs or {}
        if func is not Tensor.view:
            return func(*args, **kwargs)
        try:
            return func(*args, **kwargs)
        except RuntimeError:
            if any(isinstance(each, torch.dtype) for each in args):
                raise
            return Tensor.reshape(*args, **kwargs)


def _keep_channels_last(layer: nn.Module, inputs: object, outputs: object) -> None:
    """Convert the gradient at a layer's image outputs to the channels-last format.

    A flattening layer returns its gradient channels first. Without this copy, all layers before it
    would mix both formats, which is slower.
    """
    if isinstance(outputs, Tensor) and outputs.ndim == 4 and outputs.requires_grad:
        outputs.register_hook(_channels_last)


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)
