"""What a session has completed: requests and repayments, and what follows from them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unlearnkit.records.ledger import (
    Entry,
    Record,
    calibration_after,
    owing_after,
    owing_shards,
    read_lines,
    requests_of,
    unmeasured,
)
from unlearnkit.unlearning.error_model import Calibration
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
