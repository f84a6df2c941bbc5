"""Populations: divergences and attacks against distributions whose answers are known."""

import numpy as np
import pytest

import unlearnkit as uk

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


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(ValueError, match="not a model of a population"):
        uk.populate("digits", IDS, seeds=range(1), path=path, **OPTIONS)
    assert path.read_text() == "dear diary\n"
