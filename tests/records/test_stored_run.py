"""Values that a stranger has written into a store: it works, or one documented error is raised.

Nothing that is absurd takes up memory. ``UNLEARNKIT_FUZZ=20000`` tries that many values of each
kind.
"""

import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from safetensors.torch import load as torch_load

import unlearnkit as uk
from tampering import at_most, recorded_again, sealed, with_ledger, with_manifest
from unlearnkit.data.examples import Dataset
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.records.stored_run import stored_model, stored_partition
from unlearnkit.seeding import digest
from unlearnkit.store import DiskStore, StoreError, StoreIOError
from unlearnkit.store.codec import layout
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.spec import spec_from

MANY = int(os.environ.get("UNLEARNKIT_FUZZ", "250"))
RUN: dict[str, Any] = {"model": "mlp", "hidden": (8,), "num_shards": 2, "num_slices": 2}
RUN |= {"epochs": 2, "seed": 7}

limited = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64),
    *(10**30, 10**400, -(2**63), -(10**30), 0.0, 0.5, -0.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "0" * 64, "\ud800", "\0", "ü" * 50),
    *("1e9", "NaN", "A" * 100_000, "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:00"),
    *("9999-12-31T23:59:59-23:00", [], [1], [10**9] * 3, [1] * 100_000, ["x"], [None], [[]]),
    *({}, {"a": 1}, {"": None}, nested(60), nested(400), nested(900)),
]
ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda a: None,
    "floats": lambda a: a.astype(float),
    "short": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "two axes": lambda a: a[None],
    "no axis": lambda a: np.array(3),
    "negative": lambda a: -a,
    "huge": lambda a: np.full_like(a, 2**31 - 2),
    "one huge": lambda a: np.where(np.arange(len(a)) == 0, 2**31 - 2, a),
    "zeros": lambda a: np.zeros_like(a),
    "unsigned": lambda a: a.astype(np.uint64),
    "NaN": lambda a: np.full(a.shape, np.nan),
    "booleans": lambda a: a > 0,
    "sorted": lambda a: np.sort(a),
    "small": lambda a: a.astype(np.int8),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return uk.load("digits", num_examples=120)


