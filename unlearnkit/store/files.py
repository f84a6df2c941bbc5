"""Files of a store: what stands in them, and how they are written, read and believed.

A checkpoint, or an approximation, is one safetensors file. Its header opens with a SHA-256 of every
other byte of the file, so that a torn or altered file is known as such. Nothing is believed before
that digest has been checked, and nothing is read through a symbolic link.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from unlearnkit.store.memory import Approximation, Checkpoint, State

FORMAT = 2
SYNC_THREADS = 8
EARLY_BYTES = 128 << 10  # small files are quicker synced all at once
JOINED_BYTES = 4 << 20
CLEAN, APPROXIMATE = "checkpoint", "approximation"
WRITING = ".writing-"  # prefix of files that are not complete yet
NAME = re.compile(r"shard-(\d{4,9})/(approximate-)?([0-9A-Za-z]{1,64})\.safetensors")
FOLDER = re.compile(r"shard-(\d{4,9})")
KEY = re.compile(r"[0-9A-Za-z]{1,64}")

_OPENING = b'{"__metadata__":{"digest":"'
_DIGEST = slice(8 + len(_OPENING), 8 + len(_OPENING) + 64)
_KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_DENSE = 64 << 20  # a larger file must fill a quarter of its size on disk: a sparse one is a trap


class StoreError(ValueError):
    """A store that is damaged, in use, or of another run."""


class StoreInUseError(StoreError):
    """A store that another process holds."""


class StoreIOError(OSError):
    """A store that cannot be read or written now: the disk is full, or permission is lacking."""


def broken(path: Path, error: Exception) -> StoreError:
    """The error of a damaged file that belongs to the store as a whole."""
    return StoreError(
        f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or use "
        "another folder"
    )


def is_missing(error: OSError) -> bool:
    """Whether a file is not there, or is a symbolic link; else it may be whole."""
    return error.errno in (errno.ENOENT, errno.ELOOP)


@contextlib.contextmanager
def telling(folder: Path, what: str) -> Iterator[None]:
    """Say what could not be done to a store, where an operation fails.

    Raises:
        StoreIOError: one failed.
    """
    try:
        yield
    except StoreIOError:
        raise
    except OSError as error:
        raise StoreIOError(
            error.errno,
            f"the store in {folder} could not be {what} ({error}); what it held stands. "
            "Free some space or mend the permissions, and do it again",
        ) from error


def name_of(kept: Checkpoint | Approximation) -> str:
    """The file of a checkpoint or an approximation, below the store's folder.

    Raises:
        ValueError: a key that cannot be a file's name.
    """
    approximate = isinstance(kept, Approximation)
    key = kept.base if isinstance(kept, Approximation) else kept.key
    if not KEY.fullmatch(key):
        raise ValueError(f"key {key!r} cannot name a file; use 1 to 64 letters and digits")
    return f"shard-{kept.shard:04d}/{'approximate-' if approximate else ''}{key}.safetensors"


def encode(kept: Checkpoint | Approximation) -> tuple[list[memoryview], str]:
    """The bytes of a file, in pieces that share memory with the tensors, and their digest."""
    tensors: dict[str, Tensor] = {}
    index: dict[str, Any] = {"format": FORMAT, "shard": kept.shard}
    if isinstance(kept, Approximation):
        stages = [_describe(c, f"{r}/", tensors) for r, c in sorted(kept.checkpoints.items())]
        index |= {"kind": APPROXIMATE, "base": kept.base, "method": kept.method, "stages": stages}
        index["debt"] = kept.debt.tolist()
    else:
        index |= {"kind": CLEAN, "stages": [_describe(kept, "", tensors)]}
    header: dict[str, Any] = {"__metadata__": {"digest": "0" * 64, "unlearnkit": json.dumps(index)}}
    pieces, end = [], 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        pieces.append(flat.numpy().data)
        begin, end = end, end + flat.numel()
        if tensor.dtype not in _KINDS:
            raise TypeError(f"{name} is of {tensor.dtype}, which a store does not keep")
        kind, shape = _KINDS[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = bytearray(len(text).to_bytes(8, "little") + text)
    hasher = hashlib.sha256(head[: _DIGEST.start])
    hasher.update(head[_DIGEST.stop :])
    for piece in pieces:
        hasher.update(piece)
    head[_DIGEST] = hasher.hexdigest().encode()
    return [memoryview(head), *pieces], hasher.hexdigest()


def decode(name: str, data: bytes) -> tuple[Checkpoint | Approximation, str]:
    """What a file holds, and its digest.

    Raises:
        ValueError, and others of the readers: it is not what its name and digest say.
    """
    view = memoryview(data)
    found = bytes(view[_DIGEST]).decode("ascii", "replace")
    hasher = hashlib.sha256(view[: _DIGEST.start])
    hasher.update(view[_DIGEST.stop :])
    if bytes(view[8 : _DIGEST.start]) != _OPENING or found != hasher.hexdigest():
        raise ValueError("its content does not match its digest")
    length = int.from_bytes(view[:8], "little")
    index = json.loads(json.loads(bytes(view[8 : 8 + length]))["__metadata__"]["unlearnkit"])
    tensors = load(data)
    shard, entries = _whole(index["shard"]), index["stages"]
    if index["format"] != FORMAT:
        raise ValueError(f"it is of format {index['format']!r}, not {FORMAT}")
    kept: Checkpoint | Approximation
    if index["kind"] == CLEAN:
        (entry,) = entries
        kept = _restore(entry, "", shard, tensors)
    else:
        checkpoints = {
            _whole(e["stage"]): _restore(e, f"{_whole(e['stage'])}/", shard, tensors)
            for e in entries
        }
        debt = np.asarray([_whole(one) for one in index["debt"]], np.int64)
        kept = Approximation(shard, str(index["base"]), debt, checkpoints, str(index["method"]))
    if tensors:
        raise ValueError(f"it holds {len(tensors)} tensors that it does not list")
    if name_of(kept) != name:
        raise ValueError(f"it belongs at {name_of(kept)}")
    return kept, found


def _describe(checkpoint: Checkpoint, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The index entry of a checkpoint; its tensors are added under the prefix."""
    factors = {f"factors {q}": kept for q, kept in checkpoint.factors.items()}
    states = (("end", checkpoint.state), *checkpoint.tails.items(), *factors.items())
    for label, state in states:
        for name, tensor in state.items():
            tensors[f"{prefix}{label}/{name}"] = tensor
    entry = {
        "key": checkpoint.key,
        "stage": checkpoint.stage,
        "tails": list(checkpoint.tails),
        "names": list(checkpoint.state),
        "lineage": checkpoint.lineage.hex(),
    }
    if factors:  # files without any are as they were before there were any
        entry["factors"] = {str(q): list(kept) for q, kept in checkpoint.factors.items()}
    return entry


