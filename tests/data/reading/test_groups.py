"""Groups: how they are read from every kind of data, and how they stay in one part."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.utils.data import TensorDataset

from raw_data import people
from unlearnkit import from_arrays, from_file, from_frame, from_torch
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import PARTS, Dataset

ROWS = 60
PERSONS = np.random.default_rng(0).permutation(np.arange(ROWS) // 4)


def arrays(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(1).normal(size=(rows, 3)).astype("f4"), np.arange(rows) % 2


def frame(persons=PERSONS) -> pd.DataFrame:
    return people(len(persons)).drop(columns=["coat", "town"]).assign(person=persons)


def by_group(data: Dataset) -> dict[object, list[int]]:
    names = data.grouping.names
    return {name: data.ids_of_groups([name]).tolist() for name in names}


def nobody_is_in_two_parts(data: Dataset) -> bool:
    held = [set(part.groups.tolist()) for part in data.parts.values()]
    return sum(map(len, held)) == len(set.union(*held)) == len(data.grouping)


def test_a_group_stays_in_one_part_and_parts_have_their_size() -> None:
    data = from_arrays(*arrays(), groups=PERSONS)
    assert nobody_is_in_two_parts(data)
    assert [len(data.parts[part]) for part in PARTS] == [44, 4, 12]
    assert by_group(data) == {p: np.flatnonzero(PERSONS == p).tolist() for p in range(15)}
    assert repr(data).endswith("; 15 groups)") and "15, by group" in data._repr_html_()


def test_groups_are_no_feature_and_only_the_parts_depend_on_them() -> None:
    data, plain = from_frame(frame(), "kind", groups="person"), from_frame(frame(), "kind")
    assert data.feature_names == ("age", "sold") and plain.feature_shape == (3,)
    without = from_frame(frame().drop(columns="person"), "kind")
    for ids in ([3, 14], [0]):
        assert all(map(torch.equal, data.examples(ids), without.examples(ids)))
    assert data.fingerprint != without.fingerprint
    assert data.without_groups().grouping is None


def test_names_shape_nothing_and_who_shares_a_group_does() -> None:
    data = from_arrays(*arrays(), groups=PERSONS)
    renamed = from_arrays(*arrays(), groups=[f"no. {p}" if p % 2 else (p, "x") for p in PERSONS])
    assert renamed.fingerprint == data.fingerprint
    assert by_group(renamed)[(4, "x")] == by_group(data)[4]
    regrouped = from_arrays(*arrays(), groups=np.where(np.arange(ROWS) == 7, 99, PERSONS))
    assert regrouped.fingerprint != data.fingerprint


def test_groups_of_one_row_are_as_no_groups() -> None:
    plain, data = from_arrays(*arrays()), from_arrays(*arrays(), groups=np.arange(ROWS)[::-1])
    for part in PARTS:
        assert data.parts[part].ids.tolist() == plain.parts[part].ids.tolist()


def test_a_large_group_is_not_the_whole_of_a_small_part() -> None:
    persons = np.concatenate([np.zeros(100, int), np.repeat(np.arange(1, 91), 10)])
    for seed in range(10):
        data = from_arrays(*arrays(1000), groups=persons, seed=seed)
        assert [len(data.parts[part]) for part in PARTS] == [700, 100, 200]
        assert 0 in data.train.groups and nobody_is_in_two_parts(data)


def test_three_groups_are_enough_and_two_are_not() -> None:
    data = from_arrays(*arrays(), groups=np.arange(ROWS) % 3)
    assert nobody_is_in_two_parts(data)
    with pytest.raises(ValueError, match=r"2 groups leave the train part .* give more groups"):
        from_arrays(*arrays(), groups=np.arange(ROWS) % 2)


@pytest.mark.parametrize(
    "persons",
    [
        [f"p{p}" for p in PERSONS],
        [p if p % 2 else f"p{p}" for p in PERSONS.tolist()],
        [p if p % 2 else str(p - 1) for p in PERSONS.tolist()],  # 1 and "1" are two persons
        pd.Series(PERSONS, dtype="category"),
        pd.Series(PERSONS, dtype="Int64"),
        pl.Series(PERSONS),
        torch.from_numpy(PERSONS),
        list(torch.from_numpy(PERSONS)),
        np.datetime64("2026-01-01") + PERSONS.astype("m8[D]"),
    ],
    ids=lambda persons: type(persons).__name__,
)
def test_names_of_any_kind(persons) -> None:
    groups = sorted(by_group(from_arrays(*arrays(), groups=persons)).values())
    assert groups == sorted(np.flatnonzero(PERSONS == p).tolist() for p in range(15))


def test_every_way_in_reads_the_same_groups(tmp_path) -> None:
    frame().to_csv(tmp_path / "people.csv", index=False)
    frame().to_parquet(tmp_path / "people.parquet")
    data = from_frame(frame(), "kind", groups="person")
    others = [
        from_file(tmp_path / "people.csv", "kind", groups="person"),
        as_dataset((str(tmp_path / "people.parquet"), "kind"), groups="person"),
        from_frame(pl.from_pandas(frame()), "kind", groups="person"),
        from_frame(frame(), "kind", features=["age", "sold"], groups="person"),
    ]
    for other in others:
        assert other.fingerprint == data.fingerprint and by_group(other) == by_group(data)
        assert other.grouping.column == "person"
    features, labels = map(torch.from_numpy, arrays())
    torches = from_torch(TensorDataset(features, labels), groups=PERSONS)
    assert torches.fingerprint == from_arrays(*arrays(), groups=PERSONS).fingerprint


def test_given_parts_have_groups_of_their_own_persons() -> None:
    data = from_arrays(
        *arrays(), test=arrays(6), groups={"train": PERSONS, "test": [20, 20, 21, 21, 22, 22]}
    )
    assert nobody_is_in_two_parts(data) and by_group(data)[21] == [62, 63]
    assert from_frame(
        frame(), "kind", test=frame(np.arange(6) + 20), groups="person"
    ).ids_of_groups([25]).tolist() == [65]
    with pytest.raises(ValueError, match=r"groups such as 3 have rows in several of the parts"):
        from_arrays(*arrays(), test=arrays(2), groups={"train": PERSONS, "test": [20, 3]})
    with pytest.raises(
        ValueError, match=r"names the groups of train, but .* are train, test; give"
    ):
        from_arrays(*arrays(), test=arrays(2), groups=PERSONS)


def test_bad_groups_get_one_clear_error() -> None:
    gaps = PERSONS.astype(object)
    gaps[[3, 14]] = None, np.nan
    with pytest.raises(ValueError, match=r"missing in 2 of 60 rows \(rows 3, 14\); leave"):
        from_arrays(*arrays(), groups=gaps)
    with pytest.raises(ValueError, match=r"missing in 2 of 60 rows \(rows 3, 14\); leave"):
        from_frame(frame(gaps), "kind", groups="person")
    with pytest.raises(ValueError, match=r"59 groups for 60 rows; give one group per row"):
        from_arrays(*arrays(), groups=PERSONS[1:])
    with pytest.raises(ValueError, match=r"shape \(60, 1\); give one group per row"):
        from_arrays(*arrays(), groups=PERSONS[:, None])
    with pytest.raises(TypeError, match=r"'person' is a str; give one group per row .*from_frame"):
        from_arrays(*arrays(), groups="person")
    with pytest.raises(TypeError, match=r"cannot be compared"):
        from_arrays(*arrays(), groups=[[p] for p in PERSONS])
    with pytest.raises(ValueError, match=r"groups='kind' is the target; name another column"):
        from_frame(frame(), "kind", groups="kind")
    with pytest.raises(ValueError, match=r"groups='age' is among the features; leave it out"):
        from_frame(frame(), "kind", features=["age"], groups="age")
    with pytest.raises(KeyError, match=r"lacks \['Person'\].*'person' may be meant"):
        from_frame(frame(), "kind", groups="Person")
    with pytest.raises(TypeError, match=r"groups is a ndarray; name the column"):
        from_frame(frame(), "kind", groups=PERSONS)


def test_a_table_of_the_data_names_groups() -> None:
    table = from_frame(frame(), "kind", groups="person").to_frame()
    assert table["group"].tolist() == PERSONS[table["id"]].tolist()
    assert "group" not in from_frame(frame(), "kind").to_frame()


def test_unknown_groups_are_named_with_known_ones() -> None:
    data = from_frame(frame(), "kind", groups="person")
    with pytest.raises(KeyError, match=r"no group 99 in 'person'; the known ones are .* 10 more"):
        data.ids_of_groups([3, 99])
    with pytest.raises(KeyError, match=r"no group '3' in 'person'; .*; 3 may be meant"):
        data.ids_of_groups(["3"])
    with pytest.raises(TypeError, match=r"\[3\] is a list; name a group"):
        data.ids_of_groups([[3]])
    with pytest.raises(ValueError, match=r"has no groups; say which rows belong together"):
        from_arrays(*arrays()).ids_of_groups([3])
    numbers = np.array([np.int64(person) for person in PERSONS], object)
    with pytest.raises(KeyError, match=r"the known ones are \d+, \d+"):
        from_arrays(*arrays(), groups=numbers).ids_of_groups([99])
