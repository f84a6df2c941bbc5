"""Noisy Newton: its (epsilon, delta) hold in the worst case, by simulation, and with no slack."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from rounds import one_stored_state, quiet, rounds_of, states_of, tiny_session, uneven_session
from unlearnkit.approximate import NoisyNewton
from unlearnkit.approximate.baselines.certified.gaussian import delta_of, gaussian_noise
from unlearnkit.approximate.baselines.certified.newton import Objective, newton
from unlearnkit.approximate.stored_states import stored_states_of
from unlearnkit.records.audit import audit
from unlearnkit.seeding import state_bytes

DRAWS = 40_000


def worst_case(method, num_slices):
    """A round in which every stored state is as far from its minimiser as the tolerance allows.

    The features of the retained examples are zero, so that the objective of their weights is the
    penalty alone, whose gradient is lambda times the distance; only forgotten examples can have
    moved them. Returns the round, the stored states by stage, and the minimisers.
    """
    features = np.zeros((40, 2), np.float32)
    features[::4] = 1, 0
    spec = uk.TrainSpec(num_shards=1, num_slices=num_slices, epochs=4, weight_decay=0.1, tails=(1,))
    session = uk.Session((features, np.arange(40) % 2), model="logistic", spec=spec)
    session.train()
    plan = session.plan
    inputs = plan.examples[plan.examples.ids][0]
    [given] = rounds_of(session, {0: np.flatnonzero(inputs.any(1))})
    states, best = {}, {}
    for stored in stored_states_of(given):
        inputs, targets = given.state.data(stored.retain)
        objective = Objective(inputs, targets, spec.loss, spec.weight_decay)
        zero = torch.zeros(2, 3, dtype=torch.float64)
        w = best[stored.stage] = newton(objective, zero, 1e-12, 50, 100)
        far = w.clone()
        far[0, 0] += 0.999 * method.tolerance
        assert objective.distance_bound(far) == pytest.approx(0.999 * method.tolerance, rel=1e-4)
        state = {"1.weight": far[:, :-1].float(), "1.bias": far[:, -1].float()}
        states[stored.stage] = replace(stored, state=state)
    return given, states, best


def excess(ours, theirs, threshold, epsilon):
    """The estimate of P(x > t) - exp(epsilon) Q(x > t), and its standard error."""
    p, q = float((ours > threshold).mean()), float((theirs > threshold).mean())
    variance = (p * (1 - p) + math.exp(2 * epsilon) * q * (1 - q)) / DRAWS
    return p - math.exp(epsilon) * q, math.sqrt(variance)


@pytest.mark.parametrize("num_slices", [1, 2])
def test_the_best_test_finds_no_more_than_epsilon_and_delta_allow(num_slices):
    """All stored states of a request together, against their minimisers with the same noise.

    The draws are seeded, so the result is always the same; the allowance of four standard errors is
    for other seeds and numbers of draws. The likelihood ratio of two Gaussians is a function of the
    projection on the line between them, so no test is better than a threshold on it.
    """
    method = NoisyNewton(epsilon=0.5, delta=0.05, tolerance=0.05)
    given, states, best = worst_case(method, num_slices)
    assert len(states) == num_slices
    plan, sigma = given.state.plan, method.sigma(1, num_slices)
    ours, theirs, tenth = (np.zeros(DRAWS) for _ in range(3))
    for stage, stored in states.items():
        solution, _ = method.newton.solve(given, stored)
        for seed in range(3):  # the method adds noise of this deviation to this solution
            spec = plan.spec.with_(seed=seed)
            seeded = replace(given, state=replace(given.state, plan=replace(plan, spec=spec)))
            noise = gaussian_noise((2, 3), sigma, seed, plan.chains[0][stage - 1].key)
            released, _, _ = method.released(seeded, stored)
            assert torch.equal(released["1.weight"], (solution + noise)[:, :-1].float())
        away = float(solution[0, 0] - best[stage][0, 0])
        ours += away + gaussian_noise((DRAWS,), sigma, "ours", stage).numpy()
        theirs += gaussian_noise((DRAWS,), sigma, "reference", stage).numpy()
        tenth += away + gaussian_noise((DRAWS,), sigma / 10, "tenth", stage).numpy()
    # The sums have this deviation, and their means are mu of them apart.
    deviation = sigma * math.sqrt(num_slices)
    mu = num_slices * method.tolerance / deviation
    assert delta_of(mu, 0.5) == pytest.approx(0.05, rel=1e-6)
    for epsilon in (0.0, 0.5, 1.0):
        for sign in (1, -1):  # P against Q, and Q against P, whose test is the mirror image
            pair = (ours, theirs) if sign == 1 else (mu * deviation - theirs, mu * deviation - ours)
            found, error = excess(*pair, deviation * (mu / 2 + epsilon / mu), epsilon)
            assert abs(found - delta_of(mu, epsilon)) < 4 * error  # not exceeded, and reached
    # With a tenth of the noise on both sides the same test finds far more than delta.
    found, error = excess(tenth, theirs / 10, deviation / 10 * (10 * mu / 2 + 0.05 / mu), 0.5)
    assert found - 4 * error > 10 * 0.05


def test_the_noise_is_independent_of_stage_shard_and_all_examples():
    method = NoisyNewton(tolerance=1e-3)
    session = uneven_session("logistic")
    drawn = []
    for shard in range(3):
        given, _ = one_stored_state(session, shard)
        [found] = method([given], on_progress=quiet)
        for stored in {each.stage: each for each in stored_states_of(given)[::-1]}.values():
            solution, _ = method.newton.solve(given, stored)  # from the first state of the stage
            state = found.checkpoints[stored.stage].state
            released = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1)
            drawn.append((released - solution).flatten())
        for place, state in states_of(found).items():  # a tail is the state of its stage
            assert state_bytes(state) == state_bytes(found.checkpoints[place[0]].state)
    distinct = torch.unique(torch.stack(drawn), dim=0)
    assert len(distinct) == 6  # of stages 1 to 3, 3, and 2 and 3 of the shards
    ratio = distinct.std() / method.sigma(3, 3)
    assert 0.85 < float(ratio) < 1.15  # 288 numbers, 3.6 standard errors
    assert float(torch.corrcoef(distinct).fill_diagonal_(0).abs().max()) < 0.6


def test_a_shard_that_misses_the_tolerance_is_retrained_exactly():
    session = tiny_session()
    session.train()
    session.revoke(count=6, seed=3)
    result = session.unlearn(0, method=NoisyNewton(steps=0), amend="none")
    assert not result.decision.approximate and session.compare().bit_identical
    assert all("above the tolerance" in route.reason for route in result.decision.routes)


def test_the_certificate_states_what_is_covered_and_what_is_not(tmp_path):
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    ids = session.plan.partition.ids
    session.revoke(ids[:4])
    session.unlearn(0, method=NoisyNewton(epsilon=2.0), amend="replay")
    says = " ".join(session.certificate().content["says"])
    assert "(epsilon = 2, delta = 1e-05)-indistinguishable from the minimisers" in says
    assert "knows or guesses the seed" in says and "handled in this way" not in says
    session.revoke(ids[20:24])
    session.unlearn(0, method=NoisyNewton(epsilon=2.0), amend="replay")
    together = NoisyNewton(epsilon=2.0).epsilon_after(2)
    says = " ".join(session.certificate().content["says"])
    assert "2 requests were handled in this way; who sees what all of them" in says
    assert f"epsilon = {together:.3g} at delta = 1e-05" in says and 2 < together < 4
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES["logistic"].dataset()))
    session = CASES["logistic"].session()
    session.train()
    for method, amend in ((NoisyNewton(), "distillation"), ("newton", "none")):
        session.revoke(session.plan.partition.ids[session.plan.retained][:2])
        session.unlearn(0, method=method, amend=amend)
        assert "indistinguishable" not in " ".join(session.certificate().content["says"])


@pytest.mark.parametrize(
    "bad",
    [{"epsilon": 0}, {"delta": 0.0}, {"delta": 0.9}, {"tolerance": 0}, {"steps": -1},
     {"products": 0}, {"epsilon": math.nan}, {"tolerance": "1"}],
)  # fmt: skip
def test_bad_settings_are_refused(bad):
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        NoisyNewton(**bad)


def test_it_is_refused_where_the_objective_is_not_strongly_convex():
    data = uk.load("digits", num_examples=100)
    for options in ({"weight_decay": 0.0}, {"optimizer": "adamw"}, {"model": "mlp"}):
        assert NoisyNewton().unsuitable(uk.Session(data, **{"model": "logistic"} | options).plan)
