"""Saving a session beside its checkpoints, and restoring it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from cases import CASES
from unlearnkit import Session, StoreError, from_arrays
from unlearnkit.records.persistence import open_store, provenance, resume
from unlearnkit.store import DiskStore, MemoryStore

CASE = CASES["logistic"]


def test_checkpoints_without_a_manifest_are_refused(tmp_path: Path) -> None:
    CASE.session(store=tmp_path).train()
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(StoreError, match="checkpoints but no manifest"):
        CASE.session(store=tmp_path)


@pytest.mark.parametrize("part", ["dataset", "spec", "model", "partition", "environment"])
def test_a_store_of_another_run_is_refused_with_both_sides_named(part: str, tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    store, dataset, plan = session.store, session.dataset, session._journal.plan
    mine = provenance(dataset, plan)
    assert resume(dataset, plan, store).history.revocations.ids.tolist() == []
    store.commit({**store.manifest, part: "another"})
    with pytest.raises(StoreError, match=f"belongs to another run. Its {part}: ") as raised:
        resume(dataset, plan, store)
    assert part == "model" or f"another. This session's {part}: {mine[part]}" in str(raised.value)


def test_a_store_may_be_a_folder_a_store_or_memory(tmp_path: Path) -> None:
    assert isinstance(open_store(None), MemoryStore)
    store = open_store(tmp_path / "new")
    assert isinstance(store, DiskStore) and store.folder == tmp_path / "new"
    assert open_store(store) is store
    store.close()
    assert isinstance(open_store(str(tmp_path / "new")), DiskStore)


@pytest.mark.parametrize(("part", "said"), [("clock", "rates"), ("queue", "requests")])
def test_what_a_stranger_left_in_the_manifest_is_refused(
    part: str, said: str, tmp_path: Path
) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    session.store.commit({**session.store.manifest, part: ["nonsense"]})
    with pytest.raises(StoreError, match=f"the {said} kept in .* were not written by unlearnkit"):
        resume(session.dataset, session._journal.plan, session.store)


def test_what_is_no_store_is_refused() -> None:
    for value in (MemoryStore, DiskStore, 3):
        with pytest.raises(TypeError, match=r"is no store; give the path of a folder"):
            open_store(value)


def net(partial: str) -> type[nn.Module]:
    """A class with a method that only partial batches reach, as a notebook's cell defines it."""
    scope: dict[str, Any] = {"nn": nn, "__name__": "cell"}
    exec(
        "class Net(nn.Module):\n"
        " def __init__(self):\n"
        "  super().__init__()\n"
        "  self.head = nn.Linear(4, 3)\n"
        " def partial(self, x):\n"
        f"  return {partial}\n"
        " def forward(self, x):\n"
        "  return self.head(x if len(x) == 8 else self.partial(x))\n",
        scope,
    )
    made: type[nn.Module] = scope["Net"]
    return made


def test_changed_code_that_no_witness_meets_is_told(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    data, settings = from_arrays(features, np.arange(60) % 3), {"num_shards": 2, "batch_size": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            session = Session(data, model=net("x"), epochs=1, store=tmp_path, **settings)
            session.train()
            session.store.close()
    for _ in range(2):  # what the first session committed stays on record
        with pytest.warns(UserWarning, match=r"the code of Net.partial differs .*version="):
            session = Session(data, model=net("2 * x"), epochs=1, store=tmp_path, **settings)
        session.train()
        session.store.close()
