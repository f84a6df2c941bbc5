"""Kronecker factors, and the layers of which they describe the weights."""

import torch
from torch import nn

from unlearnkit.approximate.baselines.kronecker_factors import (
    factors,
    layer_parameters,
    layers_of,
    shared_layer,
)
from unlearnkit.models.losses import SquaredError


class Twice(nn.Module):
    """Uses a layer twice, or two layers with one weight."""

    def __init__(self, tied):
        super().__init__()
        self.one, self.other, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        if tied:
            self.other.weight = self.one.weight
        else:
            self.other = nn.Identity()
        self.tied = tied

    def forward(self, x):
        x = self.one(x).tanh()
        return self.last((self.other if self.tied else self.one)(x))


def test_layers_whose_weights_are_used_more_than_once_are_named():
    inputs = torch.ones(2, 3)
    assert shared_layer(Twice(tied=True), inputs) == "one"
    assert shared_layer(Twice(tied=False), inputs) == "one"
    assert shared_layer(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), inputs) == ""


def test_parameters_of_layers_are_those_that_they_read():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    assert layer_parameters(module) == {"0.weight": "0", "0.bias": "0", "2.weight": "2"}
    hooked = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    assert layers_of(hooked) == {} == layer_parameters(hooked)


def test_factors_of_a_linear_model_are_moments_of_inputs_and_slopes():
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    found = factors(nn.Sequential(nn.Linear(2, 1)), inputs, SquaredError())
    extended = torch.cat([inputs, torch.ones(2, 1)], 1)
    torch.testing.assert_close(found["0.A"], extended.T @ extended / 2)
    hessian = SquaredError().output_hessian_product(torch.zeros(1, 1), torch.ones(1, 1))
    torch.testing.assert_close(found["0.S"], hessian)
