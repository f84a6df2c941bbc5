"""The ledger: one entry per completed request or repayment, with predictions and measurements."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate.defaults import is_usual
from unlearnkit.models.losses import WeightedCrossEntropy
from unlearnkit.records.inventory import STATE, keyed
from unlearnkit.store import DiskStore
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.protocol import EXACT, Decision, Route
from unlearnkit.unlearning.boundary.spot_check import SpotCheck
from unlearnkit.unlearning.unlearn import Unlearned

if TYPE_CHECKING:
    import pandas as pd


# Stated with every request, since the folder alone cannot show it.
ORIGINAL = (
    "the models from before this request are in no file; the session that made the request keeps "
    "them in memory for comparison until session.discard_original(), the next request, or its end"
)


@dataclass(frozen=True)
class Entry:
    """One completed request or repayment.

    Attributes:
        time: time of completion, UTC, to the second.
        kind: ``"unlearn"`` or ``"repay"``.
        examples: number of ids forgotten.
        exact_shards: number of shards retrained exactly.
        approximate_shards: number of shards modified approximately.
        predicted_visits: example gradients predicted for the exact part.
        visits: example gradients computed for the exact part.
        predicted_seconds: CPU seconds predicted by the clock; None if nothing had been timed.
            Earlier versions, which wrote no ``cpu_seconds``, predicted wall seconds.
        seconds: measured wall time.
        debt_before: number of ids removed only approximately, before the request.
        debt_after: the same number after the request.
        boundary: repr of the boundary that decided.
        cpu_seconds: measured CPU seconds; None if workers did a part of the work, and in entries by
            earlier versions.
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
    cpu_seconds: float | None = None

    def __repr__(self) -> str:
        return (
            f"Entry({self.time}, {self.kind}: {self.examples} examples, {self.exact_shards} shards "
            f"exact, {self.approximate_shards} approximate)"
        )


def entry_of(result: Unlearned, kind: str = "unlearn") -> Entry:
    """The ledger entry of a result, dated now."""
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
        result.cpu_seconds,
    )


# A completion line and its entry. Earlier versions wrote no completion line for a repayment; the
# line is then empty.
Record = tuple[dict[str, Any], Entry]

# A request or a repayment has two lines in a store's ledger: the completion line, and the outcome
# line with its measured cost.


def state_line() -> dict[str, Any]:
    """A line that only takes note of files and of requests that wait: see its inventory."""
    return {"kind": STATE, "time": datetime.now(UTC).isoformat(timespec="seconds")}


def plan_digest(plan: Plan, key: bytes | None) -> str:
    """The digest of a plan; keyed, since it depends on the revoked ids, unless the key is None."""
    return plan.digest if key is None else keyed(plan.digest, key)


def request_line(
    ids: Int[np.ndarray, " request"],
    plan: Plan,
    decision: Decision,
    debt_before: int,
    secret: bytes,
    name_ids: bool = True,
    *,
    plan_key: bytes | None,
    method: object,
    amend: object,
    num_groups: int | None = None,
) -> dict[str, Any]:
    """The completion line of a request: its ids, the decision and the predictions.

    Of groups it holds their number only, and no name.
    """
    how: dict[str, Any] = {}
    if decision.approximate or decision.spot_check is not None:
        how = {"method": repr(method), "amend": repr(amend), **formulas_of(plan)}
    usual = is_usual(plan, method, amend)  # other methods may drift anyway
    networks = [check for check in decision.checks if usual and not check.convex]
    drifts = [check.drift for check in networks if check.drift is not None]
    return {
        "kind": "unlearn",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ids": ids.tolist() if name_ids else [keyed_digest(i, secret) for i in ids.tolist()],
        "named": name_ids,
        "digest": keyed_digest(ids, secret),
        **({} if num_groups is None else {"groups": num_groups}),
        "plan": plan_digest(plan, plan_key),
        "boundary": decision.boundary,
        "routes": [asdict(route) for route in decision.routes],
        "looks": [asdict(check) for check in decision.checks],
        "drifts": drifts,
        "predicted_visits": decision.exact_visits,
        "predicted_seconds": decision.seconds,
        "debt_before": debt_before,
        "environment": plan.environment.digest,
        **_repeated(decision),
        **_spot_check(decision),
        **how,
        "original": ORIGINAL,
    }


def formulas_of(plan: Plan) -> dict[str, dict[str, str]]:
    """The formulas of approximations that earlier versions had otherwise, for a completion line.

    The field is absent for models and losses whose approximations have always been the same. A
    modification can be replayed only with the formulas that its line names.
    """
    formulas = {}
    if plan.architecture.has_batch_statistics:
        formulas["batch statistics"] = "difference"
    if isinstance(plan.spec.loss, WeightedCrossEntropy):
        formulas["expected class weight"] = "harmonic mean"
    return {"formulas": formulas} if formulas else {}


def repay_line(
    plan: Plan, decision: Decision, debt_before: int, debt_after: int, plan_key: bytes | None
) -> dict[str, Any]:
    """The completion line of a repayment."""
    return {
        "kind": "repay",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ids": [],
        "plan": plan_digest(plan, plan_key),
        "boundary": decision.boundary,
        "routes": [asdict(route) for route in decision.routes],
        "looks": [asdict(check) for check in decision.checks],
        "predicted_visits": decision.exact_visits,
        "predicted_seconds": decision.seconds,
        "debt_before": debt_before,
        "debt_after": debt_after,
        "environment": plan.environment.digest,
        **_repeated(decision),
    }


