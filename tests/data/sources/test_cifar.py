"""CIFAR-10, read from a small stand-in in torchvision's layout, or as OpenML serves it."""

import hashlib
import os
import pickle
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from published import same
from unlearnkit.data.sources import cifar

RANDOM = np.random.default_rng(0)


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


def write_cifar(folder, images, labels, monkeypatch):
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(cifar.PICKLE_MD5):
        rows = slice(10 * place, 10 * place + 10)
        raw = python_2_pickle(images[rows], labels[rows])
        (folder / name).write_bytes(raw)
        monkeypatch.setitem(cifar.PICKLE_MD5, name, hashlib.md5(raw).hexdigest())


@pytest.mark.parametrize("layout", ["cifar-10-batches-py", "."])
def test_cifar_10_is_read_in_torchvisions_layout(no_files, monkeypatch, cifar_10, layout):
    write_cifar(no_files / "data" / layout, *cifar_10, monkeypatch)
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
    with pytest.raises(pickle.UnpicklingError, match=r"names .*mkdir"):
        cifar.read_pickle(raw)
    for name in ("load", "save", "fromfile", "memmap"):
        named = b"\x80\x02cnumpy\n" + name.encode() + b"\n."
        with pytest.raises(
            pickle.UnpicklingError, match=f"names numpy.{name}, which is not an array"
        ):
            cifar.read_pickle(named)
    # In a folder it is not even read that far: its checksum is another.
    write_cifar(no_files / "data", *cifar_10, monkeypatch)
    (no_files / "data" / "data_batch_3").write_bytes(raw)
    with pytest.raises(ValueError, match="data_batch_3 is damaged or not CIFAR-10: MD5"):
        uk.load("cifar-10")
    assert not trace.exists()


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
def test_openmls_cifar_10_in_another_order_is_noticed(online, cifar_10, how, message):
    images, labels = damage_cifar(*cifar_10, how)
    bunch = SimpleNamespace(data=images.reshape(60, -1), target=labels.astype(str))
    online("fetch_openml", lambda **kwargs: bunch)
    with pytest.raises(ValueError, match=f"OpenML's copy of CIFAR-10 is damaged.*{message}"):
        uk.load("cifar-10")


def test_openmls_cifar_10_is_read(online, cifar_10):
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
