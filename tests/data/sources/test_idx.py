"""IDX files: where they are found, and what is noticed when they are not the published ones."""

import gzip
import hashlib
import struct
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from published import DEBIAN, needs_fashion, same
from unlearnkit.data import sources
from unlearnkit.data.datasets import load
from unlearnkit.data.sources import idx


def write_idx(path, array, magic=(0, 0, 8)):
    header = struct.pack(f">4B{array.ndim}I", *magic, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


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
    with pytest.raises(FileNotFoundError, match="OpenML did not deliver it") as caught:
        load("fashion-mnist")
    for way in (
        *("apt install dataset-fashion-mnist", "path=", "UNLEARNKIT_DATA", "torchvision"),
        *("no network in this test", "load('digits')"),
    ):
        assert way in str(caught.value)
    assert not (no_files / "cache").exists()


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
    with pytest.raises(ValueError, match="is a damaged file"):
        sources.read_idx(path)
    for short in (good[:-1], good + b"\0"):
        path.write_bytes(short)
        with pytest.raises(ValueError, match=r"its header \(2, 3, 4\) says 24"):
            sources.read_idx(path)
    for other in (b"", b"\0\0\x08", good[:9], b"\0\0\x0d" + good[3:], b"<html>not found</html>"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="not an IDX file of unsigned bytes"):
            sources.read_idx(path)


RANDOM = np.random.default_rng(0)


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
    expected = (data.train.features.float() - 33.32) / 78.57
    assert torch.equal(data.train.inputs(), expected)
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
