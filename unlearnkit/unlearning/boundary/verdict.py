"""Verdicts on modified shards: which ones are doubtful, and what is said of them.

A modified shard is accepted, doubtful or refused. A boundary refuses
(:meth:`~unlearnkit.unlearning.boundary.protocol.Boundary.objection`), and the shard is then
retrained exactly. A doubtful shard stays modified, but its route, the decision and a warning say
that it may be no better than before the request. What is doubtful does not depend on the boundary,
so that no boundary keeps silent about it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from unlearnkit.display import plural
from unlearnkit.unlearning.inspection import Check

WAYS_OUT = (
    "repay() retrains what was modified; spot_check=True measures how much modifying removes; a "
    "threshold of 1 retrains everything; and training at a lower learning rate makes "
    "approximations better (session.amplification() measures how chaotic training is)"
)

CALM, SHARP = 0.08, 0.2  # sharpness up to which little, and beyond which no agreement is enough
MIN_AGREEMENT = 0.3  # in calm training
SHARP_AGREEMENT = 0.95  # between calm and sharp
UNKNOWN_AGREEMENT = 0.7  # where the sharpness is not known
MAX_DRIFT, MAX_MOTION = 20.0, 0.3  # beyond these a shard is doubtful in any training

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def doubt_of(check: Check) -> str:
    """Return why an approximation may be no better than doing nothing; "" if nothing suggests it.

    The sharper training is, the better its correction and its amend must agree. The caps are
    strict: few shards that were led away stay within them (``tests/benchmarks/defaults.md``).

    >>> doubt_of(Check(0, agreement=0.9, sharpness=0.1))
    'its correction and its amend agree to 90% only, under 95% where training is as sharp as 0.1'
    >>> doubt_of(Check(0, agreement=0.9, motion=0.01, sharpness=0.05))
    ''
    """
    if check.sharpness is not None and not check.sharpness <= SHARP:
        return (
            f"the learning rate is so high that training is close to instability (sharpness "
            f"{check.sharpness:.2g}, over {SHARP:g})"
        )
    agreement, least = check.agreement, _least_agreement(check.sharpness)
    if agreement is not None and not agreement >= least:
        where = ""
        if least == SHARP_AGREEMENT:
            where = f" where training is as sharp as {check.sharpness:.2g}"
        return (
            f"its correction and its amend agree to {agreement:.0%} only, under {least:.0%}{where}"
        )
    if check.drift is not None and not check.drift <= MAX_DRIFT:
        return f"its outputs on the probe drifted by {check.drift:.2g}, over {MAX_DRIFT:g}"
    if check.motion is not None and not check.motion <= MAX_MOTION:
        return (
            f"each of the last epochs of training moved its outputs by {check.motion:.2g} nats, "
            f"over {MAX_MOTION:g}"
        )
    return ""


def _least_agreement(sharpness: float | None) -> float:
    """Return the least agreement that leaves no doubt."""
    if sharpness is None:
        return UNKNOWN_AGREEMENT
    return MIN_AGREEMENT if sharpness <= CALM else SHARP_AGREEMENT


def but(doubt: str) -> str:
    """Say what a doubt means, as the reason of a route does."""
    return f"doubtful: it may be no better than doing nothing, because {doubt}"


def warning_of(doubts: Mapping[int, str], shards: Sequence[int]) -> str:
    """Return the warning about doubtful shards; empty if there are none.

    Args:
        doubts: why each shard is doubtful.
        shards: the doubtful shards. The reason of the first one stands for all.

    >>> print(warning_of({3: "it drifted"}, [3]))
    1 modified shard (3) may be no better than doing nothing, or worse, because it drifted. Ways \
out: repay() retrains what was modified; spot_check=True measures how much modifying removes; a \
threshold of 1 retrains everything; and training at a lower learning rate makes approximations \
better (session.amplification() measures how chaotic training is).
    """
    if not shards:
        return ""
    which = ", ".join(map(str, shards))
    where = f", in shard {shards[0]}," if len(shards) > 1 else ""
    return (
        f"{plural(len(shards), 'modified shard')} ({which}) may be no better than doing nothing, "
        f"or worse, because{where} {doubts[shards[0]]}. Ways out: {WAYS_OUT}."
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out warnings about doubtful shards, where the caller shows them in another way."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def warn(warning: str, level: int) -> None:
    """Issue the warning of a decision, if it has one.

    Args:
        warning: the warning; nothing is done if it is empty.
        level: stack level to which it is attributed, as seen from the calling function.
    """
    if warning and not _quiet.get():
        warnings.warn(warning, stacklevel=level + 1)
