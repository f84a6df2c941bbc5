"""Arrays of the caller: ids, split, kinds of numbers, and one clear error per bad input."""

import numpy as np
import pandas as pd
import pytest
import torch

from raw_data import problem
from unlearnkit import Session
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.examples import Examples


def test_later_changes_of_the_callers_arrays_do_not_reach_the_dataset():
    features = torch.arange(40.0).reshape(20, 2)
    labels = torch.arange(20) % 2
    data = from_arrays(features, labels)
    before = data.examples([3])[0].clone()
    features.fill_(-1)
    labels.fill_(0)
    assert torch.equal(data.examples([3])[0], before)
    assert data.to_frame()["label"].sum() == 10


def test_ids_are_the_callers_row_numbers_and_given_parts_follow():
    features, labels = problem(10)
    more, most = problem(3), problem(5)
    data = from_arrays(features, labels, probe=more, test=most)
    assert data.train.ids.tolist() == list(range(10))
    assert data.test.ids.tolist() == list(range(10, 15))
    assert data.probe.ids.tolist() == list(range(15, 18))
    assert data.examples([13, 17, 9])[0][:, 0].tolist() == [3, 2, 9]

    half = from_arrays(*problem(), test=most)
    assert (len(half.train), len(half.probe), len(half.test)) == (36, 4, 5)
    assert half.test.ids.tolist() == list(range(40, 45))
    assert half.examples(half.probe.ids)[0][:, 0].tolist() == half.probe.ids.tolist()


def test_the_split_depends_on_seed_and_number_alone():
    features, labels = problem()
    first = from_arrays(features, labels)
    np.random.seed(1)
    torch.manual_seed(1)
    other = from_arrays(np.zeros((40, 5)), labels[::-1], num_classes=9)
    assert np.array_equal(first.test.ids, other.test.ids)
    assert not np.array_equal(first.test.ids, from_arrays(features, labels, seed=1).test.ids)


def test_bytes_stay_bytes_and_all_else_becomes_float32():
    labels = np.arange(40) % 2
    for kind in (np.float64, np.float16, np.int64, np.int16, np.uint16, bool, ">f4"):
        data = from_arrays(np.ones((40, 3), kind), labels)
        assert data.train.features.dtype == torch.float32
        assert data.train.inputs().eq(1).all()
    for kind in (torch.bfloat16, torch.float64, torch.int8):
        data = from_arrays(torch.ones(40, 3, dtype=kind), torch.from_numpy(labels))
        assert data.train.features.dtype == torch.float32
    images = np.full((40, 1, 4, 4), 51, np.uint8)
    data = from_arrays(images, labels, scale=255)
    assert data.train.features.dtype == torch.uint8
    assert torch.equal(data.test.inputs(), torch.full((8, 1, 4, 4), 0.2))
    images.flags.writeable = False
    from_arrays(images[:, :, ::-1], labels.astype(np.float64), task="classification")


LARGE = 2**40 + np.arange(80).reshape(20, 4)  # float32 cannot tell these apart
CLASSES = np.arange(20) % 2


@pytest.mark.parametrize(
    "features",
    [
        LARGE,
        LARGE.astype(np.uint64),
        LARGE.astype(np.float64),
        torch.tensor(LARGE),
        LARGE.tolist(),
        pd.DataFrame(LARGE).convert_dtypes(),
    ],
    ids=["array", "unsigned", "double", "tensor", "list", "nullable"],
)
def test_whole_numbers_stay_whole_where_that_is_asked_for(features) -> None:
    data = from_arrays(features, CLASSES, test=(features, CLASSES), dtype=torch.int64)
    inputs, _ = data.examples([3, 22])
    assert inputs.dtype == torch.int64 and inputs.tolist() == LARGE[[3, 2]].tolist()
    assert torch.equal(data.test.inputs(), torch.tensor(LARGE))
    assert (
        data.fingerprint != from_arrays(LARGE % 7, CLASSES, test=(LARGE % 7, CLASSES)).fingerprint
    )


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (LARGE + 0.5, {}, r"20 of 20 rows hold other values \(rows 0, .* leave out dtype="),
        (
            np.where(LARGE == 2**40 + 5, np.nan, LARGE),
            {},
            r"1 of 20 rows .*\(rows 1, such as nan\)",
        ),
        (LARGE.astype(np.float32), {}, "20 of 20 rows hold other values"),
        (LARGE.astype(np.uint64) + np.uint64(2**63), {}, "20 of 20 rows hold other values"),
        (LARGE, {"scale": 2.0}, r"do not apply to features of type torch\.int64"),
        (LARGE, {"offset": [1, 2, 3, 4]}, "offset and scale do not apply"),
        (LARGE, {"dtype": torch.int32}, r"give torch\.int64 for features that stay whole"),
    ],
)
def test_what_cannot_stay_whole_is_refused(features, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(features, CLASSES, **{"dtype": torch.int64, **options})


def test_built_in_models_refuse_whole_numbers() -> None:
    data = from_arrays(LARGE, CLASSES, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"logistic is a built-in model.*dtype=torch\.int64"):
        Session(data, model="logistic", num_shards=2, num_slices=1)
    with pytest.raises(ValueError, match="for features of type int64"):
        Examples(np.arange(20), torch.tensor(LARGE), torch.tensor(CLASSES), scale=2.0)


def test_tables_of_two_parts_have_their_columns_in_one_order():
    frame = pd.DataFrame(np.eye(40)[:, :3], columns=["a", "b", "c"])
    labels = np.arange(40) % 2
    for other in (frame[["c", "b", "a"]], frame.rename(columns={"a": "z"})):
        with pytest.raises(ValueError, match=r"test: the columns .* matched by position"):
            from_arrays(frame, labels, test=(other, labels))
    given = from_arrays(frame, labels, test=(frame.to_numpy(), labels))  # no names to compare
    assert len(given.test) == 40


def test_the_seed_is_a_whole_number_of_at_least_0():
    with pytest.raises(ValueError, match="seed=-1 is negative; give 0 or more"):
        from_arrays(*problem(), seed=-1)
    for seed in ("a", 0.5, True):
        with pytest.raises(TypeError, match="is not a whole number"):
            from_arrays(*problem(), seed=seed)
    with pytest.raises(TypeError, match="is text; give a list of names"):
        from_arrays(problem()[0], problem()[0] + 0.5, target_names="price")