@pytest.fixture(scope="module")
def stores(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The store of a run with an exact, an approximate and a queued request; one without models."""
    whole = tmp_path_factory.mktemp("whole") / "store"
    session = uk.Session(data, store=whole, **RUN)
    session.train(on_progress=False)
    ids = session.plan.partition.ids
    session.revoke(ids[20:22], deadline=timedelta(days=3))
    session.revoke(ids[:2])
    session.unlearn(1, on_progress=False)
    empty = without_models(whole, tmp_path_factory.mktemp("empty") / "store")
    session.revoke(ids[5:7])
    session.unlearn(0, on_progress=False)
    session.store.close()
    return [whole, empty]


def without_models(whole: Path, folder: Path) -> Path:
    shutil.copytree(whole, folder)
    for path in folder.glob("shard-*/*"):
        path.unlink()
    with_manifest(folder, lambda content: content.update(files={}))
    return folder


def copied(store: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(store, folder)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, Any, tuple[Any, ...]]]:
    """Each part of a tree as what holds it, its key there, and all keys to it."""
    found = []
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key, (*path, key)))
        if isinstance(tree[key], dict | list):
            found += places(tree[key], (*path, key))
    return found


def spoil_manifest(folder: Path, rng: random.Random, inner: tuple[str, ...]) -> str:
    """Replace a value in a part of the manifest; return what was done."""
    done = ""

    def change(content: dict[str, Any]) -> None:
        nonlocal done
        inside = [place for place in places(content) if place[2][: len(inner)] == inner]
        node, key, path = rng.choice(inside)
        node[key] = rng.choice(VALUES)
        done = f"{path} = {node[key]!r:.80}"
        try:  # a careful stranger changes both
            content["run"]["spec"] = repr(spec_from(content["run"]["rebuild"]["spec"]))
        except Exception:
            pass

    with_manifest(folder, change)
    return done


def spoil_ledger(folder: Path, rng: random.Random) -> str:
    """Replace a value in the ledger, chain its lines again and sign the extent."""
    done = ""

    def change(lines: list[dict[str, Any]]) -> None:
        nonlocal done
        node, key, where = rng.choice([p for p in places(lines) if len(p[2]) > 1])
        node[key] = rng.choice(VALUES)
        done = f"{where} = {node[key]!r:.80}"

    with_ledger(folder, change)
    return done


def spoil_arrays(folder: Path, rng: random.Random) -> str:
    """Change an array of the partition, and mostly its digest in the manifest."""
    path = folder / "partition.safetensors"
    arrays = dict(load(path.read_bytes()))
    name, how = rng.choice(sorted(arrays)), rng.choice(sorted(ARRAYS))
    changed = ARRAYS[how](arrays[name])
    del arrays[name]
    if changed is not None:
        arrays[name] = np.ascontiguousarray(changed)
    path.write_bytes(save(arrays))
    parts = [arrays.get(part) for part in ("ids", "shard", "slice")]
    if rng.random() < 0.8 and all(part is not None and part.dtype.kind in "iu" for part in parts):
        found = digest(*(part.astype("<i8").tobytes() for part in parts if part is not None))
        with_manifest(folder, lambda content: content["run"].update(partition=found))
    return f"{name} {how}"


def spoil_checkpoint(folder: Path, rng: random.Random) -> str:
    """Change a value or a tensor of a checkpoint, and sign it again."""
    paths = sorted(folder.glob("shard-*/*"))
    if not paths:
        return ""
    path = rng.choice(paths)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    tensors, header = dict(torch_load(data)), json.loads(data[8:end])["__metadata__"]
    index = json.loads(header["unlearnkit"])
    if rng.random() < 0.5:
        node, key, where = rng.choice(places(index))
        node[key] = rng.choice(VALUES)
        done = f"{where} = {node[key]!r:.80}"
    else:
        name, how = rng.choice(sorted(tensors)), rng.choice(sorted(TENSORS))
        tensors[name] = TENSORS[how](tensors[name]).contiguous()
        done = f"{name} {how}"
    head, pieces = layout(
        tensors, {"__metadata__": {"digest": "0" * 64, "unlearnkit": json.dumps(index)}}
    )
    written = sealed(b"".join([bytes(head), *map(bytes, pieces)]))
    path.write_bytes(written)
    found = re.search(rb'"digest":"([0-9a-f]{64})"', written)
    assert found
    name = path.relative_to(folder).as_posix()
    entry = [len(written), 1, found[1].decode()]
    with_manifest(folder, lambda content: content["files"].update({name: entry}))
    return f"{name}: {done}"


TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "two axes more": lambda t: t[None, None],
    "flat": lambda t: t.reshape(-1),
    "short": lambda t: t[:-1],
    "empty": lambda t: t[:0],
    "double": lambda t: t.double(),
    "booleans": lambda t: t > 0,
    "whole numbers": lambda t: t.long(),
    "NaN": lambda t: t * float("nan"),
    "huge": lambda t: t * 0 + 1e38,
}


SPOILERS: dict[str, Callable[[Path, random.Random], str]] = {
    "manifest": lambda folder, rng: spoil_manifest(folder, rng, ()),
    "run": lambda folder, rng: spoil_manifest(folder, rng, ("run",)),
    "rebuild": lambda folder, rng: spoil_manifest(folder, rng, ("run", "rebuild")),
    "clock": lambda folder, rng: spoil_manifest(folder, rng, ("run", "clock")),
    "ledger": spoil_ledger,
    "arrays": spoil_arrays,
    "checkpoint": spoil_checkpoint,
}


def use(session: uk.Session) -> None:
    try:
        repr(session)
        session.certificate().to_html()
        session.ledger()
        if session.trained:
            session.ensemble.predict(session.dataset.test.inputs()[:2])
            session.revoke(count=2)
            session.workload()
            session.unlearn(0.5, on_progress=False)
            session.compare(on_progress=False)
            session.repay(on_progress=False)
    finally:
        assert isinstance(session.store, DiskStore)
        session.store.close()


def all_ways(folder: Path, data: Dataset) -> dict[str, Callable[[], object]]:
    return {
        "read only": lambda: DiskStore(folder, read_only=True).verify(),
        "audit": lambda: list(audit(folder)),
        "audit with data": lambda: list(audit(folder, dataset=data)),
        "store": lambda: DiskStore(folder).close(),
        "the same session": lambda: use(uk.Session(data, store=folder, **RUN)),
        "a session with the stored settings": lambda: use(uk.Session(data, store=folder)),
        "a session of the folder alone": lambda: use(uk.Session(store=folder)),
    }


def check(folder: Path, data: Dataset, done: str) -> None:
    for way, go in all_ways(folder, data).items():
        try:
            go()
        except (StoreError, StoreIOError, NotFiniteError):  # the last of weights that are NaN
            pass
        except Exception as error:
            # The audit compares the run's values with those of the data, model and environment.
            known = re.match("the run('s| in .* was trained on| used)", str(error))
            if way in ("audit with data", "a session of the folder alone") and known:
                assert isinstance(error, ValueError)
                continue
            error.add_note(f"{way}, after {done}")
            raise


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SPOILERS)
@pytest.mark.parametrize("count", [2, pytest.param(MANY, marks=pytest.mark.weekly)])
@pytest.mark.timeout(120 + 2 * MANY)
def test_any_value_works_or_raises_a_documented_error(
    count: int, kind: str, stores: list[Path], data: Dataset, tmp_path: Path
) -> None:
    rng = random.Random(f"{kind} {count}")
    for _ in range(count):
        folder = copied(rng.choice(stores), tmp_path)
        with at_most(2048):
            check(folder, data, SPOILERS[kind](folder, rng))


def test_the_untouched_store_works_in_every_way(
    stores: list[Path], data: Dataset, tmp_path: Path
) -> None:
    folder = copied(stores[0], tmp_path)
    for go in all_ways(folder, data).values():
        go()


SIZES = [
    {"kind": "mlp", "hidden": [10**8], "activation": "gelu", "dropout": 0.0},
    {"kind": "mlp", "hidden": [10**7] * 3, "activation": "gelu", "dropout": 0.0},
    {"kind": "mlp", "hidden": [2**62], "activation": "gelu", "dropout": 0.0},
    {"kind": "mlp", "hidden": [1] * 100_000, "activation": "gelu", "dropout": 0.0},
    {"kind": "mlp", "hidden": [8.5], "activation": "gelu", "dropout": 0.0},
    {"kind": "mlp", "hidden": [True], "activation": "gelu", "dropout": 0.0},
]


@limited
@pytest.mark.parametrize("described", SIZES, ids=lambda each: str(each["hidden"])[:20])
@pytest.mark.parametrize("number", [0, 1], ids=["models kept", "models deleted"])
def test_a_model_of_absurd_size_is_not_built(
    number: int, described: dict[str, Any], stores: list[Path], data: Dataset, tmp_path: Path
) -> None:
    folder = copied(stores[number], tmp_path)
    with_manifest(
        folder, lambda content: content["run"]["rebuild"]["model"].update({"built-in": described})
    )
    recorded_again(folder)
    with at_most(512):
        with pytest.raises(AuditError, match="spec or model cannot be built"):
            list(audit(folder, dataset=data))
        with pytest.raises(StoreError, match=r"describes cannot be built .*; .* or give model="):
            uk.Session(data, store=folder)


@pytest.mark.parametrize("number", [0, 1], ids=["models kept", "models deleted"])
def test_the_model_of_the_run_is_built(number: int, stores: list[Path], data: Dataset) -> None:
    store = DiskStore(stores[number], read_only=True)
    assert store.manifest is not None
    described = store.manifest["rebuild"]["model"]["built-in"]
    assert stored_model(described, data, store) == uk.MLP((8,))
    with pytest.raises(ValueError, match="match the checkpoints") if not number else at_most(512):
        stored_model({**described, "hidden": [9]}, data, store)


@limited
@pytest.mark.parametrize("field", ["num_shards", "num_slices", "epochs", "batch_size"])
@pytest.mark.parametrize("value", [2**31 - 1, 2**40, 10**30])
def test_a_spec_of_absurd_numbers_is_refused(
    value: int, field: str, stores: list[Path], data: Dataset, tmp_path: Path
) -> None:
    folder = copied(stores[1], tmp_path)

    def change(content: dict[str, Any]) -> None:
        run = content["run"]
        old = f"{field}={run['rebuild']['spec'][field]},"
        run["spec"] = run["spec"].replace(old, f"{field}={value},")
        run["rebuild"]["spec"][field] = value

    with_manifest(folder, change)
    recorded_again(folder)
    with at_most(512):
        with pytest.raises(AuditError, match=r"cannot be built|is not possible"):
            list(audit(folder, dataset=data))
        with pytest.raises(StoreError, match=r"is not possible|belongs to another run"):
            uk.Session(data, store=folder)


@pytest.mark.parametrize("how", sorted(ARRAYS))
@pytest.mark.parametrize("name", ["ids", "shard", "slice"])
def test_only_a_partition_is_taken_for_one(
    name: str, how: str, stores: list[Path], data: Dataset, tmp_path: Path
) -> None:
    store = DiskStore(copied(stores[1], tmp_path))
    arrays = store.arrays()
    kept = stored_partition(store, data.train)
    assert np.array_equal(kept.shard, arrays["shard"])
    changed = {**arrays, name: ARRAYS[how](arrays[name])}
    store.keep_arrays({n: a for n, a in changed.items() if a is not None})
    try:
        found = stored_partition(store, data.train)
    except StoreError as error:
        assert "is not one of the run's examples" in str(error)
    else:  # other numbers that make a partition too
        assert found.shard.min() >= 0 and found.slice_.min() >= 1
        assert found.num_shards * found.num_slices <= 16 * len(data.train)
    finally:
        store.close()
