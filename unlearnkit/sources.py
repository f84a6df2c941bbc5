"""Where the files of Fashion-MNIST come from: folders on this machine first, then OpenML.

Plain numpy arrays leave this module; ids, parts and preprocessing are the business of `datasets`.
"""

import gzip
import hashlib
import http.client
import math
import os
import struct
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

T = TypeVar("T")

# Name of each published file without ".gz", its shape, and the sha256 of its decompressed bytes
# (`zcat FILE | sha256sum`): distributions recompress the files, so a checksum of the .gz says
# nothing.
FASHION_MNIST_FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": (
        (60_000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": (
        (60_000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": (
        (10_000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": (
        (10_000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}

# Folders that hold dataset folders: Debian's, then the customary roots of torchvision.
SYSTEM_ROOTS = ("/usr/share/datasets", "data", "~/data", "~/.cache")

OPENML_URL = "https://www.openml.org/api/v1/json/data/40996"
OPENML_PROBE_SECONDS = 5.0
OPENML_DOWNLOAD_SECONDS = 600.0


def fashion_mnist_arrays(path: str | Path | None = None) -> tuple[UInt8[np.ndarray, "..."], ...]:
    """Fashion-MNIST as published: training images and labels, then test images and labels.

    Searched in this order: ``path``; the folder in ``$UNLEARNKIT_DATA``; Debian's package
    ``dataset-fashion-mnist``; torchvision's layout under ``data``, ``~/data`` and ``~/.cache``;
    a download from OpenML. Each folder may hold the four IDX files (``.gz`` or plain) itself, or
    in ``fashion-mnist`` or ``FashionMNIST/raw``.

    Args:
        path: look here and nowhere else.

    Raises:
        FileNotFoundError: found nowhere; the message names every way out.
        ValueError: found, but damaged or another dataset (the checksum differs).
    """
    if path is not None:
        folder = _find_folder([Path(path)])
        if folder is None:
            raise FileNotFoundError(
                f"path={str(path)!r} does not hold Fashion-MNIST; expected the files "
                f"{', '.join(FASHION_MNIST_FILES)} there (plain or .gz), or in its sub-folder "
                "fashion-mnist or FashionMNIST/raw. Without path=, the usual places are searched."
            )
        return _read_folder(folder)
    given = os.environ.get("UNLEARNKIT_DATA")
    roots = [Path(root) for root in ([given] if given else []) + list(SYSTEM_ROOTS)]
    folder = _find_folder(roots)
    return _read_folder(folder) if folder is not None else _download(roots)


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes (LeCun's MNIST format), gzipped or plain.

    Raises:
        ValueError: not such a file, or its size is not what its header says.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or raw[3] == 0 or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes (it starts with {raw[:4].hex() or '-'}, "
            "expected 0000080.); give the folder of the published files"
        )
    start = 4 + 4 * raw[3]
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(raw) - start} bytes, but its header {shape} says "
            f"{math.prod(shape)}; the file is damaged: fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _find_folder(roots: list[Path]) -> Path | None:
    """The first folder under these roots that holds all four files."""
    for root in roots:
        for inner in ("", "fashion-mnist", "FashionMNIST/raw"):
            folder = root.expanduser() / inner
            if all(_find_file(folder, name) is not None for name in FASHION_MNIST_FILES):
                return folder
    return None


def _find_file(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_folder(folder: Path) -> tuple[UInt8[np.ndarray, "..."], ...]:
    arrays = []
    for name in FASHION_MNIST_FILES:
        path = _find_file(folder, name)
        if path is None:
            raise FileNotFoundError(f"{folder / name} vanished while the folder was read")
        arrays.append(_verified(name, read_idx(path), str(path)))
    return tuple(arrays)


def _verified(name: str, array: UInt8[np.ndarray, "..."], where: str) -> UInt8[np.ndarray, "..."]:
    """The array itself, once its IDX bytes have the published checksum."""
    shape, expected = FASHION_MNIST_FILES[name]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    checksum = hashlib.sha256(header)
    checksum.update(np.ascontiguousarray(array).data)
    if checksum.hexdigest() != expected:
        raise ValueError(
            f"{where} is damaged or not Fashion-MNIST: shape {array.shape} and sha256 "
            f"{checksum.hexdigest()[:16]}... of the decompressed bytes, expected {shape} and "
            f"{expected[:16]}...; remove it and fetch {name} again, or load it as your own data "
            "with from_arrays"
        )
    return array


def _download(searched: list[Path]) -> tuple[UInt8[np.ndarray, "..."], ...]:
    """Fashion-MNIST from OpenML (or from scikit-learn's cache of it), within bounded time."""
    try:
        if not _cached():
            _within(OPENML_PROBE_SECONDS, _reach_openml)
        images, labels = _within(OPENML_DOWNLOAD_SECONDS, _fetch_openml)
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"Fashion-MNIST is not on this machine (searched: {', '.join(map(str, searched))}) and "
            f"OpenML did not deliver it ({type(error).__name__}: {error}). Ways out, any of: "
            "`apt install dataset-fashion-mnist` (Debian, Ubuntu); "
            "load('fashion-mnist', path=FOLDER) with the four IDX files of "
            "https://github.com/zalandoresearch/fashion-mnist; the environment variable "
            "UNLEARNKIT_DATA=FOLDER; torchvision's copy in data/FashionMNIST/raw; a network "
            "connection, for the download from OpenML; or load('digits'), which needs no files."
        ) from error
    parts = (images[:60_000], labels[:60_000], images[60_000:], labels[60_000:])
    # The same checksums as for the files: they also hold OpenML's row order to the published one.
    return tuple(
        _verified(name, part, f"OpenML's copy of {name}")
        for name, part in zip(FASHION_MNIST_FILES, parts, strict=True)
    )


def _cached() -> bool:
    """Whether scikit-learn has files of this dataset, so that no network may be needed."""
    home = Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    return any(home.glob("openml/**/fashion-mnist/**/*.gz"))


def _reach_openml() -> None:
    request = urllib.request.Request(OPENML_URL, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=OPENML_PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # an answer, whatever it says: the machine can be reached


def _fetch_openml() -> tuple[UInt8[np.ndarray, "70000 28 28"], UInt8[np.ndarray, " 70000"]]:
    from sklearn.datasets import fetch_openml  # slow to import, seldom needed

    try:
        bunch = fetch_openml(
            name="Fashion-MNIST", version=1, as_frame=False, n_retries=1, delay=0.1
        )
        images = np.asarray(bunch.data).astype(np.uint8).reshape(70_000, 28, 28)
        return images, np.asarray(bunch.target).astype(np.uint8)
    except ValueError as error:  # OpenML's own errors, a damaged download, another shape
        raise OSError(f"OpenML's answer is unusable: {error}") from error


def _within(seconds: float, function: Callable[[], T]) -> T:
    """The function's result, or TimeoutError after so many seconds.

    A daemon thread, because neither name resolution nor fetch_openml takes a time limit, and
    because it must not keep the interpreter from ending (a thread pool would).
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # not swallowed: result() raises it in the caller
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="unlearnkit-openml").start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        # Future.result says nothing of its own; a socket's time-out does.
        raise TimeoutError(str(error) or f"no answer within {seconds:g} seconds") from error
