"""The workload of a request: the cost of exact retraining, given by a plan's missing stages.

The estimate agrees with the training that follows because both use ``plan.missing(store, shards)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.display import as_html, plural
from unlearnkit.training.clock import MIN_MULTIPLE, Clock, Interval
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
        first_stage: 1-based number of the first stage to train; 0 if no stage is missing.
        stages: the missing stages.
        forget: number of the request's examples in this shard.
        debt: number of examples that the shard owes; retraining clears them too.
        retained: number of examples that remain in the shard.
        seconds: predicted CPU seconds; None before any training was timed.
    """

    shard: int
    first_stage: int
    stages: tuple[Stage, ...] = field(repr=False)
    forget: int
    debt: int
    retained: int
    seconds: float | None = None

    @property
    def visits(self) -> int:
        """Number of example gradients."""
        return sum(stage.visits for stage in self.stages)

    @property
    def steps(self) -> int:
        """Number of optimizer steps, including batches without any remaining example."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True, eq=False)
class Workload:
    """The cost of retraining the shards that a request hits.

    Attributes:
        shards: work of every shard that the request hits, by shard number.
        outstanding: missing stages of the other shards, which carry debt of earlier requests. The
            request does not retrain them.
        total_visits: visits of training everything from scratch on the retain set; shares are
            relative to it.
        total_seconds: predicted CPU seconds of training everything from scratch; None before any
            training was timed.
        stage_visits: visits of every stage.
        stage_seconds: predicted CPU seconds of every stage; nan before any training was timed.
        stage_status: ``"kept"``, ``"retrain"``, ``"outstanding"`` or ``"empty"`` for each stage.
        multiple: factor by which measured and predicted seconds may differ in either direction.
        pace: wall seconds in which this machine does a CPU second.
        num_groups: number of groups, such as persons, whose training examples the request holds;
            None without groups.
    """

    shards: tuple[ShardWork, ...]
    outstanding: tuple[Stage, ...]
    total_visits: int
    total_seconds: float | None
    stage_visits: Int[np.ndarray, "shard stage"]
    stage_seconds: Float[np.ndarray, "shard stage"]
    stage_status: tuple[tuple[str, ...], ...]
    multiple: float = MIN_MULTIPLE
    pace: float = 1.0
    num_groups: int | None = None

    @property
    def visits(self) -> int:
        """The workload W: example gradients of retraining the hit shards."""
        return sum(work.visits for work in self.shards)

    @property
    def seconds(self) -> float | None:
        """Predicted CPU seconds of retraining the hit shards, including planning and storing.

        None before any training was timed.
        """
        seconds = [work.seconds for work in self.shards]
        return None if None in seconds else float(sum(s for s in seconds if s is not None))

    @property
    def interval(self) -> Interval | None:
        """Interval in which the CPU seconds are expected; None before any training was timed."""
        seconds = self.seconds
        return (
            None if seconds is None else Interval(seconds / self.multiple, seconds * self.multiple)
        )

    @property
    def share(self) -> float:
        """The workload W as a share of training everything from scratch."""
        return self.share_of(self.visits)

    @property
    def outstanding_visits(self) -> int:
        """Number of example gradients that would clear the debt of the other shards."""
        return sum(stage.visits for stage in self.outstanding)

    def share_of(self, visits: int) -> float:
        """Return visits as a share of training everything from scratch."""
        return visits / self.total_visits if self.total_visits else 0.0

    def __repr__(self) -> str:
        hit = len(self.shards)
        seconds = "" if self.interval is None else f", {self.interval}"
        groups = "" if self.num_groups is None else f"{plural(self.num_groups, 'group')}, "
        text = (
            f"Workload({groups}{self.visits:,} visits, {self.share:.1%} of training from scratch"
            f"{seconds}, {plural(hit, 'shard')} hit"
        )
        if self.outstanding:
            text += f"; {self.outstanding_visits:,} visits outstanding elsewhere"
        return text + ")"

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per hit shard, the cheapest first."""
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
        return as_html(self, formatters=FORMATS)


def estimate(
    plan: Plan,
    store: HasKeys,
    forget: np.ndarray | Iterable[int],
    debts: dict[int, int] | None = None,
    also: Iterable[int] = (),
    clock: Clock = Clock(),
    threads: int | None = None,
) -> Workload:
    """Estimate the workload of a request.

    Args:
        plan: the plan of the retain set *after* the request: ``before.without(forget)``.
        store: holds the checkpoints that exist.
        forget: the ids of the request.
        debts: number of ids that each shard owes.
        also: further shards to count as hit, although the request has no examples in them.
        clock: predicts CPU seconds.
        threads: upper limit of the number of threads that train; None uses one for each core.
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
    # Shards that train together cost less than one by one; the seconds are divided by visits.
    joint, together = clock.exact_seconds(work_of(plan, retrained, threads)), _visits(retrained)
    overhead = (clock.request_seconds(len(hit)) or 0.0) / max(1, len(hit))
    shards = tuple(
        ShardWork(
            s,
            missing[s][0].index if s in missing else 0,
            tuple(missing.get(s, ())),
            int(counts[s]),
            (debts or {}).get(s, 0),
            int(sizes[s]),
            None
            if joint is None
            else joint * _visits(missing.get(s, ())) / max(1, together) + overhead,
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
        works = [[work_of(plan, [stage], 1) for stage in chain] for chain in plan.chains]
        causes = [[replace(work, groups=0).row() for work in chain] for chain in works]
        seconds = np.array(causes) @ clock.rates
    # A request that retrains everything also plans, stores and destroys, as all requests do.
    total = clock.exact_seconds(work_of(plan, plan.stages, threads))
    if total is not None:
        total += clock.request_seconds(plan.num_shards) or 0.0
    return Workload(
        shards,
        outstanding,
        plan.total_visits,
        total,
        visits,
        seconds,
        status,
        clock.multiple(approximate=False),
        clock.pace,
        None if plan.examples.groups is None else len(np.unique(plan.examples.groups[rows])),
    )


def _visits(stages: Iterable[Stage]) -> int:
    return sum(stage.visits for stage in stages)


def _status(plan: Plan, stage: Stage, missing: bool, hit: bool) -> str:
    if not plan.alive(stage.shard):
        return EMPTY
    if not missing:
        return KEPT
    return RETRAIN if hit else OUTSTANDING
