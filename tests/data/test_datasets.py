"""Datasets: stable ids, fixed preprocessing, content digests, and one clear error per bad input."""

import gzip
import struct
import time
import urllib.request
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from published import DEBIAN, needs_fashion
from unlearnkit.data import sources
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.datasets import DATASETS, as_dataset, load
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.frames import from_frame
from unlearnkit.data.sources import download


def problem(n=40, classes=3):
    """Rows that say which row they are, and labels that go round."""
    features = np.stack([np.arange(n), -np.arange(n)], 1).astype(np.float64)
    return features, np.arange(n) % classes


def write_idx(path, array, magic=(0, 0, 8)):
    header = struct.pack(f">4B{array.ndim}I", *magic, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


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
    with pytest.raises(KeyError, match=r"unknown ids 3, 7; known are here: 2 ids from 2 to 5"):
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


def test_later_changes_of_the_callers_arrays_do_not_reach_the_dataset():
    features = torch.arange(40.0).reshape(20, 2)
    labels = torch.arange(20) % 2
    data = from_arrays(features, labels)
    before = data.examples([3])[0].clone()
    features.fill_(-1)
    labels.fill_(0)
    assert torch.equal(data.examples([3])[0], before)
    assert data.to_frame()["label"].sum() == 10


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


def test_digits_is_scikit_learns_in_another_order():
    from sklearn.datasets import load_digits

    data = load("digits")
    images, labels = load_digits(return_X_y=True)
    assert (len(data.train), len(data.probe), len(data.test)) == (1297, 200, 300)
    assert data.feature_shape == (1, 8, 8)
    assert data.train.features.dtype == torch.uint8
    inputs, found = data.examples(np.arange(1797))
    ours = np.column_stack([found.numpy(), inputs.reshape(1797, 64).numpy() * 8 + 8])
    theirs = np.column_stack([labels, images])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert data.train.ids.tolist() == list(range(1297))


def test_the_split_of_digits_never_moves():
    # Ids in stores and notebooks point here; a change of these numbers orphans them.
    data = load("digits")
    assert data.train.labels[:8].tolist() == [0, 6, 3, 8, 1, 8, 4, 1]
    assert data.fingerprint == "516b4850a2b9cc71e2d6040f4b3ed02d"


def test_fewer_examples_are_nested_mixed_and_repeatable():
    few, more = load("digits", num_examples=100), load("digits", num_examples=400)
    assert len(few.train) == 100
    assert np.array_equal(few.train.ids, load("digits", num_examples=100).train.ids)
    assert np.isin(few.train.ids, more.train.ids).all()
    assert np.isin(more.train.ids, load("digits").train.ids).all()
    assert np.array_equal(few.test.ids, more.test.ids)
    assert len(few.train.labels.unique()) == 10
    assert few.fingerprint != more.fingerprint


@pytest.mark.parametrize("number", [0, -3, 1298])
def test_num_examples_out_of_range(number):
    with pytest.raises(ValueError, match=f"num_examples={number}, .* 1297 examples; give 1 to"):
        load("digits", num_examples=number)


def test_load_names_what_it_knows():
    with pytest.raises(KeyError, match=r"no dataset is named 'nist'; .*nown are digits, .*mnist"):
        load("nist")
    with pytest.raises(TypeError, match="num_examples=True is a bool"):
        load("digits", num_examples=True)
    with pytest.raises(ValueError, match="leave path= out"):
        load("digits", path="here")


def test_a_source_of_ones_own_joins_by_its_name(monkeypatch):
    def tiny(*, path, num_examples):
        return from_arrays(*problem(num_examples or 40))

    monkeypatch.setitem(DATASETS, "tiny", tiny)
    assert len(load("tiny", num_examples=20).train) == 14


@needs_fashion
def test_fashion_mnist_is_the_published_one():
    start = time.perf_counter()
    data = load("fashion-mnist")
    assert time.perf_counter() - start < 10  # takes .7 s; bounds a slip into per-example work
    assert (len(data.train), len(data.probe), len(data.test)) == (60_000, 2000, 8000)
    assert np.array_equal(data.train.ids, np.arange(60_000))
    assert data.train.features.dtype == torch.uint8
    assert data.train.features.is_contiguous()
    assert data.train.labels.bincount().tolist() == [6000] * 10
    raw = gzip.open(DEBIAN / "t10k-images-idx3-ubyte.gz").read()[16:]
    image = torch.frombuffer(bytearray(raw[784 * 77 : 784 * 78]), dtype=torch.uint8)
    inputs, _ = data.examples([60_077])
    assert torch.equal(inputs.reshape(784), (image.float() - 127.5) / 127.5)
    assert data.class_names[data.examples([0])[1].item()] == "Ankle boot"
    # The paper counts 60,000 different images; digests must not merge any of them.
    assert len(np.unique(data.train.digests, axis=0)) == 60_000


@needs_fashion
def test_a_smaller_fashion_mnist_is_mixed():
    data = load("fashion-mnist", num_examples=1000)
    assert data.train.labels.bincount().min() > 70  # 100 expected, standard deviation 9.5
    with pytest.raises(ValueError, match="give 1 to 60000"):
        load("fashion-mnist", num_examples=60_001)


@needs_fashion
@pytest.mark.parametrize("layout", [".", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("way", ["path", "variable", "torchvision"])
def test_fashion_mnist_is_found_in_every_place(no_files, monkeypatch, layout, way):
    root = no_files / ("data" if way == "torchvision" else "elsewhere")
    folder = root / layout
    folder.mkdir(parents=True)
    for file in DEBIAN.glob("*.gz"):
        if "labels" in file.name:  # plain and compressed files may be mixed
            (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        else:
            (folder / file.name).symlink_to(file)
    if way == "variable":
        monkeypatch.setenv("UNLEARNKIT_DATA", str(root))
    found = sources.fashion_mnist_arrays(root if way == "path" else None)
    assert [array.shape for array in found] == [
        *((60_000, 28, 28), (60_000,)),
        *((10_000, 28, 28), (10_000,)),
    ]


@needs_fashion
def test_one_changed_pixel_is_noticed(no_files):
    for file in DEBIAN.glob("*.gz"):
        (no_files / file.name).symlink_to(file)
    name = "t10k-images-idx3-ubyte"
    raw = bytearray(gzip.decompress((DEBIAN / f"{name}.gz").read_bytes()))
    raw[4321] ^= 1
    (no_files / name).write_bytes(raw)
    with pytest.raises(ValueError, match=f"{name} is damaged or not Fashion-MNIST"):
        load("fashion-mnist", path=no_files)


def test_offline_and_absent_gives_one_error_that_names_all_ways_out(no_files):
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match="OpenML did not deliver it") as caught:
        load("fashion-mnist")
    assert time.perf_counter() - start < 5
    for way in (
        *("apt install dataset-fashion-mnist", "path=", "UNLEARNKIT_DATA", "torchvision"),
        *("no network in this test", "load('digits')"),
    ):
        assert way in str(caught.value)
    assert not (no_files / "cache").exists()


def test_a_network_that_swallows_everything_does_not_hang(no_files, monkeypatch):
    never = Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: never.wait(30))
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.1)
    with pytest.raises(FileNotFoundError, match=r"TimeoutError: no answer within 0\.1 seconds"):
        load("fashion-mnist")
    never.set()


@needs_fashion
@pytest.mark.parametrize("order", ["published", "reversed"])
def test_openmls_copy_is_taken_only_in_the_published_order(no_files, monkeypatch, order):
    arrays = sources.fashion_mnist_arrays(DEBIAN)
    images = np.concatenate([arrays[0], arrays[2]]).reshape(70_000, 784)
    labels = np.concatenate([arrays[1], arrays[3]]).astype(str).astype(object)
    step = 1 if order == "published" else -1
    bunch = SimpleNamespace(data=images[::step].astype(np.int64), target=labels[::step])
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *args, **kwargs: SimpleNamespace(close=int)
    )
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **kwargs: bunch)
    if order == "published":
        for found, expected in zip(sources.fashion_mnist_arrays(), arrays, strict=True):
            assert np.array_equal(found, expected)
    else:
        with pytest.raises(ValueError, match="OpenML's copy of train-images"):
            sources.fashion_mnist_arrays()


