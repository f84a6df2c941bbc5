"""The page for a person: what became of their rows, and nothing of anybody else."""

import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from unlearnkit import Session, from_arrays
from unlearnkit.records.ledger import keyed_digest

PERSONS = [f"person-{p}" for p in np.random.default_rng(0).permutation(np.arange(240) // 6)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(240, 4)).astype("f4"), rng.integers(0, 3, 240)
    data = from_arrays(features, labels, groups=PERSONS)
    given = {"epochs": 4, "num_shards": 3, "num_slices": 2, "store": tmp_path / "store"}
    session = Session(data, model="logistic", **given)
    session.train()
    return session


def person_in(session: Session, part: str, number: int = 0) -> str:
    numbers = np.unique(session.dataset.parts[part].groups)
    return session.dataset.grouping.names[numbers[number]]


def states(session: Session, name: str, **options) -> set[str]:
    return {row["state"] for row in session.certificate(group=name, **options).content["rows"]}


def test_it_tells_what_became_of_each_row(session: Session) -> None:
    name, tested = person_in(session, "train"), person_in(session, "test")
    assert states(session, name) == {"not revoked"}
    session.revoke(groups=[name, tested], deadline=timedelta(days=3))
    content = session.certificate(group=name).content
    assert {row["due"] for row in content["rows"]} == {
        when.isoformat(timespec="seconds") for when in session.queue.deadlines.values()
    }
    session.unlearn(0)
    assert states(session, tested) == {"no longer read"}
    owed = session.certificate(group=name, exact_by=timedelta(days=30))
    assert repr(owed) == "GroupCertificate(6 rows: 6 removed approximately)"
    assert all(row["due"] and row["revoked"] and not row["exact"] for row in owed.content["rows"])
    assert "nothing enforces that" in owed.to_html()
    assert "No date is promised" in session.certificate(group=name).to_html()
    session.repay()
    content = session.certificate(group=name).content
    assert {row["state"] for row in content["rows"]} == {"forgotten"}
    lines = [line for line, _ in session.store.ledger() if line["kind"] in ("unlearn", "repay")]
    for row in content["rows"]:
        assert (row["revoked"], row["exact"]) == (lines[0]["time"], lines[1]["time"])
    rest = person_in(session, "train", 1)
    assert states(session, rest) == {"not revoked"}


def test_what_was_forgotten_exactly_at_once_is_exact_since_then(session: Session) -> None:
    name = person_in(session, "train")
    session.revoke(group=name)
    session.unlearn(1)
    session.revoke(group=person_in(session, "train", 1))
    session.unlearn(0)
    first = next(line for line, _ in session.store.ledger() if line["kind"] == "unlearn")
    rows = session.certificate(group=name).content["rows"]
    assert {row["exact"] for row in rows} == {row["revoked"] for row in rows} == {first["time"]}


def test_it_holds_nothing_of_anybody_else(session: Session, tmp_path: Path) -> None:
    names = [person_in(session, "train", number) for number in range(4)]
    session.revoke(groups=names)
    session.unlearn(0)
    page = session.certificate(group=names[0])
    text = page.to_json(tmp_path / "page.json") + page.to_html(tmp_path / "page.html")
    assert json.loads((tmp_path / "page.json").read_text()) == page.content
    assert set(re.findall(r"person-\d+", text)) == {names[0]}
    own = session.dataset.ids_of_groups([names[0]]).tolist()
    assert [row["id"] for row in page.content["rows"]] == own
    secret = session.store.secret()
    for one in range(240):
        assert (keyed_digest(one, secret) in text) is (one in own)
    assert not re.search(r"\b(24|40|240|168)\b", page.content["says"][0])


def test_the_page_escapes_a_name_and_loads_nothing() -> None:
    features, labels = np.eye(40, 3, dtype="f4"), np.arange(40) % 2
    names = ["<script>alert(1)</script>" if row < 4 else str(row) for row in range(40)]
    data = from_arrays(features, labels, groups=names)
    session = Session(data, model="logistic", epochs=1, num_shards=2, num_slices=1)
    page = session.certificate(group=names[0]).to_html()
    assert "<script" not in page and "nobody can check this page" in page
    assert not re.search(r"(src|href)=|https?://", page)


def test_bad_requests_for_a_page(session: Session) -> None:
    with pytest.raises(KeyError, match="no group 'ann' in 'group'"):
        session.certificate(group="ann")
    with pytest.raises(ValueError, match="exact_by goes with the page of a group"):
        session.certificate(exact_by=timedelta(days=1))
    plain = Session(session.dataset.without_groups(), model="logistic", epochs=1)
    with pytest.raises(ValueError, match="has no groups"):
        plain.certificate(group="ann")
