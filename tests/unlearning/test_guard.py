"""The guard: what the boundary refuses is retrained exactly, and drift is measured."""

from dataclasses import replace

import pytest
import torch

from guarded import CAPPED, Spoil, evenly, fork
from unlearnkit.approximate import Replay
from unlearnkit.seeding import state_bytes
from unlearnkit.unlearning import guard
from worker import contents


def test_a_ruined_amend_is_refused_and_the_shard_retrained(trained):
    refused, exact = fork(trained), fork(trained)
    result = refused.unlearn(boundary=CAPPED, amend=Spoil(None))
    assert result.decision.exact == (0, 1, 2) and not refused.debt
    for route in result.decision.routes:
        assert "agree to" in route.reason and route.reason.endswith("retrained exactly")
        assert route.seconds is not None
    exact.unlearn(1.0)
    assert contents(refused.store) == contents(exact.store)
    assert refused.compare().bit_identical
    assert result.visits == exact.last.visits > 0


def test_a_longer_amend_is_tried_first(trained):
    spoiled, longer = fork(trained), fork(trained)
    result = spoiled.unlearn(boundary=CAPPED, amend=Spoil(Replay(4)))
    assert result.decision.approximate == (0, 1, 2)
    assert {check.replayed for check in result.decision.checks} == {4}
    longer.unlearn(0.0, amend=Replay(4))
    for a, b in zip(spoiled.ensemble.constituents, longer.ensemble.constituents, strict=True):
        assert state_bytes(a.state) == state_bytes(b.state)


def test_where_a_longer_amend_ruins_it_too_the_shard_is_retrained(trained):
    spoiled, exact = fork(trained), fork(trained)
    result = spoiled.unlearn(boundary=CAPPED, amend=Spoil(Spoil(None, 4)))
    assert result.decision.exact == (0, 1, 2) and not spoiled.debt
    assert {check.replayed for check in result.decision.checks} == {4}
    assert all("with 4 epochs replayed" in route.reason for route in result.decision.routes)
    exact.unlearn(1.0)
    assert contents(spoiled.store) == contents(exact.store)


def test_a_correction_over_the_cap_is_refused_before_any_replay(trained):
    session = fork(trained)
    result = session.unlearn(boundary=replace(CAPPED, max_correction=1e-6))
    assert result.decision.exact == (0, 1, 2)
    assert all(check.replayed is None and check.kl is None for check in result.decision.checks)
    assert "its correction has" in result.decision.routes[0].reason


def test_some_shards_may_be_refused_and_others_accepted(trained):
    found = fork(trained).unlearn(0.0).decision.checks
    norms = sorted(check.correction for check in found)
    session = fork(trained)
    cap = (norms[1] + norms[2]) / 2
    decision = session.unlearn(boundary=replace(CAPPED, max_correction=cap)).decision
    assert len(decision.approximate) == 2 and len(decision.exact) == 1
    assert set(session.debt) == set(decision.approximate)
    routes = {c.shard: c.exact for c in session.ensemble.constituents}
    assert [s for s, exact in routes.items() if exact] == list(decision.exact)


@pytest.mark.parametrize(("epochs", "most"), [(1, 64), (4, 64), (1, 16)])
def test_drift_is_what_the_amend_adds_to_the_correction(trained, epochs, most, monkeypatch):
    monkeypatch.setattr(guard, "CHECKED_MAX", most)
    session, corrected = fork(trained), fork(trained)
    checks = session.unlearn(0.0, amend=Replay(epochs)).decision.checks
    still = corrected.unlearn(0.0, amend="none").decision.checks
    inputs, _ = session.dataset.examples(evenly(session.dataset.probe.ids, most))
    for check in checks:
        pair = []
        for side in (corrected, session):
            module = session.plan.architecture.module(side.ensemble.by_shard[check.shard].state)
            pair.append(module(inputs).detach().double().log_softmax(1))
        kl = torch.nn.functional.kl_div(pair[1], pair[0], reduction="batchmean", log_target=True)
        gone = session.last.ids
        rows = session.plan.partition.rows(gone)
        mine = evenly(gone[session.plan.partition.shard[rows] == check.shard], most)
        forgotten, labels = session.dataset.examples(mine)
        before = session.plan.architecture.module(session.original.by_shard[check.shard].state)
        loss = torch.nn.functional.cross_entropy(before(forgotten), labels).detach()
        assert check.drift == pytest.approx(float(kl / loss) / epochs / check.share**0.5, rel=1e-3)
        assert kl > 0
    assert all(check.drift == 0 for check in still)
