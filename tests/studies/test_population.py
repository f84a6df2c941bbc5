"""Populations: divergences and attacks against distributions whose answers are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.studies import population

IDS = [3, 141, 592]
OPTIONS = {"model": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 3}


def test_exact_unlearning_cannot_be_told_from_retraining(tmp_path):
    path = tmp_path / "population.jsonl"
    exact = uk.FixedBoundary(1.0)
    found = uk.populate("digits", IDS, seeds=range(8), boundary=exact, path=path, **OPTIONS)
    assert np.array_equal(found.of("unlearned"), found.of("scratch"))
    assert not np.array_equal(found.of("original"), found.of("scratch"))
    assert uk.klom(found).value == 0
    assert uk.ulira(found).value == 0
    assert found.of("scratch", "test").shape == (8, 200)


def test_a_population_grows_in_its_file(tmp_path):
    path = tmp_path / "deep" / "population.jsonl"
    first = uk.populate("digits", IDS, seeds=range(2), path=path, **OPTIONS)
    with path.open("a") as file:
        file.write('{"key": "torn')
    cancel = type("Cancel", (), {"is_set": lambda self: len(path.read_text().splitlines()) > 2})()
    with pytest.raises(uk.Cancelled):
        uk.populate("digits", IDS, seeds=range(4), path=path, cancel=cancel, **OPTIONS)
    whole = uk.populate("digits", IDS, seeds=range(4), path=path, **OPTIONS)
    assert len(whole) == 4 and len(path.read_text().splitlines()) == 4
    assert np.array_equal(whole.of("unlearned")[:2], first.of("unlearned"))
    other = uk.populate("digits", IDS[:2], seeds=range(1), path=path, **OPTIONS)
    assert len(other.forget) == 2 and len(path.read_text().splitlines()) == 5


def test_populations_of_two_methods_share_the_retrained_models(tmp_path, monkeypatch):
    settings = {"seeds": range(2), "path": tmp_path / "population.jsonl", **OPTIONS}
    whole, retrainings = population.unlearned, []

    def unlearned(session, ids, *how, **options):
        retrainings.extend([] if how else [session.spec.seed])
        return whole(session, ids, *how, **options)

    monkeypatch.setattr(population, "unlearned", unlearned)
    first = uk.populate("digits", IDS, **settings)
    assert retrainings == [0, 1]
    second = uk.populate("digits", IDS, method="newton", amend="none", **settings)
    assert retrainings == [0, 1]
    assert np.array_equal(first.of("scratch"), second.of("scratch"))
    assert not np.array_equal(first.of("unlearned"), second.of("unlearned"))
    alone = uk.populate("digits", IDS, seeds=1, method="newton", amend="none", **OPTIONS)
    assert all(np.array_equal(alone.of(kind)[0], second.of(kind)[1]) for kind in second.margins)


def test_workers_make_the_same_models(tmp_path):
    path = tmp_path / "population.jsonl"
    here = uk.populate("digits", IDS, seeds=range(3), **OPTIONS)
    uk.populate("digits", IDS, seeds=[1], path=path, **OPTIONS)
    events = []
    there = uk.populate(
        "digits",
        IDS,
        seeds=range(3),
        path=path,
        parallel=2,
        on_progress=lambda event: events.append((event.done_visits, event.total_visits)),
        **OPTIONS,
    )
    assert all(np.array_equal(here.of(kind), there.of(kind)) for kind in here.margins)
    assert events == [(1, 3), (2, 3), (3, 3)]
    assert len(path.read_text().splitlines()) == 3


def test_another_partition_or_aggregation_is_another_population(tmp_path):
    settings = {"seeds": 0, "path": tmp_path / "population.jsonl", **OPTIONS}
    usual = uk.populate("digits", IDS, **settings)
    voted = uk.populate("digits", IDS, aggregation="majority-vote", **settings)
    other = uk.Session("digits", seed=7, **OPTIONS).plan.partition
    divided = uk.populate("digits", IDS, partition=other, **settings)
    assert not np.array_equal(usual.of("scratch"), voted.of("scratch"))
    assert not np.array_equal(usual.of("scratch"), divided.of("scratch"))
    assert len(settings["path"].read_text().splitlines()) == 3


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(ValueError, match="not a model of a population"):
        uk.populate("digits", IDS, seeds=range(1), path=path, **OPTIONS)
    assert path.read_text() == "dear diary\n"


def test_a_replaced_method_is_computed_anew(tmp_path, monkeypatch):
    settings = {"seeds": 0, "path": tmp_path / "population.jsonl", "method": "newton", **OPTIONS}
    before = uk.populate("digits", IDS, **settings)
    key = settings["path"].read_text()
    monkeypatch.setitem(uk.METHODS, "newton", replace(uk.METHODS["newton"], tolerance=0.5, steps=1))
    after = uk.populate("digits", IDS, **settings)
    assert not np.array_equal(before.of("unlearned"), after.of("unlearned"))
    monkeypatch.undo()
    again = uk.populate("digits", IDS, **settings)
    assert np.array_equal(before.of("unlearned"), again.of("unlearned"))
    lines = settings["path"].read_text()
    assert lines.startswith(key) and lines.count("\n") == 2


def test_a_file_refuses_a_boundary_that_only_an_address_identifies(tmp_path):
    class Mine:
        def decide(self, workload, costs, debts):
            return uk.FixedBoundary().decide(workload, costs, debts)

    with pytest.raises(
        ValueError, match=r"the boundary <.*Mine object at 0x.* cannot be recognised"
    ):
        uk.populate("digits", IDS, boundary=Mine(), path=tmp_path / "population.jsonl")


@pytest.mark.parametrize(("parallel", "kind"), [(0, ValueError), ("two", TypeError)])
def test_a_wrong_number_of_workers_is_refused(parallel, kind):
    with pytest.raises(kind, match=f"parallel={parallel!r}"):
        uk.populate("digits", IDS, seeds=0, parallel=parallel)


@pytest.mark.parametrize(
    ("ids", "seeds", "kind", "message"),
    [
        ([3.7], [0], TypeError, "ids of kind float64 were given"),
        ([10**9], [0], KeyError, "is not in digits"),
        ([], [0], ValueError, "ids is empty; give the ids"),
        (3, [], ValueError, "seeds is empty; give at least one seed"),
    ],
)
def test_wrong_ids_and_seeds_are_refused(ids, seeds, kind, message):
    with pytest.raises(kind, match=message):
        uk.populate("digits", ids, seeds=seeds)


def test_seeds_may_be_integers_of_numpy(tmp_path):
    path = tmp_path / "population.jsonl"
    usual = uk.populate("digits", IDS, seeds=range(2), **OPTIONS)
    found = uk.populate("digits", IDS, seeds=np.arange(2), path=path, **OPTIONS)
    again = uk.populate("digits", IDS, seeds=np.int64(1), path=path, **OPTIONS)
    assert all(np.array_equal(usual.of(kind), found.of(kind)) for kind in usual.margins)
    assert np.array_equal(again.of("scratch")[0], usual.of("scratch")[1])
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"seeds": [1, 2, 1]}, ValueError, "only 2 of 3 seeds are different"),
        ({"seeds": [0.5]}, TypeError, "seed=0.5 is a float; give a whole number"),
        ({"seeds": "12"}, TypeError, "seed='12' is a str"),
        ({"seeds": None}, TypeError, "seeds=None is neither a whole number nor a list"),
        ({"seed": 3}, TypeError, "seed=3 is an argument of a session; give seeds=3"),
        ({"store": "a"}, TypeError, "store='a' holds the states of one session"),
        ({"num_test": -5}, ValueError, "num_test=-5 is too small; give a whole number of at least"),
        ({"num_test": 2.5}, TypeError, "num_test=2.5 is a float"),
    ],
)
def test_arguments_that_would_mislead_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        uk.populate("digits", IDS, **{"seeds": [0]} | options)


@pytest.mark.parametrize("text", [b"dear diary", b'{"key": 1}\ndear diary'])
def test_text_that_no_study_wrote_is_not_cut_off(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"notes.txt (has|ends with)"):
        uk.populate("digits", IDS, seeds=0, path=path, **OPTIONS)
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    "change",
    [lambda row: row[1:], lambda row: ["0.5"] * len(row), lambda row: [float("nan")] * len(row),
     lambda row: None],
)  # fmt: skip
def test_damaged_margins_are_found(tmp_path, change):
    settings = {"seeds": [0], "path": tmp_path / "population.jsonl", **OPTIONS}
    uk.populate("digits", IDS, **settings)
    entry = json.loads(settings["path"].read_text())
    for kind in ("unlearned", "scratch"):
        margins = {**entry["margins"], kind: change(entry["margins"][kind])}
        settings["path"].write_text(json.dumps({**entry, "margins": margins}) + "\n")
        with pytest.raises(ValueError, match="is damaged: the margins of seed 0 are not 203 numb"):
            uk.populate("digits", IDS, **settings)
    with pytest.raises(ValueError, match="is damaged"):  # the retrained model of another method
        uk.populate("digits", IDS, method="newton", **settings)
