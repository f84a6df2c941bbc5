"""Registries: what is entered is checked, found by name everywhere, and explained by help()."""

import pydoc

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.models.losses import LOSSES
from unlearnkit.studies.study import study
from unlearnkit.training.ensemble import AGGREGATIONS
from unlearnkit.unlearning.unlearn import unlearn

REGISTRIES = {
    "AGGREGATIONS": AGGREGATIONS,
    "AMENDS": uk.AMENDS,
    "BOUNDARIES": uk.BOUNDARIES,
    "DATASETS": uk.DATASETS,
    "LOSSES": LOSSES,
    "METHODS": uk.METHODS,
    "METRICS": uk.METRICS,
    "MODELS": uk.MODELS,
}


class RetrainOdd:
    """A boundary with `decide` alone: shards of odd number are retrained, the others modified."""

    def decide(self, workload, costs, debts):
        odd = tuple(work.shard for work in workload.shards if work.shard % 2)
        return uk.ChosenBoundary(odd).decide(workload, costs, debts)


class Nothing:
    """No part of any protocol."""


def data():
    features = np.random.default_rng(0).normal(size=(300, 4))
    return features, (features[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def session():
    """A trained session with a pending request; tests work on forks."""
    session = uk.Session(data(), model="logistic", epochs=2)
    session.train()
    session.revoke(count=20)
    return session


@pytest.mark.parametrize("name", REGISTRIES)
def test_help_says_what_an_entry_is(name):
    registry = REGISTRIES[name]
    shown = pydoc.plain(pydoc.render_doc(registry))
    assert registry.__doc__.split("\n")[0] in shown and "An entry is" in shown


@pytest.mark.parametrize("name", REGISTRIES)
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    registry = REGISTRIES[name]
    known = next(iter(registry))
    with pytest.raises(KeyError, match=f"did you mean '{known}'.*{list(registry)[-1]}"):
        registry[known[:-1] + "_"]
    with pytest.raises(KeyError, match="choose from"):
        registry["#"]


@pytest.mark.parametrize("name", REGISTRIES)
def test_what_cannot_be_an_entry_is_refused_and_not_entered(name):
    registry = REGISTRIES[name]
    with pytest.raises(TypeError, match=rf"the \w+ .* lacks .*help\(uk\.[\w.]*{name}\)"):
        registry["nothing"] = Nothing()
    with pytest.raises(TypeError, match="give a string"):
        registry[3] = next(iter(registry.values()))
    assert "nothing" not in registry and 3 not in registry and not registry.own


def test_a_class_stands_for_its_default_instance(monkeypatch):
    monkeypatch.setitem(uk.METHODS, "mine", uk.StagedInfluence)
    assert uk.METHODS["mine"] == uk.StagedInfluence()
    assert uk.METHODS.own == {"mine": uk.StagedInfluence()}
    with pytest.raises(TypeError, match="WeightedCrossEntropy is a class that needs arguments"):
        LOSSES["weighted"] = uk.WeightedCrossEntropy


@pytest.mark.parametrize("entry", [RetrainOdd, RetrainOdd(), lambda: RetrainOdd()])
def test_a_boundary_of_ones_own_decides_by_its_name(session, monkeypatch, entry):
    monkeypatch.setitem(uk.BOUNDARIES, "odd", entry)
    decision = session.preview(boundary="odd")
    hit = {route.shard for route in decision.routes}
    assert set(decision.exact) == {shard for shard in hit if shard % 2}
    done = session.fork().unlearn(boundary="odd").decision
    assert (done.exact, done.approximate) == (decision.exact, decision.approximate)
    fork = session.fork()
    fork.boundary = "odd"
    assert fork.preview().exact == decision.exact


@pytest.mark.parametrize("name", ["adaptive", "fixed"])
def test_boundaries_are_taken_by_name_by_every_door(session, name):
    decided = name.title()
    fork = session.fork()
    result = unlearn(fork.plan, fork.store, fork.pending, name, clock=fork.clock)
    assert decided in result.decision.boundary
    frame = uk.stream(session, rounds=1, size=2, boundary=name, method="newton", amend="none")
    assert len(frame) == 1
    X, y = data()
    classifier = uk.UnlearnableClassifier("logistic", epochs=1, random_state=0).fit(X, y)
    classifier.unlearn([3, 14], boundary=name, method="newton", amend="none")
    assert decided in classifier.unlearned_.decision.boundary


def test_a_study_takes_names_and_objects(session):
    settings = {"models": ["logistic"], "epochs": 2, "revoked": [3], "amends": ["none"]}
    frame = study(
        data(), policies=["adaptive"], methods=["newton", uk.StagedInfluence()], **settings
    )
    assert list(frame["policy"]) == ["exact", "adaptive", "adaptive"]
    assert list(frame["method"])[1:] == ["newton", repr(uk.StagedInfluence())]


class Unreadable:
    """Data that no session may get to: what is refused at the door costs no work."""


@pytest.mark.parametrize("choice", [{"boundary": Nothing()}, {"method": Nothing()}, {"amend": 3}])
def test_what_lacks_a_part_of_its_protocol_is_refused_before_any_work(session, choice):
    events = []
    fork, what = session.fork(), next(iter(choice))
    X, y = data()
    classifier = uk.UnlearnableClassifier("logistic", epochs=1, random_state=0).fit(X, y)
    plural = {"boundary": "policies", "method": "methods", "amend": "amends"}[what]
    several = {"mine": choice[what]} if what == "boundary" else [choice[what]]
    doors = [
        lambda: fork.preview(**choice),
        lambda: fork.unlearn(**choice, on_progress=events.append),
        lambda: uk.stream(fork, rounds=1, **choice, on_progress=events.append),
        lambda: classifier.unlearn([3], **choice),
        lambda: study(Unreadable(), **{plural: several}),
    ]
    for door in doors:
        with pytest.raises(TypeError, match=rf"the {what} .* lacks .*help\(uk\."):
            door()
    assert not events and len(fork.pending) == 20


def test_names_that_are_unknown_are_refused_before_any_work(session):
    for choice in ({"boundary": "adaptiv"}, {"method": "newtn"}, {"amend": "reply"}):
        with pytest.raises(KeyError, match="did you mean"):
            uk.stream(session, rounds=1, **choice)
    with pytest.raises(KeyError, match="did you mean 'adaptive'"):
        study(Unreadable(), policies=["adaptiv"])
    with pytest.raises(TypeError, match="is one name"):
        study(Unreadable(), policies="adaptive")
    with pytest.raises(TypeError, match="give a boundary as boundary='adaptive'"):
        session.unlearn("adaptive")


def test_none_is_refused_where_a_boundary_is_needed(session):
    fork = session.fork()
    X, y = data()
    classifier = uk.UnlearnableClassifier("logistic", epochs=1, random_state=0).fit(X, y)
    doors = [
        lambda: setattr(fork, "boundary", None),
        lambda: classifier.unlearn([3], boundary=None),
        lambda: unlearn(fork.plan, fork.store, fork.pending, None),
        lambda: uk.OverriddenBoundary(None),
    ]
    for door in doors:
        with pytest.raises(TypeError, match=r"the boundary is None, but one is needed; .*adaptive"):
            door()
    assert fork.preview(boundary=None).routes == fork.preview().routes


@pytest.mark.parametrize("name", REGISTRIES)
def test_its_repr_names_the_entries(name):
    registry = REGISTRIES[name]
    assert repr(registry).endswith(f"{name}: {', '.join(registry)}") and " at 0x" not in repr(
        registry
    )
