"""The inventory of the ledger's lines: what a head fixes, and what a forger cannot change."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import CASES
from tampering import altered, offsets, with_ledger, with_manifest
from unlearnkit import DiskStore, Session, StoreError
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.records.inventory import Inventory, fields_of, inventory_of, says_something

CASE = CASES["logistic"]
KEY = b"k"


def line_of(before: Inventory, clean: dict[str, str], queue: object = 0) -> dict[str, Any]:
    return fields_of(before, clean, {}, queue, {"dataset": "d"}, KEY)


def test_lines_name_what_is_added_and_destroyed() -> None:
    first = line_of(Inventory(), {"a": "1", "b": "2"})
    then = Inventory().after(first)
    assert len(first["clean"]) == len(then.files) == 2 and not first["destroyed"]
    second = line_of(then, {"b": "2", "c": "3"})
    assert len(second["clean"]) == len(second["destroyed"]) == 1
    last = inventory_of([first, second])
    assert last.files == Inventory().after(line_of(Inventory(), {"b": "2", "c": "3"})).files
    assert not says_something(last, line_of(last, {"b": "2", "c": "3"}))
    assert says_something(last, line_of(last, {"b": "2", "c": "3"}, queue=1))


def test_a_clean_checkpoint_never_changes() -> None:
    first = line_of(Inventory(), {"a": "1"})
    then = Inventory().after(first)
    gone = then.after(line_of(then, {}))
    with pytest.raises(ValueError, match="another content than before"):
        gone.after(line_of(gone, {"a": "2"}))
    assert gone.after(line_of(gone, {"a": "1"})).files == then.files


def test_a_line_without_inventory_follows_none_with_one() -> None:
    earlier = {"kind": "unlearn"}
    assert not inventory_of([earlier]).known
    with pytest.raises(ValueError, match="lacks its inventory"):
        inventory_of([line_of(Inventory(), {}), earlier])
    with pytest.raises(ValueError, match="format 99"):
        inventory_of([{**line_of(Inventory(), {}), "format": 99}])


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an exact request, a debt, and a request that waits."""
    folder = tmp_path_factory.mktemp("honest") / "store"
    session = CASE.session(store=folder)
    session.train()
    ids = session.plan.partition.ids
    for at, max_share in ((0, 1), (5, 0)):
        session.revoke(ids[at : at + 2])
        session.unlearn(max_share)
    session.revoke(ids[20:22], deadline=timedelta(days=3))
    session.store.close()
    return folder


def head_of(folder: Path) -> str:
    return DiskStore(folder, read_only=True).head


def delete_a_model(folder: Path) -> None:
    store = DiskStore(folder, read_only=True)
    session = CASE.session(store=store)
    shard = next(s for s in range(session.plan.num_shards) if s not in session.debt)
    key = session.plan.final_key(shard)
    path = next(folder.glob(f"shard-*/{key}.safetensors"))
    path.unlink()
    name = f"{path.parent.name}/{path.name}"
    with_manifest(folder, lambda content: content["files"].pop(name))


def put_off(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        queue = content["run"]["queue"]
        text = json.dumps(queue)
        assert "20" in text
        content["run"]["queue"] = json.loads(text.replace('"20', '"21'))

    with_manifest(folder, change)


FORGERIES: dict[str, Callable[[Path], object]] = {
    "weights": lambda folder: altered(folder, offsets("end/")),
    "tail": lambda folder: altered(folder, offsets("1/")),
    "model": delete_a_model,
    "deadline": put_off,
    "struck": lambda folder: with_manifest(
        folder, lambda content: content["run"].update(queue=type(content["run"]["queue"])())
    ),
    "data": lambda folder: with_manifest(
        folder, lambda content: content["run"]["dataset"].update(name="another")
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_a_head_fixes_cannot_be_changed(forgery: str, honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    head = head_of(folder)
    assert "the head given fixes" in list(audit(folder, head))[-1]
    FORGERIES[forgery](folder)
    assert head_of(folder) == head
    with pytest.raises(AuditError, match="ledger records"):
        list(audit(folder, head))


@pytest.mark.parametrize("forgery", ["weights", "deadline"])
def test_a_session_does_not_continue_from_a_forgery(
    forgery: str, honest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    FORGERIES[forgery](folder)
    with pytest.raises(StoreError, match="ledger records"):
        CASE.session(store=folder)


def test_an_outcome_without_its_completion_is_found(honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    head = head_of(folder)

    def append(lines: list[dict[str, Any]]) -> None:
        outcome = next(line for line in lines if line["kind"] == "outcome")
        nothing = {"clean": {}, "approximate": {}, "destroyed": []}
        lines.append({**lines[-1], **nothing, "kind": "outcome", "entry": outcome["entry"]})

    with_ledger(folder, append)
    with pytest.raises(AuditError, match="follows on no completion"):
        list(audit(folder, head))


def test_files_that_were_repaired_away_are_taken_note_of(honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    path = next(p for p in sorted(folder.glob("shard-*/*")) if "approximate" not in p.name)
    path.write_bytes(path.read_bytes()[:-1])
    session = CASE.session(store=DiskStore(folder, repair=True))
    session.store.close()
    assert list(audit(folder, session.store.head))


def test_the_ledger_tells_no_digest_that_depends_on_ids_without_the_key(honest: Path) -> None:
    session: Session = CASE.session(store=DiskStore(honest, read_only=True))
    text = (honest / "ledger.jsonl").read_text()
    certificate = session.certificate().to_json()
    plans = [session.plan, CASE.session().plan]
    plans.append(plans[1].without(session.revoked[:2]))
    digests = {plan.digest for plan in plans} | {key for plan in plans for key in plan.keys}
    lineages = {
        np.packbits(plan.retained[(plan.partition.shard == 0)]).tobytes().hex() for plan in plans
    }
    # Lineages are so short that a keyed digest may contain one by chance.
    parts = {digest[:12] for digest in digests} | {f'"{lineage}"' for lineage in lineages}
    for told in (text, certificate):
        assert not [part for part in parts if part in told]
