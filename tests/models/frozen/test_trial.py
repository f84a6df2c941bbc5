"""The trial: a row's features depend on the row and its place alone."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from backbones import SHAPE, backbone
from unlearnkit.models.frozen.backbone import Backbone, RowKind
from unlearnkit.models.frozen.trial import TRIED, try_backbone

IDS = np.arange(20, 31)
ROWS = torch.randn(11, *SHAPE, generator=torch.Generator().manual_seed(1))


def tried(function, size=8):
    one = Backbone(uk.Frozen(function, batch_size=size), RowKind(SHAPE, "float32"))
    return one, try_backbone(one, IDS, ROWS)


def test_the_features_are_those_of_each_row_alone_at_its_place():
    module = backbone()
    one, (ids, features) = tried(module)
    assert one.trials[TRIED] and len(ids) == 8 and set(ids % 8) == set(range(8))
    for example, found in zip(ids.tolist(), features, strict=True):
        alone = torch.zeros(8, *SHAPE)
        alone[example % 8] = ROWS[example - 20]
        with torch.no_grad():
            assert torch.equal(module(alone)[example % 8], found)


def batch_statistics(rows):
    return nn.functional.batch_norm(rows, None, None, training=True).flatten(1)


def one_sees_the_last(rows):
    found = rows.flatten(1).clone()
    found[0, 0] += found[-1, 0]
    return found


@pytest.mark.parametrize(
    "function",
    [
        batch_statistics,
        one_sees_the_last,
        lambda rows: rows.flatten(1) - rows.flatten(1).nan_to_num().mean(0),
        lambda rows: rows.flatten(1) / rows.flatten(1).abs().amax(),
    ],
)
def test_rows_that_influence_each_other_are_refused(function):
    with pytest.raises(ValueError, match=r"influence each other's features.*batch_size=1"):
        tried(function)


def test_batches_of_one_row_cannot_influence_each_other():
    tried(lambda rows: rows.flatten(1) - rows.flatten(1).mean(0), size=1)


def test_chance_is_refused_wherever_it_comes_from():
    numbers, count = np.random.default_rng(0), itertools.count()
    private = torch.Generator().manual_seed(0)
    for function in (
        lambda rows: rows.flatten(1) + torch.from_numpy(numbers.random(1).astype("f4")),
        lambda rows: rows.flatten(1) + next(count),
        lambda rows: rows.flatten(1) + torch.rand(1, generator=private),
    ):
        with pytest.raises(
            ValueError, match=r"again with the same rows|changes .* when it is called"
        ):
            tried(function)
    with pytest.raises(
        ValueError, match=r"draws random numbers \(.*leave augmentation and dropout"
    ):
        tried(lambda rows: nn.functional.dropout(rows, 0.5).flatten(1))


def test_a_backbone_that_checks_its_rows_for_nan_is_tried_with_other_rows():
    def strict(rows):
        if rows.isnan().any():
            raise ValueError("NaN")
        return rows.flatten(1)

    def strict_and_coupled(rows):
        return strict(rows) - rows.flatten(1).sum(0)

    assert tried(strict)[0].trials[TRIED]
    with pytest.raises(ValueError, match="influence each other"):
        tried(strict_and_coupled)
