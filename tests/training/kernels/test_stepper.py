"""The stepper: gradients of batches, and twins for repeating them."""

import numpy as np
import torch
from torch import nn

from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.training.kernels.repeats import difference
from unlearnkit.training.kernels.stepper import Stepper


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
