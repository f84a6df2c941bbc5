"""Requests: what may be revoked, what is ignored with a note, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cases import CASES
from unlearnkit.data.reading.groups import Grouping
from unlearnkit.unlearning.request import (
    Revocations,
    as_ids,
    check_request,
    pending_of,
    revocable_ids,
    select,
)

DATA = CASES["logistic"].dataset()
TRAIN, PROBE, TEST = DATA.train.ids, DATA.probe.ids, DATA.test.ids


def test_ids_come_out_ascending_unique_and_known() -> None:
    request = check_request([TRAIN[5], TRAIN[2], PROBE[0]], DATA, Revocations())
    assert request.ids.tolist() == [TRAIN[2], TRAIN[5], PROBE[0]]
    assert request.notes == () and len(request) == 3


@pytest.mark.parametrize(
    "ids",
    [
        int(TRAIN[1]),
        TRAIN[1],
        [int(TRAIN[1])],
        (TRAIN[1],),
        {int(TRAIN[1])},
        TRAIN[1:2],
        iter(TRAIN[1:2]),
    ],
    ids=["int", "numpy-int", "list", "tuple", "set", "array", "iterator"],
)
def test_ids_may_come_as_any_collection(ids: object) -> None:
    assert check_request(ids, DATA, Revocations()).ids.tolist() == [TRAIN[1]]


def test_ids_given_twice_count_once_with_a_note() -> None:
    request = check_request([10, 13, 10, 10], DATA, Revocations())
    assert request.ids.tolist() == [10, 13]
    assert request.notes == ("id 10 is listed more than once; counted once.",)


def test_ids_revoked_before_are_ignored_with_a_note() -> None:
    gone = Revocations().with_request(np.array([10, 16]))
    request = check_request([10, 13, 16], DATA, gone)
    assert request.ids.tolist() == [13]
    assert request.notes == ("ids 10, 16 are revoked before; ignored.",)


def test_an_empty_request_says_so() -> None:
    for ids in ([], (), np.array([], int), [10]):
        request = check_request(ids, DATA, Revocations().with_request(np.array([10])))
        assert not len(request) and request.notes[-1].startswith("The request is empty")


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([8], KeyError, r"id 8 is not in logistic; training ids run from 7 to 136 \(44 examples\)"),
        ([-1, 7, 10**9], KeyError, r"ids -1, 1000000000 are not in logistic"),
        (range(0, 100), KeyError, r"ids 0, 1, 2, 3, 4 and \d+ more are not in logistic"),
        ([7, TEST[0]], KeyError, f"id {TEST[0]} is in the test part of logistic"),
        ([7.5], TypeError, "ids of kind float64 were given; give whole numbers"),
        ([True, False], TypeError, r"ids of kind bool .*numpy\.flatnonzero.* dataset\.train\.ids"),
        ([True, 7], TypeError, "ids of kind bool"),
        (np.ma.masked_equal([7, 10], 10), TypeError, r"masked entries; .* ids\.compressed"),
        (None, TypeError, "ids of kind object"),
        ("7", TypeError, "ids='7' is text"),
        (TRAIN, ValueError, "revokes all 44 training examples.*keep at least one"),
    ],
    ids=lambda value: "" if isinstance(value, type) else str(value)[:12],
)
def test_unfit_requests_are_refused(ids: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_request(ids, DATA, Revocations())


def test_ids_come_in_any_kind_of_collection() -> None:
    given = [7, 10]
    kinds = (set(given), iter(given), np.array(given), torch.tensor(given), pd.Series(given))
    for ids in (*kinds, pd.Series(given, dtype="Int64"), np.ma.array(given), range(7, 11, 3)):
        assert sorted(as_ids(ids).tolist()) == given
    assert [as_ids(one).tolist() for one in (7, np.array(7), torch.tensor(7))] == [[7]] * 3


def test_the_rest_of_the_examples_is_refused_too() -> None:
    with pytest.raises(ValueError, match="revokes all 44 training examples"):
        check_request(TRAIN[5:], DATA, Revocations().with_request(TRAIN[:5]))


def test_all_of_the_probe_may_go() -> None:
    assert len(check_request(PROBE, DATA, Revocations())) == len(PROBE)


def test_the_log_is_frozen_and_adds_up() -> None:
    one = Revocations().with_request(np.array([10]))
    two = one.with_request(np.array([7, 16]))
    assert one.ids.tolist() == [10] and two.ids.tolist() == [7, 10, 16]
    assert (~two.retained(DATA.train)).sum() == 3 and two.retained(DATA.probe).all()


# Selecting


def test_selection_by_class_is_by_number_or_name() -> None:
    chosen = select(DATA, label=1)
    assert set(DATA.train[chosen][1].tolist()) == {1}
    assert len(chosen) == (DATA.train.labels == 1).sum()
    assert select(DATA, label="b").tolist() == chosen.tolist()


def test_selection_at_random_is_seeded_and_avoids_the_revoked() -> None:
    one, other = select(DATA, count=10, seed=1), select(DATA, count=10, seed=2)
    assert one.tolist() == select(DATA, count=10, seed=1).tolist() != other.tolist()
    gone = Revocations().with_request(one)
    assert not np.isin(select(DATA, gone, count=34), one).any()
    assert len(select(DATA, share=0.25)) == 11 and len(select(DATA, label=0, share=0)) == 0


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ValueError, "nothing selected"),
        ({"count": 45}, ValueError, "count=45 is out of range; 44 examples are left"),
        ({"count": -1}, ValueError, "count=-1 is out of range"),
        ({"count": 2.0}, TypeError, "count=2.0 is not a whole number"),
        ({"share": 1.1}, ValueError, "share=1.1 is out of range; give a number from 0 to 1"),
        ({"share": 0.5, "count": 1}, ValueError, "both given"),
        ({"label": 3}, KeyError, "class 3 is not in logistic; classes run from 0 to 2"),
        ({"label": "z"}, KeyError, "class 'z' is not in logistic; it has 'a', 'b', 'c'"),
    ],
    ids=str,
)
def test_unfit_selections_are_refused(
    options: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        select(DATA, **options)


def test_with_groups_test_examples_are_revoked_too() -> None:
    parts = {part: np.arange(len(examples)) // 2 for part, examples in DATA.parts.items()}
    numbers = {"train": parts["train"], "probe": 100 + parts["probe"], "test": 200 + parts["test"]}
    given = {part: replace(DATA.parts[part], groups=numbers[part]) for part in numbers}
    data = replace(DATA, grouping=Grouping(tuple(range(300))), **given)
    request = check_request([TRAIN[0], TRAIN[1], DATA.test.ids[0]], data, Revocations())
    assert repr(request) == "Request(2 groups, 3 examples)"
    assert len(revocable_ids(data)) == len(revocable_ids(DATA)) + len(DATA.test)
    assert pending_of([0, 200], data, request.ids).tolist() == request.ids.tolist()
    with pytest.raises(KeyError, match="group 1 has no pending example"):
        pending_of([0, 1], data, request.ids)
