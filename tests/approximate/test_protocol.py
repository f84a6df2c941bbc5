"""What all methods and amends have in common: the contract, the audit, the planned work."""

from pathlib import Path

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from rounds import (
    all_states,
    quiet,
    states_of,
    tiny_session,
    uneven_rounds,
    uneven_session,
)
from unlearnkit.approximate import (
    AMENDS,
    METHODS,
    StagedInfluence,
)
from unlearnkit.records.audit import audit
from unlearnkit.seeding import state_bytes

CONVEX = ("newton", "noisy-newton")  # for convex models alone


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
        if name == "ssd":  # dampens nothing here: see its module
            break
        assert state_bytes(all_states(session)[shard]) != state_bytes(before[shard])
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES[model].dataset()))


@pytest.mark.parametrize("name", METHODS)
def test_later_rounds_go_on_from_what_a_method_left(name: str, tmp_path: Path) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    ids = session.plan.partition.ids
    for gone, method in ((ids[:4], name), (ids[8:12], name), (ids[20:22], None)):
        session.revoke(gone)
        session.unlearn(0, method=method)
    assert sum(map(len, session.debt.values())) == 10
    session.repay()
    assert session.compare().bit_identical and not session.debt
    session.store.close()
    said = list(audit(tmp_path, dataset=CASES["logistic"].dataset()))
    assert any("have the bits that retraining from scratch" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *((name, "logistic") for name in METHODS),
        *((name, uk.MLP((9,))) for name in METHODS if name not in CONVEX),
    ],
)
def test_a_shard_does_not_depend_on_those_handled_with_it(name, model):
    session = uneven_session(model)
    method = METHODS[name]
    assert not method.unsuitable(session.plan)
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
    session = uneven_session("logistic" if name in CONVEX else uk.MLP((9,)))
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


@pytest.mark.parametrize("name", ["single-gradient", "deltagrad"])
def test_what_follows_sgd_is_refused_for_other_optimizers(name):
    plan = CASES["adam"].session().plan
    assert "trained with adam" in METHODS[name].unsuitable(plan)


@pytest.mark.parametrize("model", ["logistic", "mlp-dropout", "cnn-batchnorm"])
@pytest.mark.parametrize("amend", AMENDS)
def test_an_amend_leaves_a_store_that_passes_the_audit(
    amend: str, model: str, tmp_path: Path
) -> None:
    session = CASES[model].session(store=tmp_path)
    session.train()
    ids = session.plan.partition.ids[::9]
    session.revoke(ids)
    result = session.unlearn(0, amend=amend)
    assert result.debt_after == len(ids)
    for state in all_states(session).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES[model].dataset()))


@pytest.mark.parametrize("name", AMENDS)
def test_amending_shards_together_is_amending_each(name):
    session = uneven_session(uk.MLP((9,)))
    method, rounds = METHODS["staged-influence"], uneven_rounds(session)
    found = method(rounds, on_progress=quiet)
    plan, amend = rounds[0].state.plan, AMENDS[name]
    for i, together in enumerate(amend(rounds, found, on_progress=quiet)):
        [alone] = amend([rounds[i]], [found[i]], on_progress=quiet)
        stage = rounds[i].state.chain[-1]
        assert together.epochs == amend.epochs(plan)
        assert together.visits == amend.epochs(plan) * stage.visits // stage.epochs
        assert set(together.checkpoint.tails) == set(plan.spec.tail_epochs())
        for part, tensor in together.checkpoint.state.items():
            assert (tensor - alone.checkpoint.state[part]).abs().max() < 1e-5


def test_a_study_takes_methods_and_amends_by_name():
    frame = uk.study(
        "digits",
        models=("logistic",),
        num_shards=(4,),
        num_slices=(2,),
        epochs=3,
        revoked=(20,),
        policies={"approximate": uk.FixedBoundary(0.0)},
        methods=("scrub", "newton", "deltagrad"),
        amends=("none", "fine-tuning"),
    )
    approximate = frame[frame.policy == "approximate"]
    assert len(approximate) == 6
    assert set(zip(approximate.method, approximate.amend, strict=True)) >= {("scrub", "none")}
    assert (approximate.approximate_shards == 4).all() and (approximate.output_kl > 0).all()


def test_progress_is_told_between_stages_and_can_stop():
    session = uneven_session("logistic")
    told = []
    method = StagedInfluence()
    method(uneven_rounds(session), on_progress=lambda sentence, share: told.append(share))
    assert len(told) == 4 and told == sorted(told) and told[0] == 0 and told[-1] < 1

    def stop(sentence, share):
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(uneven_rounds(session), on_progress=stop)


EACH = [("staged-influence", amend) for amend in AMENDS] + [
    (method, "replay") for method in METHODS
]


@pytest.mark.parametrize(("method", "amend"), EACH)
def test_every_method_and_amend_keeps_the_contract(method, amend):
    model = "logistic" if method in CONVEX else uk.MLP((8,))
    session = tiny_session(model)
    session.train()
    before = {key: state_bytes(session.store.get(key).state) for key in session.store.keys}
    session.revoke(count=6, seed=3)
    fork = session.fork()
    result = fork.unlearn(0, method=method, amend=amend)
    assert set(result.decision.approximate) == set(fork.debt)
    assert np.array_equal(np.concatenate(list(fork.debt.values())).size, 6)
    after = {key: state_bytes(session.store.get(key).state) for key in session.store.keys}
    assert before == after  # the fork's work left the session as it was
    assert all(
        torch.isfinite(t).all() for c in fork.ensemble.constituents for t in c.state.values()
    )
    repaid = fork.repay()
    assert repaid.debt_after == 0
    assert fork.compare().bit_identical
