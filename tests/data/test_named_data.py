"""Published datasets by name, each read from a small stand-in in every layout that it comes in.

The sizes and checksums of the real files are replaced by those of the stand-ins; the readers are
the real ones.
"""

import gzip
import hashlib
import os
import pickle
import struct
import urllib.request
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.sources import adult, cifar, covertype, idx, purchase

RANDOM = np.random.default_rng(0)


@pytest.fixture
def online(no_files, monkeypatch):
    """Lets a fetcher of scikit-learn be replaced: ``online(name, function)``."""

    def serve(fetcher, function):
        answer = SimpleNamespace(close=int)
        monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: answer)
        monkeypatch.setattr(f"sklearn.datasets.{fetcher}", function)

    return serve


def same(data, features, labels):
    """Whether the example of each id is the published row of that number, as it came."""
    for part in data.parts.values():
        assert np.array_equal(part.features.numpy(), features[part.ids])
        assert np.array_equal(part.labels.numpy(), labels[part.ids])
    ids = np.concatenate([part.ids for part in data.parts.values()])
    assert np.array_equal(np.sort(ids), np.arange(len(labels)))
    return True


# MNIST


@pytest.fixture
def mnist(monkeypatch):
    """The four arrays of a small MNIST, whose checksums are taken for the published ones."""
    arrays = [
        *(RANDOM.integers(256, size=(60, 28, 28), dtype=np.uint8), np.arange(60, dtype=np.uint8)),
        *(RANDOM.integers(256, size=(20, 28, 28), dtype=np.uint8), np.arange(20, dtype=np.uint8)),
    ]
    arrays[1::2] = [labels % 10 for labels in arrays[1::2]]
    for name, array in zip(idx.MNIST_SHA256, arrays, strict=True):
        checksum = hashlib.sha256(idx_bytes(array)).hexdigest()
        monkeypatch.setitem(idx.MNIST_SHA256, name, checksum)
    return arrays


def idx_bytes(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("layout", [".", "mnist", "MNIST/raw"])
def test_mnist_is_read_in_torchvisions_layout_and_others(no_files, mnist, layout):
    folder = no_files / "data" / layout
    folder.mkdir(parents=True)
    for name, array in zip(idx.MNIST_SHA256, mnist, strict=True):
        if "images" in name:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))
    data = uk.load("mnist")
    images = np.concatenate([mnist[0], mnist[2]])[:, None]
    assert same(data, images, np.concatenate([mnist[1], mnist[3]]))
    assert (len(data.train), len(data.probe), len(data.test)) == (60, 4, 16)
    assert data.train.ids.tolist() == list(range(60))
    assert data.train.features.dtype == torch.uint8
    assert data.train.inputs().min() == -1 and data.train.inputs().max() == 1
    assert "CC BY-SA 3.0" in data.licence and "Cortes" in data._repr_html_()
    few = uk.load("mnist", num_examples=10)
    assert np.isin(few.train.ids, uk.load("mnist", num_examples=20).train.ids).all()

    changed = bytearray(idx_bytes(mnist[3]))
    changed[-1] ^= 1
    (folder / "t10k-labels-idx1-ubyte").write_bytes(changed)
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is damaged or not MNIST: shape"):
        uk.load("mnist")


def test_each_published_file_has_a_checksum_of_its_own():
    assert set(idx.MNIST_SHA256) == set(idx.FASHION_MNIST_SHA256) == set(idx.SHAPES)
    sums = [*idx.MNIST_SHA256.values(), *idx.FASHION_MNIST_SHA256.values()]
    assert len(set(sums)) == 8 and {len(one) for one in sums} == {64}


def test_openmls_mnist_has_to_be_the_published_one(online):
    bunch = SimpleNamespace(data=np.zeros((70_000, 784), np.uint8), target=["0"] * 70_000)
    online("fetch_openml", lambda **kwargs: bunch)
    with pytest.raises(ValueError, match=r"OpenML's copy of train-images.* not MNIST"):
        uk.load("mnist")
    online("fetch_openml", lambda **kwargs: SimpleNamespace(data=np.zeros((3, 784)), target=[]))
    with pytest.raises(FileNotFoundError, match="OpenML's answer is unusable: cannot reshape"):
        uk.load("mnist")


