"""All outcomes of a threshold, looked up, against what the session decides and does."""

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit.unlearning.boundary.fixed import UNITS, FixedBoundary
from unlearnkit.unlearning.boundary.outcomes import Circumstances, outcome_of, outcomes
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT
from unlearnkit.unlearning.boundary.spot_check import check_once
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.inspection import Check


def digits(num_shards: int, num_slices: int, **options: object) -> uk.Session:
    given = {"model": "logistic", "epochs": 1, "num_shards": num_shards, "num_slices": num_slices}
    session = uk.Session("digits", **given, **options)
    session.train()
    return session


def of_shard(session: uk.Session, shard: int) -> np.ndarray:
    partition = session.plan.partition
    return partition.ids[(partition.shard == shard) & session.plan.retained]


def five() -> uk.Session:
    session = digits(5, 3)
    session.revoke(count=3)
    return session


def many_with_debt() -> uk.Session:
    session = digits(20, 5)
    session.revoke(count=20)
    session.unlearn(0.1, spot_check=False)
    session.revoke(count=30)
    return session


def one_forced() -> uk.Session:
    """Return a session in which a shard of middling cost lacks a checkpoint and must be exact."""
    session = digits(8, 4)
    session.revoke(count=12)
    middle = session.workload().to_frame()["shard"].iloc[3]
    session.store.prune(session.plan.keys - {session.plan.chains[middle][1].key}, ())
    return session


def a_whole_shard_gone() -> uk.Session:
    session = digits(6, 2)
    session.revoke([*of_shard(session, 2).tolist(), *of_shard(session, 4)[:3].tolist()])
    return session


