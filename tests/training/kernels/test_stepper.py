"""The stepper: gradients of batches, and twins for repeating them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.training.kernels.repeats import difference
from unlearnkit.training.kernels.stepper import Stepper, _plain_attributes


def convolutional() -> nn.Module:
    body = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(48, 2))


def stepper_of(**handling: bool) -> Stepper:
    architecture = as_architecture(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)
        ),
        (1, 6, 6),
        2,
    )
    architecture.trials["Handling"] = Handling(**handling)
    return Stepper(architecture, architecture.initial(0, 0), CrossEntropy(), torch.device("cpu"))


def batch(size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.random.default_rng(0).normal(size=(size, 1, 6, 6)).astype("float32")
    return torch.from_numpy(images), torch.arange(size) % 2


def test_gradients_are_those_of_the_mean_loss() -> None:
    stepper = stepper_of()
    inputs, targets = batch()
    outputs = stepper.gradients(inputs, targets)
    assert torch.equal(outputs, stepper.module(inputs).detach())
    found = [parameter.grad.clone() for parameter in stepper.parameters]
    stepper.module.zero_grad()
    nn.functional.cross_entropy(stepper.module(inputs), targets).backward()
    for parameter, gradient in zip(stepper.parameters, found, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_single_example_is_normalised_by_running_statistics() -> None:
    stepper = stepper_of()
    stepper.gradients(*batch(1))
    assert stepper.module[1].num_batches_tracked == 0
    assert stepper.module[1].training


def test_twins_compute_the_same_and_are_independent() -> None:
    for rebuilt in (False, True):
        stepper = stepper_of(rebuilt=rebuilt)
        stepper.gradients(*batch())
        twin = stepper.twin()
        outputs = stepper.gradients(*batch()), twin.gradients(*batch())
        assert difference(stepper, twin, outputs) == ""
        with torch.no_grad():
            twin.parameters[0].add_(1)
        outputs = stepper.gradients(*batch()), twin.gradients(*batch())
        assert difference(stepper, twin, outputs) == "its outputs"


class Net(nn.Module):
    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.body, self.drop, self.head = nn.Conv2d(1, 3, 3), nn.Dropout(0.5), nn.Linear(48, 2)
        self.change, self.seen = change, ()
        if change == "list":
            self.past: list[int] = []
        elif change == "hook":
            self.body.register_forward_hook(lambda *_: None)
        elif change == "buffer":
            self.register_buffer("mean", torch.zeros(1), persistent=False)
        elif change == "tuple of tensors":
            self.seen = (torch.zeros(2), torch.ones(2))
        elif change == "list in a tuple":
            self.seen = ([0],)
        elif change == "tensor in a layer":
            self.body.mean = torch.zeros(3)
        elif change == "forward of a layer":
            self.head.forward = lambda x: nn.functional.linear(x, self.head.weight)
        elif change == "hook on a gradient":
            self.head.weight.register_hook(lambda gradient: gradient / 2)
        elif change == "hook on the way back":
            self.head.register_full_backward_hook(lambda *_: None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.change == "count":
            self.seen = (len(x),)
        elif self.change == "layer":
            self.body.padding = (0, 0, 0)[:2] if self.training else "valid"
            self.body.rate = 0.1
        elif self.change == "dropout":
            self.drop.p = 0.25
        elif self.change == "attribute of a weight":
            self.head.weight.calls = 1
        elif self.change == "frozen weight":
            self.body.weight.requires_grad_(False)
        elif self.change == "layer in evaluation mode":
            self.drop.eval()
        elif self.change == "tuple of tensors":
            self.seen = (self.seen[0] + 1, self.seen[1])
        return self.head(self.drop(self.body(x)).flatten(1))


CHANGES = ("list", "hook", "buffer", "count", "layer", "dropout")
CHANGES += ("tuple of tensors", "list in a tuple", "tensor in a layer", "forward of a layer")
CHANGES += ("hook on a gradient", "hook on the way back", "attribute of a weight")
CHANGES += ("frozen weight", "layer in evaluation mode")


@pytest.mark.parametrize("change", ["", *CHANGES])
def test_what_a_module_may_remember_is_told(change: str) -> None:
    architecture = as_architecture(lambda: Net(change), (1, 6, 6), 2)
    stepper = Stepper(architecture, architecture.initial(0, 0), CrossEntropy(), torch.device("cpu"))
    assert stepper.context is not None
    stepper.context.begin_step(torch.arange(4), 4, "key")
    stepper.gradients(*batch())
    assert stepper.remembers() == bool(change)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(3, 4, 2),
        nn.TransformerEncoderLayer(8, 2),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)),
        nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_of_torch_remember_nothing_outside_their_state(layer: nn.Module) -> None:
    found = _plain_attributes(layer)
    assert found is not None and found == _plain_attributes(copy.deepcopy(layer))
