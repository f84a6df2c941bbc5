"""Datasets of torch and of Hugging Face, read as they are."""

import random

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from unlearnkit import Session, as_dataset, from_arrays, from_hugging_face, from_torch


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels)


def pixels(row: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(row).integers(256, size=shape or (9, 8), dtype=np.uint8)


class Folder(TorchDataset):
    """Images with a transform, as torchvision has them."""

    def __init__(self, transform=lambda image: image, shape=(9, 8), length=30):
        self.transform, self.shape, self.length = transform, shape, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError(index)
        return self.transform(picture(pixels(index, *self.shape))), index % 3


def to_tensor(image):
    return torch.from_numpy(np.array(image)).unsqueeze(0) / 255


# torch


def test_a_tensor_dataset_is_its_arrays():
    features, labels = torch.randn(40, 5), torch.arange(40) % 3
    ours = from_arrays(features, labels)
    for read in (from_torch, as_dataset):
        assert read(TensorDataset(features, labels)).fingerprint == ours.fingerprint
    # Ids are indices of the dataset that is given, here 20 of another.
    some = from_torch(Subset(TensorDataset(features, labels), range(39, 19, -1)))
    assert torch.equal(some.examples([3])[0][0], features[36])


@pytest.mark.parametrize(("shape", "expected"), [((9, 8), (1, 9, 8)), ((9, 8, 3), (3, 9, 8))])
def test_images_become_bytes_with_their_channels_first(shape, expected):
    data = from_torch(Folder(shape=shape))
    assert data.feature_shape == expected and data.train.features.dtype == torch.uint8
    inputs, labels = data.examples([7])
    raw = pixels(7, *shape).reshape(9, 8, -1).transpose(2, 0, 1)
    assert np.allclose(inputs[0], raw / 127.5 - 1, atol=1e-6) and labels.tolist() == [1]
    # Constants of one's own win, and arrays that are no images stay as they are.
    assert from_torch(Folder(shape=shape), scale=255, offset=0).examples([7])[0].min() >= 0
    assert from_torch(Folder(to_tensor)).train.scale == 1


def test_a_test_part_and_names_of_classes():
    train, test = Folder(to_tensor), Folder(to_tensor, length=6)
    train.classes = ["cat", "dog", "emu", "yak"]
    data = as_dataset((train, test))
    assert data.test.ids.tolist() == [30, 31, 32, 33, 34, 35]
    assert data.class_names == ("cat", "dog", "emu", "yak") and data.name == "Folder"


def test_reading_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    from_torch(Folder(to_tensor))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_session_on_a_torch_dataset_unlearns_exactly():
    session = Session(Folder(), model="logistic", epochs=2, num_shards=2)
    session.train()
    session.revoke([int(session.dataset.train.ids[2])])
    session.unlearn(1)
    assert session.compare().bit_identical


def sometimes_flipped(image):
    return to_tensor(image).flip(-1) if random.random() < 0.5 else to_tensor(image)


def noisy(image):
    return to_tensor(image) + 0.01 * torch.randn(9, 8)


@pytest.mark.parametrize("transform", [sometimes_flipped, noisy])
def test_a_random_transform_is_refused(transform):
    with pytest.raises(ValueError, match=r"differs between two reads.*such as ToTensor"):
        from_torch(Folder(transform))


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3), 0


class Uneven(Folder):
    def __getitem__(self, index):
        return torch.zeros(3 + (index == 5)), 0


class Mapped(Folder):
    def __getitem__(self, index):
        return {"image": torch.zeros(3), "label": 0}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (Stream(), TypeError, r"Stream has no indices or no length.*\.TensorDataset"),
        (Uneven(), ValueError, r"item 5 has shape and kind \(\(4,\), .* Resize"),
        (Mapped(), TypeError, r"item 0 is a dict; .* pairs \(input, label\)"),
        (Folder(lambda image: "text"), TypeError, "item 0 has an input of kind str"),
        (
            Folder(lambda _: picture(pixels(0)).convert("P")),
            TypeError,
            r"mode P; .*convert\('RGB'\)",
        ),
        (Folder(length=0), ValueError, "no examples"),
        (DataLoader(Folder()), TypeError, "a DataLoader is no dataset.* a torch Dataset"),
    ],
)
def test_bad_torch_datasets(data, error, message):
    with pytest.raises(error, match=message):
        as_dataset(data)


# Hugging Face


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Value:
    pass


