"""Factors for K-FAC influence that training stores with its checkpoints."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import CASES, NUM_CLASSES
from lineage import parse
from rounds import states_of
from tampering import altered, offsets
from unlearnkit import Session, StoreError, TrainSpec
from unlearnkit.approximate import METHODS, EachState, KroneckerInfluence
from unlearnkit.progress import ProgressEvent
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.seeding import state_bytes
from unlearnkit.store import Checkpoint
from unlearnkit.training.kernels import compute_threads
from unlearnkit.training.kernels.factors import factor_rows, factors, unpacked, without
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.modify import members_of
from worker import content

ALL = 10**6  # examples: more than there are


@pytest.fixture(autouse=True)
def one_thread():
    """As in a session; bits depend on it."""
    with compute_threads(1):
        yield


def trained(name: str, examples: int, **options: Any) -> Session:
    case = CASES[name]
    session = case.session(spec=case.spec.with_(kfac_examples=examples), **options)
    session.train()
    return session


def ends(session: Session) -> list[Checkpoint]:
    """Checkpoints of all stages, clean."""
    return [session.store.get(stage.key) for stage in session.plan.stages]


def as_trained(checkpoint: Checkpoint) -> list[bytes]:
    """Bytes of the parameters and buffers, tails included."""
    return [state_bytes(state) for state in (checkpoint.state, *checkpoint.tails.values())]


def planned(before: Plan, after: Plan, shards: Iterable[int]) -> int:
    """Visits of K-FAC influence as predicted."""
    forget = {s: members_of(before, after, s, False)[0] for s in shards}
    return sum(METHODS["kfac"].visits(after, s, some) for s, some in forget.items())


def test_without_the_option_a_run_is_called_what_it_always_was() -> None:
    """A folder of before names its run so; the digest is that of the version before."""
    without_factors, spec = TrainSpec(), TrainSpec(kfac_examples=9)
    assert without_factors.digest == "f07a1e0de14bd1b1f900c47ef1728f5d" != spec.digest
    assert repr(without_factors).endswith("device='cpu')")
    assert repr(spec) == repr(without_factors)[:-1] + ", kfac_examples=9)"
    assert "kfac_examples" not in without_factors.to_dict()
    assert TrainSpec(**spec.to_dict()) == spec
    for value in (-1, 2.5, True):
        with pytest.raises((ValueError, TypeError), match="kfac_examples="):
            TrainSpec(kfac_examples=value)


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "cnn-batchnorm", "uneven"])
def test_training_has_the_same_bits_with_factors_and_without(name: str) -> None:
    plain, session = trained(name, 0), trained(name, 6)
    for ours, theirs in zip(ends(session), ends(plain), strict=True):
        assert as_trained(ours) == as_trained(theirs)
        assert ours.factors.keys() == {0, *ours.tails} and not theirs.factors
        more = sum(t.nbytes for kept in ours.factors.values() for t in kept.values())
        assert ours.nbytes == theirs.nbytes + more > theirs.nbytes


def test_what_a_worker_gives_back_has_the_same_factors() -> None:
    ours, theirs = trained("mlp-factors", 8, parallel=1), trained("mlp-factors", 8)
    assert [*map(content, ends(ours))] == [*map(content, ends(theirs))]


def test_factors_are_those_of_the_retained_examples_of_the_stage() -> None:
    session = trained("logistic", ALL)
    session.revoke(session.plan.partition.ids[::4])
    session.unlearn(1)
    plan = session.plan
    for checkpoint in ends(session):
        pool = plan.pool(checkpoint.shard, checkpoint.stage)
        x, _ = plan.examples[plan.partition.ids[pool[plan.retained[pool]]]]
        ones = np.concatenate([x.double().numpy(), np.ones((len(x), 1))], 1)
        for kept, state in zip(
            checkpoint.factors.values(), (checkpoint.state, *checkpoint.tails.values()), strict=True
        ):
            w = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1).double().numpy()
            p = torch.from_numpy(ones @ w.T).softmax(1).numpy()
            s = (np.diag(p.sum(0)) - p.T @ p) / len(x)
            found = unpacked(kept)
            assert np.allclose(found["1.A"], ones.T @ ones / len(x), atol=1e-6)
            assert np.allclose(found["1.S"], s, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp-factors", "cnn-factors"])
def test_less_the_forgotten_they_are_those_of_the_others_computed_afresh(name: str) -> None:
    session = CASES[name].session()
    session.train()
    plan, compared = session.plan, 0
    for checkpoint in ends(session):
        rows = factor_rows(plan, checkpoint.shard, checkpoint.stage)
        assert len(rows) == min(plan.spec.kfac_examples, plan.retained[rows].sum())
        inputs, _ = plan.examples[plan.partition.ids[rows]]
        states = {0: checkpoint.state, **checkpoint.tails}
        for q, whole in checkpoint.factors.items():
            module = plan.architecture.module(states[q])
            part, rest = (
                factors(module, some, plan.spec.loss) for some in (inputs[:3], inputs[3:])
            )
            whole = unpacked(whole)
            found = without(whole, part, len(rows), 3)
            assert found.keys() == rest.keys() and len(found) >= 4
            for key, expected in rest.items():  # rounding of numbers up to a few ones
                assert (found[key] - expected).abs().max() < 1e-5 * (1 + expected.abs().max())
                assert (whole[key] - expected).abs().max() > 1e-3 * expected.abs().max()
                compared += 1
    assert compared


def test_the_sample_stays_the_same_but_for_the_revoked() -> None:
    session = trained("mlp-factors", 8)
    plan = session.plan
    before = {s: factor_rows(plan, s, 2) for s in range(plan.num_shards)}
    gone = np.concatenate([rows[:2] for rows in before.values()])
    after = plan.without(plan.partition.ids[gone])
    for s, rows in before.items():
        assert set(rows[2:]) < set(factor_rows(after, s, 2)) and len(rows) == 8
        assert not np.isin(gone, factor_rows(after, s, 2)).any()
        assert factor_rows(after, s, 2, gone).tolist() == rows.tolist()


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "cnn-batchnorm", "uneven"])
def test_a_request_ends_where_it_would_without_stored_factors(name: str) -> None:
    """Over all examples, so that there is no sample to differ in."""
    method, found, results = EachState(KroneckerInfluence(examples=ALL)), [], []
    for examples in (0, ALL):
        session = trained(name, examples)
        before = session.plan
        session.revoke(before.partition.ids[::7])
        results.append(session.unlearn(0, method=method, amend="none"))
        shards = results[-1].decision.approximate
        found.append([session.store.approximation(session.plan.final_key(s)) for s in shards])
        assert results[-1].approximate_visits == sum(
            method.visits(session.plan, s, members_of(before, session.plan, s, False)[0])
            for s in shards
        )
    assert len(found[0]) == len(found[1]) > 1
    for theirs, ours in zip(*found, strict=True):
        assert states_of(ours).keys() == states_of(theirs).keys()
        for place, state in states_of(theirs).items():
            for part, tensor in state.items():  # rounding of steps of size 1
                assert (states_of(ours)[place][part] - tensor).abs().max() < 1e-4
    assert results[1].approximate_visits < results[0].approximate_visits / 2


def test_a_state_that_was_modified_has_no_factors_and_the_next_request_computes_them() -> None:
    """What is predicted is what is done, with factors and without."""
    session, visits = trained("mlp-factors", 8), []
    plan = session.plan
    rows = [plan.pool(shard, 1) for shard in range(plan.num_shards)]  # whose states are all hit
    for at, amend in enumerate(("none", "none", "replay")):
        session.revoke(plan.partition.ids[[pool[at] for pool in rows]])
        events: list[ProgressEvent] = []
        result = session.unlearn(0, method="kfac", amend=amend, on_progress=events.append)
        visits.append(result.approximate_visits)
        assert {event.total_visits for event in events} == {visits[-1]}
        for s in result.decision.approximate:
            kept = session.store.approximation(session.plan.final_key(s))
            assert not any(checkpoint.factors for checkpoint in kept.checkpoints.values())
        assert len(session.debt) == plan.num_shards
    assert visits[1] > 2 * visits[0]
    session.repay()
    assert all(checkpoint.factors for checkpoint in ends(session))
    assert session.compare().bit_identical


def test_with_more_than_half_of_the_sample_forgotten_they_are_computed_afresh() -> None:
    session, visits = trained("mlp-factors", 8), []
    plan, passes = session.plan, 1 + NUM_CLASSES
    sample = factor_rows(plan, 0, 2)
    late = sample[plan.partition.slice_[sample] == 2]  # so that there is one stage
    states = 1 + len(plan.spec.tail_epochs())
    others = np.setdiff1d(sample, late)
    for count in (4, 5):
        fork = session.fork()
        fork.revoke(plan.partition.ids[[*late, *others][:count]])
        result = fork.unlearn(0, method="kfac", amend="none")
        assert result.approximate_visits == planned(plan, fork.plan, [0])
        visits.append(result.approximate_visits)
    assert len(late) >= 4
    left = int(fork.plan.retained[plan.pool(0, 2)].sum())
    assert visits[0] == states * 4 * (1 + passes) and states * (5 + passes * left) <= visits[1]


def test_revoked_examples_leave_no_factors_in_the_folder(tmp_path: Path) -> None:
    session = CASES["cnn-factors"].session(store=tmp_path)
    session.train()
    plan = session.plan
    stale = {stage.key: session.store.get(stage.key) for stage in plan.stages}
    for shard, max_share in ((0, 1), (1, 0)):  # one that is in every sample of its shard
        samples = [set(factor_rows(plan, shard, r).tolist()) for r in (1, 2)]
        session.revoke(plan.partition.ids[[min(samples[0] & samples[1])]])
        session.unlearn(max_share, method="kfac", amend="none")
    assert [*session.debt] == [1] and not session.store.keys & stale.keys()
    files = [path.read_bytes() for path in tmp_path.rglob("*.safetensors")]
    for checkpoint in stale.values():
        for kept in checkpoint.factors.values():
            assert not any(t.numpy().tobytes() in data for t in kept.values() for data in files)
    for key in session.store.keys:
        states = session.store.get(key).factors.values()
        kept = [t for state in states for t in state.values()]
        assert len(kept) >= 6 and all(
            any(t.numpy().tobytes() in data for data in files) for t in kept
        )
    held = [session.store.get(key).nbytes for key in session.store.keys]
    owed = [session.store.approximation(base).nbytes for base in session.store.bases]
    assert session.store.nbytes == sum(held) + sum(owed)
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES["cnn-factors"].dataset()))
    assert all(parse(path) for path in tmp_path.glob("shard-*/*"))


def test_altered_factors_are_found(tmp_path: Path) -> None:
    trained("mlp-factors", 8, store=tmp_path).store.close()
    altered(tmp_path, offsets("factors 0/"))
    with pytest.raises(AuditError, match=r"numbers of 1\.A at its factors 0 differ"):
        list(audit(tmp_path, dataset=CASES["mlp-factors"].dataset()))


def test_a_resumed_session_goes_on_with_its_factors(tmp_path: Path) -> None:
    case = CASES["mlp-factors"]
    one = trained("mlp-factors", 8)
    trained("mlp-factors", 8, store=tmp_path).store.close()
    again = case.session(store=tmp_path)
    assert [*map(content, ends(again))] == [*map(content, ends(one))]
    for session in (one, again):
        session.revoke(session.plan.partition.ids[::8])
        assert session.unlearn(0, method="kfac").approximate_visits
    for ours, theirs in zip(again.ensemble.constituents, one.ensemble.constituents, strict=True):
        assert state_bytes(ours.state) == state_bytes(theirs.state)
    again.store.close()
    with pytest.raises(StoreError, match=r"kfac_examples=8.*belongs|belongs.*kfac_examples=8"):
        case.session(store=tmp_path, spec=case.spec.with_(kfac_examples=0))


def test_a_folder_without_factors_is_as_it_was(tmp_path: Path) -> None:
    session = trained("logistic", 0, store=tmp_path)
    session.store.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"factors" not in path.read_bytes() and b"kfac" not in path.read_bytes()
    assert trained("logistic", 0, store=tmp_path).store.keys == session.store.keys
