"""What the strip of the dashboard says of a request, before and after it is unlearned.

Times are CPU seconds, as everywhere in the step "Decide": wall time depends on what else runs.
"""

from collections.abc import Sequence

from unlearnkit.figures.drawing import duration, percent
from unlearnkit.session import Session
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary, Decision
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.parts.groups import counted
from unlearnkit.widgets.parts.shared import plural

# How much less retraining must be predicted to take before it is offered as the better choice.
WORTH = 1.1


def requested(session: Session, assessment: Assessment) -> str:
    """Say what is to be forgotten, and what exact retraining would cost."""
    workload = assessment.workload
    asked = counted(session.dataset, session.pending)
    hit, all_shards = len(workload.shards), plural(assessment.plan.num_shards, "shard")
    if not hit:
        return f"To forget: {asked}. No model was trained on {_them(len(session.pending))}."
    share = f"{percent(workload.share)} of training"
    time = share
    if workload.seconds is not None:
        time = f"{duration(workload.seconds)} of CPU time, {share}"
    where = (
        f"all {all_shards}" if 1 < hit == assessment.plan.num_shards else f"{hit} of {all_shards}"
    )
    return f"To forget: {asked} in {where}. Exact retraining: {time}."


def chosen(decision: Decision, boundary: Boundary) -> str:
    """Say what the boundary decides and what that is predicted to take."""
    name = "Your boundary"
    if isinstance(boundary, FixedBoundary):
        name = f"Threshold {percent(boundary.max_share)}"
    elif type(boundary).__name__ == "AdaptiveBoundary":
        name = "Adaptive"
    elif type(boundary).__name__ == "OverriddenBoundary":
        name = "With your overrides"
    time = ""
    if decision.seconds is not None:
        time = f", about {duration(decision.seconds)}"
    return f"{name}: {_routes(decision)}{time}."


def better(assessment: Assessment, decision: Decision) -> str:
    """Return the label of a button for a better choice; empty if there is none.

    Retraining every shard leaves no debt, so it is better wherever it is predicted to take less
    time than the decision, which modifies some.
    """
    workload = assessment.workload
    if not decision.approximate or decision.seconds is None or workload.seconds is None:
        return ""
    if decision.seconds < WORTH * workload.seconds:
        return ""
    return f"all exact: {duration(workload.seconds)}"


def happened(result: Unlearned, forgotten: str) -> str:
    """Say in one line what an unlearning did, against retraining.

    Args:
        result: the outcome of the request.
        forgotten: the number of examples, and of groups if the data have them.
    """
    decision, workload = result.decision, result.workload
    if not decision.routes:
        return f"{_upper(forgotten)} forgotten; no model was trained on them."
    if result.cpu_seconds is None:  # workers on other machines did a part of it
        time = duration(result.seconds)
    else:
        time = f"{duration(result.cpu_seconds)} of CPU time"
    line = f"{_upper(forgotten)} forgotten: {_routes(decision)} in {time}"
    hit = len(decision.exact) + len(decision.approximate)
    if decision.approximate and workload.seconds is not None and result.cpu_seconds is not None:
        what = "it" if hit == 1 else f"all {hit}"
        line += f"; retraining {what} would have taken about {duration(workload.seconds)}"
    return f"{line}."


def _routes(decision: Decision) -> str:
    """Count the shards of each route.

    >>> _routes(Decision((), "", None))
    'nothing to retrain or modify'
    """
    exact, approximate = len(decision.exact), len(decision.approximate)
    parts = [f"{plural(exact, 'shard')} retrained"] * bool(exact)
    if approximate:
        parts.append(f"{approximate if exact else plural(approximate, 'shard')} modified")
    return ", ".join(parts) or "nothing to retrain or modify"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def page_lines(steps: Sequence[dict[str, object]], said: Sequence[str]) -> list[str]:
    """Return the state of a dashboard as lines for a page that runs no widgets."""
    done = [str(step["label"]) for step in steps if step["done"]]
    return [f"Done: {', '.join(done)}." if done else "", *said]
