"""Spot checks: which shard is drawn, what is measured, and the warning where little was removed."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import CASES, of_slice, stop_after
from guarded import Spoil
from unlearnkit import Cancelled, FixedBoundary, audit
from unlearnkit.metrics.metrics import example_kl
from unlearnkit.records.history import error_model_after
from unlearnkit.store import MemoryStore
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import train
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.spot_check import SpotCheck, as_spot_check, shards_to_check
from unlearnkit.unlearning.error_model import ErrorModel
from worker import content, poisoned

# Of such small problems modifying may remove little, which is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:Spot check")


def trained(case="logistic", **options):
    session = CASES[case].session(**options)
    session.train()
    return session


def many():
    """Eleven shards, so that one is cheap enough for a check by default."""
    session = trained(spec=CASES["logistic"].spec.with_(num_shards=11, num_slices=1, epochs=3))
    session.revoke([of_slice(session, shard, 1) for shard in range(11)])
    return session


def checkpoints(session, shard):
    return [content(session.store.get(stage.key)) for stage in session.plan.chains[shard]]


@pytest.mark.parametrize("case", ["logistic", "mlp-dropout", "cnn-batchnorm", "regression"])
def test_the_checked_shard_has_the_bytes_of_retraining_on_poisoned_data(case):
    session = trained(case)
    ids = [of_slice(session, shard, 1) for shard in range(session.plan.num_shards)]
    session.revoke(ids)
    result = session.unlearn(0, spot_check=True)
    found = result.spot_check
    assert result.decision.exact == (found.shard,)
    assert found.shard not in session.debt and len(session.debt) == len(ids) - 1
    assert ShardModel(session.plan, session.store, found.shard).approximation is None
    # The same plan, in which nothing of the revoked rows is left to be read.
    plan = replace(session.plan, examples=poisoned(session.dataset.train, np.array(ids)))
    store = MemoryStore()
    train(plan, store, shards=[found.shard])
    fresh = [content(store.get(stage.key)) for stage in plan.chains[found.shard]]
    assert checkpoints(session, found.shard) == fresh


def test_the_other_shards_have_the_bits_without_a_check():
    session = trained()
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    plain = session.fork()
    plain.unlearn(0, spot_check=False)
    checked = session.unlearn(0, spot_check=True).decision.approximate
    assert len(checked) == 2
    for one, other in zip(session.ensemble.constituents, plain.ensemble.constituents, strict=True):
        same = all(torch.equal(one.state[name], other.state[name]) for name in one.state)
        assert same == (one.shard in checked)


def test_what_was_removed_is_that_of_an_independent_comparison():
    session = trained()
    ids = [of_slice(session, shard, 1) for shard in range(3)]
    session.revoke(ids)
    before, plain = session.ensemble, session.fork()
    plain.unlearn(0, spot_check=False)
    found = session.unlearn(0, spot_check=True).spot_check
    constituents = (before, plain.ensemble, session.ensemble)
    models = [
        next(one for one in ensemble.constituents if one.shard == found.shard).state
        for ensemble in constituents
    ]
    gone = ids[found.shard : found.shard + 1]
    for inputs, gap, left in (
        (session.dataset.probe.inputs(), found.probe_gap, found.probe_left),
        (session.dataset.examples(np.array(gone))[0], found.forget_gap, found.forget_left),
    ):
        with torch.no_grad():
            outputs = [session.plan.architecture.module(s)(inputs).softmax(-1) for s in models]
        nothing, modified = (float(example_kl(outputs[2], o).mean()) for o in outputs[:2])
        # Both compute in single precision from the same parameters.
        assert gap == pytest.approx(nothing, rel=1e-3) and left == pytest.approx(modified, rel=1e-2)
    assert found.probe_removed == 1 - found.probe_left / found.probe_gap
    assert (found.probe, found.forgotten) == (len(session.dataset.probe), 1)
    assert found.visits == sum(s.visits for s in session.plan.chains[found.shard])


def test_by_default_it_is_done_once_where_it_costs_at_most_a_tenth():
    few = trained()
    few.revoke([of_slice(few, shard, 1) for shard in range(3)])
    assert few.unlearn(0).spot_check is None and few.spot_checks == ()
    session = many()
    assert "drawn for a spot check" in str(session.preview(0).to_frame()["reason"].tolist())
    found = session.unlearn(0).spot_check
    assert not found.asked and session.spot_checks == (found,)
    session.revoke([of_slice(session, shard, 1) for shard in range(11)])
    assert session.preview(0).to_frame()["reason"].str.contains("drawn").sum() == 0
    assert session.unlearn(0).spot_check is None
    session.revoke([of_slice(session, 0, 1)])
    assert session.unlearn(0, spot_check=True).spot_check.asked and len(session.spot_checks) == 2


class InTime(FixedBoundary):
    """A custom boundary with a deadline that its repr does not show."""

    seconds = None

    def __repr__(self):
        return "InTime(seconds=?)"


class OnlyDecides:
    """A custom boundary without objections, with a deadline that is set later."""

    def __init__(self, seconds):
        self.seconds = seconds

    def decide(self, workload, costs, debts):
        return FixedBoundary(0.0).decide(workload, costs, debts)


def with_seconds(seconds):
    """Boundaries of several kinds with this deadline, which modify all shards in this much time."""
    late = InTime(0.0)
    object.__setattr__(late, "seconds", seconds)
    decides = OnlyDecides(seconds)
    return late, decides, OverriddenBoundary(late), OverriddenBoundary(OverriddenBoundary(decides))


def test_a_boundary_with_a_deadline_draws_only_what_was_asked_for():
    session = many()
    for seconds in (60, np.float32(0.5), np.int64(3)):
        for boundary in with_seconds(seconds):
            assert session.preview(boundary=boundary).drawn == ()
            assert sorted(session.preview(boundary=boundary, spot_check=True).drawn) == [*range(11)]
    for boundary in (*with_seconds(None), FixedBoundary(0.0)):
        assert session.preview(boundary=boundary).drawn
        assert session.preview(boundary=boundary, spot_check=False).drawn == ()
    assert session.unlearn(boundary=with_seconds(60)[1]).spot_check is None


def test_without_a_modified_shard_nothing_is_checked():
    session = trained()
    session.revoke([of_slice(session, 0, 1)])
    assert session.unlearn(1, spot_check=True).spot_check is None


def test_the_draw_depends_on_the_request_and_not_on_other_shards():
    session = trained()
    draws = set()
    for number in range(8):
        partition = session.plan.partition
        ids = [partition.ids[partition.shard == shard][number] for shard in range(3)]
        given = assess(session.plan, session.store, np.array(ids), session.clock)
        order = shards_to_check(True, given.plan, given.workload, (0, 1, 2))
        assert sorted(order) == [0, 1, 2]
        draws.add(order[0])
        for some in itertools.combinations(range(3), 2):
            kept = shards_to_check(True, given.plan, given.workload, some)
            assert kept == tuple(shard for shard in order if shard in some)
    assert len(draws) > 1


def test_a_refused_shard_is_not_the_one_that_is_checked():
    session = trained()
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    drawn = session.fork().unlearn(0, spot_check=True).spot_check.shard

    class Refuses(FixedBoundary):
        def objection(self, check):
            return "not this one" if check.shard == drawn else ""

    result = session.unlearn(boundary=Refuses(0.0), spot_check=True)
    assert result.spot_check.shard != drawn
    assert result.decision.refused == (drawn,)
    assert set(result.decision.exact) == {drawn, result.spot_check.shard}


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_request_that_is_stopped_changes_nothing(count):
    session = trained()
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    before, models = set(session.store.keys), session.ensemble.digest
    with pytest.raises(Cancelled):
        session.unlearn(0, spot_check=True, **stop_after(count))
    assert len(session.pending) == 3 and session.spot_checks == ()
    assert set(session.store.keys) == before and not session.debt
    assert session.ensemble.digest == models
    plan = session.plan.without(session.pending)
    assert all(session.store.approximation(plan.final_key(shard)) is None for shard in range(3))


def test_a_request_whose_destroying_fails_is_completed_when_the_store_is_opened(tmp_path):
    session = trained(store=tmp_path / "store")
    ids = [of_slice(session, shard, 1) for shard in range(3)]
    session.revoke(ids)

    def fails(*keys):
        raise OSError("no more")

    session.store.prune = fails
    with pytest.raises(OSError, match="no more"):
        session.unlearn(0, spot_check=True)
    del session.store.prune
    (found,) = session.spot_checks
    base = session.plan.final_key(found.shard)
    assert session.store.approximation(base) is not None  # not destroyed yet
    session.store.close()
    again = CASES["logistic"].session(store=tmp_path / "store")
    assert again.spot_checks == (found,) and again.revoked.tolist() == sorted(ids)
    assert again.store.approximation(base) is None and found.shard not in again.debt
    again.store.close()
    assert list(audit(tmp_path / "store", dataset=again.dataset, replay=True, retrain=True))


def test_the_error_model_learns_from_it():
    session = trained()
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    result = session.unlearn(0, spot_check=True)
    check = next(c for c in result.decision.checks if c.shard == result.spot_check.shard)
    assert session.error_model.pairs == ((check.correction, result.spot_check.probe_left),)
    assert check.error == result.spot_check.probe_left
    assert session.error_model.removed == result.spot_check.removed
    assert set(session.error_model.owed) == set(session.debt)


CONDEMNED = "approximation fails in this training setting"
WILLING = AdaptiveBoundary(light=0, debt_cap=1, max_forgotten=1, min_gain=1)


def condemned(session, model):
    """The shards that an adaptive boundary retrains because a spot check failed."""
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    given = session.assess()
    given = replace(given, costs=replace(given.costs, error_model=model))
    routes = given.decide(WILLING).routes
    return sorted(route.shard for route in routes if CONDEMNED in route.reason)


def spoiled(**options):
    """A session and its spot check of an amend that ruins the models."""
    session = trained(**options)
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    with pytest.warns(UserWarning, match="not the default, fail in this training setting"):
        found = session.unlearn(0, spot_check=True, amend=Spoil(None)).spot_check
    assert found.removed < 0 and session.last.spot_check == found
    return session, found


def test_where_less_than_half_was_removed_the_advice_and_the_adaptive_boundary_retrain():
    session, found = spoiled()
    (line,) = session._journal.history.lines
    plain = {name: value for name, value in line.items() if name != "usual"}
    model = error_model_after(ErrorModel(), plain)  # as if the default had removed so little
    assert model.removed == found.removed
    assert CONDEMNED in replace(found, usual=True).advice
    assert condemned(session, model) == [0, 1, 2]


def test_a_check_of_another_method_or_amend_does_not_condemn_the_default(tmp_path):
    session, found = spoiled(store=tmp_path / "store")
    assert not found.usual and session.error_model.removed is None
    assert condemned(session, session.error_model) == []
    usual = session.unlearn(0, spot_check=True).spot_check
    assert usual.usual and session.error_model.removed == usual.removed
    lines = [line for line, _ in session.store.ledger() if line["kind"] == "unlearn"]
    assert [line.get("usual") for line in lines] == [False, None]
    assert all("usual" not in line["spot_check"] for line in lines)
    session.store.close()
    again = CASES["logistic"].session(store=tmp_path / "store")
    assert again.spot_checks == (found, usual) and again.error_model == session.error_model


@pytest.mark.parametrize("how", [{"amend": Spoil(None)}, {"method": "newton"}])
def test_a_check_of_another_method_or_amend_does_not_count_as_the_one_by_default(how):
    session = many()
    assert not session.unlearn(0, **how).spot_check.usual
    session.revoke([of_slice(session, shard, 1) for shard in range(11)])
    assert session.unlearn(0).spot_check.usual and len(session.spot_checks) == 2
    session.revoke([of_slice(session, shard, 1) for shard in range(11)])
    assert session.unlearn(0).spot_check is None


def test_without_a_gap_there_is_nothing_to_say():
    none = SpotCheck(0, True, 5, 0.1, probe=4, forgotten=1, probe_gap=0.0, probe_left=0.0)
    assert none.removed is None and not none.fails
    assert "nothing to remove" in none.sentence


def test_doors():
    assert as_spot_check(None) == "auto" and as_spot_check(True) is True
    session = trained()
    with pytest.raises(TypeError, match="spot_check=3 is a int; give True, False or 'auto'"):
        session.unlearn(0, spot_check=3)
    with pytest.raises(ValueError, match="spot_check='always' is not known"):
        session.unlearn(0, spot_check="always")


def test_a_check_that_diverges_undoes_the_request_and_says_how_to_repeat_it(monkeypatch):
    session = trained()
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    before = session.ensemble.digest

    def diverging(plan, store, run, *, shards, **options):
        (shard,) = shards
        raise NotFiniteError("training diverged", shard)

    with monkeypatch.context() as patched:
        patched.setattr("unlearnkit.unlearning.unlearn.train_missing", diverging)
        with pytest.raises(NotFiniteError) as raised:
            session.unlearn(0, spot_check=True)
    (note,) = raised.value.__notes__
    assert "retrained as a spot check only, and the request was undone" in note
    assert session.ensemble.digest == before and not session.debt and len(session.pending) == 3
    assert session.unlearn(0, spot_check=False).decision.approximate == (0, 1, 2)


def test_the_ledger_shows_what_checks_found():
    session = trained()
    assert list(session.ledger().columns[-2:]) == ["spot_check", "removed"]
    session.revoke([of_slice(session, shard, 1) for shard in range(3)])
    with warnings.catch_warnings():  # so little data says little
        warnings.simplefilter("ignore", UserWarning)
        found = session.unlearn(0, spot_check=True).spot_check
    session.revoke([of_slice(session, 0, 1)])
    session.unlearn(1)
    shown = session.ledger()
    assert shown["spot_check"][0] == found.shard and shown["removed"][0] == found.removed
    assert shown[["spot_check", "removed"]].isna().values.tolist()[1] == [True, True]
