"""What the page is sent: looked up as the page does it, it is what the session decides."""

import json

import numpy as np
import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.unlearning.boundary.fixed import UNITS, FixedBoundary
from unlearnkit.unlearning.boundary.protocol import EXACT
from unlearnkit.widgets.instrument.data import (
    DECIDED,
    Choices,
    Decided,
    circumstances,
    data_of,
    nothing,
    table_name,
)

KINDS = {"exact": "e", "approximate": "a", "leave": "l"}


@pytest.fixture
def session():
    return CASES["uneven"].waiting(6)


def sent(session, choices=None):
    """The data after a way to the page and back."""
    assessment = session.assess()
    known = circumstances(session, assessment, {})
    data = data_of(assessment, known, choices or Choices(), "nothing")
    return json.loads(json.dumps(data, allow_nan=False))


def looked_up(table, threshold):
    found = table["outcomes"][0]
    for outcome in table["outcomes"]:
        if outcome["start"] <= threshold + 1e-12 or threshold == 1:
            found = outcome
    return found


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_the_page_finds_what_the_session_decides(session, unit, whole):
    data = sent(session)
    table = data["tables"][table_name(unit, whole)]
    for threshold in [*np.linspace(0, 1, 41).tolist(), *table["sums"]]:
        boundary = FixedBoundary(min(1.0, threshold), whole=whole, unit=unit)
        decision = session.preview(boundary=boundary)
        found = looked_up(table, threshold)
        kinds = dict(zip(table["shards"], found["kinds"], strict=True))
        assert kinds == {route.shard: KINDS[route.kind] for route in decision.routes}
        assert found["seconds"] == decision.seconds
        code = table["code"].replace("{at}", repr(boundary.max_share))
        assert eval(code, {"session": Echo(), "uk": uk}) == boundary


class Echo:
    """Stands for a session: returns the boundary that it is given."""

    def unlearn(self, max_share=None, boundary=None):
        return boundary or FixedBoundary(max_share)


def test_rows_are_in_the_order_of_cost_and_add_up(session):
    table = sent(session)["tables"]["visits"]
    assert table["costs"] == sorted(table["costs"])
    assert table["sums"] == pytest.approx(np.cumsum(table["costs"]))
    assert table["sums"][-1] == pytest.approx(session.workload().share)


def test_the_stages_are_those_of_the_workload(session):
    data, workload = sent(session), session.workload()
    for one, visits, status in zip(
        data["shards"], workload.stage_visits, workload.stage_status, strict=True
    ):
        assert one["visits"] == visits.tolist()
        assert one["status"] == "".join(word[0] for word in status)
    hit = {work.shard: work for work in workload.shards}
    for shard, one in enumerate(data["shards"]):
        assert ("forget" in one) == (shard in hit)


def test_another_boundary_comes_with_what_overriding_each_shard_would_do(session):
    boundary = uk.AdaptiveBoundary(light=0.0, min_gain=1.0)
    choices = Choices(decided=Decided(boundary, "With mine", "boundary=mine"))
    table = sent(session, choices)["tables"][DECIDED]
    (only,) = table["outcomes"]
    assert only["sentence"].startswith("With mine, ") and "boundary=mine" in table["code"]
    kinds = {route.shard: route.kind for route in session.preview(boundary=boundary).routes}
    for shard, instead in zip(table["shards"], table["instead"], strict=True):
        other = "approximate" if kinds[shard] == EXACT else "exact"
        overridden = uk.OverriddenBoundary(boundary, {shard: other})
        assert instead["seconds"] == session.preview(boundary=overridden).seconds


def test_a_request_that_hits_nothing_still_shows_the_stages():
    session = CASES["uneven"].session()
    session.train()
    data = sent(session)
    assert data["tables"] == {} and len(data["shards"]) == 3 and data["nothing"] == "nothing"
    assert nothing("why")["nothing"] == "why"
