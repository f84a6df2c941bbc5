"""Groups as panels name, find and count them, against plain lists."""

import numpy as np
import torch

from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.reading.groups import Grouping
from unlearnkit.widgets.parts.groups import Groups, counted, groups_in

NAMES = ("Ann", "anna", 17, "17", None, "Joanna", 3.5)


def data_of(column="person", names=NAMES):
    """Two examples of each group, whose ids are no positions and not in order of the parts."""
    owners = np.repeat(np.arange(len(names)), 2)
    ids = 5 + 3 * np.arange(len(owners))
    parts = []
    for wanted in ((0, 1, 2, 3, 6), (4,), (5,)):
        here = np.isin(owners, wanted)
        count = int(here.sum())
        parts.append(
            Examples(
                ids[here],
                torch.ones(count, 1),
                torch.zeros(count, dtype=torch.int64),
                groups=owners[here].astype(np.int64),
            )
        )
    return Dataset("blobs", *parts, 1, ("a",), grouping=Grouping(names, column))


def test_names_are_found_whole_first_and_forgotten_ones_never():
    groups = Groups(data_of())
    assert [groups.texts[n] for n in groups.find("ANN")] == ["Ann", "anna", "Joanna"]
    assert groups.find("17") == [2, 3] and [groups.texts[n] for n in (2, 3)] == ["17", "'17'"]
    assert groups.named("17") == [2, 3] and groups.named("ann") == [0]
    assert groups.named("anna") == [1] and groups.named("an") == groups.named(" ") == []
    assert groups.find("none") == [] and groups.find("3.5") == [6]
    assert 4 not in groups.find("")


def test_rows_and_sizes_are_those_of_every_part():
    data = data_of()
    groups = Groups(data)
    for number in range(len(NAMES)):
        rows = groups.rows([number])
        assert rows.tolist() == [5 + 6 * number, 8 + 6 * number]
        assert groups.of(rows).tolist() == [number, number]
    assert groups.sizes(np.array([5, 8, 11, 29])).tolist() == [2, 1, 0, 0, 1, 0, 0]
    assert groups.counted(np.array([5, 8, 11])) == "3 examples of 2 persons"
    assert counted(data, np.array([5])) == "1 example of 1 person"
    assert counted(data.without_groups(), np.array([5])) == "1 example"


def test_lists_name_a_few_and_count_the_rest():
    groups = Groups(data_of())
    assert groups.listing([0]) == "Ann" and groups.listing([0, 1]) == "Ann and anna"
    assert groups.listing([0, 1, 2], most=3) == "Ann, anna and 17"
    assert groups.listing([0, 1, 2, 3], most=2) == "Ann, anna and 2 more"


def test_there_is_one_index_a_dataset_and_none_without_groups():
    data = data_of("user_id")
    assert groups_in(data) is groups_in(data) and groups_in(data).noun == "group"
    assert groups_in(data.without_groups()) is None
