"""Studies: every policy on the same requests, exact as the reference, resumed without loss."""

import sys

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.evaluation.rehearsal import rehearse
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import MemoryStore
from unlearnkit.studies.log import read_study
from unlearnkit.studies.requests import KINDS, Revoked
from unlearnkit.training.ensemble import assemble
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train

SETTINGS = {"models": ("logistic",), "num_shards": (4,), "num_slices": (2,), "epochs": 3}


def test_every_policy_meets_the_same_request_beside_exact():
    frame = uk.study("digits", **SETTINGS, revoked=(5, 0.1), seeds=(0, 1))
    assert len(frame) == 2 * 2 * 3
    assert set(frame.policy) == {"exact", "hybrid", "approximate"}
    exact = frame[frame.policy == "exact"]
    assert (exact.output_kl == 0).all() and (exact.speed == 1).all()
    assert (exact.gap_removed == 1).all() and (exact.approximate_shards == 0).all()
    approximate = frame[frame.policy == "approximate"]
    assert (approximate.exact_shards == 0).all() and (approximate.output_kl > 0).all()
    assert (approximate.debt == approximate.revoked).all()
    for _, rows in frame.groupby(["seed", "amount"]):
        same = [
            "revoked",
            "workload_share",
            "output_kl_of_nothing",
            "forget_accuracy_gap_of_nothing",
        ]
        assert (rows[same].nunique() == 1).all()


def test_the_gaps_are_those_that_a_comparison_shows():
    frame = uk.study("digits", **SETTINGS, revoked=(0.1,))
    row = frame[frame.policy == "approximate"].iloc[0]
    session = uk.Session("digits", model="logistic", num_shards=4, num_slices=2, epochs=3)
    session.train()
    ids = KINDS["uniform"](
        session.plan, 0.1, numpy_generator(0, "study", repr(Revoked("uniform", 0.1)))
    )
    session.revoke(ids)
    session.unlearn(0.0)
    comparison = session.compare()
    # Training from scratch and exact unlearning are the same bits, so these are the same numbers.
    assert row.output_kl == pytest.approx(comparison.output_kl["unlearned"], rel=1e-6)
    assert row.output_kl_of_nothing == pytest.approx(comparison.output_kl["original"], rel=1e-6)
    assert row.membership_gap == pytest.approx(comparison.membership_gap.value, abs=1e-9)


def test_the_amplification_of_every_training_is_measured_where_asked_for(tmp_path):
    path = tmp_path / "study.jsonl"
    several = {**SETTINGS, "learning_rates": (0.001, 0.1), "revoked": (3,), "path": path}
    without = uk.study("digits", **several)
    assert "amplification" not in without
    frame = uk.study("digits", **several, amplification=True)
    assert frame[without.columns].equals(without)  # nothing else was measured again
    for rate, rows in frame.groupby("learning_rate"):
        session = uk.Session(
            "digits", model="logistic", num_shards=4, num_slices=2, epochs=3, learning_rate=rate
        )
        session.train()
        assert set(rows.amplification) == {session.amplification().value}
    again = uk.study("digits", **several, amplification=True)
    assert again.equals(frame) and read_study(path).equals(frame)


def test_another_seed_gives_the_gaps_their_scale(tmp_path):
    several = {**SETTINGS, "revoked": (0.1,), "path": tmp_path / "study.jsonl"}
    without = uk.study("digits", **several)
    assert not any(column.endswith("_of_another_seed") for column in without)
    frame = uk.study("digits", **several, another_seed=True)
    assert frame[without.columns].equals(without)  # nothing else was measured again
    whole = uk.study("digits", **SETTINGS, revoked=(0.1,), another_seed=True)
    columns = [column for column in whole if column.endswith("_of_another_seed")]
    assert {"output_kl_of_another_seed", "membership_gap_of_another_seed"} <= set(columns)
    assert frame[columns].equals(whole[columns])

    session = uk.Session("digits", model="logistic", num_shards=4, num_slices=2, epochs=3)
    ids = Revoked("uniform", 0.1).draw(
        session.plan, numpy_generator(0, "study", repr(Revoked("uniform", 0.1)))
    )
    retrained = dict(partition=session.plan.partition, revoked=ids)
    outputs = []
    for seed in (0, 1):
        spec = session.spec.with_(seed=seed)
        plan = make_plan(session.dataset.train, session.plan.architecture, spec, **retrained)
        store = MemoryStore()
        train(plan, store)
        test = session.dataset.examples(session.dataset.test.ids)[0]
        outputs.append(assemble(plan, store).probabilities(test))
    expected = float((outputs[0] * (outputs[0] / outputs[1]).log()).sum(1).mean())
    # A mean of float32 over 300 examples.
    assert whole.output_kl_of_another_seed.tolist() == pytest.approx([expected] * 3, rel=1e-4)


