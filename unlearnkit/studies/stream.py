"""Streams: many requests one after the other, beside the same stream retrained exactly.

What an approximation saves today, debt may cost tomorrow: once an early slice owes, later requests
to its shard are no longer light. So a boundary is judged over a stream, its repayments included.
"""

import threading
import time
from typing import TYPE_CHECKING, Any

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.evaluation.comparison import same_bytes
from unlearnkit.progress import Progress, ProgressEvent, Run, running
from unlearnkit.session import Session
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary

if TYPE_CHECKING:
    import pandas as pd


def stream(
    session: Session,
    *,
    rounds: int = 40,
    size: int = 10,
    boundary: str | Boundary | None = None,
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    seed: int = 0,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Unlearn a stream of uniform requests twice: by a boundary, and always exactly.

    Args:
        session: trained; it is not changed.
        rounds: requests, one after the other.
        size: examples of each.
        boundary: a name in ``BOUNDARIES`` or an object; adaptive with its default cap on debt, if
            none is given.
        method: of modification, a name in ``METHODS`` or an object.
        amend: after it, a name in ``AMENDS`` or an object.
        seed: of the requests.
        on_progress: gets an event after every request; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops between two requests when set.

    Returns:
        A row for each request. ``cpu_seconds`` are the boundary's and ``exact_cpu_seconds`` those
        of retraining, ``speed`` the quotient of their sums so far; ``debt`` the ids that are
        removed approximately only, afterwards; ``exact_operations`` the shards retrained by the
        boundary, and ``bit_identical`` how many of them have all checkpoints, tails included, byte
        for byte as always-exact retraining has them. A first request on a fork, not counted, warms
        up.

    Raises:
        ValueError: the stream would leave no examples.
        KeyError: no boundary, method or amend has this name.
        TypeError: an object that lacks a part of its protocol.
        LookupError: the session is not trained.
    """
    import pandas as pd

    left = int(session.plan.retained.sum())
    if rounds * size >= left:
        raise ValueError(
            f"{rounds} requests of {size} examples are all of the {left} that are left; take fewer"
        )
    chosen = BOUNDARIES.choose(boundary) or AdaptiveBoundary()
    ways = METHODS.choose(method), AMENDS.choose(amend)
    hybrid, exact = session.fork(), session.fork()
    for each in (hybrid, exact):
        each.withdraw()
    with running(on_progress, cancel) as run:
        for way in (FixedBoundary(0.0), FixedBoundary(1.0)):
            first = hybrid.fork()
            first.revoke(count=1)
            _unlearn(first, way, run, *ways)
        rows: list[dict[str, Any]] = []
        totals = [0.0, 0.0]
        for number in range(rounds):
            run.check()
            hybrid.revoke(count=size, seed=seed)
            exact.revoke(hybrid.pending)
            spent = (
                _unlearn(hybrid, chosen, run, *ways),
                _unlearn(exact, FixedBoundary(1.0), run),
            )
            totals = [total + seconds for total, seconds in zip(totals, spent, strict=True)]
            assert hybrid.last is not None
            decision = hybrid.last.decision
            rows.append(
                {
                    "round": number + 1,
                    "revoked": (number + 1) * size,
                    "exact_operations": len(decision.exact),
                    "bit_identical": sum(_same(hybrid, exact, shard) for shard in decision.exact),
                    "approximate_operations": len(decision.approximate),
                    "debt": sum(len(debt) for debt in hybrid.debt.values()),
                    "cpu_seconds": spent[0],
                    "exact_cpu_seconds": spent[1],
                    "speed": totals[1] / totals[0],
                }
            )
            run.on_progress(ProgressEvent("stream", None, None, number + 1, rounds))
    return pd.DataFrame(rows)


def _unlearn(
    session: Session,
    boundary: Boundary,
    run: Run,
    method: Method | None = None,
    amend: Amend | None = None,
) -> float:
    """CPU seconds of this process."""
    begun = time.process_time()
    session.unlearn(boundary=boundary, method=method, amend=amend, on_progress=run.details)
    return time.process_time() - begun


def _same(a: Session, b: Session, shard: int) -> bool:
    """Whether both have the same bytes for every stage of a shard."""
    stages = a.plan.chains[shard]
    if a.plan.final_key(shard) != b.plan.final_key(shard):
        return False
    return all(
        stage.key in a.store
        and stage.key in b.store
        and same_bytes(a.store.get(stage.key), b.store.get(stage.key))
        for stage in stages
    )