# CIFAR-10


@pytest.fixture
def cifar_10(monkeypatch):
    """Images and labels of a small CIFAR-10 that begins as the real one does."""
    monkeypatch.setattr(cifar, "NUM_TRAIN", 50)
    monkeypatch.setattr(cifar, "NUM_TEST", 10)
    images = RANDOM.integers(256, size=(60, 3, 32, 32), dtype=np.uint8)
    images[0, :, 0, :3] = cifar.FIRST_PIXELS
    first = np.array(cifar.FIRST_LABELS)
    rest = np.repeat(np.arange(10), 5 - np.bincount(first, minlength=10))
    labels = np.concatenate([first, rest, np.arange(10)]).astype(np.uint8)
    return images, labels


def binary(images, labels):
    return np.column_stack([labels, images.reshape(len(labels), -1)]).tobytes()


def python_2_pickle(images, labels):
    """What Python 2 wrote of ``{"data": array, "labels": list}``, as the authors' files have it."""
    raw = images.tobytes()
    shape = struct.pack("<cici", b"J", len(images), b"J", 3072) + b"\x86"
    kind = (
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        + b"J\xff\xff\xff\xff" * 2
        + b"K\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    content = b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + content + b"U\x06labels" + listed + b"u."


def write_cifar(folder, form, images, labels, monkeypatch):
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(cifar.PICKLE_MD5):
        rows = slice(10 * place, 10 * place + 10)
        if form == "binary":
            (folder / f"{name}.bin").write_bytes(binary(images[rows], labels[rows]))
        else:
            raw = python_2_pickle(images[rows], labels[rows])
            (folder / name).write_bytes(raw)
            monkeypatch.setitem(cifar.PICKLE_MD5, name, hashlib.md5(raw).hexdigest())


@pytest.mark.parametrize(
    ("form", "layout"),
    [("binary", "cifar-10-batches-bin"), ("pickles", "cifar-10-batches-py"), ("pickles", ".")],
)
def test_cifar_10_is_read_in_both_forms(no_files, monkeypatch, cifar_10, form, layout):
    write_cifar(no_files / "data" / layout, form, *cifar_10, monkeypatch)
    data = uk.load("cifar-10")
    assert same(data, *cifar_10)
    assert data.feature_shape == (3, 32, 32) and data.train.features.dtype == torch.uint8
    assert (len(data.train), len(data.probe), len(data.test)) == (50, 2, 8)
    assert data.class_names[data.examples([0])[1]] == "frog"
    assert "none named" in data.licence
    assert uk.Session(data, model="cnn", num_shards=2, num_slices=2).plan.num_shards == 2


def test_no_code_of_a_pickle_is_run(no_files, monkeypatch, cifar_10):
    trace = no_files / "trace"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    raw = pickle.dumps({"data": Hostile(), "labels": [0]}, protocol=2)
    with pytest.raises(ValueError, match=r"here is damaged or not CIFAR-10: .* names .*mkdir"):
        cifar.read_pickle(raw, "here")
    for name in ("load", "save", "fromfile", "memmap"):
        named = b"\x80\x02cnumpy\n" + name.encode() + b"\n."
        with pytest.raises(ValueError, match=f"names numpy.{name}, which is no array"):
            cifar.read_pickle(named, "here")
    # In a folder it is not even read that far: its checksum is another.
    write_cifar(no_files / "data", "pickles", *cifar_10, monkeypatch)
    (no_files / "data" / "data_batch_3").write_bytes(raw)
    with pytest.raises(ValueError, match="data_batch_3 is damaged or not CIFAR-10: MD5"):
        uk.load("cifar-10")
    assert not trace.exists()


@pytest.mark.parametrize("raw", [b"", b"no pickle", pickle.dumps([]), pickle.dumps({"data": 3})])
def test_a_pickle_of_something_else_is_refused(raw):
    with pytest.raises(ValueError, match="here is damaged or not CIFAR-10"):
        cifar.read_pickle(raw, "here")
    whole = python_2_pickle(np.zeros((2, 3, 32, 32), np.uint8), [1, 2])
    with pytest.raises(ValueError, match="here is damaged or not CIFAR-10"):
        cifar.read_pickle(whole[:-5], "here")


def damage_cifar(images, labels, how):
    images, labels = images.copy(), labels.copy()
    if how == "classes":
        labels[20] = (labels[20] + 1) % 10
    elif how == "label":
        labels[20] = 10
    elif how == "order":
        images[:50], labels[:50] = images[49::-1], labels[49::-1]
    else:  # colours last
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(images.shape)
    return images, labels


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("classes", "examples per class, expected 5 of each"),
        ("label", "labels up to 10, expected"),
        ("order", "first labels"),
        ("colours", r"pixels \(\(59, 62, 63\), .*expected"),
    ],
)
@pytest.mark.parametrize("way", ["files", "OpenML"])
def test_cifar_10_in_another_order_is_noticed(
    no_files, monkeypatch, online, cifar_10, how, message, way
):
    images, labels = damage_cifar(*cifar_10, how)
    if way == "files":
        write_cifar(no_files / "data", "binary", images, labels, monkeypatch)
    else:
        bunch = SimpleNamespace(data=images.reshape(60, -1), target=labels.astype(str))
        online("fetch_openml", lambda **kwargs: bunch)
    with pytest.raises(ValueError, match=f"(data|OpenML's copy of CIFAR-10) is damaged.*{message}"):
        uk.load("cifar-10")


