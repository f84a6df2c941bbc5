"""Examples: rows by their ids, content digests, and parts that belong together."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from raw_data import problem
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.datasets import load
from unlearnkit.data.examples import Examples


def test_rows_come_by_id_in_the_order_asked_for_and_scaled():
    features = torch.tensor([[0, 16], [8, 4], [2, 2]], dtype=torch.uint8)
    examples = Examples(np.array([2, 5, 9]), features, torch.tensor([0, 1, 2]), 2, 16)
    inputs, labels = examples[[9, 2, 9]]
    assert inputs.tolist() == [[0, 0], [-0.125, 0.875], [0, 0]]
    assert inputs.dtype == torch.float32
    assert labels.tolist() == [2, 0, 2]
    assert torch.equal(examples.inputs(), (features.float() - 2) / 16)
    inputs.fill_(99)
    examples.inputs().fill_(99)
    assert features.tolist() == [[0, 16], [8, 4], [2, 2]]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_reading_into_a_tensor_gives_the_same_numbers(kind):
    features = torch.arange(90).reshape(10, 3, 3).to(kind)
    examples = Examples(np.arange(0, 20, 2), features, torch.arange(10), 0.3, 7.0)
    ids, place = [4, 18, 0], torch.full((3, 12), torch.nan)
    labels = examples.read(ids, place[:, :9])
    inputs, expected = examples[ids]
    assert torch.allclose(place[:, :9], inputs.flatten(1), rtol=0, atol=2e-6)  # up to 13
    assert place[:, 9:].isnan().all()
    far = Examples(np.arange(10), features + 10_000, torch.arange(10), 10_000.5, 3.0)
    far.read([7, 2], place[:2, :9])
    assert torch.equal(place[:2, :9], far[[7, 2]][0].flatten(1)) or kind is torch.uint8
    assert torch.equal(labels, expected)
    with pytest.raises(KeyError, match="3"):
        examples.read([3], place[:1, :9])


def test_float_features_are_not_changed_by_reading_them():
    features = torch.ones(3, 2)
    examples = Examples(np.arange(3), features, torch.zeros(3, dtype=torch.int64), 1.0, 2.0)
    examples.inputs()
    examples[[0, 1, 2]]
    examples.read([0, 1, 2], torch.empty(3, 2))
    assert torch.equal(features, torch.ones(3, 2))


@pytest.mark.parametrize(
    "ids", [[4, 0], np.array([4, 0], np.int32), torch.tensor([4, 0]), pd.Series([4, 0])]
)
def test_ids_come_in_any_array(ids):
    data = from_arrays(*problem())
    assert data.examples(ids)[0][:, 0].tolist() == [4, 0]


def test_unknown_ids_are_named():
    examples = Examples(np.array([2, 5]), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(
        KeyError, match=r"unknown ids 3, 7; the known ones are here: 2 ids from 2 to 5"
    ):
        examples[[2, 3, 7]]
    with pytest.raises(KeyError, match="unknown ids 6, 6, 6, 6, 6 and 4 more"):
        examples.rows([6] * 9)
    with pytest.raises(KeyError, match="unknown ids -1"):
        from_arrays(*problem()).examples([-1, 3])
    assert len(examples.rows([])) == 0


@pytest.mark.parametrize("ids", [np.array([True, False]), np.array([0.5]), np.array([[1]])])
def test_a_mask_is_not_ids(ids):
    with pytest.raises(TypeError, match="one-dimensional array of whole numbers"):
        from_arrays(*problem()).examples(ids)


def test_poisoned_contents_are_allowed_but_lengths_are_checked():
    train = load("digits", num_examples=20).train
    poisoned = train.features.float()
    poisoned[3] = float("nan")
    labels = train.labels.clone()
    labels[3] = -1
    again = replace(train, features=poisoned, labels=labels)
    assert again[train.ids[3:4]][0].isnan().all()
    # Under the tests' shape checks jaxtyping objects first (a TypeError), for users Examples does.
    with pytest.raises((TypeError, ValueError), match=r"20 features and 19 labels|i64.19."):
        replace(train, labels=labels[1:])
    with pytest.raises(ValueError, match="strictly ascending"):
        replace(train, ids=train.ids[::-1])


def test_equal_content_has_equal_digests_and_one_byte_changes_one():
    features = torch.randint(0, 255, (6, 2, 3), dtype=torch.uint8)
    features[4] = features[1]
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    digests = Examples(np.arange(6), features, labels).digests
    assert digests.shape == (6, 16)
    assert digests.dtype == np.uint8
    assert (digests[4] == digests[1]).all()
    assert len(np.unique(digests, axis=0)) == 5

    changed = features.clone()
    changed[2, 1, 2] += 1
    differs = (Examples(np.arange(6), changed, labels).digests != digests).any(1)
    assert differs.tolist() == [False, False, True, False, False, False]

    other_ids = Examples(np.arange(6) + 70, features, labels)
    assert (other_ids.digests == digests).all()
    # Same digests from another memory layout: contents count, not strides.
    strided = features.transpose(1, 2).contiguous().transpose(1, 2)
    assert (Examples(np.arange(6), strided, labels).digests == digests).all()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.tensor([0, 0])},
        {"scale": 2.0},
        {"offset": 1.0},
        {"features": torch.zeros(2, 3, dtype=torch.uint8)},
        {"features": torch.zeros(2, 3, 4)},
    ],
)
def test_label_shape_kind_and_preprocessing_are_in_the_digest(change):
    examples = Examples(
        np.arange(2), torch.zeros(2, 12, dtype=torch.uint8), torch.tensor([0, 1]), 0.0, 1.0
    )
    assert (replace(examples, **change).digests[1] != examples.digests[1]).any()
    assert (replace(examples, scale=1).digests == examples.digests).all()


def test_examples_of_all_parts_answer_to_one_numbering():
    features, labels = problem()
    data = from_arrays(features, labels)
    ids = np.array([39, 0, 17, 17, 5])
    inputs, found = data.examples(ids)
    assert inputs.tolist() == features[ids].tolist()
    assert found.tolist() == labels[ids].tolist()
    assert data.labels(ids).tolist() == labels[ids].tolist()
    with pytest.raises(KeyError, match="unknown ids 40"):
        data.labels([0, 40])
    everything = np.concatenate([data.train.ids, data.probe.ids, data.test.ids])
    assert sorted(everything) == list(range(40))
    assert (len(data.train), len(data.probe), len(data.test)) == (28, 4, 8)


def test_fingerprint_follows_content_and_nothing_else():
    features, labels = problem()
    first = from_arrays(features, labels).fingerprint
    assert len(first) == 32
    assert from_arrays(features, labels, name="other").fingerprint == first
    assert from_arrays(features, labels, class_names=["a", "b", "c"]).fingerprint == first
    for change in ({"seed": 1}, {"scale": 2}, {"num_classes": 4}, {"test_share": 0.3}):
        assert from_arrays(features, labels, **change).fingerprint != first
    features[7, 1] = np.nextafter(np.float32(features[7, 1]), np.float32(1))
    assert from_arrays(features, labels).fingerprint != first


def test_a_part_may_be_empty_where_it_is_built_by_hand():
    data = from_arrays(*problem())
    probe = replace(
        data.probe,
        ids=data.probe.ids[:0],
        features=data.probe.features[:0],
        labels=data.probe.labels[:0],
    )
    without = replace(data, probe=probe)
    assert probe.digests.shape == (0, 16)
    assert without.fingerprint != data.fingerprint
    assert without.examples(data.test.ids)[1].tolist() == data.test.labels.tolist()
    with pytest.raises(KeyError, match="unknown ids"):
        without.examples(data.probe.ids)


def test_parts_must_belong_together():
    data = from_arrays(*problem())
    with pytest.raises(ValueError, match="8 ids are in two parts"):
        replace(data, probe=data.test)
    with pytest.raises(ValueError, match="parts differ"):
        replace(data, probe=replace(data.probe, scale=3.0))
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        replace(data, class_names=("a", "b"))


def test_a_dataset_shows_itself_briefly():
    data = from_arrays(*problem(), class_names=["<b>", "c", "d"], scale=255)
    assert repr(data) == ("Dataset('arrays': 28 train, 4 probe, 8 test; 3 classes; inputs (2,))")
    assert repr(data.test) == "Examples(8 of shape (2,), float32)"
    page = data._repr_html_()
    assert "28 examples" in page and "/ 255" in page and "&lt;b&gt;" in page
    frame = data.to_frame()
    assert frame.columns.tolist() == ["id", "part", "label", "class_name"]
    assert frame["part"].value_counts().to_dict() == {"train": 28, "test": 8, "probe": 4}
    assert frame.set_index("id").loc[4].tolist()[1:] == [1, "c"]


def test_a_column_of_any_stride_digests_alike() -> None:
    values, labels = torch.linspace(-1, 1, 20), torch.arange(20) % 2
    views = (values.as_strided((20, 1), (1, 0)), values.as_strided((20, 1), (1, 1)))
    first, second = (Examples(np.arange(20), view, labels).digests for view in views)
    assert np.array_equal(first, second)


def test_features_lie_row_by_row_however_they_came():
    turned = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4).permute(2, 0, 1)
    examples = Examples(np.arange(4), turned, torch.zeros(4, dtype=torch.int64))
    assert examples.features.is_contiguous() and torch.equal(examples.features, turned)


def test_other_labels_change_nothing_else_and_the_name_says_so():
    data = load("digits")
    nines = data.train.ids[data.train.labels == 9]
    changed = data.with_labels(nines, 4)
    assert (changed.train.labels == 9).sum() == 0 and (data.train.labels == 9).any()
    assert torch.equal(changed.train.features, data.train.features)
    assert torch.equal(changed.test.labels, data.test.labels)
    assert changed.fingerprint != data.fingerprint and changed.name == "digits, relabelled"
    two = data.with_labels(nines[:2], [1, 2]).examples(nines[:3])[1]
    assert two.tolist() == [1, 2, 9]


def test_labels_that_do_not_exist_are_refused():
    data = load("digits")
    with pytest.raises(ValueError, match="labels=10, but the classes are 0 to 9"):
        data.with_labels([3], 10)
    with pytest.raises(KeyError):
        data.with_labels([1797], 1)
    with pytest.raises(ValueError, match="targets of a regression are no classes"):
        load("diabetes").with_labels([0], 1)
