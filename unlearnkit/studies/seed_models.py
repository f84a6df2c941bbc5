"""The models of one seed in a population: original, unlearned and retrained.

A session times its work, so that a boundary can predict seconds, and checks what it modifies, so
that a boundary can refuse. A boundary that is a fixed share of visits asks for neither. The models
are then made by the functions that a session calls, with the same bits in less time.
"""

from typing import Any

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import Amend, Method
from unlearnkit.data.examples import Dataset
from unlearnkit.models.signature import Signature
from unlearnkit.progress import OnProgress, silent
from unlearnkit.session import Session
from unlearnkit.store import MemoryStore
from unlearnkit.training.ensemble import Ensemble, assemble
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.train import train
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.inspection import PROBE_MAX, Probe
from unlearnkit.unlearning.unlearn import unlearn

Ids = Int[np.ndarray, " forget"]
ALWAYS_EXACT = FixedBoundary(1.0)


def trained(
    dataset: Dataset,
    options: dict[str, Any],
    boundary: Boundary = ALWAYS_EXACT,
    on_progress: OnProgress = silent,
) -> Session:
    """Return a trained session.

    Args:
        dataset: the data.
        options: arguments of the session.
        boundary: the boundary of later requests, for which the training is timed if need be.
        on_progress: gets events.
    """
    session = Session(dataset, **options)
    if _is_untimed(session, boundary):
        train(
            session.plan,
            session.store,
            on_progress=on_progress,
            parallel=session.parallel,
            threads=session.threads,
        )
    else:
        session.train(on_progress=on_progress)
    return session


def unlearned(
    session: Session,
    forget: Ids,
    boundary: Boundary = ALWAYS_EXACT,
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    on_progress: OnProgress = silent,
) -> Ensemble:
    """Return the models of a session after a request; the session does not change.

    Args:
        session: a session that :func:`trained` returned for this boundary.
        forget: ids to forget.
        boundary: how to unlearn; by default every shard is retrained exactly.
        method: the method of modification; None chooses the default for the model.
        amend: the amend; None chooses replay.
        on_progress: gets events.
    """
    fork = session.fork()
    fork.revoke(forget)
    if _is_untimed(session, boundary):
        found = _unlearned(fork, boundary, method, amend, on_progress)
        if found is not None:
            return found
        fork = session.fork()
        fork.revoke(forget)
    with quietly():  # the population is compared with the retrained one
        fork.unlearn(
            boundary=boundary,
            method=method,
            amend=amend,
            spot_check=False,  # measures the modified models themselves
            on_progress=on_progress,
        )
    return fork.ensemble


def of_another_seed(session: Session, on_progress: OnProgress = silent) -> Ensemble:
    """Train on the retained examples of a session in its shards and slices, with the next seed.

    The models differ from those that the session would retrain by chance alone, and so give the
    distance of other models to these its scale.
    """
    plan = session.plan.with_seed(session.plan.spec.seed + 1)
    store = MemoryStore()
    train(plan, store, on_progress=on_progress, parallel=session.parallel, threads=session.threads)
    return assemble(plan, store, session.aggregation, Signature.of(session.dataset))


def rehearse(session: Session) -> None:
    """Time small modifications on a copy, as a session does before its first request.

    Forks of the session then have the rates already, so that none of them measures rates while its
    request is timed.
    """
    one = session.plan.partition.ids[session.plan.retained][:1]
    session.revoke(one)
    session.assess()
    session.withdraw(one)


def _unlearned(
    fork: Session,
    boundary: Boundary,
    method: str | Method | None,
    amend: str | Amend | None,
    on_progress: OnProgress,
) -> Ensemble | None:
    """Unlearn the pending request of a fork without a clock, and with the checks of one example.

    A fixed boundary refuses nothing but outputs that are not finite. If there are such outputs,
    None is returned, and the session has to decide.
    """
    data, plan = fork.dataset, fork.plan
    seen = np.setdiff1d(data.probe.ids, fork.pending)
    probe = Probe(plan.architecture, plan.spec.loss, *data.examples(seen[:1]))
    with quietly():
        done = unlearn(
            plan,
            fork.store,
            fork.pending,
            boundary,
            method=method,
            amend=amend,
            probe=probe,
            on_progress=on_progress,
            parallel=fork.parallel,
            threads=fork.threads,
        )
    ensemble = assemble(done.plan, fork.store, fork.aggregation, Signature.of(data))
    if done.decision.approximate or done.decision.refused:
        try:
            ensemble.constituent_probabilities(data.examples(seen[:PROBE_MAX])[0])
        except NotFiniteError:
            return None
    return ensemble


def _is_untimed(session: Session, boundary: Boundary) -> bool:
    """Whether a boundary's decision depends neither on predicted seconds nor on checks."""
    fixed = type(boundary) is FixedBoundary and boundary.unit == "visits"
    return fixed and isinstance(session.store, MemoryStore)