def test_openmls_cifar_10_and_files_cut_short(no_files, monkeypatch, online, cifar_10):
    images, labels = cifar_10
    asked = []

    def fetch(**kwargs):
        asked.append((kwargs["name"], kwargs["version"]))
        return SimpleNamespace(
            data=images.reshape(60, -1).astype(np.int64), target=labels.astype(str).astype(object)
        )

    online("fetch_openml", fetch)
    assert same(uk.load("cifar-10"), images, labels)
    assert asked == [("CIFAR_10", 1)]
    write_cifar(no_files / "data", "binary", images, labels, monkeypatch)
    (no_files / "data" / "test_batch.bin").write_bytes(binary(images[50:], labels[50:])[:-1])
    with pytest.raises(ValueError, match=r"test_batch.bin is damaged .* no multiple of 3073"):
        uk.load("cifar-10")


# Adult

PERSON = {
    **{"age": 39, "workclass": "State-gov", "fnlwgt": 77516, "education": "Bachelors"},
    **{"education-num": 13, "marital-status": "Never-married", "occupation": "Adm-clerical"},
    **{"relationship": "Not-in-family", "race": "White", "sex": "Male", "capital-gain": 2174},
    **{"capital-loss": 0, "hours-per-week": 40, "native-country": "United-States"},
    "income": "<=50K",
}


def people(n):
    """Rows of Adult, of which every fourth earns more; row 5 has values missing."""
    rows = [{**PERSON, "age": 17 + k, "income": "<=50K" if k % 4 else ">50K"} for k in range(n)]
    rows[5] |= {"workclass": "?", "occupation": "?", "native-country": "?"}
    return rows


