"""The manifest: what it lists is what was committed, and a damaged one is refused."""

import json
from pathlib import Path

import pytest

from cases import CASES
from unlearnkit import StoreError
from unlearnkit.store.manifest import File, Manifest

CASE = CASES["logistic"]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 99})])
def test_a_damaged_manifest_is_refused(text: str, tmp_path: Path) -> None:
    CASE.session(store=tmp_path).train()
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest.json is (damaged|not of format 2)"):
        CASE.session(store=tmp_path)


def test_a_manifest_reads_what_was_committed_and_unlinks_what_is_to_go(tmp_path: Path) -> None:
    kept, gone = "shard-0000/a.safetensors", "shard-0000/b.safetensors"
    (tmp_path / "shard-0000").mkdir()
    for name in (kept, gone):
        (tmp_path / name).write_bytes(b"contents")
    manifest = Manifest(tmp_path)
    assert manifest.read() == set() and manifest.run is None
    manifest.unsynced = {kept, gone}
    files = {name: File(8, 4, name) for name in (kept, gone)}
    manifest.commit({"spec": "x"}, files, [{"n": 1}])
    manifest.to_unlink = {gone}
    manifest.commit(None, {kept: files[kept]}, [{"n": 2}])
    assert (tmp_path / kept).exists() and not (tmp_path / gone).exists()
    again = Manifest(tmp_path)
    assert again.read() == {gone}  # listed until another commit
    assert again.run == {"spec": "x"} and again.listed == {kept: files[kept]}
    assert again.ledger == manifest.ledger and again.ledger.lines == 2
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"spec": "x"', '"spec": "y"'))
    with pytest.raises(StoreError, match="its content does not match its digest"):
        Manifest(tmp_path).read()
