"""Activations of the stacked kernel, forward and backward, in place."""

from collections.abc import Callable

import torch
from torch import Tensor


def _relu(z: Tensor, h: Tensor) -> None:
    torch.relu_(z)
    if h is not z:
        h.copy_(z)


def _tanh(z: Tensor, h: Tensor) -> None:
    z.tanh_()
    if h is not z:
        h.copy_(z)


def _gelu(z: Tensor, h: Tensor) -> None:
    torch.ops.aten.gelu.out(z, out=h)


def _relu_back(delta: Tensor, h: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)


def _tanh_back(delta: Tensor, h: Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(delta, h, grad_input=delta)


def _gelu_back(delta: Tensor, z: Tensor) -> None:
    torch.ops.aten.gelu_backward.grad_input(delta, z, grad_input=delta)


# FORWARD writes the activations of z to h. BACKWARD multiplies the gradient at h by the derivative,
# which relu and tanh compute from h and gelu from z.
FORWARD: dict[str, Callable[[Tensor, Tensor], None]] = {
    "relu": _relu,
    "tanh": _tanh,
    "gelu": _gelu,
}
BACKWARD: dict[str, Callable[[Tensor, Tensor], None]] = {
    "relu": _relu_back,
    "tanh": _tanh_back,
    "gelu": _gelu_back,
}
