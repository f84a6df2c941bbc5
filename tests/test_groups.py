"""Groups from the data to the store: exact by person, byte for byte, on every kind of grouping."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnkit import Session, from_frame
from unlearnkit.data.examples import Dataset
from unlearnkit.store import MemoryStore, StoreError
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train
from worker import content, poisoned

GIVEN = {"hidden": (7,), "epochs": 4, "num_shards": 4, "num_slices": 3, "seed": 2}


def data_of(persons: Any) -> Dataset:
    """Noisy blobs, of which each row belongs to a person."""
    rng = np.random.default_rng(len(persons))
    kind = rng.integers(0, 3, len(persons))
    columns = {f"x{i}": rng.normal(size=len(persons)) + (kind == i) for i in range(4)}
    frame = pd.DataFrame({**columns, "person": persons, "kind": kind})
    return from_frame(frame, "kind", groups="person")


def equal_persons() -> list[str]:
    return [f"person {p}" for p in np.random.default_rng(0).permutation(np.arange(300) // 6)]


def one_with_a_tenth() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.r_[np.zeros(30, int), np.arange(270) // 5 + 1])


def persons_of_one_row() -> list[int | str]:
    return [row if row % 2 else f"person {row}" for row in range(300)]


def is_exact(session: Session) -> bool:
    """Whether each checkpoint has the bytes of training on data whose revoked rows are NaN."""
    held = session.dataset.train
    poison = replace(poisoned(held, session.revoked), groups=held.groups)
    given = session.plan.architecture, session.plan.spec
    plan, store = make_plan(poison, *given, revoked=session.revoked), MemoryStore()
    train(plan, store, on_progress=False)
    alive = {stage.key for stage in plan.stages if plan.alive(stage.shard)}
    assert store.keys == alive and alive <= session.store.keys
    return all(content(store.get(key)) == content(session.store.get(key)) for key in alive)


@pytest.mark.parametrize("persons", [equal_persons, one_with_a_tenth, persons_of_one_row])
def test_a_person_is_forgotten_to_the_bytes_of_training_without_their_rows(persons) -> None:
    session = Session(data_of(persons()), **GIVEN)
    session.train()
    trained = np.unique(session.dataset.train.groups)
    rows = np.bincount(session.dataset.train.groups)
    largest = int(rows.argmax())
    for number in (largest, *np.setdiff1d(trained, [largest])[:2].tolist()):
        ids = session.dataset.ids_of_groups([session.dataset.grouping.names[number]])
        session.revoke(ids)
        assert session.unlearn(1).debt_after == 0
        assert is_exact(session)


def test_groups_of_one_row_train_what_is_trained_without_groups() -> None:
    data = data_of(persons_of_one_row())
    grouped, plain = Session(data, **GIVEN), Session(data.without_groups(), **GIVEN)
    assert grouped.plan.digest == plain.plan.digest


def test_a_store_goes_on_with_the_same_groups_only(tmp_path: Path) -> None:
    session = Session(data_of(equal_persons()), store=tmp_path / "run", **GIVEN)
    session.train()
    session.store.close()
    renamed = data_of([name.upper() for name in equal_persons()])
    assert Session(renamed, store=tmp_path / "run").trained
    others = data_of(equal_persons()[::-1])
    for other in (others, others.without_groups()):
        with pytest.raises(StoreError, match=r"belongs to another run\. Its dataset"):
            Session(other, store=tmp_path / "run", **GIVEN)


def test_no_name_of_a_group_is_written(tmp_path: Path) -> None:
    session = Session(data_of(equal_persons()), store=tmp_path / "run", **GIVEN)
    session.train()
    session.revoke(session.dataset.ids_of_groups(["person 7"]))
    session.unlearn(0)
    session.repay()
    session.certificate()
    files = [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert files and not any(b"person 7" in content for content in files)
