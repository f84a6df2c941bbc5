"""What was forgotten stays forgotten: in a session on data in which it returns."""

import json
import stat
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit.data.examples import Dataset
from unlearnkit.records.audit import audit
from unlearnkit.records.tombstones import Tombstones
from unlearnkit.session import Session
from unlearnkit.store import DiskStore, StoreError
from worker import contents, retrained

GIVEN = {"model": "logistic", "epochs": 2, "num_shards": 3, "num_slices": 2, "seed": 1}


def frame(persons: list[object] | np.ndarray, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {f"x{i}": rng.normal(size=len(persons)).round(6) for i in range(3)}
    return pd.DataFrame({**columns, "person": persons, "kind": np.arange(len(persons)) % 2})


OLD = frame([f"person {row // 6}" for row in range(180)])
MORE = frame([f"person {row // 6}" for row in range(60, 300)], seed=1)
NEW = pd.concat([OLD[60:], MORE], ignore_index=True)  # a backup, and new rows of some persons


def read(table: pd.DataFrame, groups: bool = True) -> Dataset:
    own = table if groups else table.drop(columns="person")
    return uk.from_frame(own, "kind", groups="person" if groups else None)


def forgetful(persons: int = 3, **options: object) -> Session:
    """A session that has forgotten whole persons from the 12th on, and three rows of others."""
    session = Session(read(OLD), **GIVEN, **options)
    session.train()
    session.revoke(groups=[f"person {number}" for number in range(12, 12 + persons)])
    session.unlearn(1)
    rows = session.dataset.ids_of_groups(["person 20", "person 21", "person 22"])
    session.revoke(np.intersect1d(rows, session.dataset.train.ids)[:3])
    session.unlearn(1)
    return session


def expected(session: Session, table: pd.DataFrame) -> list[int]:
    """Rows of a table that are the session's forgotten rows, or of its forgotten persons."""
    gone = OLD.loc[session.revoked, ["x0", "x1", "x2"]]
    same = table["x0"].isin(gone["x0"]) & table["x1"].isin(gone["x1"])
    return np.flatnonzero(same | table["person"].isin([f"person {p}" for p in (12, 13, 14)]))


def is_exact(session: Session) -> bool:
    """Whether the models have the bytes of training on data whose revoked rows are NaN."""
    found = retrained(session.plan, session.dataset.train, session.revoked)
    assert found.keys() == session.store.keys
    return found == contents(session.store)


def test_what_returns_is_revoked_before_training_to_the_bytes_of_data_without_it(
    tmp_path: Path,
) -> None:
    old = forgetful()
    assert repr(old.tombstones()) == "Tombstones(3 groups, 21 row contents)"
    old.tombstones().save(tmp_path / "forgotten.json")
    rows = expected(old, NEW)
    assert len(rows) > 30  # those of the backup, and new ones
    said = f"name {len(rows)} rows of 4 groups of the data as .* revoked before anything is trained"
    with pytest.warns(UserWarning, match=said) as caught:
        new = Session(
            read(NEW), tombstones=tmp_path / "forgotten.json", store=tmp_path / "run", **GIVEN
        )
    assert caught[0].filename == __file__
    assert new.revoked.tolist() == rows.tolist() and not new.store.keys
    new.train()
    assert is_exact(new) and not new.debt
    assert new.ledger()["examples"].tolist() == [len(rows)]
    new.store.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Session(read(NEW), store=tmp_path / "run")
    assert again.revoked.tolist() == rows.tolist() and len(again.pending) == 0
    assert again.tombstones().groups_in(read(OLD)).tolist() == [12, 13, 14]
    assert len(again.certificate().content["requests"]) == 1
    again.store.close()
    assert audit(tmp_path / "run", dataset=read(NEW), retrain=True)
    assert "no clean checkpoint" not in str(list(audit(tmp_path / "run", dataset=read(NEW))))


@pytest.mark.parametrize("groups", [True, False])
def test_contents_are_recognised_without_groups(groups: bool) -> None:
    old = Session(read(OLD, groups), **GIVEN)
    old.train()
    old.revoke(range(0, 150, 9) if groups else old.dataset.train.ids[::9])
    old.unlearn(1)
    data = read(OLD[::-1].reset_index(drop=True), groups=False)  # each row has another id
    same = np.flatnonzero(np.isin(np.arange(180)[::-1], old.revoked))
    tested = np.intersect1d(same, data.test.ids)
    assert len(same) == len(old.revoked) > len(tested) > 0
    with pytest.warns(UserWarning, match=f"{len(tested)} more in the test part stay there"):
        new = Session(data, tombstones=old.tombstones(), **GIVEN)
    assert new.revoked.tolist() == np.setdiff1d(same, tested).tolist()
    new.train()
    assert is_exact(new)


def test_tombstones_of_several_runs_are_handed_on(tmp_path: Path) -> None:
    first = forgetful(store=tmp_path / "first").tombstones()
    with pytest.warns(UserWarning, match="tombstones name"):
        second = Session(read(NEW), tombstones=first, **GIVEN)
    assert second.tombstones().groups_in(read(OLD)).tolist() == [12, 13, 14]
    second.train()
    second.revoke(group="person 30")
    second.unlearn(1)
    both = second.tombstones()
    names = both.groups_in(read(NEW)).tolist()
    assert [read(NEW).grouping.names[number] for number in names] == [
        *("person 12", "person 13", "person 14", "person 30")
    ]
    assert (both | first) == both and len(both.marks) == 2


def test_models_that_are_there_already_forget_by_a_request(tmp_path: Path) -> None:
    given = forgetful().tombstones()
    session = Session(read(NEW), store=tmp_path / "run", **GIVEN)
    session.train()
    session.store.close()
    for options in ({"tombstones": given}, {}):  # the store keeps them
        with pytest.warns(UserWarning, match=r"session.unlearn\(\) forgets them"):
            session = Session(read(NEW), store=tmp_path / "run", **options)
        assert len(session.pending) and not len(session.revoked)
        if options:
            session.store.close()
    session.unlearn(1)
    assert is_exact(session)
    session.store.close()
    assert not len(Session(read(NEW), store=tmp_path / "run").pending)


def test_a_script_of_the_session_gives_the_same_bits() -> None:
    with pytest.warns(UserWarning, match="tombstones name"):
        session = uk.Session(read(NEW), tombstones=forgetful().tombstones(), **GIVEN)
    session.train()
    lines = session.to_script().splitlines()
    script = [line for line in lines if not line.startswith("data = ")]
    exec("\n".join(script), {"data": read(NEW)})


def test_nothing_matches_and_nothing_is_said(recwarn: pytest.WarningsRecorder) -> None:
    given = forgetful().tombstones()
    other = frame([f"somebody {row // 6}" for row in range(60)], seed=5)
    session = Session(read(other), tombstones=given, **GIVEN)
    assert not len(session.revoked) and not recwarn.list
    assert Session(read(other), **GIVEN).tombstones() == Tombstones()


def test_names_of_groups_are_the_same_as_numbers_and_as_text() -> None:
    numbers = [row // 6 for row in range(180)]
    session = Session(read(OLD.assign(person=numbers)), **GIVEN)
    session.train()
    session.revoke(group=7)
    session.unlearn(1)
    for names in (map(str, numbers), map(float, numbers)):
        data = read(frame(list(names), seed=3))
        assert session.tombstones().groups_in(data).tolist() == [7]
    padded = read(frame([f"{number:03}" for number in numbers], seed=3))
    assert not len(session.tombstones().groups_in(padded))


def test_no_name_and_no_content_is_written(tmp_path: Path) -> None:
    session = forgetful(store=tmp_path / "run")
    path = tmp_path / "forgotten.json"
    session.tombstones().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    plain = [digest.tobytes().hex() for digest in session.dataset.train.digests]
    numbers = [str(value) for value in OLD["x0"]]
    assert not any(word in text for word in ["person", *plain, *numbers])
    assert session.store.secret().decode() not in text
    assert Tombstones.load(path) == session.tombstones()


def spoiled(content: dict[str, object], how: str) -> str:
    marks = content["marks"][0]
    if how == "another kind":
        return json.dumps([1, 2])
    if how == "another format":
        return json.dumps({**content, "format": "unlearnkit tombstones 2"})
    if how == "fewer rows":
        marks["rows"].pop()
    return json.dumps(content)[: 300 if how == "cut off" else None]


@pytest.mark.parametrize("how", ["another kind", "another format", "fewer rows", "cut off"])
def test_a_bad_file_is_refused_before_a_store_is_opened(how: str, tmp_path: Path) -> None:
    path = tmp_path / "forgotten.json"
    forgetful().tombstones().save(path)
    path.write_text(spoiled(json.loads(path.read_text()), how))
    with pytest.raises(
        ValueError, match=r"forgotten.json' holds no tombstones .* give a file that"
    ):
        Session(read(NEW), tombstones=path, store=tmp_path / "run", **GIVEN)
    assert not (tmp_path / "run").exists()


def test_other_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file 'gone.json' with tombstones"):
        Session(read(NEW), tombstones="gone.json", **GIVEN)
    with pytest.raises(TypeError, match=r"tombstones=3 is a int; give what session\.tombstones"):
        Session(read(NEW), tombstones=3, **GIVEN)
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*' with tombstones"):
        Tombstones.load(tmp_path)
    given = forgetful().tombstones()
    gone = OLD[OLD["person"].isin(["person 12", "person 13", "person 14"])]
    with pytest.raises(ValueError, match=r"name all \d+ training examples .* give other data"):
        Session(read(gone), tombstones=given, store=tmp_path / "run", **GIVEN)
    Session(read(NEW), store=tmp_path / "run", **GIVEN)  # the folder is free


def test_tombstones_in_a_damaged_store_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="tombstones name"):
        session = Session(
            read(NEW), tombstones=forgetful().tombstones(), store=tmp_path / "run", **GIVEN
        )
    run = {**(session.store.manifest or {}), "tombstones": {"marks": [{"key": "00"}]}}
    session.store.commit(run)
    session.store.close()
    with pytest.raises(
        StoreError, match=r"the tombstones kept in .* were not written by unlearnkit"
    ):
        Session(read(NEW), store=DiskStore(tmp_path / "run", read_only=True))