@pytest.mark.parametrize("policies", [["adaptive"], {"all": uk.FixedBoundary(0.0)}])
def test_rates_are_measured_once_before_any_request_is_timed(monkeypatch, policies):
    begun = []

    def counted(plan, store, clock, *others, **options):
        begun.append(clock)
        return rehearse(plan, store, clock, *others, **options)

    monkeypatch.setattr("unlearnkit.session.rehearse", counted)
    uk.study("digits", **SETTINGS, revoked=(3, 0.1), policies=policies, seeds=(0, 1))
    assert len(begun) == 2  # one for each trained ensemble


def test_threads_change_no_result():
    with pytest.raises(ValueError, match="threads=0 leaves no thread"):
        uk.study("digits", **SETTINGS, revoked=(3,), threads=0)
    one, two = (uk.study("digits", **SETTINGS, revoked=(3,), threads=n) for n in (1, 2))
    same = ["output_kl", "test_accuracy", "membership_gap", "visits", "approximate_shards"]
    assert one[same].equals(two[same])


def test_what_is_measured_is_not_measured_again(tmp_path):
    path = tmp_path / "deep" / "study.jsonl"
    first = uk.study("digits", **SETTINGS, revoked=(3,), path=path)
    with path.open("a") as file:
        file.write('{"key": "torn, as by a kill')
    again = uk.study("digits", **SETTINGS, revoked=(3, 4), path=path)
    # Seconds are measured, so equal ones were not taken anew.
    assert again[:3].equals(first[again.columns])
    assert len(again) == 6
    assert len(path.read_text().splitlines()) == 6


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(ValueError, match="not a row of a study"):
        uk.study("digits", path=path)
    assert path.read_text() == "dear diary\n"


def test_ids_of_your_own(tmp_path):
    path = tmp_path / "study.jsonl"
    train = uk.load("digits").train.ids
    ids = train[train < 40][::-1]
    frame = uk.study("digits", **SETTINGS, revoked=(("mine", ids), np.int64(4)), path=path)
    mine = frame[frame.kind == "mine"]
    assert (mine.revoked == len(ids)).all() and (mine.amount == len(ids)).all()
    session = uk.Session("digits", model="logistic", num_shards=4, num_slices=2, epochs=3)
    session.train()
    session.revoke(ids)
    session.unlearn(0.0)
    got = mine[mine.policy == "approximate"].iloc[0].output_kl
    assert got == pytest.approx(session.compare().output_kl["unlearned"], rel=1e-6)
    assert (frame[frame.kind == "uniform"].revoked == 4).all()
    # Others of the same name and number are other requests; the same in another order are not.
    uk.study("digits", **SETTINGS, revoked=(("mine", ids[::-1].tolist()),), path=path)
    assert len(path.read_text().splitlines()) == 6
    uk.study("digits", **SETTINGS, revoked=(("mine", [*ids[1:].tolist(), 90]),), path=path)
    assert len(path.read_text().splitlines()) == 9


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([], "the request 'mine' holds no ids"),
        (
            [3, 99_999],
            r"id 99999 of the request 'mine' is not a training example of digits .unknown ids: 1 ",
        ),
    ],
)
def test_ids_that_cannot_be_are_refused_before_any_work(ids, says):
    with pytest.raises(ValueError, match=says):
        uk.study("digits", revoked=(("mine", ids),))
    with pytest.raises(ValueError, match="give your ids another name"):
        uk.study("digits", revoked=(("class", [3]),))
    with pytest.raises(ValueError, match="are all training examples"):
        uk.study("digits", revoked=(("all", uk.load("digits").train.ids),))


@pytest.mark.parametrize(
    ("revoked", "says"),
    [
        (("mine", np.arange(9) < 2), "for a mask over the rows .* use numpy.flatnonzero"),
        (("mine", [3.7, 4.2]), "ids of kind float64 were given"),
        (("mine", "12"), "is text; give whole numbers"),
        (("uniform", "0.1"), "is text; give whole numbers"),
        ([3, 7], "give a pair of a name and the ids"),
        ((3, 7), "give a pair of a name and the ids"),
        ((3, 7, 11), "give a pair of a name and the ids"),
    ],
)
def test_what_are_no_ids_is_refused_before_any_work(revoked, says):
    with pytest.raises(TypeError, match=says):
        uk.study("digits", revoked=(revoked,))


def test_another_default_method_is_measured_anew(tmp_path, monkeypatch):
    path, settings = tmp_path / "study.jsonl", {**SETTINGS, "revoked": (20,)}
    uk.study("digits", **settings, path=path)
    uk.study("digits", **settings, path=path)
    assert len(path.read_text().splitlines()) == 3
    other = uk.METHODS["single-gradient"]
    monkeypatch.setattr(
        sys.modules["unlearnkit.studies.study"], "default_method", lambda plan: other
    )
    uk.study("digits", **settings, path=path)
    assert len(path.read_text().splitlines()) == 6


@pytest.mark.parametrize("amount", [0, -1, 0.0, 1.5, -0.1])
def test_amounts_out_of_range_are_refused_before_any_work(amount):
    with pytest.raises(ValueError, match="is out of range"):
        uk.study("digits", revoked=(amount,))


@pytest.mark.parametrize(
    ("seeds", "kind", "says"),
    [
        ([], ValueError, "seeds is empty; give at least one seed"),
        ([0, 1, 0], ValueError, "only 2 of 3 seeds are different"),
        ("0", TypeError, "seed='0' is a str; give a whole number"),
        ([0.5], TypeError, "seed=0.5 is a float"),
    ],
)
def test_seeds_that_say_nothing_are_refused_before_any_work(seeds, kind, says):
    with pytest.raises(kind, match=says):
        uk.study("digits", seeds=seeds)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"models": []}, ValueError, "models is empty; give at least one, or leave models out"),
        ({"revoked": []}, ValueError, "revoked is empty"),
        ({"models": ["logistic", "unknown"]}, KeyError, "no model is named 'unknown'"),
        ({"num_shards": [2, 10**6]}, ValueError, "num_shards=1000000 for .* leaves shards empty"),
        ({"learning_rates": [None, -1]}, ValueError, "learning_rate=-1 is out of range"),
    ],
)
def test_a_later_setting_is_refused_before_the_first_is_measured(options, kind, says):
    told = []
    with pytest.raises(kind, match=says):
        uk.study("digits", **SETTINGS | options, on_progress=told.append)
    assert not told


def test_lists_may_be_iterators():
    frame = uk.study("digits", **SETTINGS | {"models": iter(["logistic"])}, revoked=iter([5]))
    assert frame.revoked.tolist() == [5, 5, 5]


def test_unknown_kinds_are_refused_before_any_work():
    with pytest.raises(KeyError, match="no kind of request is named 'clss'; choose from uniform"):
        uk.study("digits", revoked=("clss",))


def test_a_single_name_or_number_is_a_list_of_one():
    settings = {"num_shards": 2, "num_slices": 2, "learning_rates": None, "epochs": 1, "seeds": 1}
    frame = uk.study(
        "digits", models="logistic", methods="newton", amends="none", revoked=3, **settings
    )
    assert set(frame.method) == {"default", "newton"} and set(frame.seed) == {1} and len(frame) == 3


@pytest.mark.parametrize(
    ("policies", "kind", "message"),
    [
        (uk.FixedBoundary(0.1), TypeError, "has no name for the column 'policy'; give a dict"),
        ([uk.FixedBoundary(0.1)], TypeError, "has no name for the column 'policy'; give a dict"),
        ({"exact": uk.FixedBoundary(0.1)}, ValueError, "'exact' cannot be the name of a policy"),
    ],
)
def test_policies_without_a_name_of_their_own_are_refused(policies, kind, message):
    with pytest.raises(kind, match=message):
        uk.study("digits", policies=policies)
