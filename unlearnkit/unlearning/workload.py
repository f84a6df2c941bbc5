"""The workload: what retraining exactly would cost, read off the missing stages of a plan.

The estimate cannot drift from what is done, because both are ``plan.missing(store, shards)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.training.clock import MIN_MULTIPLE, Clock, Interval, Work
from unlearnkit.training.plan import HasKeys, Plan, Stage
from unlearnkit.training.train import work_of

if TYPE_CHECKING:
    import pandas as pd

FORMATS = {"share": "{:.1%}".format, "seconds": "{:.2g}".format}
KEPT, RETRAIN, OUTSTANDING, EMPTY = "kept", "retrain", "outstanding", "empty"


@dataclass(frozen=True)
class ShardWork:
    """Exact retraining of one shard that a request hits.

    Attributes:
        shard: 0-based.
        first_stage: 1-based stage to begin with; 0 if nothing is to be run.
        stages: the missing stages.
        forget: examples of the request in this shard.
        debt: examples that were removed approximately before; retraining clears them too.
        retained: examples left in the shard.
        seconds: predicted; None before anything was timed.
    """

    shard: int
    first_stage: int
    stages: tuple[Stage, ...]
    forget: int
    debt: int
    retained: int
    seconds: float | None = None

    @property
    def visits(self) -> int:
        """Example gradients."""
        return sum(stage.visits for stage in self.stages)

    @property
    def steps(self) -> int:
        """Optimizer steps, about: batches that lost all examples are counted."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True, eq=False)
class Workload:
    """What retraining the shards of a request exactly would cost.

    Attributes:
        shards: work of every shard that the request hits, by shard number.
        outstanding: missing stages of the other shards: debt of earlier requests. Shown apart;
            a request never retrains them silently.
        total_visits: of training everything from scratch on the retain set, the unit of shares.
        total_seconds: predicted for training everything from scratch; None before anything was
            timed.
        stage_visits: visits of every stage.
        stage_seconds: predicted for every stage; NaN before anything was timed.
        stage_status: ``"kept"``, ``"retrain"``, ``"outstanding"`` or ``"empty"`` for each.
        multiple: by how much measured seconds may differ from predicted ones, either way.
    """

    shards: tuple[ShardWork, ...]
    outstanding: tuple[Stage, ...]
    total_visits: int
    total_seconds: float | None
    stage_visits: Int[np.ndarray, "shard stage"]
    stage_seconds: Float[np.ndarray, "shard stage"]
    stage_status: tuple[tuple[str, ...], ...]
    multiple: float = MIN_MULTIPLE

    @property
    def visits(self) -> int:
        """W: example gradients of retraining the hit shards."""
        return sum(work.visits for work in self.shards)

    @property
    def seconds(self) -> float | None:
        """Predicted for a request that retrains the hit shards, planning and storing included.

        None before anything was timed.
        """
        seconds = [work.seconds for work in self.shards]
        return None if None in seconds else float(sum(s for s in seconds if s is not None))

    @property
    def interval(self) -> Interval | None:
        """Where the seconds are expected to lie; None before anything was timed."""
        seconds = self.seconds
        return (
            None if seconds is None else Interval(seconds / self.multiple, seconds * self.multiple)
        )

    @property
    def share(self) -> float:
        """W as a part of training everything from scratch."""
        return self.share_of(self.visits)

    @property
    def outstanding_visits(self) -> int:
        """Example gradients that would clear the debt of the other shards."""
        return sum(stage.visits for stage in self.outstanding)

    def share_of(self, visits: int) -> float:
        """Visits as a part of training everything from scratch."""
        return visits / self.total_visits if self.total_visits else 0.0

    def __repr__(self) -> str:
        hit = len(self.shards)
        seconds = "" if self.interval is None else f", {self.interval}"
        text = (
            f"Workload({self.visits:,} visits, {self.share:.1%} of from scratch{seconds}, "
            f"{hit} shards hit"
        )
        if self.outstanding:
            text += f"; {self.outstanding_visits:,} visits outstanding elsewhere"
        return text + ")"

    def to_frame(self) -> "pd.DataFrame":
        """One row a shard that is hit, cheapest first."""
        import pandas as pd

        rows = [
            {
                "shard": work.shard,
                "forget": work.forget,
                "debt": work.debt,
                "retained": work.retained,
                "first_stage": work.first_stage,
                "visits": work.visits,
                "share": self.share_of(work.visits),
                "seconds": work.seconds,
            }
            for work in sorted(self.shards, key=lambda work: (work.visits, work.shard))
        ]
        columns = [
            "shard",
            "forget",
            "debt",
            "retained",
            "first_stage",
            "visits",
            "share",
            "seconds",
        ]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(index=False, formatters=FORMATS, na_rep="-")
        return f"<p>{self!r}</p>{table}"


