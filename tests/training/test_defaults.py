"""Defaults of training that follow the data and the loss."""

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.training.defaults import choose_model_and_spec, default_spec

DATA = uk.from_arrays(np.eye(20, 3, dtype="float32"), np.arange(20) % 2)
WEIGHTED = uk.WeightedCrossEntropy((1, 4))


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, 1),
        ({"loss": WEIGHTED}, 1 / 4),
        ({"loss": {"class_weights": [0.5, 4]}, "optimizer": "sgd"}, 1 / 4),
        ({"loss": uk.WeightedCrossEntropy((0.1, 0.5))}, 1),
        ({"loss": WEIGHTED, "optimizer": "adam"}, 1),  # its steps do not grow with the gradient
    ],
)
def test_the_default_rate_is_divided_by_the_largest_class_weight(given, share):
    _, spec = choose_model_and_spec(DATA, "logistic", **given)
    assert spec.learning_rate == share * default_spec(DATA, "logistic").learning_rate


def test_a_rate_that_was_given_stays():
    _, spec = choose_model_and_spec(DATA, None, loss=WEIGHTED, learning_rate=0.03)
    assert spec.learning_rate == 0.03
    _, spec = choose_model_and_spec(DATA, None, loss=WEIGHTED, spec=uk.TrainSpec())
    assert spec.learning_rate == uk.TrainSpec().learning_rate
