"""The history of a session: its completed requests and repayments, and the state they imply."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.display import as_html
from unlearnkit.records.inventory import STATE
from unlearnkit.records.ledger import (
    Entry,
    Record,
    ledger_frame,
    read_lines,
    spot_check_of,
    unmeasured,
)
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE
from unlearnkit.unlearning.boundary.spot_check import SpotCheck
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.request import Revocations

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class History:
    """The requests and repayments completed so far.

    Attributes:
        revocations: all completed requests.
        records: every request and repayment with its measured outcome, oldest first.
        owing: shards that carry debt, according to the committed lines.
        error_model: the error model, fitted to past repayments.
    """

    revocations: Revocations = field(default_factory=Revocations)
    records: tuple[Record, ...] = ()
    owing: frozenset[int] = frozenset()
    error_model: ErrorModel = ErrorModel()

    def __repr__(self) -> str:
        forgotten = len(self.revocations.requests)
        return f"History({forgotten} requests, {len(self.records) - forgotten} repayments)"

    def to_frame(self) -> "pd.DataFrame":
        """The ledger: one row per request or repayment, oldest first."""
        return ledger_frame(self.records)

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def lines(self) -> tuple[dict[str, Any], ...]:
        """The completion lines of the ledger, with plain ids."""
        return tuple(line for line, _ in self.records if line)

    @property
    def spot_checks(self) -> tuple[SpotCheck, ...]:
        """The spot checks of all requests, oldest first."""
        checks = (spot_check_of(line) for line in self.lines)
        return tuple(check for check in checks if check is not None)

    def after(self, line: dict[str, Any]) -> "History":
        """The history after a completion line, with plain ids, is committed."""
        revocations = self.revocations
        if line["kind"] == "unlearn":
            revocations = revocations.with_request(np.asarray(line["ids"], np.int64))
        return History(
            revocations,
            (*self.records, (line, unmeasured(line))),
            owing_after(self.owing, line),
            error_model_after(self.error_model, line),
        )

    def measured(self, entry: Entry) -> "History":
        """The history after the outcome of the last completion is recorded."""
        *before, (line, _) = self.records
        return replace(self, records=(*before, (line, entry)))


def read_history(lines: Iterable[dict[str, Any]], num_shards: int) -> History:
    """Rebuild the history from the lines of a ledger.

    Args:
        lines: all lines of the ledger, with plain ids.
        num_shards: number of shards of the run. If a ledger of an earlier version does not say
            which shards carry debt, all shards are treated as carrying debt.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, AttributeError: a line was not written
            by unlearnkit.
    """
    lines = list(lines)
    records = read_lines(lines)
    requests = requests_of(records)
    owing, everyone = owing_shards(lines), frozenset(range(num_shards))
    if owing is not None and not owing <= everyone:
        raise ValueError(f"shards {sorted(owing)} carry debt, but the run has {num_shards} shards")
    error_model = ErrorModel()
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            error_model = error_model_after(error_model, line)
    return History(
        Revocations(tuple(requests)),
        tuple(records),
        everyone if owing is None else owing,
        error_model,
    )


def requests_of(records: Iterable[Record]) -> list[Int[np.ndarray, " request"]]:
    """Ids of all completed requests, oldest first."""
    lines = (line for line, _ in records if line.get("kind") == "unlearn")
    return [np.asarray(line["ids"], np.int64) for line in lines]


def owing_after(owing: frozenset[int], line: dict[str, Any]) -> frozenset[int]:
    """Shards that carry debt after a completion line."""
    kinds = {route["shard"]: route["kind"] for route in line["routes"]}
    return (owing - kinds.keys()) | {s for s, kind in kinds.items() if kind == APPROXIMATE}


def owing_shards(lines: Iterable[dict[str, Any]]) -> frozenset[int] | None:
    """Shards that carry debt according to the ledger; None where it cannot tell.

    Earlier versions recorded that debt was repaid but not in which shards.
    """
    owing: frozenset[int] | None = frozenset()
    repaid = False
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            repaid = line["kind"] == "repay"
            owing = None if owing is None else owing_after(owing, line)
        elif line["kind"] != STATE and line["entry"]["kind"] == "repay" and not repaid:
            owing = None if line["entry"]["debt_after"] else frozenset()
    return owing


def error_model_after(error_model: ErrorModel, line: dict[str, Any]) -> ErrorModel:
    """The error model after a completion line."""
    looks = {look["shard"]: look for look in line.get("looks", ())}  # earlier versions had none
    for route in line["routes"]:
        look = looks.get(route["shard"], {})
        if route["kind"] == APPROXIMATE:
            if look.get("correction") is not None:
                error_model = _corrected(error_model, look)
        else:
            if look.get("error") is not None and look.get("correction") is not None:
                # A spot check: the shard was modified before it was retrained.
                error_model = _corrected(error_model, look)
            error_model = error_model.retrained(route["shard"], look.get("error"))
    check = spot_check_of(line)
    if check is not None and check.usual:
        error_model = error_model.spot_checked(check.removed)
    for drift in line.get("drifts", ()):  # recorded for the default method and amend only
        error_model = error_model.saw(drift)
    return error_model


def _corrected(error_model: ErrorModel, look: dict[str, Any]) -> ErrorModel:
    share = look.get("class_share")  # earlier versions had none
    return error_model.corrected(look["shard"], look["correction"], share)


def debts_after(
    debts: dict[int, frozenset[int]], line: dict[str, Any], shards: dict[int, int]
) -> dict[int, frozenset[int]]:
    """The debt of each shard after a completion line.

    Args:
        debts: ids that each shard owed before the line.
        line: a completion line of the ledger, with plain ids.
        shards: the shard of every training id.
    """
    after = dict(debts)
    for route in line["routes"]:
        shard = route["shard"]
        owed = after.pop(shard, frozenset())
        if route["kind"] == APPROXIMATE:
            after[shard] = owed.union(i for i in line["ids"] if shards.get(i) == shard)
    return after