def _restore(
    entry: dict[str, Any], prefix: str, shard: int, tensors: dict[str, Tensor]
) -> Checkpoint:
    """The checkpoint of an index entry; its tensors are taken out."""

    def take(label: str, names: Iterable[str]) -> State:
        # Cloned to where torch would have put them: bits can depend on the alignment.
        return {str(name): tensors.pop(f"{prefix}{label}/{name}").clone() for name in names}

    key, stage, names = str(entry["key"]), _whole(entry["stage"]), entry["names"]
    state, tails = take("end", names), {_whole(q): take(str(q), names) for q in entry["tails"]}
    kept = entry.get("factors", {}).items()
    factors = {_whole(int(q)): take(f"factors {q}", some) for q, some in kept}
    return Checkpoint(key, shard, stage, state, tails, bytes.fromhex(entry["lineage"]), factors)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is not a count")
    return value


# Reading


def scan(folder: Path) -> Iterator[tuple[str, int]]:
    """Names and sizes of a store's checkpoint files; what is not named like one is let be.

    Raises:
        StoreError: one of them is no regular file, or a shard's folder is none.
    """
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if not FOLDER.fullmatch(entry.name):
            continue
        if not entry.is_dir(follow_symlinks=False):
            raise StoreError(f"{entry.path} is not a folder of this store; remove it")
        for file in sorted(os.scandir(entry.path), key=lambda e: e.name):
            name = f"{entry.name}/{file.name}"
            if NAME.fullmatch(name):
                if not file.is_file(follow_symlinks=False):
                    raise StoreError(f"{file.path} is not a regular file; remove it")
                yield name, file.stat(follow_symlinks=False).st_size


def unfinished(folder: Path) -> Iterator[Path]:
    """Files that an interrupted writer left."""
    inner = [e for e in os.scandir(folder) if FOLDER.fullmatch(e.name)]
    folders = [folder, *(Path(e.path) for e in inner if e.is_dir(follow_symlinks=False))]
    for one in folders:
        yield from (Path(e.path) for e in os.scandir(one) if e.name.startswith(WRITING))


def read(path: Path, expected: int | None = None) -> bytes:
    """A whole regular file, if it is of the expected size.

    Raises:
        OSError: it cannot be read, or is a symbolic link.
        ValueError: it is something else than a file of that size.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if expected is not None and status.st_size != expected:
            raise ValueError(f"it has {status.st_size} bytes, and {expected} were written")
        if status.st_size > max(_DENSE, 4 * 512 * getattr(status, "st_blocks", 2**53)):
            raise ValueError(f"it claims {status.st_size} bytes, most of which are not on disk")
        return file.read(status.st_size)


# Writing


def replace_file(
    path: Path,
    pieces: Sequence[memoryview | bytes],
    *,
    sync: bool,
    mode: int = 0o666,
) -> None:
    """Write a file so that a reader sees the old content or the new, whatever happens.

    Without ``sync`` that holds for the death of the process; a power cut may tear the new content.
    """
    temporary = path.with_name(WRITING + path.name)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(temporary, flags, mode)
        try:
            for piece in _joined(pieces):
                write(handle, piece)
            if sync:
                os.fsync(handle)
            elif os.fstat(handle).st_size >= EARLY_BYTES:
                _begin_to_sync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_path(path.parent)


def _begin_to_sync(handle: int) -> None:
    """Let the device begin, without waiting for it, so that a commit has less to wait for.

    A hint that Linux takes so: of what it is told that nobody needs in memory, it begins to write
    what is not on the device yet.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_path(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the device."""
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_paths(paths: Iterable[Path]) -> None:
    """Wait until files, and the names in folders, are on the device: several at a time.

    File systems then write for many at once (measured: 121 small ones in .018 s, not .3 s).

    Raises:
        OSError: one of them is not.
    """
    left, errors = deque(paths), list[OSError]()

    def work() -> None:
        with contextlib.suppress(IndexError):  # there are no more
            while True:
                path = left.popleft()
                try:
                    sync_path(path)
                except OSError as error:
                    errors.append(error)

    threads = [Thread(target=work) for _ in range(min(SYNC_THREADS, len(left)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _joined(pieces: Sequence[memoryview | bytes]) -> Sequence[memoryview | bytes]:
    """Small pieces become one, which a single call writes."""
    return [b"".join(pieces)] if sum(map(len, pieces)) < JOINED_BYTES else pieces


def write(handle: int, data: memoryview | bytes) -> None:
    """All of it."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(handle, view) :]
