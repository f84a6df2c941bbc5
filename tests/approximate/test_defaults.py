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


@pytest.mark.parametrize(("slices", "substeps"), [(2, 2), (5, 1)])
def test_a_perceptron_with_small_shards_is_solved_in_output_space(slices, substeps):
    session = uk.Session(
        uk.load("digits", num_examples=400), model="mlp", num_shards=2, num_slices=slices
    )
    method = default_method(session.plan)
    assert method.by_outputs and method.substeps == substeps and method.scope != "head"
    assert method.damping > 0


def test_a_convolutional_network_is_corrected_in_its_last_layer():
    session = uk.Session(uk.load("digits", num_examples=400), model="cnn", num_shards=2)
    assert default_method(session.plan) == METHODS["last-layer-influence"]
    assert default_method(session.plan).scope == "head"
