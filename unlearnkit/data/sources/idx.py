"""Fashion-MNIST and MNIST from their four files in the IDX format, or from OpenML."""

import hashlib
import math
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from unlearnkit.data.reading.unpack import most_bytes, opened
from unlearnkit.data.sources.download import from_openml
from unlearnkit.data.sources.locate import Published, find_files

Arrays: TypeAlias = tuple[UInt8[np.ndarray, "..."], ...]

MOST_AXES = 16  # of the array in a file

SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}

# SHA-256 of the decompressed bytes of each published file (`zcat FILE | sha256sum`), because
# distributions recompress the files.
FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
# The same checksums are used by several independent projects.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

FILES = f"{', '.join(SHAPES)} (plain or .gz)"
FASHION_MNIST = Published(
    name="fashion-mnist",
    title="Fashion-MNIST",
    files=FILES,
    folders=("fashion-mnist", "FashionMNIST/raw"),
    address="https://github.com/zalandoresearch/fashion-mnist",
    ways=(
        "`apt install dataset-fashion-mnist` (Debian, Ubuntu)",
        "torchvision's copy in data/FashionMNIST/raw",
    ),
    network="OpenML",
)
MNIST = Published(
    name="mnist",
    title="MNIST",
    files=FILES,
    folders=("mnist", "MNIST/raw"),
    address="http://yann.lecun.com/exdb/mnist (torchvision lists mirrors)",
    ways=("torchvision's copy in data/MNIST/raw",),
    network="OpenML",
)


def fashion_mnist_arrays(path: str | Path | None = None) -> Arrays:
    """Read Fashion-MNIST: training images and labels, then test images and labels.

    The files are searched in the folder ``$UNLEARNKIT_DATA``, in that of Debian's package
    ``dataset-fashion-mnist``, and in ``data``, ``~/data`` and ``~/.cache``; else they are
    downloaded from OpenML. A folder may contain the four IDX files (``.gz`` or plain) directly, or
    in ``fashion-mnist`` or torchvision's ``FashionMNIST/raw``.

    Args:
        path: the only folder to search; None searches the folders above.

    Raises:
        FileNotFoundError: the files were not found; the message says how to get them.
        ValueError: a checksum differs, so a file is damaged or belongs to another dataset.
    """
    return FASHION_MNIST.get(
        path,
        partial(_read_folder, FASHION_MNIST, FASHION_MNIST_SHA256),
        partial(_download, FASHION_MNIST, FASHION_MNIST_SHA256, "Fashion-MNIST", 40996),
    )


def mnist_arrays(path: str | Path | None = None) -> Arrays:
    """Read MNIST: training images and labels, then test images and labels.

    The same folders as in :func:`fashion_mnist_arrays` are searched, with subfolders ``mnist`` and
    torchvision's ``MNIST/raw``. The download is OpenML's ``mnist_784``.

    Args:
        path: the only folder to search; None searches the default folders.

    Raises:
        FileNotFoundError: the files were not found; the message says how to get them.
        ValueError: a checksum differs, so a file is damaged or belongs to another dataset.
    """
    return MNIST.get(
        path,
        partial(_read_folder, MNIST, MNIST_SHA256),
        partial(_download, MNIST, MNIST_SHA256, "mnist_784", 554),
    )


def read_idx(path: Path, largest: tuple[int, ...] = ()) -> UInt8[np.ndarray, "..."]:
    """Read the array in an IDX file of unsigned bytes (the MNIST format), gzipped or plain.

    The size that the header states is checked first, and no more than it is unpacked.

    Args:
        path: path of the file.
        largest: shape of the largest array to be read; empty for any that fits the file.

    Raises:
        ValueError: the file has another format, its size differs from its header, or the array is
            larger.
    """
    with opened(path) as file:
        start = file.read(4)
        count = start[3] if len(start) == 4 and start[:3] == b"\0\0\x08" else 0
        sizes = file.read(4 * count)
        if not 1 <= count <= MOST_AXES or len(sizes) < 4 * count:
            raise ValueError(
                f"{path} is not an IDX file of unsigned bytes (it starts with "
                f"{start.hex() or '-'}, expected 0000080.); give the folder of the published files"
            )
        found = struct.unpack(f">{count}I", sizes)
        said, most = math.prod(found), most_bytes(path.stat())
        if largest and said > math.prod(largest):
            raise ValueError(f"the header of {path} says shape {found}, expected {largest}")
        raw = file.read(said + 1) if said <= most else b""
    if len(raw) != said:
        holds = f"more than {said}" if len(raw) > said else f"{len(raw)}"
        raise ValueError(
            f"{path} holds {holds if said <= most else f'at most {most}'} bytes, but its header "
            f"{found} says {said}; the file is damaged: fetch it again"
        )
    return np.frombuffer(raw, np.uint8).reshape(found)


def _read_folder(published: Published, sums: Mapping[str, str], folder: Path) -> Arrays | None:
    paths = find_files(folder, tuple(sums))
    if paths is None:
        return None
    return tuple(
        _verified(published, name, sums[name], read_idx(path, SHAPES[name]), str(path))
        for name, path in zip(sums, paths, strict=True)
    )


def _verified(
    published: Published, name: str, expected: str, array: UInt8[np.ndarray, "..."], where: str
) -> UInt8[np.ndarray, "..."]:
    """Return the array after checking that its IDX bytes have the published checksum."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    checksum = hashlib.sha256(header)
    checksum.update(np.ascontiguousarray(array).data)
    if checksum.hexdigest() != expected:
        raise published.damaged(
            where,
            f"shape {array.shape} and sha256 {checksum.hexdigest()[:16]}... of the decompressed "
            f"bytes, expected {SHAPES[name]} and {expected[:16]}...",
        )
    return array


def _download(published: Published, sums: Mapping[str, str], name: str, data_id: int) -> Arrays:
    bunch = from_openml(name, 1, data_id)
    try:
        images = np.asarray(bunch.data).astype(np.uint8).reshape(70_000, 28, 28)
        labels = np.asarray(bunch.target).astype(np.uint8)
    except ValueError as error:  # another shape
        raise OSError(f"OpenML's answer is unusable: {error}") from error
    parts = (images[:60_000], labels[:60_000], images[60_000:], labels[60_000:])
    # The checksums of the files also verify that OpenML's rows are in the published order.
    return tuple(
        _verified(published, file, sums[file], part, f"OpenML's copy of {file}")
        for file, part in zip(sums, parts, strict=True)
    )