def estimate(
    plan: Plan,
    store: HasKeys,
    forget: np.ndarray | Iterable[int],
    debts: dict[int, int] | None = None,
    also: Iterable[int] = (),
    clock: Clock = Clock(),
) -> Workload:
    """The workload of a request.

    Args:
        plan: of the retain set *after* the request: ``before.without(forget)``.
        store: what there is.
        forget: ids of the request.
        debts: number of ids that each shard has removed approximately so far.
        also: shards to count as hit although the request does not touch them.
        clock: for seconds.
    """
    ids = np.asarray(list(forget), np.int64)
    rows = plan.partition.rows(ids)
    counts = np.bincount(plan.partition.shard[rows], minlength=plan.num_shards)
    hit = {*np.flatnonzero(counts).tolist(), *also}
    sizes = [chain[-1].visits // chain[-1].epochs for chain in plan.chains]
    missing: dict[int, list[Stage]] = {}
    for stage in plan.missing(store):
        missing.setdefault(stage.shard, []).append(stage)
    retrained = [stage for s in sorted(hit) for stage in missing.get(s, ())]
    # Shards that run together cost less than one by one; each is charged its part by visits.
    joint, together = clock.exact_seconds(work_of(plan, retrained)), _visits(retrained)
    beside = (clock.request_seconds(len(hit)) or 0.0) / max(1, len(hit))
    works = tuple(
        ShardWork(
            s,
            missing[s][0].index if s in missing else 0,
            tuple(missing.get(s, ())),
            int(counts[s]),
            (debts or {}).get(s, 0),
            int(sizes[s]),
            None
            if joint is None
            else joint * _visits(missing.get(s, ())) / max(1, together) + beside,
        )
        for s in sorted(hit)
    )
    outstanding = tuple(st for s, stages in missing.items() if s not in hit for st in stages)
    gone = {stage.key for stages in missing.values() for stage in stages}
    status = tuple(
        tuple(_status(plan, stage, stage.key in gone, stage.shard in hit) for stage in chain)
        for chain in plan.chains
    )
    visits = np.array([[stage.visits for stage in chain] for chain in plan.chains], np.int64)
    seconds = np.full(visits.shape, np.nan)
    if clock.calibrated:
        causes = [[_alone(stage).row() for stage in chain] for chain in plan.chains]
        seconds = np.array(causes) @ clock.rates
    total = clock.exact_seconds(work_of(plan, plan.stages))
    return Workload(
        works,
        outstanding,
        plan.total_visits,
        total,
        visits,
        seconds,
        status,
        clock.multiple(approximate=False),
    )


def _alone(stage: Stage) -> Work:
    """The work of one stage, run by itself."""
    if not stage.visits:
        return Work(0, 0, 0, 0, 0)
    return Work(1, stage.epochs, stage.steps, stage.steps, stage.visits, int(stage.index == 1))


def _visits(stages: Iterable[Stage]) -> int:
    return sum(stage.visits for stage in stages)


def _status(plan: Plan, stage: Stage, missing: bool, hit: bool) -> str:
    if not plan.alive(stage.shard):
        return EMPTY
    if not missing:
        return KEPT
    return RETRAIN if hit else OUTSTANDING
