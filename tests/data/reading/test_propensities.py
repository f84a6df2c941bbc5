"""Propensities: how they are read from every kind of data, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from datasets import Dataset as Table
from torch.utils.data import TensorDataset

from raw_data import people
from unlearnkit import from_arrays, from_file, from_frame, from_hugging_face, from_torch
from unlearnkit.data.examples import Dataset

ROWS = 60
PERSONS = np.random.default_rng(0).permutation(np.arange(ROWS) // 4)
RATES = np.where(PERSONS % 5 == 0, 8.0, 1.0)  # of each row's person


def arrays(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(1).normal(size=(rows, 3)).astype("f4"), np.arange(rows) % 2


def frame() -> pd.DataFrame:
    plain = people(ROWS).drop(columns=["coat", "town"])
    return plain.assign(person=PERSONS, rate=RATES)


def are_those_of_the_rows(data: Dataset, rates: np.ndarray = RATES) -> bool:
    assert data.probe.propensity is data.test.propensity is None
    return data.train.propensity.tolist() == (rates[data.train.ids] / rates.max()).tolist()


def test_rates_follow_their_rows_and_are_no_feature() -> None:
    plain, data = from_arrays(*arrays()), from_arrays(*arrays(), propensity=RATES)
    assert are_those_of_the_rows(data) and plain.train.propensity is None
    assert torch.equal(data.train.features, plain.train.features)
    assert repr(data) == repr(plain)[:-1] + "; with propensities)"
    assert "propensities" in data._repr_html_() and "propensities" not in plain._repr_html_()


@pytest.mark.parametrize(
    "rates",
    [
        RATES.tolist(),
        RATES.astype(np.int8),
        torch.from_numpy(RATES),
        pd.Series(RATES, dtype="Int64"),
        pl.Series(RATES),
        RATES.astype(object),
        RATES * 1e300,
    ],
    ids=lambda rates: type(rates).__name__,
)
def test_only_ratios_count_of_numbers_of_any_kind(rates) -> None:
    data = from_arrays(*arrays(), propensity=rates)
    assert data.train.propensity == pytest.approx(RATES[data.train.ids] / 8, rel=1e-12)


def test_a_mapping_gives_each_group_its_rate() -> None:
    by_person = {person: 8 if person % 5 == 0 else 1 for person in range(15)}
    for data in (
        from_arrays(*arrays(), groups=PERSONS, propensity=by_person),
        from_frame(frame().drop(columns="rate"), "kind", groups="person", propensity=by_person),
    ):
        assert are_those_of_the_rows(data)
    given = {"train": PERSONS, "test": [20, 20, 21, 21]}
    of_all = {**by_person, 20: 99, 21: 1}
    data = from_arrays(*arrays(), test=arrays(4), groups=given, propensity=of_all)
    assert are_those_of_the_rows(data)  # the test part has none


def test_every_way_in_reads_the_same_rates(tmp_path) -> None:
    frame().to_csv(tmp_path / "people.csv", index=False)
    given = {"groups": "person", "propensity": "rate"}
    data = from_frame(frame(), "kind", **given)
    assert are_those_of_the_rows(data) and data.feature_names == ("age", "sold")
    others = [
        from_file(tmp_path / "people.csv", "kind", **given),
        from_frame(pl.from_pandas(frame()), "kind", **given),
        from_frame(frame(), "kind", features=["age", "sold"], **given),
        from_hugging_face(Table.from_dict(frame().to_dict("list")), "kind", **given),
    ]
    assert all(other.fingerprint == data.fingerprint for other in others)
    features, labels = map(torch.from_numpy, arrays())
    assert are_those_of_the_rows(from_torch(TensorDataset(features, labels), propensity=RATES))
    columns = {"x": arrays()[0].tolist(), "label": arrays()[1].tolist(), "rate": RATES.tolist()}
    arrayed = from_hugging_face(Table.from_dict(columns), "label", propensity="rate")
    assert are_those_of_the_rows(arrayed) and arrayed.feature_shape == (3,)


def test_unequal_rates_are_part_of_the_fingerprint_and_equal_ones_are_not() -> None:
    plain, data = from_arrays(*arrays()), from_arrays(*arrays(), propensity=RATES)
    assert data.fingerprint != plain.fingerprint
    assert from_arrays(*arrays(), propensity=RATES * 3).fingerprint == data.fingerprint
    assert from_arrays(*arrays(), propensity=RATES + 1).fingerprint != data.fingerprint
    assert from_arrays(*arrays(), propensity=np.full(ROWS, 7)).fingerprint == plain.fingerprint


def changed(row: int, value: float) -> np.ndarray:
    rates = RATES.copy()
    rates[row] = value
    return rates


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_a_bad_rate_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"in 1 of 60 rows \(rows 3, such as .*\); give each a"):
        from_arrays(*arrays(), propensity=changed(3, value))


def test_bad_rates_get_one_clear_error() -> None:
    def refused(error: type[Exception], text: str, propensity, **options) -> None:
        with pytest.raises(error, match=text):
            from_arrays(*arrays(), propensity=propensity, **options)

    refused(ValueError, "is 0 for all 60 rows, so nobody would ever leave", np.zeros(ROWS))
    refused(ValueError, r"shape \(59,\) for 60 rows; give one rate per row", RATES[1:])
    refused(ValueError, r"shape \(60, 1\) for 60 rows", RATES[:, None])
    refused(TypeError, "holds a int; give relative rates", 3)
    refused(TypeError, r"holds a str; .* only goes with a table", "rate")
    refused(TypeError, "holds values of <U32; give relative rates", RATES.astype(str))
    refused(TypeError, "holds values of bool; give relative rates", RATES > 1)
    refused(ValueError, r"masked entries", np.ma.masked_equal(RATES, 8))
    refused(
        ValueError,
        r"differs within groups, such as \d+, whose rows have 5 and 1; a group leaves as a whole",
        changed(3, 5),
        groups=PERSONS,
    )
    refused(ValueError, "a mapping by group, but the data have no groups", {1: 2})
    refused(KeyError, "no group 99 in", {99: 2}, groups=PERSONS)
    refused(
        KeyError,
        r"no rate for 13 of 15 groups, such as .*; give each",
        {1: 1, 2: 3},
        groups=PERSONS,
    )
    refused(
        ValueError, "missing, negative or infinite", dict.fromkeys(range(15), -1), groups=PERSONS
    )


def test_bad_columns_get_one_clear_error() -> None:
    def refused(error: type[Exception], text: str, **options) -> None:
        with pytest.raises(error, match=text):
            from_frame(frame(), "kind", **options)

    refused(ValueError, r"propensity='kind' is the target; .* who is likely", propensity="kind")
    refused(
        ValueError, "propensity='age' is among the features", features=["age"], propensity="age"
    )
    refused(ValueError, "is the propensity as well", groups="person", propensity="person")
    refused(KeyError, r"lacks \['Rate'\].*'rate' may be meant", propensity="Rate")
    refused(TypeError, "propensity is a ndarray; name the column that holds", propensity=RATES)
    with pytest.raises(KeyError, match=r"no columns \['Rate'\]"):
        from_hugging_face(Table.from_dict(frame().to_dict("list")), "kind", propensity="Rate")
