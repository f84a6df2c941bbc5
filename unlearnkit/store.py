"""Stores: where checkpoints live, in memory or in a folder. The only file that touches disk.

Clean checkpoints are found by stage key. Approximate ones live in a key space of their own that a
plan never reads as present: an :class:`Approximation` stands for a shard under the final key of the
plan whose retain set it approximates, and names its debt.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Int
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from unlearnkit.seeding import digest, state_bytes

State = dict[str, Tensor]
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and buffers at the end of a stage.

    Attributes:
        key: of the stage.
        shard: 0-based.
        stage: 1-based.
        state: at the end of the stage.
        tails: of stage R only, the states q epochs before its end, by q.
    """

    key: str
    shard: int
    stage: int
    state: State
    tails: dict[int, State]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        states = (self.state, *self.tails.values())
        return sum(tensor.nbytes for state in states for tensor in state.values())


@dataclass(frozen=True, eq=False)
class Approximation:
    """A shard whose parameters were modified instead of retrained.

    Attributes:
        shard: 0-based.
        base: final stage key of the plan that exact retraining would fulfil.
        debt: ids removed approximately and not yet exactly, ascending.
        checkpoints: corrected checkpoints by stage, from the first affected stage to R.
        method: in words.
    """

    shard: int
    base: str
    debt: Int[np.ndarray, " debt"]
    checkpoints: dict[int, Checkpoint]
    method: str


class Store(Protocol):
    """What the engine needs of a store."""

    def __contains__(self, key: object) -> bool:
        """Whether a clean checkpoint of this key is there."""
        ...

    def get(self, key: str) -> Checkpoint:
        """The clean checkpoint of this key; KeyError if it is not there."""
        ...

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint."""
        ...

    def approximation(self, base: str) -> Approximation | None:
        """The approximation that stands for this final key, if any."""
        ...

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation beside what is there."""
        ...

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy every clean key and every approximation's base key not listed; count them."""
        ...


class MemoryStore:
    """A store in memory."""

    def __init__(self) -> None:
        """Start empty."""
        self._clean: dict[str, Checkpoint] = {}
        self._approximate: dict[str, Approximation] = {}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self._clean)} checkpoints, "
            f"{len(self._approximate)} approximate shards, {self.nbytes / 1e6:.1f} MB)"
        )

    def __contains__(self, key: object) -> bool:
        return key in self._clean

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all clean checkpoints."""
        return frozenset(self._clean)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors kept."""
        approximate = (c for a in self._approximate.values() for c in a.checkpoints.values())
        return sum(c.nbytes for c in (*self._clean.values(), *approximate))

    def get(self, key: str) -> Checkpoint:
        """The clean checkpoint of this key; KeyError if it is not there."""
        return self._clean[key]

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint."""
        self._clean[checkpoint.key] = checkpoint
        self._flush(checkpoint.shard)

    def approximation(self, base: str) -> Approximation | None:
        """The approximation that stands for this final key, if any."""
        return self._approximate.get(base)

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation beside what is there."""
        self._approximate[approximation.base] = approximation
        self._flush(approximation.shard)

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy every clean key and every approximation's base key not listed; count them."""
        keep_clean, keep_approximate = set(clean), set(approximate)
        old_clean = [c for key, c in self._clean.items() if key not in keep_clean]
        old_approximate = [a for b, a in self._approximate.items() if b not in keep_approximate]
        for checkpoint in old_clean:
            del self._clean[checkpoint.key]
        for approximation in old_approximate:
            del self._approximate[approximation.base]
        touched = {c.shard for c in old_clean} | {a.shard for a in old_approximate}
        for shard in sorted(touched):
            self._flush(shard)
        return len(old_clean) + len(old_approximate)

    def fork(self) -> "MemoryStore":
        """A copy in memory that shares the tensors, which nobody writes to."""
        other = MemoryStore()
        other._clean, other._approximate = dict(self._clean), dict(self._approximate)
        return other

    def _flush(self, shard: int) -> None:
        """Nothing to do in memory."""


class StoreError(ValueError):
    """A store that is damaged, or of another run."""


