"""Losses against autograd in float64, on every loss in `LOSSES`."""

import json

import pytest
import torch
from torch import Tensor

from unlearnkit.models.losses import (
    LOSSES,
    CrossEntropy,
    Loss,
    SquaredError,
    WeightedCrossEntropy,
    as_loss,
)
from unlearnkit.training.spec import TrainSpec

# float64 rounding of a few additions of numbers of order one
TOLERANCE = 1e-13


def problem(shape: tuple[int, ...] = (7, 4)) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    vectors = torch.randn(shape, generator=generator, dtype=torch.float64)
    return outputs, labels, vectors


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request: pytest.FixtureRequest) -> Loss:
    return request.param


def test_values_agree_with_torch() -> None:
    outputs, labels, _ = problem()
    one_hot = torch.nn.functional.one_hot(labels, 4).double()
    expected = torch.nn.functional.cross_entropy(outputs, labels, reduction="none")
    assert torch.allclose(CrossEntropy().value(outputs, labels), expected, rtol=0, atol=TOLERANCE)
    expected = torch.nn.functional.mse_loss(outputs, one_hot, reduction="none").sum(1) / 2
    for targets in (labels, one_hot):
        value = SquaredError().value(outputs, targets)
        assert torch.allclose(value, expected, rtol=0, atol=TOLERANCE)


def test_gradient_is_autograds(loss: Loss) -> None:
    outputs, labels, _ = problem()
    leaf = outputs.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(loss.value(leaf, labels).sum(), leaf)
    gradient = loss.output_gradient(outputs, labels)
    assert torch.allclose(gradient, expected, rtol=0, atol=TOLERANCE)


def test_hessian_product_is_the_dense_hessians(loss: Loss) -> None:
    outputs, labels, vectors = problem()
    products = loss.output_hessian_product(outputs, vectors)
    for row, label, vector, product in zip(outputs, labels, vectors, products, strict=True):
        hessian = torch.autograd.functional.hessian(
            lambda z, t=label: loss.value(z[None], t[None]).sum(), row
        )
        assert torch.allclose(product, hessian @ vector, rtol=0, atol=TOLERANCE)


WEIGHTS = (0.5, 3.0, 0.0, 1.0)


def test_weighted_values_and_gradients_are_torchs() -> None:
    outputs, labels, _ = problem()
    loss, leaf = WeightedCrossEntropy(WEIGHTS), outputs.clone().requires_grad_(True)
    expected = torch.nn.functional.cross_entropy(
        leaf, labels, weight=torch.tensor(WEIGHTS, dtype=torch.float64), reduction="none"
    )
    assert torch.allclose(loss.value(outputs, labels), expected, rtol=0, atol=TOLERANCE)
    (slopes,) = torch.autograd.grad(expected.sum(), leaf)
    found = loss.output_gradient(outputs, labels)
    assert torch.allclose(found, slopes, rtol=0, atol=TOLERANCE)
    assert torch.equal(loss.probabilities(outputs), outputs.softmax(-1))


def test_the_weighted_hessian_is_the_mean_over_labels_of_true_frequency() -> None:
    """Where the weighted loss is at its minimum, p_c is w_c times the true frequency of c."""
    outputs, _, vectors = problem()
    weights = torch.tensor([1, 0.5, 20, 3], dtype=torch.float64)
    loss = WeightedCrossEntropy(tuple(weights.tolist()))
    true = outputs.softmax(1)
    minimum = (true * weights).log()
    slopes = sum(
        true[:, label, None] * loss.output_gradient(minimum, torch.full((7,), label))
        for label in range(4)
    )
    assert torch.allclose(slopes, torch.zeros(7, 4, dtype=torch.float64), atol=TOLERANCE)
    products = loss.output_hessian_product(minimum, vectors)
    for row, vector, product, shares in zip(minimum, vectors, products, true, strict=True):
        expected = torch.zeros(4, dtype=torch.float64)
        for label, share in enumerate(shares):
            hessian = torch.autograd.functional.hessian(
                lambda z, t=label: loss.value(z[None], torch.tensor([t])).sum(), row
            )
            expected += share * (hessian @ vector)
        assert torch.allclose(product, expected, rtol=0, atol=TOLERANCE)


def test_classes_of_weight_zero_are_left_out_of_the_expected_weight() -> None:
    outputs, _, vectors = problem()
    found = WeightedCrossEntropy((2, 0, 6, 0)).output_hessian_product(outputs, vectors)
    p = outputs.softmax(1)
    expected = (p[:, 0] + p[:, 2]) / (p[:, 0] / 2 + p[:, 2] / 6)
    plain = CrossEntropy().output_hessian_product(outputs, vectors)
    assert torch.allclose(found, expected[:, None] * plain, rtol=0, atol=TOLERANCE)
    far = torch.tensor([[0.0, 2000.0, 0.0, 0.0]])  # the others underflow
    assert WeightedCrossEntropy((2, 0, 6, 0)).output_hessian_product(far, far).isfinite().all()


def test_equal_weights_are_no_weights() -> None:
    outputs, labels, vectors = problem()
    ours, plain = WeightedCrossEntropy((1, 1, 1, 1)), CrossEntropy()
    assert torch.equal(ours.value(outputs, labels), plain.value(outputs, labels))
    assert torch.equal(
        ours.output_gradient(outputs, labels), plain.output_gradient(outputs, labels)
    )
    found = ours.output_hessian_product(outputs, vectors)
    expected = plain.output_hessian_product(outputs, vectors)
    assert torch.allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_weights_travel_with_a_spec() -> None:
    spec = TrainSpec(loss=WeightedCrossEntropy((1, 3)))
    assert TrainSpec(**json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.digest == TrainSpec(loss=WeightedCrossEntropy((1.0, 3.0))).digest
    assert spec.digest != TrainSpec(loss=WeightedCrossEntropy((1, 2))).digest


@pytest.mark.parametrize(
    ("weights", "error"),
    [((0, 0), ValueError), ((1, -1), ValueError), ((1, torch.inf), ValueError), ("12", TypeError)],
)
def test_bad_weights(weights: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="class_weights="):
        WeightedCrossEntropy(weights)  # type: ignore[arg-type]


def test_stacked_lanes_equal_their_batches(loss: Loss) -> None:
    outputs, labels, vectors = problem((3, 5, 4))
    for lane in range(3):
        assert torch.equal(
            loss.value(outputs, labels)[lane], loss.value(outputs[lane], labels[lane])
        )
        assert torch.equal(
            loss.output_gradient(outputs, labels)[lane],
            loss.output_gradient(outputs[lane], labels[lane]),
        )
        assert torch.equal(
            loss.output_hessian_product(outputs, vectors)[lane],
            loss.output_hessian_product(outputs[lane], vectors[lane]),
        )


def test_extreme_outputs_stay_finite() -> None:
    outputs = torch.tensor([[1e4, -1e4, -1e30]])  # -1e30: the bias of a padded class
    loss = CrossEntropy()
    assert loss.value(outputs, torch.tensor([1])).item() == 2e4
    assert loss.output_gradient(outputs, torch.tensor([1])).tolist() == [[1.0, -1.0, 0.0]]
    assert loss.output_hessian_product(outputs, torch.ones(1, 3)).tolist() == [[0.0, 0.0, 0.0]]


def test_dtype_follows_outputs_and_empty_batches_pass(loss: Loss) -> None:
    for dtype in (torch.float32, torch.float64):
        outputs = torch.zeros(0, 3, dtype=dtype)
        labels = torch.zeros(0, dtype=torch.uint8)
        results = (
            loss.value(outputs, labels),
            loss.output_gradient(outputs, labels),
            loss.output_hessian_product(outputs, outputs),
            loss.probabilities(outputs),
        )
        assert {r.dtype for r in results} == {dtype}
        assert {len(r) for r in results} == {0}


def test_probabilities() -> None:
    outputs, _, _ = problem()
    total = CrossEntropy().probabilities(outputs).sum(1)
    assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=TOLERANCE)
    assert SquaredError().probabilities(outputs) is outputs


def test_names_are_stable() -> None:
    assert {name: repr(loss) for name, loss in LOSSES.items()} == {
        "cross-entropy": "CrossEntropy()",
        "squared-error": "SquaredError()",
    }
    for name, loss in LOSSES.items():
        assert as_loss(name) is loss and as_loss(loss) is loss and loss.name == name


def test_errors() -> None:
    with pytest.raises(KeyError, match=r"no loss is named 'hinge'.*cross-entropy, squared-error"):
        as_loss("hinge")
    with pytest.raises(TypeError, match="loss"):
        as_loss(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer labels were expected"):
        CrossEntropy().value(torch.zeros(2, 3), torch.zeros(2, 3))
    # Where annotations are checked, they find wrong shapes first, with a TypeError.
    with pytest.raises((ValueError, TypeError), match=r"targets"):
        SquaredError().value(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises((ValueError, TypeError), match=r"labels|targets"):
        CrossEntropy().output_gradient(torch.zeros(2, 3), torch.tensor([0]))
