"""Stores of earlier versions that kept K-FAC factors beside their checkpoints."""

import base64
import json
from pathlib import Path
from typing import Any

import torch

from cases import CASES
from tampering import recorded_again, sealed, with_manifest
from unlearnkit import DiskStore, Session, TrainSpec
from unlearnkit.records.audit import audit
from unlearnkit.store import Checkpoint
from unlearnkit.store.codec import decode, encode
from unlearnkit.training.spec import SpecWithFactors, as_recorded, spec_from

# Written by the version that last stored factors: a state, a tail, and factors of both.
NAME = "shard-0000/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk.safetensors"
FILE = base64.b64decode(
    "WAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJkaWdlc3QiOiIyM2IxOGZjNTY2ZmM3YzA1NzJlYWUyMmZiZjY1NGEwNGM1"
    "ZWZlNTY3NTM4ZTMxM2Y1YTVjMTZhNmMwZjYyM2JkIiwidW5sZWFybmtpdCI6IntcImZvcm1hdFwiOiAyLCBcInNoYXJk"
    "XCI6IDAsIFwia2luZFwiOiBcImNoZWNrcG9pbnRcIiwgXCJzdGFnZXNcIjogW3tcImtleVwiOiBcImtra2tra2tra2tr"
    "a2tra2tra2tra2tra2tra2tra2trXCIsIFwic3RhZ2VcIjogMiwgXCJ0YWlsc1wiOiBbMV0sIFwibmFtZXNcIjogW1wi"
    "d1wiXSwgXCJsaW5lYWdlXCI6IFwiMDFcIiwgXCJmYWN0b3JzXCI6IHtcIjBcIjogW1wibC5BXCJdLCBcIjFcIjogW1wi"
    "bC5BXCJdfX1dfSJ9LCJlbmQvdyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzAsOF19"
    "LCIxL3ciOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOls4LDE2XX0sImZhY3RvcnMgMC9s"
    "LkEiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOlsxNiwyOF19LCJmYWN0b3JzIDEvbC5B"
    "Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbMjgsNDBdfX0gICAAAIA/AAAAQAAAQEAA"
    "AIBAAACAPwAAAEAAAKBAAADAQAAA4EAAAABB"
)


def with_factors(folder: Path) -> None:
    """Add factors to every clean checkpoint of a store, as earlier versions wrote them."""
    for path in folder.glob("shard-*/*.safetensors"):
        if path.name.startswith("approximate-"):  # never had any
            continue
        old = path.read_bytes()
        length = int.from_bytes(old[:8], "little")
        header, values = json.loads(old[8 : 8 + length]), old[8 + length :]
        index = json.loads(header["__metadata__"]["unlearnkit"])
        (entry,) = index["stages"]
        entry["factors"] = {str(q): ["1.A", "1.S"] for q in (0, *entry["tails"])}
        for q, names in entry["factors"].items():
            for name in names:
                place = [len(values), len(values) + 4 * 6]
                header[f"factors {q}/{name}"] = dict(dtype="F32", shape=[6], data_offsets=place)
                values += torch.rand(6).numpy().tobytes()
        header["__metadata__"]["unlearnkit"] = json.dumps(index)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        new = sealed(len(text).to_bytes(8, "little") + text + values)
        path.write_bytes(new)
        digest = json.loads(new[8 : 8 + len(text)])["__metadata__"]["digest"]
        listed = {f"{path.parent.name}/{path.name}": [len(new), len(values), digest]}
        with_manifest(folder, lambda content, listed=listed: content["files"].update(listed))


def states(checkpoint: Checkpoint) -> dict[str, list[list[float]]]:
    """All numbers of a checkpoint, by the moment they are of."""
    found: dict[Any, dict[str, torch.Tensor]] = {"end": checkpoint.state, **checkpoint.tails}
    return {str(q): [t.tolist() for t in state.values()] for q, state in found.items()}


def test_digests_and_names_are_those_of_earlier_versions() -> None:
    """The constants were printed by the version that last stored factors."""
    spec, old = TrainSpec(), SpecWithFactors(kfac_examples=9)
    assert spec.digest == "f07a1e0de14bd1b1f900c47ef1728f5d"
    assert old.digest == "e1a0953c4997f5eaef400208a4c732da"
    assert repr(old) == repr(spec)[:-1] + ", kfac_examples=9)"
    assert spec_from(old.to_dict()) == old and spec_from(spec.to_dict()) == spec
    assert as_recorded(spec, repr(old)) == as_recorded(old, repr(old)) == old
    for other in (None, repr(spec), repr(old.with_(seed=1)), repr(old).replace("9)", "-9)")):
        assert as_recorded(spec, other) == spec


def test_a_file_with_factors_is_read_without_them() -> None:
    checkpoint, digest = decode(NAME, FILE)
    assert isinstance(checkpoint, Checkpoint) and digest in FILE.decode("latin1")
    assert (checkpoint.shard, checkpoint.stage, checkpoint.lineage) == (0, 2, b"\1")
    assert states(checkpoint) == {"end": [[1.0, 2.0]], "1": [[3.0, 4.0]]}
    assert b"factors" in FILE and b"factors" not in b"".join(encode(checkpoint)[0])


def test_a_store_with_factors_goes_on_under_its_keys(tmp_path: Path) -> None:
    case = CASES["logistic"]
    old = case.session(store=tmp_path, spec=spec_from({**case.spec.to_dict(), "kfac_examples": 8}))
    old.train()
    old.revoke(old.plan.partition.ids[:2])
    old.unlearn(0, amend="none")
    old.store.close()
    with_factors(tmp_path)
    recorded_again(tmp_path)
    head = DiskStore(tmp_path, read_only=True).head
    files = {path: path.read_bytes() for path in tmp_path.glob("shard-*/*")}
    assert sum(b"factors" in data for data in files.values()) == len(old.store.keys)

    session: Session = case.session(store=tmp_path)
    assert session.plan.digest == old.plan.digest and session.store.keys == old.store.keys
    assert session.debt.keys() == old.debt.keys() and session.store.head == head
    assert session.train().visits == 0
    assert session.ensemble.digest == old.ensemble.digest
    assert {path: path.read_bytes() for path in tmp_path.glob("shard-*/*")} == files
    assert "kfac" not in session.to_script()
    shard = min(checkpoint.shard for checkpoint in map(session.store.get, session.store.keys))
    session.repay()
    partition = session.plan.partition
    session.revoke(partition.ids[(partition.shard == shard) & (partition.slice_ == 2)][:1])
    session.unlearn(0, method="kfac", amend="none")
    session.store.close()
    assert list(audit(tmp_path, session.store.head, dataset=case.dataset(), spec=case.spec))
    assert list(audit(tmp_path, session.store.head, dataset=case.dataset()))
    kept = [path for path in tmp_path.glob("shard-*/*") if b"factors" in path.read_bytes()]
    # A file keeps its factors for as long as it stays: here that of the first slice.
    assert [path.stem for path in kept] == [old.plan.chains[shard][0].key]