def test_an_explicit_path_is_the_only_place(no_files):
    with pytest.raises(FileNotFoundError, match="does not hold Fashion-MNIST; expected the files"):
        load("fashion-mnist", path=no_files)


def test_idx_files_are_read_and_distrusted(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "images"
    write_idx(path, array)
    assert np.array_equal(sources.read_idx(path), array)
    good = path.read_bytes()
    path.write_bytes(gzip.compress(good))
    assert np.array_equal(sources.read_idx(path), array)

    path.write_bytes(gzip.compress(good)[:-9])
    with pytest.raises(ValueError, match="damaged gzip file"):
        sources.read_idx(path)
    for short in (good[:-1], good + b"\0"):
        path.write_bytes(short)
        with pytest.raises(ValueError, match=r"its header \(2, 3, 4\) says 24"):
            sources.read_idx(path)
    for other in (b"", b"\0\0\x08", good[:9], b"\0\0\x0d" + good[3:], b"<html>not found</html>"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="not an IDX file of unsigned bytes"):
            sources.read_idx(path)


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


def test_classes_may_be_given_or_counted():
    features, labels = problem()
    assert from_arrays(features, labels).class_names == ("0", "1", "2")
    assert from_arrays(features, labels, num_classes=5).num_classes == 5
    assert from_arrays(features, labels, class_names=list("abcd")).num_classes == 4
    with pytest.raises(ValueError, match="2 class names for num_classes=3"):
        from_arrays(features, labels, class_names=["a", "b"], num_classes=3)
    with pytest.raises(ValueError, match="contains a name twice"):
        from_arrays(features, labels, class_names=["a", "b", "a"])
    with pytest.raises(
        ValueError, match="the largest label is 10000000000, which gives more classes"
    ):
        from_arrays(features, labels * 5_000_000_000)


def broken(row, value):
    features, labels = problem()
    features[row, 1] = value
    return features, labels


def labelled(row, value, kind=np.int64):
    features, labels = problem()
    labels = labels.astype(kind)
    labels[row] = value
    return features, labels


FEATURES, LABELS = problem()


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (broken([3, 5], np.nan), {}, r"2 of 40 rows hold NaN or infinite .*\(rows 3, 5\)"),
        (broken(7, -np.inf), {}, r"1 of 40 rows hold NaN or infinite .*\(rows 7\)"),
        (broken(7, 1e300), {}, r"float32 cannot hold \(rows 7\)"),
        (labelled(4, -1), {}, r"1 labels are outside 0..2 \(rows 4, such as -1\)"),
        (labelled(4, 3), {"num_classes": 3}, r"outside 0..2 \(rows 4, such as 3\)"),
        (
            labelled(4, 0.5, float),
            {"num_classes": 9},
            r"\(rows 4, such as 0.5\).*task='regression'",
        ),
        (labelled(4, np.nan, float), {}, r"1 of \d+ rows have a label that is NaN.*\(rows 4\)"),
        ((FEATURES, LABELS[:-1]), {}, "40 rows of features and 39 labels"),
        ((FEATURES[:0], LABELS[:0]), {}, "no examples"),
        (([], []), {}, "no examples"),
        ((FEATURES, LABELS * 0), {}, "fewer than two classes"),
        ((FEATURES, LABELS), {"num_classes": 1}, "fewer than two classes"),
        ((FEATURES[:, 0], LABELS), {}, r"shape \(40,\) have no feature axis"),
        ((np.float64(3), LABELS), {}, r"shape \(\) have no feature axis"),
        ((FEATURES[:, :0], LABELS), {}, r"shape \(40, 0\) have no feature axis"),
        ((FEATURES, np.eye(3)[LABELS]), {}, r"classes or targets.*one-hot rows labels.argmax\(1\)"),
        ((FEATURES[:4], LABELS[:4]), {}, "'test': 1, 'probe': 0} leave a part empty"),
        ((FEATURES, LABELS), {"test_share": 1.0}, "test_share=1.0 is not between 0 and 1"),
        ((FEATURES, LABELS), {"probe_share": 0}, "probe_share=0 is not between 0 and 1"),
        ((FEATURES, LABELS), {"test_share": 0.7, "probe_share": 0.4}, "leave a part empty"),
        ((FEATURES, LABELS), {"scale": 0}, "scale=0; give a finite constant"),
        ((FEATURES, LABELS), {"offset": float("nan")}, "offset=nan; give a finite constant"),
        ((FEATURES, LABELS), {"test": problem(0)}, "test: no examples"),
        ((FEATURES, LABELS), {"test": (FEATURES[:, :1], LABELS)}, r"test has rows of shape \(1,\)"),
        ((FEATURES, LABELS), {"probe": broken(0, np.nan)}, "probe: 1 of 40 rows hold NaN"),
        (([[1, 2], [3]], [0, 1]), {}, "rows of different lengths"),
    ],
)
def test_bad_values_in_arrays(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(*arrays, **options)


@pytest.mark.parametrize(
    ("arrays", "kind"),
    [
        ((FEATURES.astype(complex), LABELS), "complex128"),
        ((torch.from_numpy(FEATURES).to(torch.complex64), LABELS), "complex64"),
        ((FEATURES.astype(str), LABELS), "<U"),
        ((FEATURES.astype(object), LABELS), "object"),
        ((FEATURES, LABELS.astype(str)), "<U"),
        ((torch.from_numpy(FEATURES).to_sparse(), LABELS), "float64"),
    ],
)
def test_bad_kinds_in_arrays(arrays, kind):
    with pytest.raises(TypeError, match=f"values of kind .*{kind}.* cannot be used"):
        from_arrays(*arrays)


def table(n=40):
    return pd.DataFrame(
        {
            "size": np.arange(n) * 0.5,
            "wild": np.arange(n) % 2 == 0,
            "kind": [["dog", "cat", "emu"][row % 3] for row in range(n)],
        },
        index=[f"row {row}" for row in range(n)],
    )


def test_a_table_becomes_rows_by_position():
    data = from_frame(table(), "kind")
    assert data.feature_shape == (2,)
    assert data.class_names == ("cat", "dog", "emu")
    inputs, labels = data.examples([6, 1])
    assert inputs.tolist() == [[3, 1], [0.5, 0]]
    assert labels.tolist() == [1, 0]
    assert from_frame(table(), "kind", features=["size"]).feature_shape == (1,)


def test_target_values_map_by_a_fixed_vocabulary():
    named = from_frame(table(), "kind", class_names=["emu", "dog", "cat", "yak"])
    assert named.class_names == ("emu", "dog", "cat", "yak")
    assert named.examples([0, 1, 2])[1].tolist() == [1, 2, 0]

    frame = table()
    frame["kind"] = pd.Categorical(frame["kind"], categories=["yak", "dog", "cat", "emu"])
    assert from_frame(frame, "kind").examples([0, 1, 2])[1].tolist() == [1, 2, 3]

    frame["kind"] = np.arange(40) % 2 == 1
    assert from_frame(frame, "kind").class_names == ("False", "True")
    assert from_frame(frame, "kind").examples([0, 1])[1].tolist() == [0, 1]


def test_numbers_in_the_target_are_class_numbers_unless_values_are_named():
    frame = table().assign(kind=np.arange(40) % 3)
    assert from_frame(frame, "kind").examples([4, 5])[1].tolist() == [1, 2]
    named = from_frame(frame, "kind", class_names=["a", "b", "c"])
    assert named.examples([4, 5])[1].tolist() == [1, 2]
    frame["kind"] = np.where(frame["kind"] == 0, -1, 1)
    with pytest.raises(ValueError, match=r"labels are outside 0..1 .* such as -1"):
        from_frame(frame, "kind")
    signs = from_frame(frame, "kind", class_names=[-1, 1])
    assert signs.class_names == ("-1", "1")
    assert signs.examples([0, 1])[1].tolist() == [0, 1]
    frame["kind"] = frame["kind"].clip(0).astype("Int64")
    assert from_frame(frame, "kind").examples([0, 1])[1].tolist() == [0, 1]


def test_given_parts_of_a_table_share_its_vocabulary():
    unseen = table(4).assign(kind="ant")
    data = from_frame(table(), "kind", test=unseen)
    assert data.class_names == ("ant", "cat", "dog", "emu")
    assert data.test.ids.tolist() == [40, 41, 42, 43]
    assert data.test.labels.tolist() == [0] * 4


def test_tables_of_bytes_stay_bytes():
    frame = pd.DataFrame(np.ones((40, 3), np.uint8)).assign(y=np.arange(40) % 2)
    assert from_frame(frame, "y").train.features.dtype == torch.uint8


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (
            table().assign(name="x"),
            {},
            TypeError,
            r"\{'name': .*\} hold neither .* fixed vocabulary",
        ),
        (table().assign(day=pd.Timestamp(0)), {"hash_buckets": 4}, TypeError, "'day': 'datetime64"),
        (table().assign(day=pd.Timestamp(0)), {}, TypeError, "'day': 'datetime64"),
        (table().assign(z=1j), {}, TypeError, "'z': 'complex128'"),
        (table().drop(columns="kind"), {}, KeyError, r"lacks \['kind'\]; its columns are"),
        (table(), {"features": ["size", "age"]}, KeyError, r"lacks \['age'\]"),
        (table(), {"features": ["size", "kind"]}, ValueError, "leave out the target"),
        (table(), {"features": []}, ValueError, "at least one feature column"),
        (pd.concat([table(), table()], axis=1), {}, ValueError, "occur twice"),
        (
            table().replace({"kind": {"emu": None}}),
            {},
            ValueError,
            "target is missing in rows 2, 5",
        ),
        (table(), {"class_names": ["dog", "cat"]}, ValueError, "rows 2, 5.* such as 'emu'"),
        (table().assign(kind=0.5), {}, ValueError, "all targets are equal"),
        (table().assign(size=np.nan), {}, ValueError, "40 of 40 rows hold NaN"),
        (table().assign(size=pd.array([None] * 40, "Int64")), {}, ValueError, "40 of 40 rows"),
        (table().assign(size=1e300), {}, ValueError, "float32 cannot hold"),
        (table()[:0], {}, ValueError, "no examples"),
        (table().assign(kind="dog"), {}, ValueError, "fewer than two classes"),
        (table().assign(kind=["a", 1] * 20), {}, TypeError, "cannot be sorted"),
        (table(), {"test": table().drop(columns="wild")}, KeyError, r"test lacks \['wild'\]"),
    ],
)
def test_bad_tables(frame, options, error, message):
    with pytest.raises(error, match=message):
        from_frame(frame, "kind", **options)


