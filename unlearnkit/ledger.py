"""The ledger: one entry a completed request, with what was predicted and what was measured."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.boundary import Decision
from unlearnkit.plan import Plan
from unlearnkit.unlearning import Unlearned

if TYPE_CHECKING:
    import pandas as pd


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


# Lines of a store's ledger. A request has two: one by which it is completed, one with what it took.


def request_line(
    ids: Int[np.ndarray, " request"],
    plan: Plan,
    decision: Decision,
    debt_before: int,
    secret: bytes,
) -> dict[str, Any]:
    """What a request is completed by: its ids, and what was decided and predicted."""
    return {
        "kind": "unlearn",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ids": ids.tolist(),
        "digest": keyed_digest(ids, secret),
        "boundary": decision.boundary,
        "routes": [asdict(route) for route in decision.routes],
        "predicted_visits": decision.exact_visits,
        "predicted_seconds": decision.seconds,
        "debt_before": debt_before,
        "environment": plan.environment.digest,
    }


def outcome_line(entry: Entry) -> dict[str, Any]:
    """What a request or a repayment took."""
    return {"kind": "outcome", "entry": asdict(entry)}


def read_lines(
    lines: Iterable[dict[str, Any]],
) -> tuple[list[Int[np.ndarray, " request"]], list[Entry]]:
    """Requests and entries, oldest first.

    Where a run ended between a request's completion and its outcome, visits are those predicted and
    the seconds are not a number.
    """
    requests: list[np.ndarray] = []
    entries: list[Entry] = []
    open_request: Entry | None = None
    for line in lines:
        if line["kind"] == "unlearn":
            if open_request is not None:
                entries.append(open_request)
            requests.append(np.asarray(line["ids"], np.int64))
            open_request = _unmeasured(line)
        else:
            entry = Entry(**line["entry"])
            if open_request is not None and entry.kind != "unlearn":
                entries.append(open_request)
            entries.append(entry)
            open_request = None
    return requests, entries if open_request is None else [*entries, open_request]


def _unmeasured(line: dict[str, Any]) -> Entry:
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
        line["debt_before"],
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
