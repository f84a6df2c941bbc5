"""Numbers that are not finite: training stops at the first, and such models count for nothing."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.approximate import Amended, Replay
from unlearnkit.evaluation.retrained import same_bytes
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.training.kernels import stacked
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.train import train

AREA = np.linspace(20, 200, 60, dtype="float32")[:, None]
PRICES = 90000.5 + 2500 * AREA[:, 0]
SMALL = {"num_shards": 2, "num_slices": 2, "epochs": 4}


def raw(model="mlp", **options):
    data = uk.from_arrays(AREA, PRICES, task="regression")
    return uk.Session(data, model=model, num_shards=2, num_slices=2, epochs=30, **options)


def scaled(**options):
    constants = {"offset": 100.0, "scale": 100.0, "target_offset": 3e5, "target_scale": 2e5}
    data = uk.from_arrays(AREA, PRICES, task="regression", **constants)
    return uk.Session(data, model="linear", **SMALL, **options)


def own():
    return nn.Sequential(nn.Linear(1, 4), nn.LayerNorm(4), nn.Linear(4, 1))


@pytest.mark.parametrize("model", ["linear", "mlp", own])
def test_training_stops_with_place_ranges_and_constants(model):
    session = raw(model)
    with pytest.raises(NotFiniteError, match=r"in shard \d, slice 1, .* in epoch \d+ of") as caught:
        session.train(on_progress=False)
    error, text = caught.value, str(caught.value)
    assert "scale=100" in text and "target_scale=100000" in text and "learning_rate" in text
    assert (error.stage, error.shard in (0, 1)) == (1, True)
    again = pickle.loads(pickle.dumps(error))  # as it comes from a worker
    assert (str(again), again.shard, again.epoch) == (text, error.shard, error.epoch)
    assert not session.busy and not session.trained and not session.store.keys


def test_ranges_are_those_of_the_retained_rows():
    features = np.ones((60, 1), "float32")
    features[:30] = np.arange(100.0, 130.0)[:, None]
    data = uk.from_arrays(features, np.linspace(-1, 1, 60), task="regression")
    session = uk.Session(data, model="linear", learning_rate=1e9, **SMALL)
    gone = np.intersect1d(np.arange(30), session.plan.partition.ids)
    with pytest.raises(NotFiniteError, match=r"inputs range from 1 to 1\d\d"):
        train(session.plan, session.store, on_progress=False)
    with pytest.raises(NotFiniteError) as caught:
        train(session.plan.without(gone), session.store, on_progress=False)
    assert "range" not in str(caught.value) and "lower the learning_rate" in str(caught.value)


def test_stages_that_were_finished_before_are_kept_and_training_continues_from_them():
    session = scaled()
    report = session.train(on_progress=False)
    assert all(np.isfinite(run.loss) for run in report.runs)
    plan, store = session.plan, session.store.fork()
    last = [chain[-1].key for chain in plan.chains]
    store.prune(plan.keys - set(last), [])
    broken = replace(plan, spec=plan.spec.with_(learning_rate=1e30))  # for the same stages
    with pytest.raises(NotFiniteError, match="slice 2"):
        train(broken, store, on_progress=False)
    assert set(store.keys) == set(plan.keys) - set(last)
    train(plan, store, on_progress=False)
    for key in plan.keys:
        assert same_bytes(store.get(key), session.store.get(key))


def test_the_estimators_pass_the_error_on():
    with pytest.raises(NotFiniteError, match="target_scale=100000"):
        uk.UnlearnableRegressor("mlp", num_shards=2, random_state=0).fit(AREA, PRICES)


def ruined(session):
    """Replace every stored model by NaN, as an earlier version stored a diverged training."""
    for key in list(session.store.keys):
        kept = session.store.get(key)
        state = {name: torch.full_like(value, torch.nan) for name, value in kept.state.items()}
        session.store.put(replace(kept, state=state))
    return session


def test_models_of_nan_are_neither_scored_nor_compared_nor_certified():
    session = scaled()
    session.train(on_progress=False)
    ids = session.plan.partition.ids
    session.revoke(ids[:1])
    session.unlearn(1, on_progress=False)
    assert session.certificate().content["constituents"][0]["state"] == "exact"
    ruined(session)
    inputs, _ = session.dataset.examples(session.dataset.test.ids)
    for read in (session.score, lambda: session.ensemble.predict(inputs)):
        with pytest.raises(NotFiniteError, match=r"model of shard 0 holds NaN"):
            read()
    with pytest.raises(NotFiniteError):
        session.compare(on_progress=False)
    certificate = session.certificate()
    assert {each["state"] for each in certificate.content["constituents"]} == {"not finite"}
    assert any("nothing is certified" in line for line in certificate.content["says"])
    key = session.plan.final_key(0)
    assert not same_bytes(session.store.get(key), session.store.get(key))


def test_a_store_of_nan_opens_and_its_audit_says_so(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # an earlier version trained without looking
        patch.setattr(stacked, "check_lanes", lambda *ignored: None)
        patch.setattr(stacked, "check_epoch", lambda *ignored: None)
        session = raw(store=tmp_path)
        session.train(on_progress=False)
        session.store.close()
    with pytest.raises(AuditError, match="holds NaN, because its training diverged"):
        list(audit(tmp_path))
    again = raw(store=tmp_path)
    assert again.trained
    with pytest.raises(NotFiniteError, match="holds NaN"):
        again.score()
    again.revoke(again.plan.partition.ids[:1])
    for share in (0, 1):  # both routes end in exact retraining, which diverges again
        with pytest.raises(NotFiniteError, match="training diverged"):
            again.unlearn(share, on_progress=False)
        assert len(again.pending) == 1 and not len(again.revoked)
    again.store.close()


class Ruin:
    """A replay whose result holds NaN for one shard, or which stops as a diverged training does."""

    def __init__(self, shard, raises=False):
        self.shard, self.raises = shard, raises

    def epochs(self, plan):
        return Replay().epochs(plan)

    def longer(self, plan):
        return None

    def __call__(self, rounds, modified, *, on_progress):
        found, replayed = [], Replay()(rounds, modified, on_progress=on_progress)
        for given, done in zip(rounds, replayed, strict=True):
            if given.state.shard == self.shard:
                if self.raises:
                    raise NotFiniteError("diverged", self.shard)
                end = done.checkpoint
                state = {name: torch.full_like(v, torch.nan) for name, v in end.state.items()}
                done = Amended(replace(end, state=state), done.epochs, done.visits)
            found.append(done)
        return found


@pytest.mark.parametrize("raises", [False, True])
def test_an_amend_that_is_not_finite_sends_its_shard_alone_to_exact_retraining(raises):
    session = scaled()
    session.train(on_progress=False)
    ids, shards = session.plan.partition.ids, session.plan.partition.shard
    session.revoke([ids[shards == 0][0], ids[shards == 1][0]])
    done = session.unlearn(0, amend=Ruin(1, raises), on_progress=False)
    assert (done.decision.approximate, done.decision.exact) == ((0,), (1,))
    reason = next(route.reason for route in done.decision.routes if route.shard == 1)
    assert "its amend is not finite" in reason and "retrained exactly" in reason
    rows = session.compare(on_progress=False).constituents.set_index("shard")
    assert rows["bit_identical"].to_dict() == {0: False, 1: True}


def test_a_mask_of_minus_infinity_is_no_fault():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

        def forward(self, x):
            return self.linear(x) * self.mask.softmax(0)[0]

    x = np.linspace(-1, 1, 60, dtype="float32")[:, None]
    session = uk.Session(uk.from_arrays(x, x[:, 0] * 0.5), model=Masked, **SMALL)
    session.train(on_progress=False)
    session.revoke(session.plan.partition.ids[:1])
    session.unlearn(1, on_progress=False)
    assert session.compare(on_progress=False).bit_identical
    assert np.isfinite(session.score()["test"])
