"""Comparing leaves everything as it was."""

import numpy as np
import torch

from unlearnkit.evaluation import parameters, representations


def test_looking_leaves_the_global_generators_alone(mixed):
    comparison, dataset = mixed
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    parameters.parameter_sample(comparison, comparison.shards[0])
    representations.twin_embedding(comparison, dataset, comparison.shards[0])
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before
