"""Files made by somebody else: whatever they hold, one error, and nothing outside is touched.

``UNLEARNKIT_FUZZ=20000`` tries that many inputs for each format.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import CASES
from tampering import at_most, sealed, with_ledger, with_lines, with_manifest
from unlearnkit import DiskStore, StoreError
from unlearnkit.records.audit import audit
from unlearnkit.store import Approximation, Checkpoint, StoreIOError

EXAMPLES = int(os.environ.get("UNLEARNKIT_FUZZ", "150"))

FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

pytestmark = pytest.mark.timeout(120 + EXAMPLES // 10)

SECRET = b"the contents of a file outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a clean checkpoint and an approximation, beside a file that is none of its."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.safetensors").write_bytes(SECRET)
    make(tmp_path / "store")
    return tmp_path / "store"


def clean_file(folder: Path) -> Path:
    return folder / "shard-0000" / "aaaaaaaa.safetensors"


def approximate_file(folder: Path) -> Path:
    return folder / "shard-0001" / "approximate-bbbbbbbb.safetensors"


def use(folder: Path) -> None:
    """Open the store and read all there is."""
    store = DiskStore(folder)
    try:
        store.verify()
        for key in store.keys:
            store.get(key)
        store.fork()
    finally:
        store.close()


def outside(folder: Path) -> dict[str, bytes]:
    other = folder.parent / "outside"
    return {path.name: path.read_bytes() for path in other.glob("*")}


def refuses(folder: Path, match: str) -> None:
    with pytest.raises(StoreError, match=match):
        use(folder)
    assert outside(folder) == {"secret.safetensors": SECRET}


def plant(kind: str, path: Path, folder: Path) -> None:
    """Put something under the name of a store's file that is not one."""
    target = folder.parent / "outside" / "secret.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(target, path)
    elif kind == "symbolic link":
        path.symlink_to(target)
    else:
        path.mkdir()


def uncommitted(folder: Path) -> None:
    """Without a manifest every file is looked at when the store is opened."""
    (folder / "manifest.json").unlink()


