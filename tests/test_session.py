"""The session: the route from training to comparison, what each step leaves behind, bad input."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from cases import CASES, stop_after
from unlearnkit import (
    AdaptiveBoundary,
    Cancelled,
    FixedBoundary,
    Session,
    TrainSpec,
    WeightedCrossEntropy,
    from_arrays,
)
from unlearnkit.progress import ProgressEvent
from unlearnkit.store import MemoryStore
from worker import contents

CASE = CASES["mlp-dropout"]


@pytest.fixture
def session() -> Session:
    session = CASE.session()
    session.train()
    return session


def members(session: Session, shard: int, slice_: int | None = None) -> np.ndarray:
    partition = session.plan.partition
    chosen = partition.shard == shard
    if slice_ is not None:
        chosen &= partition.slice_ == slice_
    return partition.ids[chosen & session.plan.retained]


def everything(session: Session) -> tuple[object, ...]:
    """What a harmless call must leave alone: weights, keys, requests, global random states."""
    return (
        contents(session.store),
        session.plan,
        session.revoked.tolist(),
        session.pending.tolist(),
        {shard: debt.tolist() for shard, debt in session.debt.items()},
        len(session.ledger()),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
    )


# The route


def test_the_route(session: Session) -> None:
    request = session.revoke(members(session, 0, 2)[:2])
    assert len(request) == 2 and len(session.pending) == 2
    assert session.workload().visits > 0
    result = session.unlearn(1)
    assert result.decision.exact == (0,) and not len(session.pending)
    assert session.revoked.tolist() == request.ids.tolist()
    comparison = session.compare()
    assert comparison.bit_identical
    assert comparison.constituents["checkpoints_identical"].all()
    assert comparison.constituents["shard"].tolist() == [0]
    assert (comparison.constituents["unlearned_to_scratch_l2"] == 0).all()
    assert (comparison.constituents["original_to_scratch_l2"] > 0).all()
    (entry,) = session.ledger().to_dict("records")
    assert entry["visits"] == entry["predicted_visits"] == result.visits


def test_an_approximate_model_is_not_called_exact(session: Session) -> None:
    session.revoke(members(session, 0, 2)[:2])
    result = session.unlearn(0)
    assert result.decision.approximate == (0,) and result.visits == 0 < result.approximate_visits
    assert [c.exact for c in session.ensemble.constituents] == [False, True]
    assert session.debt[0].tolist() == session.revoked.tolist()
    assert not session.compare().bit_identical


def test_revoking_one_then_another_gives_the_bits_of_revoking_both(session: Session) -> None:
    a, b = members(session, 0)[[2, 7]], members(session, 1)[:3]
    together = session.fork()
    together.revoke([*a, *b])
    together.unlearn(1)
    for first, second in ((a, b), (b, a)):
        apart = session.fork()
        for ids in (first, second):
            apart.revoke(ids)
            apart.unlearn(1)
        assert everything(apart)[0] == everything(together)[0]


def test_repaying_gives_the_bits_of_exact_unlearning(session: Session) -> None:
    ids = members(session, 0)[3:6]
    exact = session.fork()
    exact.revoke(ids)
    exact.unlearn(1)
    for one in ids:
        session.revoke(one)
        session.unlearn(0)
    assert session.debt[0].tolist() == ids.tolist()
    result = session.repay()
    assert (result.debt_before, result.debt_after) == (3, 0) and not session.debt
    assert everything(session)[0] == everything(exact)[0]
    assert session.repay().visits == 0


def test_training_does_not_repay_silently(session: Session) -> None:
    session.revoke(members(session, 0)[:1])
    session.unlearn(0)
    assert session.train().visits == 0 and session.debt


# What an approximate round leaves behind


def test_approximations_never_satisfy_a_plan(session: Session) -> None:
    session.revoke(members(session, 0, 2)[:2])
    session.unlearn(0)
    missing = session.plan.missing(session.store)
    assert [(stage.shard, stage.index) for stage in missing] == [(0, 2), (0, 3)]


def test_no_clean_checkpoint_with_a_revoked_id_in_its_lineage_remains(session: Session) -> None:
    before = session.plan
    session.revoke(members(session, 0, 2)[:2])
    session.unlearn(0)
    tainted = {stage.key for stage in before.chains[0] if stage.index >= 2}
    assert session.store.keys == before.keys - tainted


def test_stale_keys_and_older_approximations_are_destroyed(session: Session) -> None:
    bases = []
    for one in members(session, 0)[:3]:
        session.revoke(one)
        destroyed = session.unlearn(0).destroyed
        assert destroyed >= 1
        bases.append(session.plan.final_key(0))
    kept = [session.store.approximation(base) is not None for base in bases]
    assert kept == [False, False, True]
    session.revoke(members(session, 0)[:1])
    session.unlearn(1)
    assert session.store.approximation(bases[-1]) is None
    assert session.store.keys == session.plan.keys


def test_an_exact_request_clears_the_debt_of_its_shard_alone(session: Session) -> None:
    session.revoke([members(session, 0)[0], members(session, 1)[0]])
    session.unlearn(0)
    assert set(session.debt) == {0, 1}
    session.revoke(members(session, 0)[0])
    result = session.unlearn(1)
    assert set(session.debt) == {1} and (result.debt_before, result.debt_after) == (2, 1)


# Whole shards, the probe, empty requests


@pytest.mark.parametrize("max_share", [0, 1])
def test_a_shard_that_loses_all_examples_leaves_the_vote(session: Session, max_share: int) -> None:
    session.revoke(members(session, 0))
    result = session.unlearn(max_share)
    assert [route.kind for route in result.decision.routes] == ["leave"] and result.visits == 0
    assert [c.shard for c in session.ensemble.constituents] == [1]
    assert session.store.keys == {stage.key for stage in session.plan.chains[1]}
    inputs, _ = session.dataset.examples(session.dataset.test.ids)
    alone = session.ensemble.constituent_probabilities(inputs)[0]
    assert torch.equal(session.ensemble.probabilities(inputs), alone)
    session.compare()
    assert session.train().visits == 0


def test_a_shard_with_debt_may_leave_the_vote(session: Session) -> None:
    session.revoke(members(session, 0)[:2])
    session.unlearn(0)
    session.revoke(members(session, 0))
    session.unlearn(0)
    assert not session.debt and session.repay().visits == 0


def test_probe_examples_are_revoked_without_retraining(session: Session) -> None:
    before = everything(session)[0]
    session.revoke(session.dataset.probe.ids[:3])
    result = session.unlearn(0)
    assert result.visits == 0 and result.decision.routes == ()
    assert "no shard is hit" in repr(result)
    assert everything(session)[0] == before
    assert session.revoked.tolist() == session.dataset.probe.ids[:3].tolist()
    assert set(session.accuracy()) == {"test", "probe"}


def test_an_empty_request_does_nothing_and_says_so(session: Session) -> None:
    before = everything(session)
    assert session.revoke([]).notes == ("The request is empty: there is nothing to forget.",)
    result = session.unlearn(0)
    assert "0 examples" in repr(result) and "nothing was retrained" in repr(result)
    assert everything(session) == before and session.last is None


# Harmless calls


def test_estimating_previewing_forking_and_comparing_change_nothing(session: Session) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    session.revoke(members(session, 0)[:2])
    session.unlearn(0)
    session.revoke(members(session, 1)[:2])
    before = everything(session)
    session.workload()
    session.preview(0.3)
    session.compare()
    session.accuracy()
    fork = session.fork()
    fork.unlearn(1)
    fork.repay()
    assert everything(session) == before


def test_a_fork_is_independent(session: Session) -> None:
    session.revoke(members(session, 0)[:2])
    fork = session.fork()
    session.unlearn(1)
    assert len(fork.pending) == 2 and not len(fork.revoked)
    fork.withdraw()
    fork.revoke(members(fork, 1)[:1])
    fork.unlearn(1)
    assert set(session.revoked) & set(fork.revoked) == set()
    assert session.compare().bit_identical and fork.compare().bit_identical


def test_a_pending_revocation_can_be_withdrawn(session: Session) -> None:
    before = everything(session)
    a, b, c = members(session, 0)[:3]
    session.revoke([a, b, c])
    session.withdraw(b)
    assert session.pending.tolist() == [a, c]
    session.withdraw([a])
    assert session.pending.tolist() == [c]
    session.withdraw()
    assert everything(session) == before


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ("7", TypeError, r"ids='7' is text; give whole numbers such as \[3, 141, 592\]"),
        ([1.5], TypeError, "ids of kind float64 were given; give whole numbers"),
        ([True, False], TypeError, r"ids of kind bool were given; .*use numpy\.flatnonzero"),
        ([0, 8], KeyError, r"ids 0, 8 are not in \w[\w-]*; training ids run from 7 to "),
    ],
)
def test_ids_to_withdraw_are_checked_as_those_to_revoke(
    session: Session, ids: object, error: type[Exception], match: str
) -> None:
    session.revoke(members(session, 0)[:2])
    before = session.pending.tolist()
    for checked in (session.revoke, session.withdraw):
        with pytest.raises(error, match=match):
            checked(ids)
    assert session.pending.tolist() == before


def test_only_what_is_pending_can_be_withdrawn(session: Session) -> None:
    a, b, c = members(session, 0)[:3]
    with pytest.raises(KeyError, match=f"id {a} is not pending, .*; no id is pending"):
        session.withdraw(a)
    session.revoke([a, b])
    with pytest.raises(KeyError, match=f"id {c} is not pending, .*; ids {a}, {b} are pending"):
        session.withdraw([a, c])
    assert session.pending.tolist() == [a, b]  # not even the one that was
    session.withdraw([b, b])
    assert session.pending.tolist() == [a]
    session.withdraw([])
    assert session.pending.tolist() == [a]


def test_a_cancelled_unlearning_has_changed_nothing(session: Session) -> None:
    session.revoke([*members(session, 0)[:2], *members(session, 1)[:1]])
    before = everything(session)
    for max_share in (0, 0.5, 1):
        events: list[ProgressEvent] = []
        session.fork().unlearn(max_share, on_progress=events.append)
        for at in range(1, len(events) + 1):
            with pytest.raises(Cancelled, match="stopped on request"):
                session.unlearn(max_share, **stop_after(at))
            assert everything(session) == before


def test_a_cancelled_repayment_keeps_the_debt_and_can_be_resumed(session: Session) -> None:
    session.revoke(members(session, 0, 1)[:2])
    session.unlearn(0)
    ensemble = session.ensemble
    with pytest.raises(Cancelled):
        session.repay(**stop_after(3))
    assert session.debt and len(session.plan.missing(session.store, [0])) == 2
    for a, b in zip(ensemble.constituents, session.ensemble.constituents, strict=True):
        assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)
    session.revoke(members(session, 0, 3)[:1])
    session.unlearn(0)  # an approximate round over a half repaid shard
    session.repay()
    fresh = CASE.session()
    fresh.train()
    fresh.revoke(session.revoked)
    fresh.unlearn(1)
    assert everything(session)[0] == everything(fresh)[0]


def test_the_original_stays_until_it_is_discarded(session: Session) -> None:
    original = session.ensemble
    session.revoke(members(session, 0)[:1])
    session.unlearn(1)
    assert session.original is not None
    for a, b in zip(session.original.constituents, original.constituents, strict=True):
        assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)
    session.discard_original()
    assert session.original is None
    with pytest.raises(LookupError, match="discarded"):
        session.compare()


def test_one_piece_of_work_at_a_time(session: Session) -> None:
    session.revoke(members(session, 0)[:1])
    with pytest.raises(RuntimeError, match="at work in another thread"):
        session.unlearn(1, on_progress=lambda event: session.repay() and None)
    assert not session.busy
    session.unlearn(1)


# Bad input: one error before any work starts


def features_and_labels(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4)).astype(np.float32), np.arange(count) % 3


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"epochs": -1}, ValueError, r"epochs=-1 is below 1; give at least 1"),
        ({"epochs": 0}, ValueError, r"epochs=0 is below 1"),
        ({"epochs": 2.5}, TypeError, r"epochs=2.5 is a float; give a whole number"),
        ({"num_shards": 0}, ValueError, "num_shards=0 is below 1"),
        ({"batch_size": -3}, ValueError, "batch_size=-3 is below 1"),
        ({"num_slices": 29}, ValueError, r"num_slices=29 leaves shard 4 .* use at most \d+"),
        ({"num_shards": 99}, ValueError, r"num_shards=99 for \d+ examples .* use at most \d+"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate=-1.0 is out of range"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan is out of range"),
        ({"model": "resnet"}, KeyError, "resnet.*logistic, mlp, cnn"),
        ({"model": nn.Linear(4, 3)}, TypeError, "give a name .* or a callable"),
        (
            {"model": lambda: nn.Linear(4, 5)},
            ValueError,
            r"shape \(3, 5\); the data has 3 classes or targets, so \(3, 3\) was expected",
        ),
        ({"model": "cnn"}, ValueError, "the cnn needs images"),
        ({"hidden": (3,), "model": "cnn"}, ValueError, "applies to model='mlp' only"),
        ({"aggregation": "mean"}, KeyError, "mean-probability, majority-vote"),
        ({"spec": TrainSpec(), "epochs": 0}, ValueError, "epochs=0 is below 1; give at least 1"),
        ({"optimizer": "lion"}, ValueError, "optimizer='lion' is not known; use one of 'sgd'"),
        ({"seed": "zero"}, TypeError, "seed='zero' is not a whole number"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_sessions_are_refused(
    options: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Session(from_arrays(*features_and_labels()), **options)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda s: s.revoke([4]), KeyError, "id 4 is not in mlp-dropout"),
        (lambda s: s.revoke(s.dataset.test.ids[0]), KeyError, "in the test part"),
        (lambda s: s.revoke(s.dataset.train.ids), ValueError, "all 37 training examples"),
        (lambda s: s.revoke(), ValueError, "nothing selected"),
        (lambda s: s.revoke([7], count=2), ValueError, "both given"),
        (lambda s: s.revoke(label="z"), KeyError, "class 'z' is not in"),
        (lambda s: s.revoke(count=99), ValueError, "count=99 is out of range"),
        (lambda s: s.unlearn(1.5), ValueError, "max_share=1.5 is out of range"),
        (
            lambda s: s.preview(AdaptiveBoundary()),
            TypeError,
            r"a threshold is a number from 0 to 1.*give a boundary as boundary=AdaptiveBoundary\(",
        ),
        (lambda s: s.preview(-0.5), ValueError, "max_share=-0.5 is out of range"),
        (lambda s: s.unlearn(method="magic"), KeyError, "no method is named 'magic'"),
        (lambda s: s.unlearn(amend="magic"), KeyError, "no amend is named 'magic'"),
        (lambda s: s.unlearn(0, boundary=FixedBoundary()), ValueError, "both given"),
        (lambda s: s.compare(), LookupError, "has not unlearned anything"),
    ],
)
def test_bad_calls_are_refused_before_any_work(
    session: Session, call: Callable[[Session], object], error: type[Exception], match: str
) -> None:
    before = everything(session)
    with pytest.raises(error, match=match):
        call(session)
    assert everything(session) == before


def test_the_last_pending_examples_cannot_be_added(session: Session) -> None:
    ids = session.dataset.train.ids
    session.revoke(ids[:20])
    with pytest.raises(ValueError, match="revokes all 37 training examples"):
        session.revoke(ids[20:])
    assert len(session.pending) == 20


def test_ids_revoked_twice_are_ignored_with_a_note(session: Session) -> None:
    session.revoke([10, 13])
    session.unlearn(1)
    before = everything(session)
    assert session.revoke([10, 13]).notes[0] == "ids 10, 13 are revoked before; ignored."
    session.unlearn(1)
    assert everything(session) == before


@pytest.mark.parametrize(
    "call",
    [Session.unlearn, Session.workload, Session.preview, Session.accuracy],
    ids=lambda call: call.__name__,
)
def test_unlearning_before_training_is_refused(call: Callable[[Session], object]) -> None:
    session = CASE.session()
    session.revoke([10])
    with pytest.raises(LookupError, match=r"train first: session.train\(\)"):
        call(session)
    assert not session.store.keys and len(session.pending) == 1


def test_a_store_of_ones_own_is_used() -> None:
    store = MemoryStore()
    session = CASE.session(store=store)
    session.train()
    assert session.store is store and store.keys == session.plan.keys


# Weights of classes


def test_a_weighted_class_is_found_more_often_and_forgotten_exactly() -> None:
    shares = []
    for weights in ((1, 1, 1), (1, 1, 8)):
        loss = WeightedCrossEntropy(weights)
        session = Session(CASE.dataset(), model="logistic", loss=loss, num_shards=2, epochs=5)
        session.train()
        inputs, _ = session.dataset.examples(session.dataset.train.ids)
        shares.append((session.ensemble.predict(inputs) == 2).double().mean())
        session.revoke(members(session, 0, 1)[:2])
        session.unlearn(1)
        assert session.compare().bit_identical
    assert shares[1] > shares[0] + 0.1


def test_weights_are_one_for_each_class() -> None:
    with pytest.raises(ValueError, match="2 class_weights for 3 classes; give one per class"):
        Session(CASE.dataset(), loss=WeightedCrossEntropy((1, 8)))


@pytest.mark.parametrize("spec", [TrainSpec, {"epochs": 3}])
def test_what_is_no_spec_is_refused(spec):
    with pytest.raises(TypeError, match=r"is not a TrainSpec; give an instance"):
        Session("digits", spec=spec)
