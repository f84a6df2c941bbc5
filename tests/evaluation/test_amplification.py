"""Amplification: what is known without training, what a convex problem cannot exceed, and words."""

import math
import threading

import pytest
import torch

from cases import CASES, plan_of
from unlearnkit import Cancelled
from unlearnkit.evaluation.amplification import CHANGE, Amplification, amplification, perturbed
from unlearnkit.models.state import same_state
from unlearnkit.seeding import torch_generator
from unlearnkit.store import MemoryStore


def outputs_after_noise(plan, probe, shard):
    """The outputs of the initial weights of a shard and of the perturbed ones, and both states."""
    architecture, seed = plan.architecture, plan.spec.seed
    initial = architecture.initial(seed, shard)
    moved = perturbed(architecture, initial, torch_generator(seed, "amplification", shard))
    with torch.no_grad():
        outputs = [architecture.module(state)(probe.inputs).double() for state in (initial, moved)]
    return outputs, (initial, moved)


def test_without_training_it_is_the_change_of_the_initial_outputs():
    session = CASES["adam"].session(learning_rate=1e-12)
    probe = session._probe()
    (first, second), _ = outputs_after_noise(session.plan, probe, 1)
    expected = float((second - first).norm() / first.norm()) / CHANGE
    # Outputs are in single precision: their rounding of 1e-7 is amplified by 1 / CHANGE.
    assert session.amplification(1).value == pytest.approx(expected, abs=0.02)


def test_a_convex_training_does_not_move_weights_apart():
    session = CASES["logistic"].session(learning_rate=0.01, momentum=0.0)
    session.train()
    found = session.amplification(0)
    probe = session._probe()
    _, (initial, moved) = outputs_after_noise(session.plan, probe, 0)
    noise = math.hypot(*(float((moved[name] - initial[name]).norm()) for name in initial))
    rows = torch.cat([probe.inputs.flatten(1), torch.ones(len(probe.inputs), 1)], 1)
    # Gradient steps below 2 / L do not expand distances; so the outputs' change is bounded too.
    states = [session.store.get(session.plan.final_key(0)).state]
    bound = noise * float(torch.linalg.matrix_norm(rows, 2)) / float(probe.outputs(states).norm())
    assert 0 < found.value * CHANGE <= bound
    assert found == session.amplification(0)


def test_a_stored_shard_is_not_trained_again_and_nothing_changes():
    session, events = CASES["mlp-dropout"].session(), []
    visits = sum(stage.visits for stage in session.plan.chains[0])
    before = session.amplification(on_progress=events.append)
    assert events[-1].done_visits == events[-1].total_visits == 2 * visits
    session.train()
    keys, models = set(session.store.keys), session.ensemble.constituents
    after = session.amplification(on_progress=events.append)
    assert events[-1].done_visits == events[-1].total_visits == visits
    assert after == before and set(session.store.keys) == keys
    for one, other in zip(models, session.ensemble.constituents, strict=True):
        assert same_state(one.state, other.state)


def test_further_rates_are_those_of_other_sessions():
    case = CASES["adam"]
    found = case.session().amplification(0, rates=[0.002, 0.01, 0.03, 0.002])
    for rate, value in found.at_rates:
        assert value == case.session(learning_rate=rate).amplification(0).value
    frame = found.to_frame()
    assert frame["learning_rate"].tolist() == [0.01, 0.002, 0.03]
    assert frame["amplification"].tolist() == [found.value, *(value for _, value in found.at_rates)]


def test_without_a_probe_the_shards_own_examples_are_compared():
    plan = plan_of(CASES["uneven"])
    assert math.isfinite(amplification(plan, MemoryStore(), shard=2).value)


def test_a_training_that_diverges_is_infinite():
    found = CASES["squared-error"].session(learning_rate=1e6).amplification()
    assert found.value == math.inf and found.is_chaotic
    assert "does not stay finite" in found.sentence


def test_it_can_be_stopped():
    cancel = threading.Event()
    session = CASES["adam"].session()
    with pytest.raises(Cancelled):
        session.amplification(on_progress=lambda event: cancel.set(), cancel=cancel)


def test_doors():
    session = CASES["adam"].session()
    with pytest.raises(KeyError, match="no shard 7 has examples; the shards with examples are"):
        session.amplification(7)
    with pytest.raises(ValueError, match="learning_rate"):
        session.amplification(rates=[0.0])


def test_words():
    calm = Amplification(0, 0.003, 5.2)
    assert "is not chaotic (5.2)" in calm.sentence and "smaller" not in calm.sentence
    near = Amplification(0, 0.03, 11.0, ((0.01, 7.0), (0.003, 5.0)))
    assert "close to chaotic (11)" in near.sentence and not near.is_chaotic
    assert near.sentence.endswith("lowers it; at other learning rates it is 7 at 0.01, 5 at 0.003.")
    assert "This training is chaotic (34)" in repr(Amplification(2, 0.03, 34.0))
    assert "<table" in near._repr_html_()
