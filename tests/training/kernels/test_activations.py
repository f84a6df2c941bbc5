"""The activations of the stacked kernel against automatic differentiation."""

import pytest
import torch

from unlearnkit.models.builtin import ACTIVATIONS
from unlearnkit.training.kernels.activations import BACKWARD, FORWARD


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_are_autograds(name: str) -> None:
    z = torch.linspace(-4, 4, 33).reshape(3, 11)  # 0 among them
    upstream = torch.linspace(-1, 1, 33).reshape(3, 11)
    leaf = z.clone().requires_grad_()
    expected = ACTIVATIONS[name]()(leaf)
    expected.backward(upstream)
    before, h = z.clone(), torch.empty_like(z)
    FORWARD[name](before, h)
    assert torch.allclose(h, expected, atol=1e-6)
    delta = upstream.clone()
    BACKWARD[name](delta, before if name == "gelu" else h)
    assert torch.allclose(delta, leaf.grad, atol=1e-6)


def test_there_is_a_derivative_of_every_activation() -> None:
    assert FORWARD.keys() == BACKWARD.keys() == ACTIVATIONS.keys()