def persons() -> uk.Session:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 240)
    columns = {f"x{i}": rng.normal(size=240) + (kind == i) for i in range(4)}
    frame = pd.DataFrame({**columns, "person": np.arange(240) // 4, "kind": kind})
    data = uk.from_frame(frame, "kind", groups="person")
    session = uk.Session(data, model="logistic", epochs=2, num_shards=7, num_slices=3)
    session.train()
    session.revoke(groups=data.grouping.names[:4])
    with quietly():
        session.unlearn(0.0, spot_check=False)
    session.revoke(groups=data.grouping.names[4:9])
    return session


MADE = (five, many_with_debt, one_forced, a_whole_shard_gone, persons)


@pytest.fixture(scope="module", params=MADE, ids=lambda make: make.__name__)
def session(request) -> uk.Session:
    return request.param()


def known(session: uk.Session) -> Circumstances:
    return Circumstances(session.pending, check_once(None, session.spot_checks))


def thresholds(starts: list[float]) -> list[float]:
    """Return the starts, what lies just beside them, and what lies anywhere."""
    beside = [start + step for start in starts for step in (-1e-9, -1e-15, 1e-15, 1e-9)]
    anywhere = np.random.default_rng(0).random(20) * max(starts)
    return [min(1.0, max(0.0, t)) for t in (*starts, *beside, *anywhere, 0.0, 1.0)]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_the_outcome_at_any_threshold_is_what_the_session_decides(session, unit, whole):
    assessment = session.assess()
    found = outcomes(assessment, FixedBoundary(whole=whole, unit=unit), known(session))
    assert 1 <= len(found) <= (2 if whole else len(assessment.workload.shards) + 1)
    for threshold in thresholds([outcome.start for outcome in found]):
        boundary = FixedBoundary(threshold, whole=whole, unit=unit)
        decision = assessment.decide(boundary, known(session).spot_check)
        outcome = found.at(threshold)
        assert outcome.routes == {route.shard: route.kind for route in decision.routes}
        assert outcome.seconds == decision.seconds
        assert outcome.decision.exact_visits == decision.exact_visits


def test_the_outcome_at_a_threshold_is_what_a_preview_of_it_shows(session):
    found = outcomes(session.assess(), FixedBoundary(), known(session))
    starts = [outcome.start for outcome in found]
    for threshold in thresholds(starts[:: max(1, len(starts) // 5)]):
        decision, outcome = session.preview(threshold), found.at(threshold)
        assert outcome.routes == {route.shard: route.kind for route in decision.routes}
        assert outcome.seconds == decision.seconds


def test_the_debt_of_every_outcome_is_what_unlearning_leaves(session):
    found = outcomes(session.assess(), FixedBoundary(), known(session))
    hit = {work.shard for work in session.workload().shards}
    elsewhere = sum(len(debt) for shard, debt in session.debt.items() if shard not in hit)
    for outcome in {found.at(t).start: found.at(t) for t in (0.0, 0.1, 1.0)}.values():
        fork = session.fork()
        with quietly():
            fork.unlearn(min(1.0, outcome.start), spot_check=False)
        owed = {shard: debt for shard, debt in fork.debt.items() if shard in hit}
        assert outcome.examples_owed + elsewhere == sum(len(debt) for debt in fork.debt.values())
        if session.dataset.grouping is not None:
            ids = np.concatenate([np.zeros(0, int), *owed.values()])
            rows = session.plan.partition.rows(ids)
            assert outcome.groups_owed == len(np.unique(session.plan.examples.groups[rows]))
        else:
            assert outcome.groups_owed is None


def test_an_outcome_says_what_is_decided_in_words():
    session = five()
    found = outcomes(session.assess(), FixedBoundary(), known(session))
    first, last = found.at(0.0), found.at(1.0)
    assert first.sentence.startswith("At a threshold of {at}, ") and "owed" in first.sentence
    assert "retrained exactly" in last.sentence and "Nothing is owed." in last.sentence
    assert "approximate" not in last.sentence and last.summary.endswith("exact")
    assert f"{len(session.pending)} examples owed" in first.summary
    frame = found.to_frame()
    assert len(frame) == len(found) and frame["examples_owed"].iloc[-1] == 0
    assert frame["threshold"].is_monotonic_increasing and "%" in found._repr_html_()


def test_overridden_shards_keep_their_route_at_every_threshold():
    session = five()
    first, *_, last = session.preview(1.0).routes
    routes = {first.shard: APPROXIMATE, last.shard: EXACT}
    assessment = session.assess()
    found = outcomes(assessment, uk.OverriddenBoundary(FixedBoundary(), routes), known(session))
    for threshold in thresholds([outcome.start for outcome in found]):
        boundary = uk.OverriddenBoundary(FixedBoundary(threshold), routes)
        decision = assessment.decide(boundary, known(session).spot_check)
        assert found.at(threshold).routes == {r.shard: r.kind for r in decision.routes}
        assert found.at(threshold).seconds == decision.seconds


def test_a_boundary_without_a_threshold_has_one_outcome():
    session = five()
    boundary = uk.AdaptiveBoundary(light=0.0)
    (only,) = outcomes(session.assess(), boundary, known(session))
    assert only.routes == {r.shard: r.kind for r in session.preview(boundary=boundary).routes}
    named = outcome_of(session.assess(), boundary, at="With the adaptive boundary")
    assert named.sentence.startswith("With the adaptive boundary, ")


def test_a_request_that_hits_nothing_has_no_outcome():
    session = digits(3, 2)
    assert len(outcomes(session.assess(), FixedBoundary())) == 0


def test_the_error_is_the_mean_of_the_bounds_where_all_are_known():
    session = five()
    checks = {work.shard: Check(work.shard, bound=0.01) for work in session.workload().shards}
    assessment, hit = session.assess(), len(checks)
    found = outcomes(assessment, FixedBoundary(), Circumstances(checks=checks, voters=5))
    assert found.at(0.0).error == pytest.approx(0.01 * hit / 5) and found.at(1.0).error == 0
    checks.popitem()
    few = outcomes(assessment, FixedBoundary(), Circumstances(checks=checks, voters=5))
    assert few.at(0.0).error is None