def write_adult(folder, monkeypatch, train, test):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [[", ".join(map(str, row.values())) for row in rows] for rows in (train, test)]
    texts = {
        "adult.data": "\n".join(lines[0]) + "\n\n",
        "adult.test": "|1x3 Cross validator\n" + ".\n".join(lines[1]) + ".\n\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        monkeypatch.setitem(adult.ADULT_MD5, name, hashlib.md5(text.encode()).hexdigest())


@pytest.mark.parametrize("way", ["files", "OpenML"])
def test_adult_is_encoded_by_the_authors_lists(no_files, monkeypatch, online, way):
    train, test = people(40), people(24)
    if way == "files":
        write_adult(no_files / "data" / "adult", monkeypatch, train, test)
    else:
        monkeypatch.setattr(adult, "ROWS", (40, 24))
        monkeypatch.setattr(adult, "ABOVE", (10, 6))
        # OpenML has the test rows first, categories, and NaN for what is missing.
        frame = pd.DataFrame(test + train).rename(columns={"income": "class"})
        texts = frame.select_dtypes(exclude="number").columns
        frame = frame.replace("?", np.nan).astype(dict.fromkeys(texts, "category"))
        online("fetch_openml", lambda **kwargs: SimpleNamespace(frame=frame))
    data = uk.load("adult")
    assert (len(data.train), len(data.probe), len(data.test)) == (40, 4, 20)
    assert data.train.ids.tolist() == list(range(40))
    assert data.feature_shape == (112,) and data.class_names == ("<=50K", ">50K")
    assert data.examples([0, 1, 40, 41])[1].tolist() == [1, 0, 1, 0]

    inputs, names = data.examples([3, 5])[0], list(data.feature_names)
    of = {name: inputs[:, place].tolist() for place, name in enumerate(names)}
    assert of["age"] == pytest.approx([(20 - 53.5) / 36.5, (22 - 53.5) / 36.5])
    assert of["capital-gain"] == pytest.approx([0.2174, 0.2174])
    assert of["workclass=State-gov"] == [1, 0] and of["workclass=other"] == [0, 1]
    assert of["occupation=Adm-clerical"] == [1, 0] and of["native-country=other"] == [0, 1]
    assert of["sex=Male"] == [1, 1] and not any("fnlwgt" in name for name in names)
    assert inputs[:, 5:].sum(1).tolist() == [8, 8]  # one place in each of eight columns

    few = uk.load("adult", num_examples=8)
    assert torch.equal(data.examples(few.train.ids)[0], few.train.inputs())


def test_damaged_adult_is_noticed(no_files, monkeypatch, online):
    write_adult(no_files / "data", monkeypatch, people(40), people(24))
    with open(no_files / "data" / "adult.test", "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"adult.test is damaged or not Adult: MD5"):
        uk.load("adult")
    stranger = [{**PERSON, "workclass": "Robot"}]
    write_adult(no_files / "data", monkeypatch, people(40), people(24) + stranger)
    with pytest.raises(ValueError, match="workclass has the value 'Robot', which is none of"):
        uk.load("adult", path=no_files / "data")

    frame = pd.DataFrame(people(64)).rename(columns={"income": "class"}).replace("?", np.nan)
    online("fetch_openml", lambda **kwargs: SimpleNamespace(frame=frame))
    monkeypatch.setenv("HOME", str(no_files / "nowhere"))
    for file in (no_files / "data").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="64 rows, 16 of them above 50K, are not the two"):
        uk.load("adult")
    online("fetch_openml", lambda **kwargs: SimpleNamespace(frame=frame.drop(columns="sex")))
    with pytest.raises(FileNotFoundError, match=r"OpenML's answer is unusable: .*sex"):
        uk.load("adult")


def test_adults_lists_are_whole():
    sizes = {column: len(values) for column, values in adult.ADULT_VALUES.items()}
    assert list(sizes.values()) == [8, 16, 7, 14, 6, 5, 2, 41, 2]
    assert all(len(set(values)) == len(values) for values in adult.ADULT_VALUES.values())


# Covertype


@pytest.fixture
def forest(monkeypatch):
    """Rows of a small Covertype, six of each class."""
    monkeypatch.setattr(covertype, "COUNTS", (6,) * 7)
    rows = np.zeros((42, 55), np.int16)
    rows[:, 0] = 2000 + 10 * np.arange(42)
    rows[:, 4] = -np.arange(42)  # heights below the water
    rows[:, 6] = 255
    rows[np.arange(42), 10 + np.arange(42) % 4] = 1
    rows[np.arange(42), 14 + np.arange(42) % 40] = 1
    rows[:, -1] = 1 + np.arange(42) % 7
    return rows


def csv_bytes(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


@pytest.mark.parametrize("way", ["plain", "gzip", "fetched"])
def test_covertype_is_read_and_scaled_by_constants(no_files, online, forest, way):
    folder = no_files / "data" / "covertype"
    folder.mkdir(parents=True)
    if way == "plain":
        (folder / "covtype.data").write_bytes(csv_bytes(forest))
    elif way == "gzip":
        (folder / "covtype.data.gz").write_bytes(gzip.compress(csv_bytes(forest)))
    else:
        pair = (forest[:, :-1].astype(float), forest[:, -1].astype(np.int32))
        online("fetch_covtype", lambda **kwargs: pair)
    data = uk.load("covertype")
    assert (len(data.train), len(data.probe), len(data.test)) == (31, 4, 7)
    inputs, labels = data.examples(np.arange(42))
    assert labels.tolist() == (np.arange(42) % 7).tolist()
    assert torch.allclose(inputs[:, 0], torch.arange(42) / 100 - 1)
    assert torch.allclose(inputs[:, 4], -torch.arange(42) / 100)
    assert inputs[:, 6].eq(1).all() and inputs[:, 1].eq(-1).all()
    assert np.array_equal(inputs[:, 10:].numpy(), forest[:, 10:-1])
    assert len(data.feature_names) == 54 and data.class_names[6] == "Krummholz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"\(41, 55\) rows and columns, expected \(42, 55\)"),
        (lambda rows: rows[:, 1:], r"\(42, 54\) rows and columns"),
        (lambda rows: np.roll(rows, 1, 1), "examples of classes 0, 1"),
        (lambda rows: rows - np.eye(42, 55, 10, dtype=np.int16), "have not one of the wild"),
    ],
)
def test_damaged_covertype_is_noticed(no_files, forest, change, message):
    path = no_files / "covtype.data"
    path.write_bytes(csv_bytes(change(forest)))
    with pytest.raises(ValueError, match=f"covtype.data is damaged or not Covertype: .*{message}"):
        uk.load("covertype", path=no_files)


