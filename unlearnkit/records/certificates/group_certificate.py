"""The page for one group, such as a person: which of its rows were forgotten, when, and how."""

import html
import json
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.display import plural
from unlearnkit.records.certificates.page import page, written
from unlearnkit.records.history import debts_after
from unlearnkit.records.ledger import Record, keyed_digest
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.deadlines import Queue

FORGOTTEN, OWED = "forgotten", "removed approximately"
UNREAD, WAITING, HELD = "no longer read", "waiting", "not revoked"
WORDS = {
    FORGOTTEN: "forgotten exactly (no model in use or in the store was trained with this data)",
    OWED: "removed from a model approximately; exact retraining is still owed",
    UNREAD: "revoked; no model was trained on such rows, and evaluations no longer read them",
    WAITING: "waiting to be forgotten with the next request",
    HELD: "not revoked",
}


@dataclass(frozen=True, eq=False)
class GroupCertificate:
    """The result of ``session.certificate(group=...)``: a page, JSON, or a short repr.

    It names the group and the ids of its rows in plain, since it is meant for the person whose rows
    they are. It holds nothing of other groups, not even how many there are.

    Attributes:
        content: everything that the page states, as JSON-compatible values.
    """

    content: dict[str, Any]

    def __repr__(self) -> str:
        states = Counter(row["state"] for row in self.content["rows"])
        shown = ", ".join(f"{states[state]} {state}" for state in WORDS if states[state])
        return f"GroupCertificate({plural(len(self.content['rows']), 'row')}: {shown})"

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The page's content as JSON; also written to ``path`` if one is given."""
        return written(json.dumps(self.content, indent=1), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The page as self-contained HTML; also written to ``path`` if one is given."""
        whole = page(
            "Your data",
            "What became of your data",
            self._repr_html_(),
            css="body{max-width:50em}",
        )
        return written(whole, path)

    def _repr_html_(self) -> str:
        says = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.content["says"])
        heads = {"id": "row", "part": "used for", "state": "what became of it"}
        heads |= {"revoked": "revoked (UTC)", "exact": "exact since (UTC)", "due": "due by (UTC)"}
        top = "".join(f"<th>{head}</th>" for head in heads.values())
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(_cell(row[name]))}</td>' for name in heads)}</tr>"
            for row in self.content["rows"]
        )
        return f"<ul>{says}</ul><table><tr>{top}</tr>{body}</table>"


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)[:19] if _is_time(value) else str(value)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and value[:1].isdigit()


def certify_group(
    name: Hashable,
    dataset: Dataset,
    plan: Plan,
    debts: dict[int, Int[np.ndarray, " debt"]],
    records: Sequence[Record],
    *,
    pending: Int[np.ndarray, " pending"],
    queue: Queue,
    head: str | None,
    secret: bytes | None,
    original_in_memory: bool,
    exact_by: datetime | None = None,
) -> GroupCertificate:
    """State what became of the rows of one group.

    Args:
        name: name of the group.
        dataset: the data, with groups.
        plan: the plan of the current retain set.
        debts: ids that each shard owes.
        records: the completion lines of the ledger, with plain ids, and their entries.
        pending: ids that wait for the next request.
        queue: their deadlines.
        head: the head of the ledger's chain; None for a store in memory.
        secret: keys the digests by which the ledger may name the ids; None leaves them out.
        original_in_memory: whether the session still holds the models from before its last request.
        exact_by: the moment by which the operator promises to clear debt; None without a promise.

    Raises:
        KeyError: the group is not known.
    """
    ids = dataset.ids_of_groups([name]).tolist()
    owed = {int(one) for debt in debts.values() for one in debt}
    revoked, exact = _times(ids, plan, [line for line, _ in records if line])
    part_of = {
        one: part
        for part, examples in dataset.parts.items()
        for one in examples.ids[examples.find(np.array(ids))[0]].tolist()
    }
    rows = []
    for one in ids:
        trained = part_of[one] == "train"
        state = HELD
        if one in revoked:
            state = OWED if one in owed else FORGOTTEN if trained else UNREAD
        elif one in pending:
            state = WAITING
        due = queue.deadlines.get(one) if state == WAITING else exact_by if state == OWED else None
        rows.append(
            {
                "id": one,
                "part": {"train": "training", "probe": "checks", "test": "evaluation"}[
                    part_of[one]
                ],
                "state": state,
                "revoked": revoked.get(one),
                "exact": exact.get(one) if state == FORGOTTEN else None,
                "due": None if due is None else due.isoformat(timespec="seconds"),
                "digest": None if secret is None else keyed_digest(one, secret),
            }
        )
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "group": str(name),
        "says": _says(name, dataset, rows, head, exact_by, original_in_memory),
        "head": head,
        "rows": rows,
    }
    return GroupCertificate(content)


def _times(
    ids: list[int], plan: Plan, lines: list[dict[str, Any]]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return when each id was revoked, and since when it is not owed any more."""
    partition, own = plan.partition, set(ids)
    rows = partition.rows(np.array(ids))
    shards = dict(zip(partition.ids[rows].tolist(), partition.shard[rows].tolist(), strict=True))
    debts: dict[int, frozenset[int]] = {}
    revoked: dict[int, str] = {}
    exact: dict[int, str] = {}
    for line in lines:
        debts = debts_after(debts, line, shards)
        revoked |= {one: line["time"] for one in own.intersection(line["ids"])}
        owed = frozenset[int]().union(*debts.values())
        clear = revoked.keys() - owed
        exact = {one: exact.get(one, line["time"]) for one in clear}
    return revoked, exact


def _says(
    name: Hashable,
    dataset: Dataset,
    rows: list[dict[str, Any]],
    head: str | None,
    exact_by: datetime | None,
    original_in_memory: bool,
) -> list[str]:
    states = Counter(row["state"] for row in rows)
    column = "" if dataset.grouping is None else dataset.grouping.column
    says = [f"This page is about the {plural(len(rows), 'row')} in which {column} is {name}."]
    says += [
        f"{plural(states[state], 'row')}: {words}."
        for state, words in WORDS.items()
        if states[state]
    ]
    if states[OWED]:
        promise = "No date is promised for it."
        if exact_by is not None:
            promise = f"It is promised by {exact_by:%Y-%m-%d %H:%M} UTC; nothing enforces that."
        says.append(f"What is owed is cleared by retraining the models exactly. {promise}")
    if states[FORGOTTEN]:
        says.append(
            "Exactly means: the models have the same bytes as models that were trained without "
            "these rows in the same environment. That the rows existed, and which of them belong "
            "together, still shapes the order of training."
        )
    if original_in_memory:
        says.append(
            "Models from before the last request are still in the memory of the running session, "
            "for comparison. They are not used for anything else."
        )
    if head is None:
        says.append("The records are kept in memory only, so nobody can check this page.")
    else:
        says.append(
            "To check it: whoever holds the records can run python -m unlearnkit audit on them, "
            f"with --head {head}, and with --retrain and the data. It fails if a record up to that "
            "head was changed, or if a model called exact has other bytes than retraining gives. "
            "With the key of the records, the digest of a row finds it there."
        )
    says.append(
        "What no check shows: that there is no other copy, in a backup or on another machine, and "
        "that all rows of this person were marked as theirs."
    )
    return says
