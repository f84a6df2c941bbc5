"""What methods that optimise share."""

import pytest
import torch

from unlearnkit.approximate import BadTeacher, L1Sparse, SaliencyUnlearning, Unsir
from unlearnkit.approximate.optimise import divergence_gradient
from unlearnkit.models.losses import CrossEntropy, SquaredError


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=lambda loss: loss.name)
def test_the_slope_of_the_divergence_is_its_gradient(loss):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 4, generator=generator, dtype=torch.float64)
    student.requires_grad_(True)
    if isinstance(loss, CrossEntropy):
        p, q = teacher.log_softmax(1), student.log_softmax(1)
        value = (p.exp() * (p - q)).sum()
    else:
        value = (student - teacher).square().sum() / 2
    [expected] = torch.autograd.grad(value, student)
    assert torch.allclose(divergence_gradient(loss, student.detach(), teacher), expected)


@pytest.mark.parametrize(
    ("rule", "name", "bad"),
    [
        (rule, name, bad)
        for rule, names in (
            (SaliencyUnlearning, ("share", "alpha", "passes", "rate")),
            (BadTeacher, ("temperature", "passes", "rate")),
            (L1Sparse, ("gamma", "passes", "rate")),
            (Unsir, ("noise_steps", "noise_rate", "penalty", "impair_rate", "repair_passes")),
        )
        for name in names
        for bad in (-1, float("nan"), float("inf"), "1", True)
    ],
)
def test_bad_settings_are_refused_at_once(rule, name, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{name}="):
        rule(**{name: bad})
