"""Who shaped what a store's folder holds: read from the files alone, by code of its own."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

OTHERS = (
    *("manifest.json", "ledger.jsonl", "partition.safetensors", "secret.key"),
    *("holder.json", "store.lock"),
)


@dataclass(frozen=True)
class Artefact:
    """One checkpoint in a file: its place, the bits of its pool, and the debt it declares."""

    path: Path
    shard: int
    stage: int
    bits: np.ndarray
    debt: frozenset[int]
    clean: bool


def parse(path: Path) -> list[Artefact]:
    """The artefacts of a file whose digest is right; ValueError if it is not."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    begin = data.index(metadata["digest"].encode())
    if hashlib.sha256(data[:begin] + data[begin + 64 :]).hexdigest() != metadata["digest"]:
        raise ValueError(f"{path}: wrong digest")
    index = json.loads(metadata["unlearnkit"])
    return [
        Artefact(
            path,
            index["shard"],
            entry["stage"],
            np.unpackbits(np.frombuffer(bytes.fromhex(entry["lineage"]), np.uint8)).astype(bool),
            frozenset(index.get("debt", ())),
            index["kind"] == "checkpoint",
        )
        for entry in index["stages"]
    ]


def artefacts(folder: Path) -> list[Artefact]:
    """All artefacts of a folder; a file that has no business there is an AssertionError."""
    found: list[Artefact] = []
    for path in sorted(p for p in folder.rglob("*") if not p.is_dir()):
        if path.name in OTHERS:
            continue
        assert path.suffix == ".safetensors", f"what is {path}?"
        found += parse(path)
    return found


def shaped_by(artefact: Artefact, ids: np.ndarray, shard: np.ndarray, slices: np.ndarray) -> set:
    """Ids in the lineage of an artefact, by the partition (ids, shard and slice of each)."""
    pool = np.sort(ids[(shard == artefact.shard) & (slices <= artefact.stage)])
    assert len(artefact.bits) == -(-len(pool) // 8) * 8, "a bit for each example of the pool"
    assert not artefact.bits[len(pool) :].any()
    return set(pool[artefact.bits[: len(pool)]].tolist())


def declared(folder: Path, ids: np.ndarray, shard: np.ndarray) -> dict[int, set[int]]:
    """Debts by shard as the committed lines of the ledger tell them, taken up and repaid."""
    debts: dict[int, set[int]] = {}
    if not (folder / "manifest.json").exists():
        return debts
    ledger = json.loads((folder / "manifest.json").read_text())["content"]["ledger"]
    text = (folder / "ledger.jsonl").read_bytes()[: ledger["size"]] if ledger["size"] else b""
    for line in map(json.loads, text.splitlines()):
        for route in line.get("routes", ()):
            at = route["shard"]
            if route["kind"] == "approximate":
                members = set(ids[shard == at].tolist())
                debts[at] = debts.get(at, set()) | members & set(line["ids"])
            else:
                debts.pop(at, None)
    return debts
