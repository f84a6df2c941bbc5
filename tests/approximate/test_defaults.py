"""The default method, which depends on the model and on the shards."""

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.approximate import METHODS
from unlearnkit.approximate.defaults import default_method


@pytest.mark.parametrize(
    ("shard_size", "slices", "most", "substeps"),
    [(1_000, 5, 432, 2), (12_000, 1, 432, 4), (15_000, 2, 535, 2), (60_000, 1, 768, 4)],
)
def test_linear_models_of_large_shards_take_more_examples(shard_size, slices, most, substeps):
    count = 2 * shard_size
    arrays = np.zeros((count, 3), np.float32), np.arange(count) % 2
    data = uk.from_arrays(*arrays, test=arrays, probe=arrays)
    session = uk.Session(data, model="logistic", num_shards=2, num_slices=slices)
    method = default_method(session.plan)
    assert (method.curvature_max, method.substeps) == (most, substeps)


@pytest.mark.parametrize(("slices", "substeps", "merge"), [(2, 2, 1), (5, 1, 2), (10, 1, 4)])
def test_a_perceptron_with_small_shards_is_solved_in_output_space(slices, substeps, merge):
    session = uk.Session(
        uk.load("digits", num_examples=400), model="mlp", num_shards=2, num_slices=slices
    )
    method = default_method(session.plan)
    assert method.by_outputs and method.substeps == substeps and method.scope != "head"
    assert method.damping > 0 and method.merge == merge


@pytest.mark.parametrize(("slices", "substeps"), [(1, 1), (4, 2), (5, 1)])
def test_a_perceptron_with_large_shards_draws_by_curvature(slices, substeps):
    arrays = np.zeros((12_000, 3), np.float32), np.arange(12_000) % 2
    data = uk.from_arrays(*arrays, test=arrays, probe=arrays)
    session = uk.Session(data, model="mlp", num_shards=2, num_slices=slices)
    method = default_method(session.plan)
    assert method.draws_by_curvature(6_000) and not method.by_outputs
    assert (method.substeps, method.merge) == (substeps, 1) and method.damping > 0


def test_long_segments_take_more_iterations():
    images = np.zeros((18_000, 3), np.float32), np.arange(18_000) % 2

    def method_of(shards, slices):
        data = uk.from_arrays(*images, test=images, probe=images)
        session = uk.Session(data, model="mlp", num_shards=shards, num_slices=slices)
        return default_method(session.plan)

    usual = method_of(shards=3, slices=5)
    for longer in (method_of(shards=3, slices=1), method_of(shards=2, slices=5)):
        assert longer.iterations > usual.iterations and longer.damping == usual.damping


def test_a_convolutional_network_is_corrected_in_its_last_layer():
    session = uk.Session(uk.load("digits", num_examples=400), model="cnn", num_shards=2)
    assert default_method(session.plan) == METHODS["last-layer-influence"]
    assert default_method(session.plan).scope == "head"