CUT_OFF = gzip.compress(b"1,2\n" * 99, mtime=0)[:-9]


@pytest.mark.parametrize("raw", [b"", b"1,2,x\n", b"1,99999\n", CUT_OFF])
def test_a_file_that_is_no_table_of_numbers_is_refused(no_files, raw):
    for name, file in (("covertype", "covtype.data"), ("purchase-100", "dataset_purchase")):
        file = f"{file}.gz" if raw[:1] == b"\x1f" else file
        (no_files / file).write_bytes(raw)
        with pytest.raises(ValueError, match=f"{file} is damaged or not"):
            uk.load(name, path=no_files)


# Purchase-100


@pytest.fixture
def shoppers(monkeypatch):
    """Rows of a small Purchase-100 as its text has them: class of 1 to 100, then 600 products."""
    monkeypatch.setattr(purchase, "NUM_ROWS", 300)
    products = RANDOM.integers(2, size=(300, 600))
    return np.column_stack([1 + RANDOM.permutation(np.arange(300) % 100), products])


def write_purchase(folder, form, rows):
    folder.mkdir(parents=True, exist_ok=True)
    labels, features = rows[:, 0] - 1, rows[:, 1:]
    if form == "text":
        (folder / "dataset_purchase").write_bytes(csv_bytes(rows))
    elif form == "rows":
        np.savez_compressed(folder / "dataset_purchase.npz", rows)
    else:
        one_hot = np.eye(100)[labels]
        np.savez_compressed(folder / "purchase100.npz", features=features, labels=one_hot)


@pytest.mark.parametrize("form", ["text", "rows", "arrays"])
@pytest.mark.parametrize("layout", [".", "purchase-100", "purchase100"])
def test_purchase_100_is_read_in_every_layout(no_files, monkeypatch, shoppers, form, layout):
    write_purchase(no_files / "mine" / layout, form, shoppers)
    monkeypatch.setenv("UNLEARNKIT_DATA", str(no_files / "mine"))
    data = uk.load("purchase-100")
    assert same(data, shoppers[:, 1:], shoppers[:, 0] - 1)
    assert data.train.features.dtype == torch.uint8 and data.num_classes == 100
    assert data.train.inputs().unique().tolist() == [0, 1]
    assert (len(data.train), len(data.probe), len(data.test)) == (220, 30, 50)


