"""What a session has completed: requests and repayments, and what follows from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.unlearning.boundary.protocol import APPROXIMATE
from unlearnkit.unlearning.error_model import Calibration

if TYPE_CHECKING:
    pass
from dataclasses import field, replace

from unlearnkit.records.ledger import Entry, Record, read_lines, unmeasured
from unlearnkit.unlearning.request import Revocations


@dataclass(frozen=True, eq=False)
class History:
    """What was completed so far.

    Attributes:
        revocations: all completed requests.
        records: these and all repayments, with what they took, oldest first.
        owing: shards that owe something, as committed.
        calibration: what past repayments say of the errors of approximations.
    """

    revocations: Revocations = field(default_factory=Revocations)
    records: tuple[Record, ...] = ()
    owing: frozenset[int] = frozenset()
    calibration: Calibration = Calibration()

    @property
    def lines(self) -> tuple[dict[str, Any], ...]:
        """Lines of the ledger by which something was completed, with the ids themselves."""
        return tuple(line for line, _ in self.records if line)

    def after(self, line: dict[str, Any]) -> "History":
        """The history once a line, with the ids themselves, is committed."""
        revocations = self.revocations
        if line["kind"] == "unlearn":
            revocations = revocations.with_request(np.asarray(line["ids"], np.int64))
        return History(
            revocations,
            (*self.records, (line, unmeasured(line))),
            owing_after(self.owing, line),
            calibration_after(self.calibration, line),
        )

    def measured(self, entry: Entry) -> "History":
        """The history once it is known what the last completion took."""
        *before, (line, _) = self.records
        return replace(self, records=(*before, (line, entry)))


def read_history(lines: Iterable[dict[str, Any]], num_shards: int) -> History:
    """The history that a ledger tells.

    Args:
        lines: of the ledger, with the ids themselves.
        num_shards: of the run. Where earlier versions left open who owes, all shards may.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, AttributeError: a line is none of ours.
    """
    lines = list(lines)
    records = read_lines(lines)
    requests = requests_of(records)
    owing, everyone = owing_shards(lines), frozenset(range(num_shards))
    if owing is not None and not owing <= everyone:
        raise ValueError(f"shards {sorted(owing)} owe something, of {num_shards}")
    calibration = Calibration()
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            calibration = calibration_after(calibration, line)
    return History(
        Revocations(tuple(requests)),
        tuple(records),
        everyone if owing is None else owing,
        calibration,
    )


def requests_of(records: Iterable[Record]) -> list[Int[np.ndarray, " request"]]:
    """Ids of all completed requests, oldest first."""
    lines = (line for line, _ in records if line.get("kind") == "unlearn")
    return [np.asarray(line["ids"], np.int64) for line in lines]


def owing_after(owing: frozenset[int], line: dict[str, Any]) -> frozenset[int]:
    """Shards that owe something after a line by which something was completed."""
    kinds = {route["shard"]: route["kind"] for route in line["routes"]}
    return (owing - kinds.keys()) | {s for s, kind in kinds.items() if kind == APPROXIMATE}


def owing_shards(lines: Iterable[dict[str, Any]]) -> frozenset[int] | None:
    """Shards that owe something, by the ledger alone; None where it cannot tell.

    (Earlier versions wrote down that a debt was repaid, and not of which shards.)
    """
    owing: frozenset[int] | None = frozenset()
    repaid = False
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            repaid = line["kind"] == "repay"
            owing = None if owing is None else owing_after(owing, line)
        elif line["entry"]["kind"] == "repay" and not repaid:
            owing = None if line["entry"]["debt_after"] else frozenset()
    return owing


def calibration_after(calibration: Calibration, line: dict[str, Any]) -> Calibration:
    """What is known of errors after a line by which something was completed."""
    looks = {look["shard"]: look for look in line.get("looks", ())}  # earlier versions had none
    for route in line["routes"]:
        look = looks.get(route["shard"], {})
        if route["kind"] == APPROXIMATE:
            if look.get("correction") is not None:
                calibration = calibration.corrected(route["shard"], look["correction"])
        else:
            calibration = calibration.retrained(route["shard"], look.get("error"))
    for drift in line.get("drifts", ()):  # of the default method and amend alone
        calibration = calibration.saw(drift)
    return calibration


def debts_after(
    debts: dict[int, frozenset[int]], line: dict[str, Any], shards: dict[int, int]
) -> dict[int, frozenset[int]]:
    """Ids that each shard owes after a line by which something was completed.

    Args:
        debts: before it, of shards that owe something.
        line: of the ledger.
        shards: of all training ids.
    """
    after = dict(debts)
    for route in line["routes"]:
        shard = route["shard"]
        owed = after.pop(shard, frozenset())
        if route["kind"] == APPROXIMATE:
            after[shard] = owed.union(i for i in line["ids"] if shards.get(i) == shard)
    return after
