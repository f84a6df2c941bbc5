"""Compressed files of strangers: no more is unpacked than a file's size and header allow."""

import bz2
import gzip
import io
import lzma
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import unlearnkit as uk
from tampering import at_most
from unlearnkit.data.reading import unpack
from unlearnkit.data.reading.unpack import FREE_BYTES, PACKINGS, opened
from unlearnkit.data.sources import read_idx
from unlearnkit.data.sources.cifar import PICKLE_MD5
from unlearnkit.data.sources.idx import SHAPES

BOMB = 1 << 28  # bytes, unpacked

limited = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@pytest.fixture(scope="module")
def zeros() -> bytes:
    """The packed bytes of many zeros: packed ones, one member for every 16 MiB."""
    return gzip.compress(bytes(16 << 20)) * (BOMB >> 24)


def header(shape: tuple[int, ...]) -> bytes:
    return gzip.compress(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape))


def test_files_are_read_packed_or_not(tmp_path: Path) -> None:
    for name, data in (("plain", b"abc"), ("empty", b""), ("packed", gzip.compress(b"abc"))):
        (tmp_path / name).write_bytes(data)
    found = []
    for name in ("plain", "empty", "packed"):
        with opened(tmp_path / name) as file:
            found.append(file.read())
    assert found == [b"abc", b"", b"abc"]


@limited
def test_what_unpacks_to_more_than_its_size_explains_is_refused(
    zeros: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "zeros.gz"
    path.write_bytes(zeros)
    taken = 0
    with at_most(64), pytest.raises(ValueError, match="which its size does not explain"):
        with opened(path) as file:
            while piece := file.read(1 << 20):
                taken += len(piece)
    assert FREE_BYTES <= taken < BOMB


@limited
@pytest.mark.parametrize("shape", [(10, 28, 28), (2**32 - 1,) * 16, (2**30,), (60_000, 28, 28)])
def test_an_idx_file_is_unpacked_as_far_as_its_header_says(
    shape: tuple[int, ...], zeros: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(header(shape) + zeros)
    with at_most(256), pytest.raises(ValueError, match=r"bytes, but its header .* says"):
        read_idx(path)


@limited
def test_a_header_that_promises_more_than_the_file_can_hold_allocates_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.decompress(header((2**32 - 1, 2**10))))
    with at_most(256), pytest.raises(ValueError, match="bytes, but its header"):
        read_idx(path)
    path.write_bytes(bytes([0, 0, 8, 255]) + bytes(4 * 255))
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(path)


@limited
def test_a_published_data_set_of_another_shape_is_not_unpacked(
    zeros: bytes, tmp_path: Path
) -> None:
    for name in SHAPES:
        (tmp_path / f"{name}.gz").write_bytes(header((10**6, 28, 28)) + zeros)
    with at_most(64), pytest.raises(ValueError, match=r"the header of .* says shape"):
        uk.load("mnist", path=tmp_path)
    for name in PICKLE_MD5:
        (tmp_path / f"{name}.gz").write_bytes(zeros)
    with at_most(256), pytest.raises(ValueError, match="more than 67,108,864 bytes"):
        uk.load("cifar-10", path=tmp_path)


def packed(packing: str, data: bytes) -> bytes:
    if packing == "zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("table.csv", data)
        return target.getvalue()
    return {"gz": gzip, "bz2": bz2, "xz": lzma}[packing].compress(data)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_table_that_unpacks_to_more_than_its_size_explains_is_refused(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, text = tmp_path / f"table.csv.{packing}", b"a,b\n" + b"1,0\n2,1\n" * 5_000
    path.write_bytes(packed(packing, text)[:-9])
    with pytest.raises(ValueError, match=r"cannot be read: .* is a damaged file"):
        uk.from_file(path, "b")
    path.write_bytes(packed(packing, text))
    assert len(uk.from_file(path, "b").train)
    monkeypatch.setattr(unpack, "FREE_BYTES", 1 << 10)
    monkeypatch.setattr(unpack, "MOST_RATIO", 5)
    with pytest.raises(ValueError, match="which its size does not explain"):
        uk.from_file(path, "b")


def test_a_packed_table_is_read_as_a_plain_one(tmp_path: Path) -> None:
    text = "".join(f"{n},{n % 3}\n" for n in range(60))
    (tmp_path / "table.csv").write_text("a,b\n" + text)
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n") + gzip.compress(text.encode()))
    plain, packed = (uk.from_file(tmp_path / f"table.csv{end}", "b") for end in ("", ".gz"))
    assert np.array_equal(plain.train.ids, packed.train.ids)
    assert np.array_equal(plain.train.features, packed.train.features)