def test_as_dataset_takes_what_callers_hold():
    data = as_dataset("digits", num_examples=50)
    assert isinstance(data, Dataset)
    assert as_dataset(data) is data
    assert as_dataset(problem(), seed=3).name == "arrays"
    assert as_dataset((table(), "kind")).num_classes == 3
    frame = table()
    pair = (frame[["size", "wild"]].astype(float), pd.Series(np.arange(40) % 2))
    assert as_dataset(pair).feature_shape == (2,)


@pytest.mark.parametrize("data", [None, 3, table(), (1, 2, 3), FEATURES])
def test_as_dataset_names_the_accepted_kinds(data):
    with pytest.raises(TypeError, match=r"is no dataset; give a name \(digits, diabetes, breast-"):
        as_dataset(data)


def test_options_for_a_finished_dataset_are_refused():
    with pytest.raises(TypeError, match="options seed were given with a finished Dataset"):
        as_dataset(from_arrays(*problem()), seed=1)


def test_a_column_of_any_stride_digests_alike() -> None:
    values, labels = torch.linspace(-1, 1, 20), torch.arange(20) % 2
    views = (values.as_strided((20, 1), (1, 0)), values.as_strided((20, 1), (1, 1)))
    first, second = (Examples(np.arange(20), view, labels).digests for view in views)
    assert np.array_equal(first, second)


def test_features_lie_row_by_row_however_they_came():
    turned = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4).permute(2, 0, 1)
    examples = Examples(np.arange(4), turned, torch.zeros(4, dtype=torch.int64))
    assert examples.features.is_contiguous() and torch.equal(examples.features, turned)
