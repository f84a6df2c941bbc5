"""The models of a seed are those of a session, without its clock and most of its checks."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.approximate import EachState
from unlearnkit.studies.seed_models import trained, unlearned
from unlearnkit.unlearning.boundary.verdict import quietly

IDS = np.array([3, 141, 592])
OPTIONS = {"num_shards": 2, "num_slices": 2, "epochs": 3, "seed": 3}


@pytest.mark.parametrize(
    ("model", "boundary", "how"),
    [
        ("mlp", uk.FixedBoundary(0.0), {}),
        ("logistic", uk.FixedBoundary(0.4), {}),
        ("logistic", uk.FixedBoundary(0.0), {"method": "newton", "amend": "none"}),
        ("cnn", uk.FixedBoundary(1.0), {}),
    ],
    ids=["modified", "one of each", "newton", "retrained"],
)
def test_the_models_are_those_of_a_session(model, boundary, how):
    data = uk.load("digits")
    options = {"model": model, **OPTIONS}
    session = trained(data, options, boundary)
    assert not session.clock.calibrated
    usual = uk.Session(data, **options)
    usual.train()
    assert session.ensemble.digest == usual.ensemble.digest
    found = unlearned(session, IDS, boundary, **how)
    fork = usual.fork()
    fork.revoke(IDS)
    with quietly():
        fork.unlearn(boundary=boundary, spot_check=False, **how)
    assert found.digest == fork.ensemble.digest != session.ensemble.digest
    assert session.ensemble.digest == usual.ensemble.digest and not len(session.pending)


@pytest.mark.parametrize("boundary", [uk.AdaptiveBoundary(), uk.FixedBoundary(0.3, unit="seconds")])
def test_a_boundary_that_needs_the_clock_gets_one(boundary):
    session = trained(uk.load("digits"), {"model": "logistic", **OPTIONS}, boundary)
    assert session.clock.calibrated
    assert unlearned(session, IDS, boundary).digest != session.ensemble.digest


def test_outputs_that_are_not_finite_are_left_to_the_session():
    def huge(given, stored):
        return {name: torch.full_like(x, 1e38) for name, x in stored.state.items()}, 0

    session = trained(uk.load("digits"), {"model": "mlp", **OPTIONS}, uk.FixedBoundary(0.0))
    exact = unlearned(session, IDS)

    class Huge:
        def __call__(self, given, stored):
            return huge(given, stored)

        def cost(self, plan, size):
            return 0, 0

        def unsuitable(self, plan):
            return ""

    found = unlearned(session, IDS, uk.FixedBoundary(0.0), method=EachState(Huge()), amend="none")
    assert found.digest == exact.digest
    assert np.isfinite(found.probabilities(session.dataset.test.inputs()).numpy()).all()