class DiskStore(MemoryStore):
    """A store in a folder: one safetensors file a shard, replaced atomically, and a manifest.

    The manifest names the run that the store belongs to and the completed requests; replacing it
    is the moment at which an unlearning takes effect.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a folder, or make it.

        Raises:
            StoreError: a file in it cannot be read.
        """
        super().__init__()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".writing-*"):
            leftover.unlink()
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            self._read(path)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the store says of itself; None in a new one."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return None
        try:
            manifest = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise StoreError(
                f"{path} is damaged ({error}); restore it from a copy, or use another folder"
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise StoreError(f"{path} is not of format {FORMAT}; use another folder")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest, all at once."""
        text = json.dumps({"format": FORMAT, **manifest}, indent=1)
        _replace(self.folder / "manifest.json", text.encode())

    def _flush(self, shard: int) -> None:
        clean = [c for c in self._clean.values() if c.shard == shard]
        approximate = [a for a in self._approximate.values() if a.shard == shard]
        path = self.folder / f"shard-{shard:04d}.safetensors"
        if not clean and not approximate:
            path.unlink(missing_ok=True)
            return
        index: dict[str, Any] = {"clean": [], "approximate": []}
        tensors: dict[str, Tensor] = {}
        for checkpoint in clean:
            index["clean"].append(_describe(checkpoint, checkpoint.key, tensors))
        for a in approximate:
            entries = [
                _describe(_copy(c), f"approximate-{a.base}-{r}", tensors)
                for r, c in sorted(a.checkpoints.items())
            ]
            index["approximate"].append(
                {"base": a.base, "debt": a.debt.tolist(), "method": a.method, "stages": entries}
            )
        text = json.dumps({"format": FORMAT, "shard": shard, **index})
        metadata = {"unlearnkit": text, "digest": _content_digest(text, tensors)}
        _replace(path, save(tensors, metadata))

    def _read(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if metadata["digest"] != _content_digest(metadata["unlearnkit"], tensors):
                raise ValueError("its content does not match its digest")
            index = json.loads(metadata["unlearnkit"])
            shard = int(index["shard"])
            for entry in index["clean"]:
                checkpoint = _restore(entry, entry["key"], shard, tensors)
                self._clean[checkpoint.key] = checkpoint
            for entry in index["approximate"]:
                base, stages = str(entry["base"]), entry["stages"]
                checkpoints = {
                    int(e["stage"]): _restore(e, f"approximate-{base}-{e['stage']}", shard, tensors)
                    for e in stages
                }
                debt = np.asarray(entry["debt"], np.int64)
                self._approximate[base] = Approximation(
                    shard, base, debt, checkpoints, str(entry["method"])
                )
        except Exception as error:  # any of the reader's errors means one thing to the user
            raise StoreError(
                f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or "
                "delete this file to have its shard trained again"
            ) from error


def _content_digest(index: str, tensors: dict[str, Tensor]) -> str:
    """Over everything in a file: safetensors itself would not notice a flipped bit."""
    return digest(index, state_bytes(dict(sorted(tensors.items()))))


def _copy(checkpoint: Checkpoint) -> Checkpoint:
    """With tensors of its own: rounds may share a checkpoint, which safetensors refuses."""
    state, *tails = (
        {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in one.items()}
        for one in (checkpoint.state, *checkpoint.tails.values())
    )
    return replace(checkpoint, state=state, tails=dict(zip(checkpoint.tails, tails, strict=True)))


def _describe(checkpoint: Checkpoint, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The index entry of a checkpoint; its tensors are added under the prefix."""
    for label, state in (("end", checkpoint.state), *checkpoint.tails.items()):
        for name, tensor in state.items():
            tensors[f"{prefix}/{label}/{name}"] = tensor
    return {
        "key": checkpoint.key,
        "stage": checkpoint.stage,
        "tails": list(checkpoint.tails),
        "names": list(checkpoint.state),
    }


def _restore(
    entry: dict[str, Any], prefix: str, shard: int, tensors: dict[str, Tensor]
) -> Checkpoint:
    names = entry["names"]
    read = {
        label: {name: tensors[f"{prefix}/{label}/{name}"] for name in names}
        for label in ("end", *entry["tails"])
    }
    state = read.pop("end")
    tails = {int(label): tail for label, tail in read.items()}
    return Checkpoint(str(entry["key"]), shard, int(entry["stage"]), state, tails)


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, whatever happens."""
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
