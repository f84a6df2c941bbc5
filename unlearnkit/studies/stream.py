"""Streams: many requests in sequence, handled by a boundary and by exact retraining.

An approximation saves time now, but its debt can cost time later: once a shard has debt in an early
slice, exact retraining for later requests has to start there. A boundary should therefore be judged
over a stream of requests, repayments included.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.evaluation.retrained import same_bytes
from unlearnkit.progress import Progress, ProgressEvent, Run, running
from unlearnkit.seeding import numpy_generator
from unlearnkit.session import Session
from unlearnkit.studies.arguments import as_count
from unlearnkit.studies.seed_models import rehearse
from unlearnkit.torch_settings import own_settings
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.verdict import quietly

if TYPE_CHECKING:
    import pandas as pd


@own_settings()
def stream(
    session: Session,
    *,
    rounds: int = 40,
    size: int = 10,
    by_group: bool = False,
    boundary: str | Boundary | None = None,
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    seed: int = 0,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Unlearn a sequence of random requests twice: by a boundary, and always exactly.

    Use it to see whether a boundary still saves time after many requests, when debt has built up.
    Examples, or groups, are drawn uniformly from those that are left, or in proportion to their
    propensities if the data have unequal ones.

    Args:
        session: a trained session. It is not changed; the requests are executed in forks.
        rounds: the number of requests.
        size: the number of examples per request.
        by_group: whether ``size`` counts groups, such as persons, all of whose examples are
            revoked, instead of examples.
        boundary: the boundary to judge, a name in ``BOUNDARIES`` or an object. The default is the
            adaptive boundary with its default cap on debt.
        method: the method of modification, a name in ``METHODS`` or an object; None chooses the
            default for the model.
        amend: the amend, a name in ``AMENDS`` or an object; None chooses replay.
        seed: the seed of the requests.
        on_progress: a callable that receives an event after each request; True shows a progress
            bar, False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops the stream after the current request.

    Returns:
        A table with one row for each request and these columns: ``cpu_seconds`` for the boundary,
        ``exact_cpu_seconds`` for exact retraining, and ``speed``, the quotient of their sums so
        far (above 1 the boundary is faster); ``revoked``, the number of examples revoked so far,
        and with ``by_group`` also ``groups``, the number of groups; ``debt``, the number of ids
        that remain removed only approximately; ``exact_operations`` and
        ``approximate_operations``, the numbers of shards retrained and modified by the boundary;
        and ``bit_identical``, the number of retrained shards whose checkpoints are byte for byte
        those of always-exact retraining. A warm-up request is not counted, nor is the rehearsal
        that precedes a session's first request.

    Raises:
        ValueError: the stream would leave no examples, ``rounds`` or ``size`` is below 1, or the
            data have no groups.
        KeyError: no boundary, method or amend has this name.
        TypeError: an object lacks a part of its protocol, or ``rounds`` or ``size`` is not a whole
            number.
        LookupError: the session is not trained yet.
        Cancelled: ``cancel`` was set.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> table = uk.stream(session, rounds=2, size=3)
    >>> table["revoked"].tolist()
    [3, 6]
    """
    import pandas as pd

    rounds, size = as_count("rounds", rounds, 1), as_count("size", size, 1)
    names, rates = _candidates(session, by_group)
    left = len(names) if rates is None else int((rates > 0).sum())
    if rounds * size >= left:
        raise ValueError(
            f"{rounds} requests of {size} {'groups' if by_group else 'examples'} would use up the "
            f"{left} remaining{'' if rates is None else ' that may leave'}; use fewer rounds or a "
            "smaller size"
        )
    chosen = BOUNDARIES.choose(boundary) or AdaptiveBoundary()
    approximation = METHODS.choose(method), AMENDS.choose(amend)
    hybrid, exact = session.fork(), session.fork()
    for each in (hybrid, exact):
        each.withdraw()
    with running(on_progress, cancel) as run:
        rehearse(hybrid)
        for warm_up in (FixedBoundary(0.0), FixedBoundary(1.0)):
            first = hybrid.fork()
            first.revoke(count=1)
            _unlearn(first, warm_up, run, *approximation)
        rows: list[dict[str, Any]] = []
        totals, earlier = [0.0, 0.0], len(hybrid.revoked)
        for number in range(rounds):
            run.check()
            _revoke(hybrid, size, seed, by_group)
            exact.revoke(hybrid.pending)
            spent = (
                _unlearn(hybrid, chosen, run, *approximation),
                _unlearn(exact, FixedBoundary(1.0), run),
            )
            totals = [total + seconds for total, seconds in zip(totals, spent, strict=True)]
            assert hybrid.last is not None
            decision = hybrid.last.decision
            rows.append(
                {
                    "round": number + 1,
                    "revoked": len(hybrid.revoked) - earlier,
                    **({"groups": (number + 1) * size} if by_group else {}),
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


def _candidates(
    session: Session, by_group: bool
) -> tuple[Sequence[Hashable], Float64[np.ndarray, " candidate"] | None]:
    """Return groups or ids that have training examples left, and their rates if these differ."""
    if by_group:
        costs = session.group_costs()
        return costs.names, costs.rates if has_unequal(costs.rates) else None
    retained = session.plan.retained
    ids, rates = session.plan.partition.ids[retained], session.plan.examples.propensity
    rates = None if rates is None else rates[retained]
    return ids.tolist(), rates if has_unequal(rates) else None


def _revoke(session: Session, count: int, seed: int, by_group: bool) -> None:
    """Revoke a random choice, drawn by a generator that is keyed by what was revoked before."""
    names, rates = _candidates(session, by_group)
    if not by_group and rates is None:
        session.revoke(count=count, seed=seed)
        return
    odds = None if rates is None else rates / rates.sum()
    stream = "stream-groups" if by_group else "stream-examples"
    generator = numpy_generator(seed, stream, len(session.revoked))
    chosen = [names[at] for at in generator.choice(len(names), count, replace=False, p=odds)]
    if by_group:
        session.revoke(groups=chosen)
    else:
        session.revoke(chosen)


def _unlearn(
    session: Session,
    boundary: Boundary,
    run: Run,
    method: Method | None = None,
    amend: Amend | None = None,
) -> float:
    """Unlearn the pending request and return the CPU seconds of this process."""
    begun = time.process_time()
    with quietly():  # the stream compares with the retrained models
        session.unlearn(
            boundary=boundary,
            method=method,
            amend=amend,
            spot_check=False,
            on_progress=run.details,
        )
    return time.process_time() - begun


def _same(a: Session, b: Session, shard: int) -> bool:
    """Whether both sessions store the same bytes for every stage of a shard."""
    stages = a.plan.chains[shard]
    if a.plan.final_key(shard) != b.plan.final_key(shard):
        return False
    return all(
        stage.key in a.store
        and stage.key in b.store
        and same_bytes(a.store.get(stage.key), b.store.get(stage.key))
        for stage in stages
    )
