"""Boundaries of one's own: what they decide is checked before any work."""

from dataclasses import replace

import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.unlearning.boundary.custom import as_boundary
from unlearnkit.unlearning.boundary.protocol import LEAVE


class Changing:
    """Decides as the fixed boundary does and then changes the decision."""

    def __init__(self, change):
        self.change = change

    def decide(self, workload, costs, debts):
        return self.change(uk.FixedBoundary(1.0).decide(workload, costs, debts))


def routes(change):
    """Change the routes of a decision."""
    return lambda decision: replace(decision, routes=tuple(change(decision.routes)))


@pytest.fixture(scope="module")
def session():
    return CASES["uneven"].waiting(6)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda decision: None, TypeError, "Changing.decide returned None; expected a Decision"),
        (routes(lambda found: ["exact"]), TypeError, "returned 'exact' as a route; expected a Rou"),
        (routes(lambda found: found[1:]), ValueError, "expected exactly one for each shard"),
        (routes(lambda found: [*found, found[0]]), ValueError, "expected exactly one for each"),
        (
            routes(lambda found: [replace(found[0], shard=99), *found[1:]]),
            ValueError,
            "routes for the shards .*99.*expected exactly one for each shard",
        ),
        (
            routes(lambda found: [replace(found[0], shard="0"), *found[1:]]),
            ValueError,
            "expected exactly one for each shard",
        ),
        (
            routes(lambda found: [replace(each, kind="exakt") for each in found]),
            ValueError,
            "the kind 'exakt' for shard ., .*expected 'exact' or 'approximate'",
        ),
        (
            routes(lambda found: [replace(each, kind=LEAVE) for each in found]),
            ValueError,
            r"the kind 'leave' for shard ., which keeps \d+ examples",
        ),
    ],
)
@pytest.mark.parametrize("overridden", [False, True])
def test_a_decision_that_would_lose_models_is_refused(session, change, error, sentence, overridden):
    boundary, events = Changing(change), []
    if overridden:
        boundary = uk.OverriddenBoundary(boundary, {})
    fork = session.fork()
    keys = fork.store.keys
    for call in (fork.preview, lambda **named: fork.unlearn(**named, on_progress=events.append)):
        with pytest.raises(error, match=sentence):
            call(boundary=boundary)
    assert fork.store.keys == keys and len(fork.pending) == 6 and not events
    assert fork.plan.retained.tolist() == session.plan.retained.tolist()


def test_a_shard_without_examples_leaves_or_has_nothing_to_retrain(session):
    fork = session.fork()
    fork.withdraw()
    fork.revoke(fork.plan.partition.ids[fork.plan.partition.shard == 0])
    assert LEAVE in [route.kind for route in fork.preview().routes]
    for kind in ("exact", "leave"):
        change = routes(
            lambda found, kind=kind: [replace(r, kind=kind) if not r.shard else r for r in found]
        )
        other = fork.fork()
        assert not other.unlearn(boundary=Changing(change)).plan.alive(0)
    with pytest.raises(ValueError, match="keeps 0 examples; expected 'exact' or 'leave'"):
        fork.preview(
            boundary=Changing(routes(lambda f: [replace(r, kind="approximate") for r in f]))
        )


class Parts:
    """A boundary made of the given parts."""

    def __init__(self, **parts):
        vars(self).update(parts)


def decide(workload, costs, debts):
    """A function is no boundary."""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (decide, "write a class with a method decide"),
        (Parts(decide=3), "the decide of the boundary .* is 3, which cannot be called"),
        (Parts(decide=decide, objection=3), "the objection of the boundary .* is 3, which cannot"),
        (Parts(), "lacks decide; "),
    ],
)
def test_what_is_no_boundary_is_told_what_it_needs(value, sentence):
    with pytest.raises(TypeError, match=sentence):
        uk.BOUNDARIES.choose(value)


def test_an_objection_may_be_left_out():
    for parts in ({}, {"objection": None}):
        assert as_boundary(Parts(decide=decide, **parts)).objection(None) == ""
