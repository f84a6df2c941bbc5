"""Datasets of torch, read as they are."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from raw_data import picture, pixels
from unlearnkit import Session, from_arrays, from_torch
from unlearnkit.data.datasets import as_dataset


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


class OneBuffer(Folder):
    """Writes each item into the same memory."""

    memory = torch.empty(4)

    def __getitem__(self, index):
        return self.memory.fill_(index), torch.tensor(index % 3)


def test_items_that_share_one_memory_are_copied_one_by_one():
    data = from_torch(OneBuffer())
    assert data.examples([7, 21])[0].tolist() == [[7.0] * 4, [21.0] * 4]


class Labelled(Folder):
    def __init__(self, label, **options):
        super().__init__(**options)
        self.label = label

    def __getitem__(self, index):
        return torch.full((4,), float(index)), self.label if index == 3 else index / 30


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (float("nan"), r"have a label that is NaN.*\(rows"),
        (torch.tensor(float("nan")), r"have a label that is NaN"),
        (None, r"item 3 has no label \(None\)"),
        (np.ma.masked_array([1.0], mask=True), "item 3 has a masked label"),
    ],
)
def test_a_missing_label_is_named_as_one(label, message):
    with pytest.raises(ValueError, match=message):
        from_torch(Labelled(label))


def test_labels_may_be_lists_of_arrays():
    class Two(Folder):
        def __getitem__(self, index):
            return torch.full((4,), float(index)), [np.array(index + 0.5), torch.tensor(-0.5)]

    assert from_torch(Two()).examples([4])[1].tolist() == [[4.5, -0.5]]


class Named(Folder):
    """Images whose labels are numbers in a list of names, as those of a folder."""

    def __init__(self, classes, words, **options):
        super().__init__(to_tensor, **options)
        self.classes, self.words = classes, words

    def __getitem__(self, index):
        return super().__getitem__(index)[0], self.classes.index(
            self.words[index % len(self.words)]
        )


def test_parts_with_other_classes_are_matched_by_name():
    train = Named(["ant", "bee", "cat"], ["ant", "bee", "cat"])
    data = from_torch(train, test=Named(["ant", "cat"], ["cat", "ant"], length=4))
    assert data.class_names == ("ant", "bee", "cat")
    assert data.test.labels.tolist() == [2, 0, 2, 0]
    # A class that only the test part has is a further one, and one without rows is none.
    data = from_torch(train, test=Named(["aa", "dog", "bee"], ["dog", "bee"], length=4))
    assert data.class_names == ("ant", "bee", "cat", "dog")
    assert data.test.labels.tolist() == [3, 1, 3, 1]


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
        (DataLoader(Folder()), TypeError, "a DataLoader is not a dataset.* a torch Dataset"),
    ],
)
def test_bad_torch_datasets(data, error, message):
    with pytest.raises(error, match=message):
        as_dataset(data)


def folder(names, rows=30):
    """A dataset whose classes are all that its rows have, in turn."""
    dataset = Folder(to_tensor, length=rows)
    dataset.classes = names
    return dataset


def with_an_array(dataset):
    dataset.classes = np.array(dataset.classes)
    return dataset


@pytest.mark.parametrize(
    "wrap",
    [
        with_an_array,
        lambda one: Subset(one, range(len(one))),
        lambda one: ConcatDataset([one, one]),
    ],
)
def test_classes_of_wrapped_parts_are_matched_by_their_names(wrap):
    train, test = folder(["ant", "bee", "cat"]), folder(["cat", "ant", "bee"], 6)
    for first, second in ((train, wrap(test)), (wrap(train), wrap(test)), (wrap(train), test)):
        data = from_torch(first, test=second)
        assert data.class_names == ("ant", "bee", "cat")
        assert data.test.labels[:6].tolist() == [2, 0, 1, 2, 0, 1]


def test_joined_datasets_with_other_classes_are_refused():
    joined = ConcatDataset([folder(["ant", "bee", "cat"]), folder(["ant", "cat", "bee"])])
    with pytest.raises(ValueError, match="the same number means different classes"):
        from_torch(joined)


def test_a_wrapped_dataset_alone_is_read_as_before():
    features, labels = torch.randn(40, 5), torch.arange(40) % 3
    whole = TensorDataset(features, labels)
    whole.classes = ["a", "b", "c", "d"]
    data = from_torch(Subset(whole, range(40)))
    assert data.fingerprint == from_arrays(features, labels).fingerprint


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e5m2])
def test_items_of_kinds_that_numpy_lacks(kind):
    rows = [(torch.full((2,), float(row)).to(kind), row % 2) for row in range(8)]
    data = from_torch(rows, test=rows, probe=rows)
    assert data.examples([5])[0].tolist() == [[5, 5]]


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ((None, 0), ValueError, r"item 0 has no input \(None\); leave it out"),
        ((torch.zeros(2).to_sparse(), 0), TypeError, r"item 0: .*sparse .*\.to_dense"),
        ((torch.zeros(2), 0, 1), TypeError, "item 0 is a tuple of 3; .* pairs"),
        (([torch.zeros(2), torch.zeros(3)], 0), TypeError, "item 0 has an input that cannot be re"),
    ],
)
def test_bad_items(item, error, message):
    with pytest.raises(error, match=message):
        from_torch([item] * 20)


def test_loaders_and_names_of_targets_are_refused():
    with pytest.raises(TypeError, match=r"a DataLoader is read in batches; give its dataset"):
        from_torch(DataLoader(Folder(to_tensor)))
    with pytest.raises(TypeError, match="give the torch Dataset alone"):
        as_dataset((Folder(to_tensor), "label"))


class Numbered(TorchDataset):
    """Items whose input is the place of their class in the alphabet."""

    def __init__(self, names, **attributes):
        self.names = names
        vars(self).update(attributes)

    def __len__(self):
        return 30

    def __getitem__(self, index):
        place = index % len(self.names)
        return torch.tensor([float("abc".index(self.names[place]))]), place


def test_parts_that_only_number_their_classes_are_matched_by_name():
    """``class_to_idx`` names the classes where there is no attribute ``classes``."""
    parts = [
        Numbered(names, class_to_idx={n: i for i, n in enumerate(names)}) for names in ("abc", "ac")
    ]
    data = from_torch(parts[0], test=parts[1])
    assert data.class_names == ("a", "b", "c")
    assert torch.equal(data.test.inputs()[:, 0].long(), data.test.labels)


def test_classes_are_left_out_of_a_regression_that_was_asked_for():
    data = from_torch(Numbered("abc", classes=["a", "b", "c"]), task="regression")
    assert data.is_regression