@pytest.mark.parametrize("form", ["text", "rows", "arrays"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"shape \(299, "),
        (lambda rows: rows[:, :-1], r"shape \(300, 599\)"),
        (lambda rows: rows + (np.arange(601) == 7), "not all 0 or 1"),
        (lambda rows: np.where(np.arange(601) == 0, 7, rows), "1 classes from 7 to 7"),
    ],
)
def test_damaged_purchase_100_is_noticed(no_files, shoppers, form, change, message):
    write_purchase(no_files, form, change(shoppers))
    with pytest.raises(ValueError, match=f"damaged or not Purchase-100: .*{message}"):
        uk.load("purchase-100", path=no_files)


def test_arrays_of_objects_and_broken_archives_are_not_opened(no_files, shoppers):
    path = no_files / "dataset_purchase.npz"
    np.savez(path, np.array([{}, []], object))
    with pytest.raises(ValueError, match=r"dataset_purchase.npz is damaged .*allow_pickle"):
        uk.load("purchase-100", path=no_files)
    np.savez(path, features=np.zeros((300, 600)))
    with pytest.raises(ValueError, match="it lacks the arrays features and labels, or arr_0"):
        uk.load("purchase-100", path=no_files)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"dataset_purchase.npz is damaged .*BadZipFile"):
        uk.load("purchase-100", path=no_files)


# Breast cancer


def test_breast_cancer_is_scikit_learns_and_unlearns_exactly():
    from sklearn.datasets import load_breast_cancer

    data, bunch = uk.load("breast-cancer"), load_breast_cancer()
    assert (len(data.train), len(data.probe), len(data.test)) == (419, 56, 94)
    inputs, labels = data.examples(np.arange(569))
    assert np.array_equal(labels, bunch.target)
    # One constant for each column, a power of ten.
    digits = np.log10(bunch.data.max(0) / inputs.numpy().max(0))
    assert np.allclose(digits, digits.round(), atol=1e-6)
    assert np.allclose(inputs.numpy() * 10 ** digits.round(), bunch.data, rtol=1e-6)
    assert data.fingerprint == uk.load("breast-cancer").fingerprint

    session = uk.Session("breast-cancer", model="logistic", seed=0)
    session.train()
    assert session.accuracy()["test"] > 0.8  # measured .88; the larger class is 63 %
    session.revoke(data.train.ids[:3])
    session.unlearn(max_share=1)
    assert session.compare().bit_identical
    with pytest.raises(ValueError, match="breast-cancer ships with scikit-learn; leave path="):
        uk.load("breast-cancer", path="here")


# Nowhere

NETWORK = {"mnist": "OpenML", "cifar-10": "OpenML", "adult": "OpenML", "covertype": "fetch_covtype"}
ADDRESS = {
    "mnist": "yann.lecun.com",
    "cifar-10": "cs.toronto.edu",
    "adult": "archive.ics.uci.edu/dataset/2",
    "covertype": "archive.ics.uci.edu/dataset/31",
    "purchase-100": "comp.nus.edu.sg/~reza/files/datasets.html",
}
LAYOUT = {"mnist": "data/MNIST/raw", "cifar-10": "data/cifar-10-batches-py"}


@pytest.mark.parametrize("name", ADDRESS)
def test_offline_and_absent_gives_one_error_that_names_all_ways_out(no_files, name):
    with pytest.raises(FileNotFoundError, match=r"is not on this machine \(searched: data") as one:
        uk.load(name)
    message = str(one.value)
    for way in (f"load('{name}', path=FOLDER)", "UNLEARNKIT_DATA=FOLDER", "load('digits')"):
        assert way in message
    assert ADDRESS[name] in message and LAYOUT.get(name, "") in message
    if name in NETWORK:
        assert f"{NETWORK[name]} did not deliver it (URLError: <urlopen error no net" in message
        assert "a network connection" in message
    else:
        assert "nobody serves it for download" in message
    assert not (no_files / "cache").exists()
    with pytest.raises(FileNotFoundError, match=r"does not hold .*; expected the files"):
        uk.load(name, path=no_files)


def test_every_dataset_says_what_it_is():
    for load in uk.DATASETS.values():
        assert load.__doc__ and "Source: " in load.__doc__ and "Licence: " in load.__doc__
    for name in ("digits", "breast-cancer"):
        data = uk.load(name)
        assert data.source and data.licence in data._repr_html_()
