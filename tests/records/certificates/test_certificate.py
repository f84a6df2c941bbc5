"""The certificate and the audit: what they claim, and what is found when it does not hold."""

import json
import re
import sys
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cases import CASES
from tampering import sealed, with_ledger, with_manifest
from unlearnkit import DiskStore, Session, StoreError
from unlearnkit.__main__ import main
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.records.certificates.certificate import _on_the_revoked
from unlearnkit.records.ledger import keyed_digest, plan_digest
from unlearnkit.store.ledger_chain import START

CASE = CASES["logistic"]


def ids_of(session: Session) -> list[list[int]]:
    return [one.tolist() for one in session._journal.history.revocations.requests]


def test_a_certificate_names_state_requests_and_head(session: Session, tmp_path: Path) -> None:
    certificate = session.certificate()
    content = json.loads(certificate.to_json(tmp_path / "c.json"))
    assert json.loads((tmp_path / "c.json").read_text()) == content
    states = {one["shard"]: one["state"] for one in content["constituents"]}
    assert {shard for shard, state in states.items() if state == "approximate"} == set(session.debt)
    assert content["revoked"] == 4 and [r["examples"] for r in content["requests"]] == [2, 2]
    assert content["head"] == session.store.head
    assert "still in this session's memory" in content["says"][2]
    assert "ledger holds the revoked ids in plain" in content["says"][3]
    assert "only keyed digests of them" in content["says"][3]
    assert "as requested" in session.certificate(name_ids=True).content["says"][3]
    requests = [line for line, _ in session.store.ledger() if line["kind"] == "unlearn"]
    assert all("until session.discard_original()" in line["original"] for line in requests)
    assert [set(line["ids"]) for line in requests] == [set(one) for one in ids_of(session)]
    session.discard_original()
    session.repay()
    content = session.certificate().content
    assert {one["state"] for one in content["constituents"]} == {"exact"}
    assert "were trained without them." in content["says"][0]
    assert content["says"][2] == "No model from before the last request is kept by this session."


def test_ids_are_keyed_unless_asked_for(session: Session) -> None:
    secret = session.store.secret()
    content = session.certificate().content
    assert content["ids"] == [keyed_digest(int(one), secret) for one in session.revoked]
    assert str(secret) not in session.certificate().to_json()
    assert session.certificate(name_ids=True).content["ids"] == session.revoked.tolist()
    assert keyed_digest(3, secret) != keyed_digest(3, b"another")


def test_the_page_loads_nothing_and_escapes_what_it_shows(session: Session) -> None:
    certificate = session.certificate()
    certificate.content["says"].append("<script>alert(1)</script>")
    page = certificate.to_html()
    assert "<script" not in page and not re.search(r"(src|href)=|https?://", page)


@pytest.mark.parametrize(
    ("revoked", "owed", "shards", "said"),
    [
        (0, 0, 0, "No example is revoked."),
        (1, 0, 0, "1 example is revoked. The current .* were trained without it."),
        (5, 0, 0, "5 examples are revoked. The current .* were trained without them."),
        (
            1,
            1,
            1,
            "1 example is revoked. It was removed only approximately: one shard is marked, .*",
        ),
        (
            4,
            4,
            2,
            "4 examples are revoked. All of them were removed only .* 2 shards are marked, .*",
        ),
        (
            4,
            1,
            1,
            "4 .* without them, except for 1 example that was removed only approximately: .*",
        ),
        (4, 3, 2, "4 .* except for 3 examples that were .* until they are retrained exactly."),
    ],
)
def test_the_first_sentence_agrees_with_its_counts(
    revoked: int, owed: int, shards: int, said: str
) -> None:
    assert re.fullmatch(said, _on_the_revoked(revoked, owed, shards))


def test_a_single_example_is_never_one_examples() -> None:
    session = CASE.session()
    session.train()
    request = session.revoke(count=1)
    assert repr(request).startswith("Request(1 example")
    assert repr(session.unlearn(0)).startswith("Unlearned(1 example, 0 shards exact")
    owing = [each for each in session.ensemble.constituents if not each.exact]
    assert [repr(each).partition(", ")[2] for each in owing] == ["1 example of debt)"]
    session.repay()
    certificate = session.certificate()
    assert "(1 revoked example, 3 constituents exact, 0 with debt)" in repr(certificate)
    assert not re.search(r"\b1 [a-z]*\s?(examples|shards|constituents)\b", certificate.to_html())