class StandIn:
    """What is used of `datasets.Dataset`, for places without it."""

    def __init__(self, columns, names=None, kind=None):
        self.columns, self.format = columns, {"type": kind}
        self.column_names = list(columns)
        self.features = {
            column: ClassLabel(names) if names and column == "label" else Value()
            for column in columns
        }

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def with_format(self, type=None, columns=None):
        chosen = {name: self.columns[name] for name in columns or self.columns}
        return StandIn(chosen, kind=type)

    def __getitem__(self, key):
        return {name: values[key] for name, values in self.columns.items()}


@pytest.fixture(params=["stand-in", "datasets"])
def make(request):
    """Makes a table of columns, and of the names of its column "label" where there are any."""
    if request.param == "stand-in":
        return StandIn

    def real(columns, names=None):
        table = datasets.Dataset.from_dict(columns)
        return table.cast_column("label", datasets.ClassLabel(names=names)) if names else table

    return real


PEOPLE = {
    "age": [float(row) for row in range(30)],
    "coat": [["red", "grey", None][row % 3] for row in range(30)],
    "kind": ["cat", "dog"] * 15,
}


def test_columns_of_values_are_a_frame(make):
    options = {"categories": {"coat": ["red"]}, "scale": {"age": 10}}
    data = as_dataset((make(PEOPLE), "kind"), **options)
    ours = as_dataset((pd.DataFrame(PEOPLE), "kind"), **options)
    assert data.fingerprint == ours.fingerprint and data.class_names == ("cat", "dog")


def test_images_and_their_class_labels(make):
    def part(begin, end):
        images = [picture(pixels(row)) for row in range(begin, end)]
        return make({"image": images, "label": [0, 1] * ((end - begin) // 2)}, ["cat", "dog"])

    parts = {"train": part(0, 20), "test": part(20, 24), "validation": part(24, 26)}
    data = as_dataset(parts)
    assert data.class_names == ("cat", "dog") and data.train.offset == 127.5
    assert data.test.ids.tolist() == [20, 21, 22, 23] and data.probe.ids.tolist() == [24, 25]
    assert data.train.features.shape == (20, 1, 9, 8)
    for ids, rows in (([3], [3]), ([21, 25], [21, 25])):
        expected = np.stack([pixels(row) for row in rows])[:, None] / 127.5 - 1
        assert np.allclose(data.examples(ids)[0], expected, atol=1e-6)


def test_other_columns_may_hold_images(make):
    images = [picture(pixels(row)) for row in range(30)]
    data = from_hugging_face(make({**PEOPLE, "image": images}), "kind", features=["age"])
    assert data.feature_shape == (1,)


def test_a_column_of_lists_is_an_array(make):
    vectors = np.random.default_rng(0).normal(size=(30, 2, 3)).tolist()
    table = make({"vector": vectors, "kind": PEOPLE["kind"]})
    data = from_hugging_face(table, "kind")
    assert data.feature_shape == (2, 3) and data.train.offset == 0
    assert np.allclose(data.examples([11])[0], vectors[11]) and data.examples([11])[1] == 1


def test_the_column_called_label_is_the_target(make):
    table = make({"age": PEOPLE["age"], "label": [0, 1, 2] * 10})
    assert from_hugging_face(table).num_classes == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda make: make(PEOPLE), KeyError, r"which of the columns .* as a pair \(data, 'column"),
        (lambda make: (make(PEOPLE), "hat"), KeyError, r"columns \['hat'\] are absent"),
        (lambda make: (make(PEOPLE), "kind"), TypeError, "'coat': .*categories="),
        (lambda make: {"test": make(PEOPLE)}, KeyError, r"no 'train' among \['test'\]"),
        (
            lambda make: (make({**PEOPLE, "v": [[0.0, 1.0]] * 30}), "kind"),
            TypeError,
            r"of which \['v'\] hold images or arrays; choose .* features=\['v'\]",
        ),
        (
            lambda make: (make({"v": [[0.0]] * 29 + [[0.0, 1.0]], "kind": PEOPLE["kind"]}), "kind"),
            ValueError,
            "item 29 has shape",
        ),
    ],
)
def test_bad_tables(make, call, error, message):
    with pytest.raises(error, match=message):
        as_dataset(call(make))


def test_what_only_the_real_ones_have():
    table = datasets.Dataset.from_dict(PEOPLE)
    with pytest.raises(TypeError, match=r"has no length.* streaming=True"):
        from_hugging_face(table.to_iterable_dataset(), "kind")
    with pytest.raises(ValueError, match=r"with_transform.*data\.map"):
        from_hugging_face(table.with_transform(lambda batch: batch), "kind")
    formatted = table.with_format("torch")
    options = {"hash_buckets": 4}
    data = from_hugging_face(formatted, "kind", **options)
    assert data.fingerprint == from_hugging_face(table, "kind", **options).fingerprint
