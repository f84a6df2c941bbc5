"""Overrides: a shard goes as it was told, the others as before, and it is on record."""

import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, Decision
from unlearnkit.unlearning.inspection import Check


@pytest.fixture
def session() -> uk.Session:
    return CASES["uneven"].waiting(6)


def kinds(decision: Decision) -> dict[int, str]:
    return {route.shard: route.kind for route in decision.routes}


@pytest.mark.parametrize("base", [uk.FixedBoundary(0.3), uk.AdaptiveBoundary()])
def test_a_shard_goes_as_told_and_the_others_as_before(session, base) -> None:
    before = kinds(session.preview(boundary=base))
    assert len(before) == 2
    for shard, kind in before.items():
        other = APPROXIMATE if kind == EXACT else EXACT
        boundary = uk.OverriddenBoundary(base, {shard: other})
        decision = session.preview(boundary=boundary)
        assert kinds(decision) == before | {shard: other}
        (route,) = (route for route in decision.routes if route.shard == shard)
        assert f"asked to be {other} by hand, while the boundary decided {kind}: " in route.reason
        # All routes together are predicted as any decision of the same routes is.
        same = session.preview(boundary=uk.ChosenBoundary(decision.exact))
        assert decision.seconds == same.seconds and decision.interval == same.interval


def test_an_override_is_done_written_down_and_survives_as_a_script(session) -> None:
    fork = session.fork()
    boundary = uk.OverriddenBoundary(uk.FixedBoundary(1.0), {1: APPROXIMATE})
    result = session.unlearn(boundary=boundary)
    assert result.decision.approximate == (1,) and sorted(session.debt) == [1]
    assert session.ledger()["boundary"].tolist() == [repr(boundary)]
    assert "{1: 'approximate'}" in session.certificate().to_json()
    script = session.to_script()
    assert f"decided by {boundary!r}" in script
    imports = [line for line in script.splitlines() if line.startswith(("import ", "from "))]
    request = script[script.index("session.revoke(") : script.index("# The same bits")]
    fork.withdraw()
    exec("\n".join([*imports, request]), {"session": fork})
    assert fork.ensemble.digest == session.ensemble.digest


def test_what_was_told_to_be_approximate_is_not_refused() -> None:
    base = uk.AdaptiveBoundary(max_correction=0.1)
    boundary = uk.OverriddenBoundary(base, {0: APPROXIMATE, 1: EXACT})
    checks = [Check(shard, correction=0.2) for shard in range(3)]
    assert boundary.objection(checks[0]) == ""
    for check in checks[1:]:
        assert boundary.objection(check) == base.objection(check) != ""


def test_what_cannot_be_approximate_stays_exact_and_says_so(session) -> None:
    class Unsuitable(uk.StagedInfluence):
        def unsuitable(self, plan: Plan) -> str:
            return "this method fits nothing"

    boundary = uk.OverriddenBoundary(uk.FixedBoundary(0.0), {1: APPROXIMATE})
    decision = session.preview(boundary=boundary, method=Unsuitable())
    assert set(kinds(decision).values()) == {EXACT}
    (route,) = (route for route in decision.routes if route.shard == 1)
    assert route.reason == "asked to be approximate by hand, but this method fits nothing"


def test_the_base_may_be_a_name_and_is_checked_when_it_is_given() -> None:
    boundary = uk.OverriddenBoundary("adaptive", {1: EXACT})
    assert boundary.base == uk.AdaptiveBoundary()
    assert repr(boundary) == repr(uk.OverriddenBoundary(uk.AdaptiveBoundary(), {1: EXACT}))
    with pytest.raises(KeyError, match="no boundary is named 'adaptiv'"):
        uk.OverriddenBoundary("adaptiv")
    with pytest.raises(TypeError, match="the boundary 3 lacks decide"):
        uk.OverriddenBoundary(3)


def test_wrong_overrides_are_refused(session) -> None:
    with pytest.raises(
        ValueError, match="the route of shard 1 is 'leave'; give 'exact' or 'approximate'"
    ):
        uk.OverriddenBoundary(uk.FixedBoundary(), {1: "leave"})
    with pytest.raises(ValueError, match=r"shards \[7\] are not hit by the request; it hits"):
        session.preview(boundary=uk.OverriddenBoundary(uk.FixedBoundary(), {7: EXACT}))