def test_a_session_in_memory_has_a_certificate_without_a_head() -> None:
    session = CASE.session()
    session.train()
    session.revoke(count=1)
    session.unlearn(1)
    content = session.certificate().content
    assert content["head"] is None and len(content["artefacts"]) == len(session.plan.keys)


def test_an_audit_passes_and_an_older_head_stays_valid(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, head = str(session.store.folder), session.certificate().content["head"]
    session.revoke(count=1)
    session.unlearn(0)
    session.store.close()
    assert main(["audit", folder, "--head", head]) == 0
    assert capsys.readouterr().out.count("holds: ") == 8
    assert main(["audit", folder, "--head", "1" * 64]) == 1
    assert "BROKEN: no line of the ledger has the head" in capsys.readouterr().err
    assert main(["audit", folder + "x"]) == 2
    assert "CANNOT BE CHECKED: " in capsys.readouterr().err
    (session.store.folder / "manifest.json").unlink()
    assert main(["audit", folder]) == 1  # an incomplete store does not pass


def test_the_head_of_an_empty_ledger_is_good(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke(count=1)
    session.unlearn(1)
    said = list(audit(tmp_path, START))
    assert "the head given is that of line 0 of the 4 of the ledger; the 4 lines after" in said[1]
    assert "the head given fixes 0 of these checkpoints" in said[-1]


def test_a_ledger_that_was_changed_is_found(session: Session) -> None:
    folder, head = session.store.folder, session.store.head
    session.store.close()
    path = folder / "ledger.jsonl"
    whole, manifest = path.read_bytes(), (folder / "manifest.json").read_bytes()
    lines = whole.splitlines(keepends=True)
    changed = [
        whole.replace(b'"examples":2', b'"examples":3', 1),
        b"".join(lines[1:]),
        b"".join(lines[:-1]),
        b"".join([lines[1], lines[0], *lines[2:]]),
        whole[:-3],
        b"",
    ]
    for data in changed:
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"ledger.jsonl is damaged"):
            list(audit(folder))
        with pytest.raises(StoreError, match=r"ledger.jsonl is damaged"):
            CASE.session(store=folder)
    # Cut off together with the manifest, only the printed head tells.
    (folder / "manifest.json").write_bytes(manifest)
    path.write_bytes(b"".join(lines[:2]))
    with_ledger(folder, lambda lines: None)
    with pytest.raises(AuditError, match="no line of the ledger has the head"):
        list(audit(folder, head))


def test_a_checkpoint_shaped_by_a_revoked_example_is_found(session: Session) -> None:
    folder = session.store.folder
    session.store.close()
    for path in sorted(p for p in folder.glob("shard-*/*") if "approximate" not in p.name):
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        bits = json.loads(header["__metadata__"]["unlearnkit"])["stages"][0]["lineage"]
        changed = sealed(data.replace(bits.encode(), b"f" * len(bits)))
        if changed != data:  # it is free of someone
            break
    path.write_bytes(changed)
    header = json.loads(changed[8 : 8 + int.from_bytes(changed[:8], "little")])
    digest = header["__metadata__"]["digest"]
    name = f"{path.parent.name}/{path.name}"
    with_manifest(folder, lambda content: content["files"][name].__setitem__(2, digest))
    with pytest.raises(
        AuditError, match=r"clean checkpoint of shard \d, stage \d was trained with"
    ):
        list(audit(folder))


def test_a_file_that_was_not_committed_is_found(session: Session) -> None:
    folder = session.store.folder
    session.store.close()
    path = next(folder.glob("shard-*/*"))
    path.with_name("abc.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(AuditError, match=r"abc.safetensors is in the folder but not committed"):
        list(audit(folder))


def test_opening_again_keeps_the_chain(session: Session) -> None:
    head = session.store.head
    again = CASE.session(store=session.store.folder)
    assert again.store.head == head and isinstance(again.store, DiskStore)
    again.repay()
    assert head in [found for _, found in again.store.ledger()]


def test_a_certificate_carries_all_that_the_ledger_says_of_a_request(session: Session) -> None:
    session.repay()
    lines = [line for line, _ in session.store.ledger()]
    completed = [line for line in lines if "routes" in line]
    outcomes = [line["entry"] for line in lines if line["kind"] == "outcome"]
    secret = session.store.secret()
    for name_ids in (False, True):
        requests = session.certificate(name_ids=name_ids).content["requests"]
        assert [r["kind"] for r in requests] == ["unlearn", "unlearn", "repay"]
        for request, line, outcome in zip(requests, completed, outcomes, strict=True):
            assert {name: request[name] for name in outcome} == outcome
            for name in ("plan", "routes", "environment"):
                assert request[name] == line[name] and line[name]
            assert all(route["reason"] for route in request["routes"])
            keyed = [keyed_digest(i, secret) for i in line["ids"]]
            assert request["ids"] == (line["ids"] if name_ids else keyed)
    assert requests[-1]["plan"] == requests[-2]["plan"] == plan_digest(session.plan, secret)
    assert requests[0]["plan"] != requests[1]["plan"]
    page = session.certificate().to_html()
    for request in requests:
        assert all(escape(route["reason"]) in page for route in request["routes"])
    again = CASE.session(store=session.store.folder)
    assert again.certificate(name_ids=True).content["requests"] == requests


def with_requests(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the lines of a ledger that tell of requests and repayments."""

    def change_told(lines: list[dict[str, Any]]) -> None:
        told = [line for line in lines if line["kind"] != "state"]
        states = [line for line in lines if line["kind"] == "state"]
        change(told)
        lines[:] = [line for line in lines if line in states or line in told]

    with_ledger(folder, change_told)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[2].update(debt_before=1), r"entry 2 .* 1 before .* give 0 and 2"),
        (lambda lines: lines[4].update(debt_after=1), r"entry 3 .* 1 after.* give 2 and 0"),
        (
            lambda lines: [lines.pop(4) for _ in range(2)],
            r"according to the ledger the shards with debt are \[.+\], .* of \[\]",
        ),
        (lambda lines: lines.pop(4), "outcome of 'repay' follows on no completion"),
        (lambda lines: lines[2]["routes"].append({"shard": []}), "not written by unlearnkit"),
    ],
)
def test_sums_of_debt_that_do_not_follow_from_what_was_done_are_found(
    change: Callable[[list[dict[str, Any]]], object], said: str, session: Session
) -> None:
    session.repay()
    session.store.close()
    list(audit(session.store.folder))
    with_requests(session.store.folder, change)
    with pytest.raises(AuditError, match=said):
        list(audit(session.store.folder))


def test_a_debt_of_other_examples_than_the_ledgers_is_found(session: Session) -> None:
    # One id more was revoked in a shard that owes; the ledger now says that it was, too.
    (at, owed), *_ = session.debt.items()
    session.store.close()

    def swap(lines: list[dict[str, Any]]) -> None:
        line = next(line for line in lines if set(owed.tolist()) & set(line.get("ids", ())))
        line["routes"] = [route for route in line["routes"] if route["shard"] != at]

    with_requests(session.store.folder, swap)
    with pytest.raises(AuditError, match="according to the ledger the shards with debt are"):
        list(audit(session.store.folder))


def test_a_plan_that_the_data_do_not_lead_to_is_found_by_retraining(session: Session) -> None:
    session.store.close()
    said = list(audit(session.store.folder, dataset=CASE.dataset()))
    assert "2 requests and repayments name the plans that the data lead to" in said
    with_requests(session.store.folder, lambda lines: lines[0].update(plan="0" * 32))
    list(audit(session.store.folder))  # the folder alone does not tell
    with pytest.raises(AuditError, match=r"entry 1 .* names the plan 0{32}, but .* lead to"):
        list(audit(session.store.folder, dataset=CASE.dataset()))


def test_examples_of_the_probe_owe_nothing(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke([*session.plan.partition.ids[:3], *session.dataset.probe.ids[:2]])
    session.unlearn(0)
    assert session.ledger()["debt_after"].tolist() == [3]
    said = list(audit(tmp_path, session.store.head, dataset=CASE.dataset()))
    assert (
        any("3 of their debt" in each for each in said)
        and "without the 5 revoked examples" in said[-2]
    )


def test_a_ledger_names_ids_by_their_digests_if_asked_to(tmp_path: Path) -> None:
    def anonymous() -> Session:
        return CASE.session(store=DiskStore(tmp_path / "digests", name_ids=False))

    sessions = [anonymous(), CASE.session(store=tmp_path / "ids")]
    for session in sessions:
        session.train()
        for at, max_share in ((0, 1), (4, 0)):
            ids = [*session.plan.partition.ids[at : at + 3], session.dataset.probe.ids[at]]
            session.revoke(ids)
            session.unlearn(max_share)
    secret = sessions[0].store.secret()
    lines = [line for line, _ in sessions[0].store.ledger() if line["kind"] == "unlearn"]
    expected = [{keyed_digest(int(i), secret) for i in one} for one in ids_of(sessions[0])]
    assert [set(line["ids"]) for line in lines] == expected
    assert sessions[0].revoked.tolist() == sessions[1].revoked.tolist()
    again = anonymous()
    assert ids_of(again) == ids_of(sessions[0]) == ids_of(sessions[1])
    assert again.plan.digest == sessions[1].plan.digest
    for one in (sessions[0], again):
        content = one.certificate(name_ids=True).content
        assert "names revoked ids by keyed digests" in content["says"][3]
        assert [r["ids"] for r in content["requests"]] == ids_of(one)
    said = [list(audit(s.store.folder, dataset=CASE.dataset())) for s in (again, sessions[1])]
    assert [re.sub("up to its head.*|[0-9.]+ s", "", a) for a in said[0]] == [
        re.sub("up to its head.*|[0-9.]+ s", "", a) for a in said[1]
    ]
    again.store.close()
    with_requests(tmp_path / "digests", lambda lines: lines[0]["ids"].append("0" * 64))
    for use in (anonymous, lambda: list(audit(tmp_path / "digests"))):
        with pytest.raises(StoreError, match="not written by unlearnkit"):
            use()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_certificate_made_while_another_thread_unlearns_is_of_one_moment(
    share: float, session: Session
) -> None:
    folder = session.store.folder
    lines, made, there, go = 0, [], threading.Event(), threading.Event()

    def make(stop_at: int | None) -> None:
        nonlocal lines
        lines = 0

        def on_line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            if lines == stop_at:
                there.set()
                go.wait(30)
            return on_line

        def on_call(frame: FrameType, event: str, arg: Any) -> Any:
            return on_line if "unlearnkit" in frame.f_code.co_filename else None

        sys.settrace(on_call)
        try:
            made.append(session.certificate().content)
        finally:
            sys.settrace(None)
            there.set()

    make(None)
    session.revoke(count=2, seed=9)
    thread = threading.Thread(target=make, args=(max(1, int(share * lines)),))
    thread.start()
    there.wait(30)
    session.unlearn(1)
    go.set()
    thread.join()
    now = session.certificate().content
    assert made[-1]["revoked"] == now["revoked"] == 6
    assert made[-1]["head"] == now["head"] and made[-1]["artefacts"] == now["artefacts"]
    session.store.close()
    assert list(audit(folder, made[-1]["head"]))


def test_a_model_that_is_not_there_is_not_called_exact(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    certificate = session.certificate()
    states = [one["state"] for one in certificate.content["constituents"]]
    assert states == ["not trained"] * 3 and "0 constituents exact" in repr(certificate)
    assert "3 constituents have no model" in " ".join(certificate.content["says"])
    session.train()
    session.store.close()
    for path in tmp_path.glob("shard-0001/*"):
        path.unlink()
    session = CASE.session(store=DiskStore(tmp_path, repair=True))
    content = session.certificate().content
    assert [one["state"] for one in content["constituents"]] == ["exact", "not trained", "exact"]
    assert "1 constituent has no model" in " ".join(content["says"])