def test_the_files_are_safetensors_that_others_can_read(folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(clean_file(folder))
    assert set(tensors) == {"end/w", "end/n", "1/w", "1/n"}
    assert torch.equal(tensors["end/w"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.safetensors",
        "/etc/passwd",
        "shard-0000/../../outside/secret.safetensors",
        "shard-0000/x/y.safetensors",
        "shard-0000/aaaaaaaa.safetensors\n",
        "",
    ],
)
@pytest.mark.parametrize("part", ["files", "destroy"])
def test_names_that_lead_outside_are_refused(name: str, part: str, folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        if part == "files":
            content["files"][name] = [len(SECRET), 1, "0" * 64]
        else:
            content["destroy"] = [name]

    with_manifest(folder, change)
    refuses(folder, "manifest.json is damaged .*is not the name of a store's file")


def test_keys_that_lead_outside_are_refused(folder: Path) -> None:
    store = DiskStore(folder)
    for key in ("../../outside/x", "a/b", "", "a" * 65, "\0"):
        with pytest.raises(ValueError, match="cannot name a file"):
            store.put(Checkpoint(key, 0, 1, {}, {}))
    assert outside(folder) == {"secret.safetensors": SECRET}


def test_symbolic_links_are_refused(folder: Path) -> None:
    other = folder.parent / "outside"
    (other / "aaaaaaaa.safetensors").write_bytes(clean_file(folder).read_bytes())
    manifest = (folder / "manifest.json").read_bytes()
    (other / "manifest.json").write_bytes(manifest)
    before = outside(folder)
    links = {
        "manifest.json": other / "manifest.json",
        "shard-0000/aaaaaaaa.safetensors": other / "aaaaaaaa.safetensors",
        "shard-0007": other,
        "store.lock": other / "secret.safetensors",
    }
    for name, target in links.items():
        path = folder / name
        old = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        with pytest.raises(StoreError, match=r"damaged|remove it"):
            use(folder)
        path.unlink()
        if old is not None:
            path.write_bytes(old)
    # A link under a temporary name is removed; what it leads to stays.
    (folder / ".writing-x").symlink_to(other / "secret.safetensors")
    (folder / "holder.json").unlink()
    (folder / "holder.json").symlink_to(other / "secret.safetensors")
    use(folder)
    assert outside(folder) == before


def test_what_is_no_file_is_refused(folder: Path) -> None:
    path = clean_file(folder)
    path.unlink()
    os.mkfifo(path)
    refuses(folder, "not a regular file")


NAMES = (
    "store.lock",
    "holder.json",
    "manifest.json",
    "ledger.jsonl",
    "secret.key",
    "partition.safetensors",
)


def append(folder: Path) -> None:
    """Open the store, and write each of its files again."""
    store = DiskStore(folder)
    try:
        store.secret()
        store.keep_arrays({"ids": np.arange(3)})
        store.commit({"requests": []}, [{"n": 1}])
    finally:
        store.close()


@pytest.mark.parametrize("name", [*NAMES, "shard-0000/aaaaaaaa.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "hard link", "symbolic link", "folder"])
def test_whatever_has_the_name_of_a_temporary_file_is_neither_waited_for_nor_written_to(
    kind: str, name: str, folder: Path
) -> None:
    path = folder / name
    plant(kind, path.with_name(f".writing-{path.name}"), folder)
    if kind == "folder":
        with pytest.raises(StoreError, match="is a folder, not a file of this store; remove it"):
            append(folder)
    else:
        append(folder)
        assert not list(folder.rglob(".writing-*"))
    assert outside(folder) == {"secret.safetensors": SECRET}


@pytest.mark.parametrize("kind", ["pipe", "hard link", "symbolic link", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_whatever_has_the_name_of_a_file_is_neither_waited_for_nor_written_to(
    kind: str, name: str, folder: Path
) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    plant(kind, path, folder)
    with contextlib.suppress(StoreError, StoreIOError):
        append(folder)
    with contextlib.suppress(StoreError, StoreIOError):
        DiskStore(folder, read_only=True).secret()
    with contextlib.suppress(StoreError, StoreIOError):
        list(audit(folder))
    assert outside(folder) == {"secret.safetensors": SECRET}


@pytest.mark.parametrize("when", ["before it is opened", "while it is open"])
@pytest.mark.parametrize(
    ("kind", "match"), [("pipe", "not a regular file"), ("hard link", "2 names")]
)
def test_a_ledger_that_is_no_file_of_the_store_is_refused(
    kind: str, match: str, when: str, folder: Path
) -> None:
    path = folder / "ledger.jsonl"
    if when == "before it is opened":
        plant(kind, path, folder)
        refuses(folder, match)
        return
    store = DiskStore(folder)
    plant(kind, path, folder)
    with pytest.raises(StoreError, match=match):
        store.commit(None, [{"n": 1}])
    store.close()
    assert outside(folder) == {"secret.safetensors": SECRET}
    path.unlink()
    append(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="counts blocks as Linux does")
def test_a_file_that_claims_to_be_huge_allocates_nothing(folder: Path) -> None:
    for path in (clean_file(folder), folder / "manifest.json"):
        whole = path.read_bytes()
        os.truncate(path, 1 << 40)
        with at_most(512), pytest.raises(StoreError, match="damaged"):
            use(folder)
        path.write_bytes(whole)
    os.truncate(clean_file(folder), 1 << 40)
    listed = {"shard-0000/aaaaaaaa.safetensors": [1 << 40, 1, "0" * 64]}
    with_manifest(folder, lambda content: content["files"].update(listed))
    with at_most(512):
        refuses(folder, "most are not on disk")


HUGE = (1 << 40, 2**62, 10**30)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("where", ["shape", "offset", "header", "manifest"])
def test_huge_declared_sizes_allocate_nothing(size: int, where: str, folder: Path) -> None:
    path = clean_file(folder)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if where == "manifest":
        listed = {"shard-0000/aaaaaaaa.safetensors": [size, size, "0" * 64]}
        with_manifest(folder, lambda content: content["files"].update(listed))
        with at_most(512):
            refuses(folder, "damaged")
        return
    if where == "header":
        changed = min(size, 2**63).to_bytes(8, "little") + data[8:]
    else:
        old = b'"shape":[2,3]' if where == "shape" else b'"data_offsets":[0,24]'
        new = f'"shape":[{size},3]' if where == "shape" else f'"data_offsets":[0,{size}]'
        header = data[8 : 8 + length].replace(old, new.encode())
        assert header != data[8 : 8 + length]
        changed = len(header).to_bytes(8, "little") + header + data[8 + length :]
    path.write_bytes(sealed(changed))
    with at_most(512):
        refuses(folder, "damaged")
        uncommitted(folder)
        use(folder)  # it was never promised to anybody
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "3", "[" * 100_000, '{"a":' * 50_000, "1" * 10_000, "\xff", '{"format": 2}'],
    ids=lambda text: text[:8] or "nothing",
)
def test_malformed_json_is_refused(text: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(text)
    refuses(folder, "manifest.json is (damaged|not of format 2)")


def test_other_peoples_files_are_let_be(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "shard-0000" / "copy of aaaaaaaa.safetensors").write_bytes(b"mine")
    use(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "shard-0000" / "copy of aaaaaaaa.safetensors").read_bytes() == b"mine"


@st.composite
def edits(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to spoil bytes: flip, cut, insert, repeat, or make them anew."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "drop", "new"]))
    places = draw(st.lists(st.floats(0, 1), min_size=1, max_size=4))
    junk = draw(st.binary(max_size=40))

    def spoil(data: bytes) -> bytes:
        for place in places:
            at = int(place * len(data))
            if kind == "flip":
                data = data[:at] + bytes(b ^ 0x11 for b in data[at : at + 1]) + data[at + 1 :]
            elif kind == "cut":
                data = data[:at]
            elif kind == "insert":
                data = data[:at] + junk + data[at:]
            elif kind == "drop":
                data = data[:at] + data[at + len(junk) :]
            else:
                data = junk
        return data

    return spoil


@FUZZ
@given(spoil=edits(), seal=st.booleans(), approximate=st.booleans(), listed=st.booleans())
def test_any_bytes_as_a_checkpoint_file(
    spoil: Callable[[bytes], bytes], seal: bool, approximate: bool, listed: bool, tmp_path: Path
) -> None:
    folder = afresh(tmp_path)
    path = (approximate_file if approximate else clean_file)(folder)
    data = spoil(path.read_bytes())
    path.write_bytes(sealed(data) if seal and len(data) > 100 else data)
    if not listed:
        uncommitted(folder)
    try:
        use(folder)
    except StoreError as error:
        assert listed and "damaged" in str(error)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@FUZZ
@given(value=VALUES, at=st.integers(0, 40), spoil=st.none() | edits())
def test_any_value_in_a_manifest(
    value: object, at: int, spoil: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    folder = afresh(tmp_path)
    path = folder / "manifest.json"
    if spoil is not None:
        path.write_bytes(spoil(path.read_bytes()))
    else:
        with_manifest(folder, lambda content: graft(content, value, at))
    try:
        use(folder)
    except StoreError as error:
        assert "damaged" in str(error) or "not of format" in str(error)


@FUZZ
@given(value=VALUES, at=st.integers(0, 60), approximate=st.booleans(), inner=st.booleans())
def test_any_value_in_a_header(
    value: object, at: int, approximate: bool, inner: bool, tmp_path: Path
) -> None:
    folder = afresh(tmp_path)
    uncommitted(folder)
    path = (approximate_file if approximate else clean_file)(folder)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if inner:
        index = json.loads(header["__metadata__"]["unlearnkit"])
        graft(index, value, at)
        header["__metadata__"]["unlearnkit"] = json.dumps(index)
    else:
        graft(header, value, at)
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(sealed(len(text).to_bytes(8, "little") + text + data[8 + length :]))
    use(folder)


OTHERS = ("ledger.jsonl", "partition.safetensors", "secret.key", "holder.json")


@pytest.fixture(scope="module")
def of_a_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a session that forgot someone exactly and someone else approximately."""
    folder = tmp_path_factory.mktemp("session") / "store"
    session = CASES["logistic"].session(store=folder)
    session.train()
    for max_share in (1, 0):
        session.revoke(count=2, seed=4)
        session.unlearn(max_share)
    session.store.secret()
    session.store.close()
    return folder


@FUZZ
@given(
    name=st.sampled_from(OTHERS),
    spoil=edits(),
    value=st.none() | VALUES,
    at=st.integers(0, 120),
)
def test_any_bytes_and_any_line_beside_the_checkpoints(
    name: str,
    spoil: Callable[[bytes], bytes],
    value: object,
    at: int,
    of_a_session: Path,
    tmp_path: Path,
) -> None:
    folder = afresh(tmp_path, of_a_session)
    path = folder / name
    if name == "ledger.jsonl" and value is not None:  # a line that follows on the others
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        graft(lines, value, at)
        for line in lines:
            if isinstance(line, dict):
                line.pop("previous", None)
        if not all(isinstance(line, dict) for line in lines):
            return
        with_lines(folder, lines)
    else:
        path.write_bytes(spoil(path.read_bytes()))
    with contextlib.suppress(StoreError):
        list(audit(folder))
    try:
        session = CASES["logistic"].session(store=folder)
        session.certificate().to_html()
        session.store.close()
    except StoreError as error:
        said = "damaged", "not written by unlearnkit", "ledger records"
        assert any(words in str(error) for words in said)
    assert not outside(folder)


@pytest.mark.parametrize("field", ["visits", "predicted_visits", "seconds", "predicted_seconds"])
def test_an_outcome_of_no_numbers_is_refused(
    field: str, of_a_session: Path, tmp_path: Path
) -> None:
    folder = afresh(tmp_path, of_a_session)

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if line["kind"] == "outcome":
                line["entry"][field] = []

    with_ledger(folder, change)
    with pytest.raises(StoreError, match="not written by unlearnkit"):
        CASES["logistic"].session(store=folder)


@pytest.mark.parametrize("shard", ["", 0.0, -1, 99, True, None, [], {}])
def test_a_shard_that_is_none_of_ours_in_a_line_of_the_ledger_is_refused(
    shard: object, of_a_session: Path, tmp_path: Path
) -> None:
    folder = afresh(tmp_path, of_a_session)

    def change(lines: list[dict[str, Any]]) -> None:
        routes = [route for line in lines for route in line.get("routes", ())]
        next(route for route in routes if route["kind"] == "approximate")["shard"] = shard

    with_ledger(folder, change)
    with pytest.raises(StoreError):
        list(audit(folder))
    with pytest.raises(StoreError, match="not written by unlearnkit"):
        CASES["logistic"].session(store=folder)


def graft(tree: Any, value: object, at: int) -> None:
    """Replace the part of a tree that is met ``at``-th, in whatever depth."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(tree)
    node, key = places[at % len(places)]
    node[key] = value


def make(folder: Path) -> None:
    store = DiskStore(folder)
    state = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)}
    clean = Checkpoint("a" * 8, 0, 2, state, {1: state}, b"\xf0")
    store.put(clean)
    store.put_approximation(Approximation(1, "b" * 8, np.array([3, 9]), {2: clean}, "in words"))
    store.commit({"requests": []})
    store.close()


def afresh(parent: Path, first: Path | None = None) -> Path:
    """The store as it was made, or a copy of this one."""
    folder = parent / "store"
    if first is None:
        first = parent / "first"
        if not first.exists():
            make(first)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        path.unlink()
    for path in (p for p in first.rglob("*") if p.is_file()):
        target = folder / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder
