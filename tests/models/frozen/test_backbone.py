"""Backbones: what is refused in one sentence, and what new rows give."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from backbones import BATCH, SHAPE, as_plain, backbone, images, one_by_one
from unlearnkit.models.frozen.backbone import Backbone, ChangedBackboneError, RowKind

KIND = RowKind(SHAPE, "float32")


def made(function, **options):
    return Backbone(uk.Frozen(function, batch_size=4, **options), KIND)


def flat(rows):
    return rows.flatten(1)


def scalar(rows):
    return rows.sum((1, 2, 3))


def test_what_cannot_be_called_with_rows_is_refused():
    for given, words in (
        (nn.Linear, "Linear is a class"),
        ("resnet", "a str; give an nn.Module"),
        (uk.Frozen(flat), "part of another"),
    ):
        with pytest.raises(TypeError, match=words):
            uk.Frozen(given)
    with pytest.raises(TypeError, match="part of another"):
        uk.Frozen(flat, head=uk.Frozen(flat))
    with pytest.raises(TypeError, match=r"batch_size=2\.5"):
        uk.Frozen(flat, batch_size=2.5)
    with pytest.raises(ValueError, match="batch_size=0"):
        uk.Frozen(flat, batch_size=0)
    with pytest.raises(TypeError, match="version=3"):
        uk.Frozen(flat, version=3)
    assert repr(uk.Frozen(flat)) == "Frozen(flat, head='logistic')"


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (scalar, ValueError, r"shape \(4,\); return .* features.unsqueeze\(1\)"),
        (lambda rows: rows.flatten(1)[:3], ValueError, "one row for each"),
        (lambda rows: rows.flatten(1) + 0j, TypeError, "complex"),
        (lambda rows: (rows.flatten(1), None), TypeError, r"a tuple .*model\(rows\)\[0\]"),
        (lambda rows: {"x": rows}, TypeError, r"a dict .*model\(rows\)\['x'\]"),
        (lambda rows: [[1.0], [1.0, 2.0], [1.0], [1.0]], ValueError, "different"),
        (lambda rows: None, TypeError, "None"),
        (lambda rows: rows.no_such_method(), ValueError, r"raised AttributeError.*\(4, 2, 5, 5\)"),
        (nn.Sequential(nn.Flatten(), nn.Dropout()), ValueError, "training mode .*call .eval()"),
        (nn.Linear(9, 2).eval(), ValueError, "raised RuntimeError"),
    ],
)
def test_wrong_features_are_refused_in_one_sentence(function, error, words):
    with pytest.raises(error, match=words):
        made(function)


def test_features_that_require_gradients_are_refused():
    weight = nn.Parameter(torch.ones(50, 2))

    def with_gradient(rows):
        with torch.enable_grad():
            return rows.flatten(1) @ weight

    with pytest.raises(ValueError, match=r"require gradients.*features\.detach\(\)"):
        made(with_gradient)
    assert (
        not made(lambda rows: with_gradient(rows).detach())
        .compute(torch.ones(4, *SHAPE))
        .requires_grad
    )


def test_a_backbone_that_changes_itself_is_refused():
    norm = nn.BatchNorm2d(2).eval()

    def counts(rows):
        norm.running_mean.add_(1)
        return norm(rows).flatten(1)

    with pytest.raises(ChangedBackboneError, match=r"changes norm.running_mean when it is called"):
        made(counts)


def test_features_of_other_shapes_for_other_rows_are_refused():
    one = made(lambda rows: rows.flatten(1)[:, : 4 + int(rows.abs().sum() > 0)])
    with pytest.raises(ValueError, match=r"\(4, 5\) for a batch of 4 rows.*\(4, 4\)"):
        one.compute(torch.ones(4, *SHAPE))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
def test_features_of_any_real_type_become_float32(dtype):
    found = made(lambda rows: (rows.flatten(1) * 3).to(dtype)).compute(torch.ones(4, *SHAPE))
    assert found.dtype == torch.float32 and bool((found == 3).all())


def test_arrays_are_features_as_well():
    found = made(lambda rows: rows.flatten(1).numpy().astype(np.float64))(torch.ones(3, *SHAPE))
    assert torch.equal(found, torch.ones(3, 50))


def test_new_rows_go_through_the_backbone():
    data = images()
    options = {"num_shards": 2, "num_slices": 2, "epochs": 3}
    one = uk.Session(data, model=uk.Frozen(backbone(), batch_size=BATCH), **options)
    plain = uk.Session(as_plain(data, one_by_one(backbone(), data)), model="logistic", **options)
    for each in (one, plain):
        each.train(on_progress=False)
    rows = data.test.features
    expected = plain.ensemble.probabilities(plain.dataset.test.inputs())
    for given in (rows, rows.numpy(), rows.double()):
        assert torch.allclose(one.ensemble.probabilities(given).float(), expected, atol=1e-6)
    assert torch.equal(one.ensemble.probabilities(one.dataset.test.inputs()), expected)
    assert torch.allclose(one.ensemble.module()(rows), expected, atol=1e-6)
    assert len(one.ensemble.predict(rows[:0])) == 0
    with pytest.raises(
        ValueError, match=r"\(30, 50\).*\(2, 5, 5\), or that of its features, \(13,\)"
    ):
        one.ensemble.predict(rows.flatten(1))
    with pytest.raises(TypeError, match=r"torch.uint8.*takes float32"):
        one.ensemble.predict(rows.to(torch.uint8))
    with pytest.raises(ValueError, match="NaN or infinite features for 1 of 30 rows"):
        one.ensemble.predict(rows.index_fill(0, torch.tensor([4]), torch.nan))


def test_rows_and_features_of_one_shape_are_told_apart():
    rows = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    labels = (rows[:, 0] > 0).long()
    doubled = uk.Session((rows, labels), model=uk.Frozen(lambda x: 2 * x), epochs=2, num_shards=2)
    plain = uk.Session((2 * rows, labels), model="logistic", epochs=2, num_shards=2)
    for each in (doubled, plain):
        each.train(on_progress=False)
    assert torch.equal(doubled.ensemble.predict(rows), plain.ensemble.predict(2 * rows))
    assert doubled.dataset.test.inputs().shape[1:] == (1, 6)


def test_the_digest_follows_parameters_code_values_and_version():
    factor = {"a": 2.0}

    def scaled(rows, by=1.0):
        return rows.flatten(1) * by * factor["a"]

    def shifted(rows, by=1.0):
        return rows.flatten(1) * by * factor["a"] + 0

    first = made(scaled).digest
    assert first == made(scaled).digest
    others = [made(shifted), made(functools.partial(scaled, by=3.0))]
    others += [made(backbone()), made(backbone(4)), made(scaled, version="1")]
    factor["a"] = 3.0
    others.append(made(scaled))
    assert len({first, *(other.digest for other in others)}) == 7
    assert made(scaled, version="1").digest == made(shifted, version="1").digest
    assert made(backbone()).digest == made(backbone()).digest
    assert repr(made(flat)) == "Backbone(flat, (2, 5, 5) float32 to (50,))"


def test_settings_of_torch_that_change_bits_are_refused():
    one = made(flat)
    torch.backends.mkldnn.deterministic = True
    try:
        with pytest.raises(ValueError, match=r"settings have changed.*deterministic = False"):
            one(torch.ones(2, *SHAPE))
    finally:
        torch.backends.mkldnn.deterministic = False
