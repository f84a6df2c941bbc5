"""The ledger: one entry a completed request, with what was predicted and what was measured."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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


def ledger_frame(entries: Iterable[Entry]) -> "pd.DataFrame":
    """One row an entry, oldest first."""
    import pandas as pd

    columns = list(Entry.__annotations__)
    return pd.DataFrame([asdict(entry) for entry in entries], columns=columns)
