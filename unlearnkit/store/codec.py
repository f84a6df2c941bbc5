"""The file format of checkpoints and approximations: encoding, decoding and file names.

A checkpoint or an approximation is one safetensors file. Its header starts with the SHA-256 of all
other bytes of the file, so that incomplete and altered files are detected before they are used.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearnkit.store.checkpoint import Approximation, Checkpoint, State

FORMAT = 2
CLEAN, APPROXIMATE = "checkpoint", "approximation"
NAME = re.compile(r"shard-(\d{4,9})/(approximate-)?([0-9A-Za-z]{1,64})\.safetensors")
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
    torch.complex64: "C64",
}
_DTYPES = {kind: dtype for dtype, kind in _KINDS.items()}


def name_of(kept: Checkpoint | Approximation) -> str:
    """Return the file name of a checkpoint or approximation, relative to the store's folder.

    Raises:
        ValueError: the key cannot be part of a file name.
    """
    approximate = isinstance(kept, Approximation)
    key = kept.base if isinstance(kept, Approximation) else kept.key
    if not KEY.fullmatch(key):
        raise ValueError(f"key {key!r} cannot name a file; use 1 to 64 letters and digits")
    return f"shard-{kept.shard:04d}/{'approximate-' if approximate else ''}{key}.safetensors"


def encode(kept: Checkpoint | Approximation) -> tuple[list[memoryview], str]:
    """Return the bytes of a file, in pieces that share memory with the tensors, and their digest.

    Raises:
        TypeError: a tensor has a dtype that a store cannot keep.
    """
    tensors: dict[str, Tensor] = {}
    index: dict[str, Any] = {"format": FORMAT, "shard": kept.shard}
    if isinstance(kept, Approximation):
        stages = [_describe(c, f"{r}/", tensors) for r, c in sorted(kept.checkpoints.items())]
        index |= {"kind": APPROXIMATE, "base": kept.base, "method": kept.method, "stages": stages}
        index["debt"] = kept.debt.tolist()
    else:
        index |= {"kind": CLEAN, "stages": [_describe(kept, "", tensors)]}
    meta: dict[str, Any] = {"__metadata__": {"digest": "0" * 64, "unlearnkit": json.dumps(index)}}
    head, pieces = layout(tensors, meta)
    hasher = hashlib.sha256(head[: _DIGEST.start])
    hasher.update(head[_DIGEST.stop :])
    for piece in pieces:
        hasher.update(piece)
    head[_DIGEST] = hasher.hexdigest().encode()
    return [memoryview(head), *pieces], hasher.hexdigest()


def layout(
    tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> tuple[bytearray, list[memoryview]]:
    """Return the head of a safetensors file, and the tensors' bytes, which share their memory.

    Args:
        tensors: the tensors by name.
        meta: first entries of the header.

    Raises:
        TypeError: a tensor has a dtype that a file cannot hold.
    """
    header, pieces, end = dict(meta), [], 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        pieces.append(flat.numpy().data)
        begin, end = end, end + flat.numel()
        if tensor.dtype not in _KINDS:
            raise TypeError(
                f"{name} has dtype {tensor.dtype}, which a store cannot keep; convert it, for "
                "example to float32"
            )
        kind, shape = _KINDS[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return bytearray(len(text).to_bytes(8, "little") + text), pieces


def decode(name: str, data: bytes) -> tuple[Checkpoint | Approximation, str]:
    """Decode the bytes of a file; return its contents and its digest.

    Raises:
        ValueError: the contents do not match the digest, the format or the name. Damaged files can
            raise other errors of the readers too.
    """
    header, tensors, found = _read(data)
    index = json.loads(header["__metadata__"]["unlearnkit"])
    shard, entries = _whole(index["shard"]), index["stages"]
    if index["format"] != FORMAT:
        raise ValueError(f"it has format {index['format']!r}, not {FORMAT}")
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
        raise ValueError(f"it holds {len(tensors)} tensors that its index does not list")
    if name_of(kept) != name:
        raise ValueError(f"it belongs at {name_of(kept)}")
    return kept, found


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return the header of a file, its tensors, and its digest, which is checked.

    Each tensor is copied once, into separate memory with the alignment that torch would choose,
    since the bits of results can depend on it.

    Raises:
        ValueError: the contents do not match the digest.
    """
    view = memoryview(data)
    found = bytes(view[_DIGEST]).decode("ascii", "replace")
    hasher = hashlib.sha256(view[: _DIGEST.start])
    hasher.update(view[_DIGEST.stop :])
    if bytes(view[8 : _DIGEST.start]) != _OPENING or found != hasher.hexdigest():
        raise ValueError("its content does not match its digest")
    begin = 8 + int.from_bytes(view[:8], "little")
    header: dict[str, Any] = json.loads(bytes(view[8:begin]))
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = (begin + _whole(offset) for offset in entry["data_offsets"])
        shape = [_whole(length) for length in entry["shape"]]
        flat = torch.empty(math.prod(shape), dtype=_DTYPES[entry["dtype"]])
        if last - first != flat.nbytes or last > len(view):
            raise ValueError(f"{name} does not have the bytes of its shape")
        flat.view(torch.uint8).numpy()[:] = np.frombuffer(view[first:last], np.uint8)
        tensors[name] = flat.view(shape)
    return header, tensors, found


def _describe(checkpoint: Checkpoint, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return the index entry of a checkpoint, and add its tensors under the prefix."""
    for label, state in (("end", checkpoint.state), *checkpoint.tails.items()):
        for name, tensor in state.items():
            tensors[f"{prefix}{label}/{name}"] = tensor
    entry = {
        "key": checkpoint.key,
        "stage": checkpoint.stage,
        "tails": list(checkpoint.tails),
        "names": list(checkpoint.state),
        "lineage": checkpoint.lineage.hex(),
    }
    return {**entry, "witness": checkpoint.witness} if checkpoint.witness else entry


def _restore(
    entry: dict[str, Any], prefix: str, shard: int, tensors: dict[str, Tensor]
) -> Checkpoint:
    """Rebuild the checkpoint of an index entry, and remove its tensors from the dict."""

    def take(label: str, names: Iterable[str]) -> State:
        return {str(name): tensors.pop(f"{prefix}{label}/{name}") for name in names}

    key, stage, names = str(entry["key"]), _whole(entry["stage"]), entry["names"]
    state, tails = take("end", names), {_whole(q): take(str(q), names) for q in entry["tails"]}
    # Earlier versions could store K-FAC factors beside the states. Nothing reads them any more.
    for q, factors in entry.get("factors", {}).items():
        for name in factors:
            del tensors[f"{prefix}factors {q}/{name}"]
    lineage, witness = bytes.fromhex(entry["lineage"]), str(entry.get("witness", ""))
    return Checkpoint(key, shard, stage, state, tails, lineage, witness)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is not a count")
    return value
