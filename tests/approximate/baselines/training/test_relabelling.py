"""Relabelling trains on wrong labels and leaves the data alone."""

import numpy as np
import torch

from rounds import forget_loss, one_stored_state, uneven_session
from unlearnkit.approximate import (
    NegGradPlus,
    Relabelling,
)
from unlearnkit.approximate.baselines.training.relabelling import wrong_labels


def test_relabelling_trains_on_wrong_labels_and_leaves_the_data_alone():
    session = uneven_session("logistic")
    given, stored = one_stored_state(session, 2)
    before = given.state.data(stored.forget)[1].clone()
    found, _ = Relabelling(passes=3, rate=1.0)(given, stored)
    assert torch.equal(given.state.data(stored.forget)[1], before)
    tuned, _ = NegGradPlus(forget_weight=0.0, passes=3, rate=1.0)(given, stored)
    assert forget_loss(given, stored, found) > forget_loss(given, stored, tuned)
    labels = torch.arange(4).repeat(1000)
    wrong = wrong_labels(labels, 4, np.random.default_rng(0))
    assert (wrong != labels).all()
    counts = torch.bincount(4 * labels + wrong, minlength=16).view(4, 4)
    assert (counts[~torch.eye(4, dtype=torch.bool)] - 333).abs().max() < 80  # five deviations