def _repeated(decision: Decision) -> dict[str, Any]:
    """How many steps of the retraining were repeated; empty for built-in models."""
    repeated = decision.repeated
    return {"repeated": repeated.to_dict()} if repeated.steps or repeated.kept else {}


def _spot_check(decision: Decision) -> dict[str, Any]:
    """The spot check of a request, with ``"usual": False`` beside it if it was not of the default.

    It is empty if no shard was checked.
    """
    if decision.spot_check is None:
        return {}
    check = asdict(decision.spot_check)
    usual = check.pop("usual")
    return {"spot_check": check, **({} if usual else {"usual": False})}


def outcome_line(entry: Entry) -> dict[str, Any]:
    """The outcome line of a request or a repayment: its measured cost."""
    fields = asdict(entry)
    if entry.cpu_seconds is None:
        del fields["cpu_seconds"]
    return {"kind": "outcome", "entry": fields}


def with_ids(
    lines: Iterable[dict[str, Any]], store: DiskStore, ids: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Yield ledger lines with plain ids in place of keyed digests.

    Args:
        lines: lines of the ledger.
        store: holds the secret that keys the digests.
        ids: candidates; every digest must belong to one of them.

    Raises:
        KeyError: a digest belongs to none of the ids.
        TypeError: a line was not written by unlearnkit.
    """
    known: dict[object, int] = {}
    for line in lines:
        digests = [i for i in line.get("ids", ()) if isinstance(i, str)]
        if digests and not known:
            secret = store.secret()
            known = {keyed_digest(i, secret): i for i in ids}
        yield {**line, "ids": [known[i] for i in digests]} if digests else line


def read_lines(lines: Iterable[dict[str, Any]]) -> list[Record]:
    """Pair completion lines with their outcomes, oldest first.

    If a run ended between the completion and its outcome, the visits are the predicted ones and the
    seconds are NaN.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: a line was not written by unlearnkit.
    """
    records: list[Record] = []
    open_kind = ""  # kind of the last record, while its outcome is missing
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            _check(line)
            records.append((line, _checked(unmeasured(line))))
            open_kind = line["kind"]
        elif line["kind"] != STATE:
            entry = _checked(Entry(**line["entry"]))
            if entry.kind != open_kind and line.get("format") is not None:
                raise ValueError(f"an outcome of {entry.kind!r} follows on no completion of it")
            completed = records.pop()[0] if entry.kind == open_kind else {}
            records.append((completed, entry))
            open_kind = ""
    return records


def _check(line: dict[str, Any]) -> None:
    shards = [Route(**route).shard for route in line["routes"]]
    for whole in (*shards, *line["ids"]):
        if type(whole) is not int:
            raise TypeError(f"{whole!r} is not a whole number")
    check = spot_check_of(line)
    if check is not None and check.shard not in _exact(line):
        raise ValueError(f"shard {check.shard} was spot-checked, but has no exact route")


def spot_check_of(line: dict[str, Any]) -> SpotCheck | None:
    """The spot check of a completion line; None if it has none."""
    if "spot_check" not in line:
        return None
    return SpotCheck(**line["spot_check"], usual=line.get("usual", True))


def _exact(line: dict[str, Any]) -> set[int]:
    return {route["shard"] for route in line["routes"] if route["kind"] == EXACT}


def _checked(entry: Entry) -> Entry:
    for text in (entry.time, entry.kind, entry.boundary):
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")
        text.encode()  # raises an error for half of a surrogate pair, which no table can hold
    for whole in (entry.visits, entry.predicted_visits):
        if type(whole) is not int:
            raise TypeError(f"visits={whole!r} is not a whole number")
    for seconds in (entry.seconds, entry.predicted_seconds, entry.cpu_seconds):
        if seconds is not None and type(seconds) not in (int, float):
            raise TypeError(f"seconds={seconds!r} is not a number")
    return entry


def unmeasured(line: dict[str, Any]) -> Entry:
    """The entry of a completion line before its outcome is recorded."""
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
    """HMAC-SHA-256 of the sorted ids, so that ids cannot be guessed without the key."""
    data = np.unique(np.asarray(ids, "<i8")).tobytes()
    return hmac.new(secret, data, hashlib.sha256).hexdigest()


def ledger_frame(records: Sequence[Record]) -> "pd.DataFrame":
    """A table of ledger entries, one row each, oldest first.

    Beside the fields of an :class:`Entry` it has the shard that was spot-checked, and which share
    of the gap of doing nothing modifying had removed there: negative if it made the gap larger,
    and missing if there was no check, or no gap. If the data have groups, it has the number of
    groups of each request after that of its examples.
    """
    import pandas as pd

    rows = []
    for line, entry in records:
        check = spot_check_of(line)
        found = (None, None) if check is None else (check.shard, check.removed)
        rows.append({**asdict(entry), "spot_check": found[0], "removed": found[1]})
    frame = pd.DataFrame(rows, columns=[*Entry.__annotations__, "spot_check", "removed"])
    frame = frame.astype({"spot_check": "Int64", "removed": float})
    groups = [line.get("groups") for line, _ in records]
    if any(count is not None for count in groups):
        place = list(frame.columns).index("examples") + 1
        frame.insert(place, "groups", pd.Series(groups, dtype="Int64"))
    return frame
