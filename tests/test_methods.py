"""Methods of the literature: what tells each from the others, and what all have in common."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import unlearnkit as uk
from cases import CASES
from test_approximate import quiet, tiny_session, uneven_rounds, uneven_session
from unlearnkit.approximate import METHODS
from unlearnkit.approximate.newton import Newton, Objective, newton
from unlearnkit.audit import audit
from unlearnkit.kernels import compute_threads
from unlearnkit.losses import CrossEntropy, SquaredError
from unlearnkit.seeding import state_bytes


@pytest.fixture(autouse=True)
def one_thread():
    """As in a session; two threads would wait for each other more than they compute."""
    with compute_threads(1):
        yield


# What all have in common


def states_of(found):
    """All states that a method or an amend has made, by place."""
    states = {}
    for r, checkpoint in found.checkpoints.items():
        states[r, None] = checkpoint.state
        states |= {(r, q): tail for q, tail in checkpoint.tails.items()}
    return states


@pytest.mark.parametrize("model", ["logistic", "mlp-dropout", "cnn-batchnorm"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_a_store_that_passes_the_audit(
    name: str, model: str, tmp_path: Path
) -> None:
    session = CASES[model].session(store=tmp_path)
    session.train()
    before = all_states(session)
    ids = session.plan.partition.ids[::9]
    session.revoke(ids)
    reason = METHODS[name].unsuitable(session.plan)
    result = session.unlearn(0, method=name, amend="none")
    if reason:
        assert not result.decision.approximate
        assert all(reason in route.reason for route in result.decision.routes)
    else:
        assert result.debt_after == len(ids)
        assert result.approximate_visits > 0
    for state in all_states(session).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    for shard in result.decision.approximate:
        assert state_bytes(all_states(session)[shard]) != state_bytes(before[shard])
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES[model].dataset()))


def all_states(session):
    """Final states by shard."""
    return {s: c.state for s, c in enumerate(session.ensemble.constituents)}


@pytest.mark.parametrize("model", ["logistic", uk.MLP((9,))], ids=["logistic", "mlp"])
@pytest.mark.parametrize("name", METHODS)
def test_a_shard_does_not_depend_on_those_handled_with_it(name, model):
    session = uneven_session(model)
    method = METHODS[name]
    if method.unsuitable(session.plan):
        pytest.skip(method.unsuitable(session.plan))
    together = method(uneven_rounds(session), on_progress=quiet)
    for found, given in zip(together, uneven_rounds(session), strict=True):
        [alone] = method([given], on_progress=quiet)
        ours, theirs = states_of(found), states_of(alone)
        assert set(ours) == set(theirs)
        for place, state in ours.items():
            for part, tensor in state.items():  # rounding of weights of size 1
                assert (tensor - theirs[place][part]).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_planned_work_covers_what_is_done(name):
    session = uneven_session("logistic" if name == "newton" else uk.MLP((9,)))
    method, rounds = METHODS[name], uneven_rounds(session)
    for given, found in zip(rounds, method(rounds, on_progress=quiet), strict=True):
        plan, shard = given.state.plan, given.state.shard
        assert 0 < found.visits <= method.visits(plan, shard, given.forget)
        planned = method.batches(plan, {shard: given.forget})
        assert planned.shards == 1 and planned.batches > 0 and planned.visits > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_stage_that_loses_all_its_examples_is_handled(name):
    session = uneven_session("logistic")
    [_, given, _] = uneven_rounds(session, whole=1)
    [found] = METHODS[name]([given], on_progress=quiet)
    assert set(found.checkpoints) == {1, 2, 3}
    for state in states_of(found).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())


# Newton


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=lambda loss: loss.name)
def test_the_certificate_is_never_violated(loss):
    """Against minimisers solved for closely, from anywhere, whenever the solver stops."""
    tightness = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, d, classes = (int(v) for v in rng.integers((5, 1, 2), (60, 12, 6)))
        inputs = torch.from_numpy(rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1)).float()
        targets = torch.from_numpy(rng.integers(0, classes, n))
        decay = float(10 ** rng.uniform(-4, 0))
        objective = Objective(inputs, targets, loss, decay)
        zero = torch.zeros(classes, d + 1, dtype=torch.float64)
        best = newton(objective, zero, 1e-10, 60, 200)
        slack = objective.distance(best)  # the reference is itself no further off than this
        assert slack <= 1e-6
        start = torch.from_numpy(rng.normal(size=zero.shape))
        for steps in (0, 1, 2, 5):
            w = newton(objective, start, 0.0, steps, int(rng.integers(1, 20))).float().double()
            distance = float((w - best).norm())
            assert distance <= objective.distance(w) + slack
            tightness.append(objective.distance(w) / distance)
    assert min(tightness) < 1.5  # it is not vacuous either


def test_newton_reaches_the_minimiser_and_says_so():
    session = uneven_session("logistic")
    [_, given, _] = uneven_rounds(session)
    [found] = Newton()([given], on_progress=quiet)
    assert found.bound is not None and found.bound < 2e-3
    spec, retain = session.spec, given.retain
    for r, checkpoint in found.checkpoints.items():
        inputs, labels = given.state.data(retain.until(r))
        # scikit-learn's penalty is on the sum, and not on the bias: the bias is an input here.
        ones = torch.ones(len(inputs), 1)
        fitted = LogisticRegression(
            C=1 / (spec.weight_decay * len(inputs)), fit_intercept=False, tol=1e-12, max_iter=10**5
        ).fit(torch.cat([inputs, ones], 1).double().numpy(), labels.numpy())
        rows = torch.from_numpy(fitted.classes_)
        state = checkpoint.state
        w = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1)
        assert (w[rows] - torch.from_numpy(fitted.coef_)).norm() < 5e-3


def test_the_certificate_is_kept_where_the_amend_leaves_it_true():
    session = tiny_session()
    session.train()
    session.revoke(count=6)
    replayed, kept = session.fork(), session.fork()
    assert replayed.unlearn(0, method="newton").bounds == {}
    result = kept.unlearn(0, method="newton", amend="none")
    assert set(result.bounds) == set(result.decision.approximate)
    assert "proven to lie within" in repr(result)


def test_newton_is_refused_where_nothing_is_proven():
    data = uk.load("digits", num_examples=100)
    for spec, model, word in (
        (uk.TrainSpec(weight_decay=0.0), "logistic", "penalty"),
        (uk.TrainSpec(optimizer="adamw"), "logistic", "penalty"),
        (uk.TrainSpec(), "mlp", "convex"),
    ):
        assert word in Newton().unsuitable(uk.Session(data, model=model, spec=spec).plan)
