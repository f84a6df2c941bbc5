"""Parameters compared: samples, shifts and images of weights, against counting by hand."""

import pytest
import torch

from cases import CASES
from comparisons import shard_of
from unlearnkit.evaluation import parameters
from unlearnkit.evaluation.comparison import MODELS
from unlearnkit.models.architecture import as_architecture


def test_a_sample_holds_true_values_fairly_and_always_the_same(mixed):
    comparison, _ = mixed
    shard = shard_of(comparison, False)
    sample = parameters.parameter_sample(comparison, shard, most=40)
    counts = sample.frame["layer"].value_counts()
    assert counts.sum() == 40 and not sample.frame.duplicated(["layer", "index"]).any()
    full = [layer for layer, size in sample.sizes.items() if counts[layer] < size]
    assert max(counts) - min(counts[layer] for layer in full) <= 1
    for row in sample.frame.itertuples():
        for model in MODELS:
            state = getattr(comparison, model).by_shard[shard].state
            assert getattr(row, model) == float(state[row.layer].flatten()[row.index])
    again = parameters.parameter_sample(comparison, shard, most=40)
    other = parameters.parameter_sample(comparison, shard, most=40, seed=1)
    assert again.frame.equals(sample.frame) and not other.frame.equals(sample.frame)
    exact = parameters.parameter_sample(comparison, shard_of(comparison, True))
    assert exact.identical and (exact.frame["unlearned"] == exact.frame["scratch"]).all()
    assert not sample.identical


def test_shifts_count_every_parameter_and_agree_with_the_table(mixed):
    comparison, _ = mixed
    for identical in (False, True):
        shard = shard_of(comparison, identical)
        found = parameters.shifts(comparison, shard, bins=21)
        assert (found.frame[["needed", "made", "left"]].sum() == found.num_parameters).all()
        row = comparison.constituents.set_index("shard").loc[shard]
        assert found.left == pytest.approx(row["unlearned_to_scratch_l2"], rel=1e-5)
        assert found.needed == pytest.approx(row["original_to_scratch_l2"], rel=1e-5)
        # The law of cosines ties the three norms together.
        product = 2 * found.needed * found.made * found.cosine
        assert found.needed**2 + found.made**2 - product == pytest.approx(
            found.left**2, abs=1e-9 * found.needed**2
        )
        middle = found.frame.iloc[10]
        assert middle["low"] < 0 < middle["high"]
        assert (middle["left"] == found.num_parameters and found.left == 0) == identical
    with pytest.raises(ValueError, match="bins=4 is not a positive odd number"):
        parameters.shifts(comparison, shard, bins=4)
    with pytest.raises(KeyError, match="shard 0 was not compared; the compared shards are 1"):
        parameters.shifts(comparison, 0)


def test_weight_images_are_the_weights_of_the_units_that_moved_most(images):
    comparison, _ = images
    shard = comparison.shards[0]
    shown = parameters.weight_images(comparison, shard, most=2)
    weights = {m: getattr(comparison, m).by_shard[shard].state[shown.layer] for m in MODELS}
    moved = [
        float((a - b).norm()) for a, b in zip(weights["scratch"], weights["original"], strict=True)
    ]
    assert list(shown.units) == sorted(range(3), key=lambda unit: -moved[unit])[:2]
    for model in MODELS:
        for unit, image in zip(shown.units, shown.images[model], strict=True):
            assert image == pytest.approx(weights[model][unit, 0].numpy())
    frame = shown.to_frame()
    assert len(frame) == 2 * 9
    row = frame.query("unit == @shown.units[1] and row == 2 and column == 1").iloc[0]
    assert row["scratch"] == shown.images["scratch"][1, 2, 1]


def test_only_layers_that_look_at_images_have_images(mixed):
    comparison, _ = mixed
    assert parameters.weight_images(comparison, comparison.shards[0]) is None
    flat = CASES["cnn-batchnorm"]
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    architecture = as_architecture(lambda: linear, flat.feature_shape, 3)
    assert parameters.image_layer(architecture) == ("1.weight", (1, 8, 8))
