"""The ledger: one entry a completed request, with what was predicted and what was measured."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.store import DiskStore
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.protocol import Decision, Route
from unlearnkit.unlearning.unlearn import Unlearned

if TYPE_CHECKING:
    import pandas as pd


# Said with every request, since the folder cannot show it.
ORIGINAL = (
    "the models from before this request are in no file; the session that made it keeps them in "
    "memory, for comparison, until session.discard_original(), the next request, or its end"
)


@dataclass(frozen=True)
class Entry:
    """One completed request or repayment.

    Attributes:
        time: when it was completed, UTC, to the second.
        kind: ``"unlearn"`` or ``"repay"``.
        examples: number of ids forgotten.
        exact_shards: retrained exactly.
        approximate_shards: modified approximately.
        predicted_visits: of the exact part.
        visits: of the exact part, executed.
        predicted_seconds: by the clock; None before anything was timed.
        seconds: measured.
        debt_before: ids removed approximately only, before.
        debt_after: the same, afterwards.
        boundary: that decided.
    """

    time: str
    kind: str
    examples: int
    exact_shards: int
    approximate_shards: int
    predicted_visits: int
    visits: int
    predicted_seconds: float | None
    seconds: float
    debt_before: int
    debt_after: int
    boundary: str


def entry_of(result: Unlearned, kind: str = "unlearn") -> Entry:
    """The entry of a result, dated now."""
    decision = result.decision
    return Entry(
        datetime.now(UTC).isoformat(timespec="seconds"),
        kind,
        len(result.ids),
        len(decision.exact),
        len(decision.approximate),
        decision.exact_visits,
        result.visits,
        result.predicted_seconds,
        result.seconds,
        result.debt_before,
        result.debt_after,
        decision.boundary,
    )


# The line by which something was completed, and its entry. (Earlier versions wrote no such line of
# a repayment; there it is empty.)
Record = tuple[dict[str, Any], Entry]

# Lines of a store's ledger. A request, or a repayment, has two: one by which it is completed, and
# one with what it took.


def request_line(
    ids: Int[np.ndarray, " request"],
    plan: Plan,
    decision: Decision,
    debt_before: int,
    secret: bytes,
    name_ids: bool = True,
    *,
    method: object,
    amend: object,
) -> dict[str, Any]:
    """What a request is completed by: its ids, and what was decided and predicted."""
    how = {"method": repr(method), "amend": repr(amend)} if decision.approximate else {}
    usual = method == default_method(plan) and amend == Replay()  # others may drift by themselves
    drifts = [look.drift for look in decision.looks if usual and look.drift is not None]
    return {
        "kind": "unlearn",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ids": ids.tolist() if name_ids else [keyed_digest(i, secret) for i in ids.tolist()],
        "named": name_ids,
        "digest": keyed_digest(ids, secret),
        "plan": plan.digest,
        "boundary": decision.boundary,
        "routes": [asdict(route) for route in decision.routes],
        "looks": [asdict(look) for look in decision.looks],
        "drifts": drifts,
        "predicted_visits": decision.exact_visits,
        "predicted_seconds": decision.seconds,
        "debt_before": debt_before,
        "environment": plan.environment.digest,
        **how,
        "original": ORIGINAL,
    }


def repay_line(plan: Plan, decision: Decision, debt_before: int, debt_after: int) -> dict[str, Any]:
    """What a repayment is completed by."""
    return {
        "kind": "repay",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ids": [],
        "plan": plan.digest,
        "boundary": decision.boundary,
        "routes": [asdict(route) for route in decision.routes],
        "looks": [asdict(look) for look in decision.looks],
        "predicted_visits": decision.exact_visits,
        "predicted_seconds": decision.seconds,
        "debt_before": debt_before,
        "debt_after": debt_after,
        "environment": plan.environment.digest,
    }


def outcome_line(entry: Entry) -> dict[str, Any]:
    """What a request or a repayment took."""
    return {"kind": "outcome", "entry": asdict(entry)}


def with_ids(
    lines: Iterable[dict[str, Any]], store: DiskStore, ids: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Lines with the ids themselves where a store's ledger has digests of them.

    Args:
        lines: of its ledger.
        store: for its secret.
        ids: among which they are.

    Raises:
        KeyError: a digest of no such id.
        TypeError: a line is none of ours.
    """
    known: dict[object, int] = {}
    for line in lines:
        digests = [i for i in line.get("ids", ()) if isinstance(i, str)]
        if digests and not known:
            secret = store.secret()
            known = {keyed_digest(i, secret): i for i in ids}
        yield {**line, "ids": [known[i] for i in digests]} if digests else line


def read_lines(lines: Iterable[dict[str, Any]]) -> list[Record]:
    """What was completed, oldest first.

    Where a run ended between a completion and its outcome, visits are those predicted and the
    seconds are not a number.

    Raises:
        KeyError, TypeError, AttributeError: a line is none of ours.
    """
    records: list[Record] = []
    open_kind = ""  # of the last record, if what it took is still to come
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            _check(line)
            records.append((line, _checked(unmeasured(line))))
            open_kind = line["kind"]
        else:
            entry = _checked(Entry(**line["entry"]))
            completed = records.pop()[0] if entry.kind == open_kind else {}
            records.append((completed, entry))
            open_kind = ""
    return records


def _check(line: dict[str, Any]) -> None:
    shards = [Route(**route).shard for route in line["routes"]]
    for whole in (*shards, *line["ids"]):
        if type(whole) is not int:
            raise TypeError(f"{whole!r} is no whole number")


def _checked(entry: Entry) -> Entry:
    for whole in (entry.visits, entry.predicted_visits):
        if type(whole) is not int:
            raise TypeError(f"{whole!r} visits are no whole number")
    for seconds in (entry.seconds, entry.predicted_seconds):
        if seconds is not None and type(seconds) not in (int, float):
            raise TypeError(f"{seconds!r} seconds are no number")
    return entry


def unmeasured(line: dict[str, Any]) -> Entry:
    """The entry of a line, as long as nobody has said what it took."""
    kinds = [route["kind"] for route in line["routes"]]
    return Entry(
        line["time"],
        line["kind"],
        len(line["ids"]),
        kinds.count("exact"),
        kinds.count("approximate"),
        line["predicted_visits"],
        line["predicted_visits"],
        line["predicted_seconds"],
        float("nan"),
        line["debt_before"],
        line.get("debt_after", line["debt_before"]),
        line["boundary"],
    )


def keyed_digest(ids: Int[np.ndarray, " id"] | int, secret: bytes) -> str:
    """HMAC-SHA-256 of ids, ascending: without the key nobody can try which ids they are."""
    data = np.unique(np.asarray(ids, "<i8")).tobytes()
    return hmac.new(secret, data, hashlib.sha256).hexdigest()


def ledger_frame(entries: Iterable[Entry]) -> "pd.DataFrame":
    """One row an entry, oldest first."""
    import pandas as pd

    columns = list(Entry.__annotations__)
    return pd.DataFrame([asdict(entry) for entry in entries], columns=columns)
