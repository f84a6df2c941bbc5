"""The adaptive boundary chooses routes by predicted CPU seconds, debt and checks of approximations.

The abstract of Li, Yu, Wang et al. (2024) mentions an adaptive boundary, but its rule has not been
published; the rules here are our own. They apply at three points: before anything is computed, to
the number of examples that each shard forgets and the predicted CPU seconds of both routes; once
the corrections are known, before the replay; and after the amend, to the outputs on the probe (the
guard).
"""

from dataclasses import dataclass

from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
)
from unlearnkit.unlearning.boundary.spot_check import LEAST as LEAST_REMOVED
from unlearnkit.unlearning.error_model import LEAST
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import ShardWork, Workload


@dataclass(frozen=True)
class AdaptiveBoundary(Boundary):
    """Retrain exactly unless modifying is predicted to be much faster and accurate enough.

    A shard must be retrained exactly if no method can modify it, if its debt exceeds a cap, or if
    too large a share of its examples, or of those of one class, would be forgotten approximately.
    Every shard must be retrained if past approximations have shown that training is chaotic, as it
    is above all at high learning rates, because further approximations would be refused too; and if
    the latest spot check found that modifying removed less than half of the gap of doing nothing.
    The other shards are decided as follows:

    The routes are compared in CPU seconds, so that the choice does not depend on what else the
    machine does. Only the deadline is wall time: CPU seconds are multiplied by the pace of the last
    runs (``Costs.pace``).

    - Without a deadline, all are retrained if the request is light. Otherwise all are modified if
      that is at least ``min_gain`` times faster than retraining them, and all are retrained if it
      is not.
    - With a deadline, all are retrained if that is predicted to meet it. Otherwise as many shards
      are retrained as fit into the time, in descending order of forgotten share per visit, and the
      others are modified if that is at least ``min_gain`` times faster.

    Attributes:
        seconds: deadline of a request in seconds of wall time; None if there is none.
        min_gain: how many times faster than retraining a modification must be.
        light: share of the visits of training from scratch up to which a request is always
            retrained. It is ignored if there is a deadline.
        debt_cap: the largest share of a shard's examples that may be owed before the request. A
            shard above it is retrained, which clears its debt.
        max_forgotten: the largest share of a shard's examples that may be forgotten approximately,
            debt included. Corrections are of first order and fail for large shares.
        max_class: the same for the examples of any one class in a shard. It applies only to
            networks, whose corrections leave much of a removed class behind.
        error: error budget of an approximation: the mean KL divergence in nats, on the probe, of
            its outputs from those of exact retraining, according to the 95 % bound of the error
            model. None if there is no budget. With a budget, nothing is approximated before the
            error model has enough pairs.
        max_correction: the largest norm of a correction, relative to the norm of the parameters.
        min_agreement: an approximation is refused if its correction and its amend agree less than
            this on the forgotten examples, and the outputs on the probe drifted by more than
            ``max_drift`` too. :mod:`unlearnkit.unlearning.inspection` defines these terms. What
            gives less reason for doubt is accepted as doubtful
            (:mod:`unlearnkit.unlearning.boundary.verdict`).
        max_drift: see ``min_agreement``. Once the median drift of the latest checks of networks
            exceeds this cap, all shards are retrained, because chaos is a property of the whole
            training.
        max_motion: an approximation is refused if each of the last epochs of training moved the
            outputs on the probe further than this, in nats.

    Raises:
        ValueError: a field is out of its range.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> decision = session.preview(boundary=uk.AdaptiveBoundary(light=1))  # all requests are light
    >>> len(decision.exact), len(decision.approximate)
    (2, 0)
    """

    seconds: float | None = None
    min_gain: float = 2.0
    light: float = 0.25
    debt_cap: float = 0.02
    max_forgotten: float = 0.3
    max_class: float = 0.5
    error: float | None = None
    max_correction: float = 10.0
    min_agreement: float = 0.3
    max_drift: float = 2.0
    max_motion: float = 3.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds={self.seconds!r} is not a deadline; give a number above 0")
        if not self.min_gain >= 1:
            raise ValueError(f"min_gain={self.min_gain!r} is below 1; give 1 or more")
        for name in ("light", "debt_cap", "max_forgotten", "max_class"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share!r} is out of range; give a share from 0 to 1")
        if self.error is not None and not self.error > 0:
            raise ValueError(
                f"error={self.error!r} is not an error budget; give a number above 0, or None"
            )
        for name in ("max_correction", "max_motion", "max_drift"):
            cap = getattr(self, name)
            if not cap > 0:
                raise ValueError(
                    f"{name}={cap!r} would refuse every approximation; give a cap above 0"
                )
        if not -1 <= self.min_agreement <= 1:
            raise ValueError(
                f"min_agreement={self.min_agreement!r} is out of range; give a cosine from -1 to 1"
            )

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Force the shards that must be exact, then weigh the others by predicted CPU seconds.

        Raises:
            LookupError: no training has been timed yet, so no seconds can be predicted.
        """
        reasons: dict[int, tuple[str, str]] = {}
        free: list[ShardWork] = []
        for work in workload.shards:
            why = self._forced(work, costs, debts.get(work.shard, 0))
            if not work.retained:
                reasons[work.shard] = LEAVE, "all its examples are revoked, so it leaves the vote"
            elif why:
                reasons[work.shard] = EXACT, why
            else:
                free.append(work)
        forced = [shard for shard, (kind, _) in reasons.items() if kind == EXACT]
        if self.seconds is None and workload.share <= self.light:
            why = (
                f"retraining is light: it costs {workload.share:.1%} of training from scratch, "
                f"within {self.light:.1%}"
            )
            reasons |= {work.shard: (EXACT, why) for work in free}
        else:
            reasons |= self._weigh(free, forced, costs)
        order = sorted(workload.shards, key=lambda work: (work.visits, work.shard))
        routes = []
        for work in order:
            kind, why = reasons[work.shard]
            routes.append(costs.route(work, kind, workload.share_of(work.visits), why))
        return Decision.of(routes, self, costs)

    def objection(self, check: Check) -> str:
        """Compare a check with the error budget and the caps."""
        if self.error is not None and check.replayed is None:
            if check.bound is None:
                return (
                    "its error is not bounded: too few approximations were repaid yet, or its "
                    "corrections, or what it loses of a class, are larger than any that was repaid"
                )
            if not check.bound <= self.error:
                return (
                    f"its error may be {check.bound:.2g} nats according to the error model, over "
                    f"{self.error:.2g}"
                )
        if check.correction is not None and not check.correction <= self.max_correction:
            return (
                f"its correction has {check.correction:.1%} of the norm of its parameters, over "
                f"{self.max_correction:.1%}"
            )
        return self._astray(check)

    def _astray(self, check: Check) -> str:
        """Return why the amend seems to have led away from the retrained model; "" if not."""
        agreement, drift, motion = check.agreement, check.drift, check.motion
        if agreement is not None and not agreement >= self.min_agreement:
            if drift is not None and not drift <= self.max_drift:
                return (
                    f"its correction and its amend agree to {agreement:.0%} only, under "
                    f"{self.min_agreement:.0%}, and its outputs on the probe drifted by "
                    f"{drift:.2g}, over {self.max_drift:g}, with {_epochs(check)} replayed, which "
                    "suggests that training is chaotic"
                )
        if motion is not None and not motion <= self.max_motion:
            return (
                f"each of the last epochs of training moved its outputs on the probe by "
                f"{motion:.2g} nats, over {self.max_motion:g}"
            )
        return ""

    def _forced(self, work: ShardWork, costs: Costs, debt: int) -> str:
        """Return why a shard must be retrained, or "" if it need not be."""
        if forced := costs.of(work.shard).forced:
            return forced
        before = work.retained + work.forget
        if debt > self.debt_cap * (before + debt):
            share = debt / (before + debt)
            return f"its debt of {debt} is {share:.1%} of its examples, over {self.debt_cap:.1%}"
        share = _forgotten(work)
        if share > self.max_forgotten:
            return (
                f"{share:.1%} of its examples would be forgotten approximately, over "
                f"{self.max_forgotten:.1%}"
            )
        lost = costs.of(work.shard).coverage
        if lost is not None and lost.share > self.max_class:
            return (
                f"{lost.gone} of its {lost.members} examples of class {lost.label} would be "
                f"forgotten approximately ({lost.share:.1%}, over {self.max_class:.1%}), and the "
                "loss of the model is not convex"
            )
        regime = costs.error_model.regime
        if regime is not None and not regime <= self.max_drift:
            return (
                "training is chaotic, as at high learning rates: the outputs on the probe of the "
                f"latest approximations drifted by {regime:.2g}, over {self.max_drift:g}"
            )
        removed = costs.error_model.removed
        if removed is not None and removed < LEAST_REMOVED:
            return (
                "approximation fails in this training setting: in the latest spot check modifying "
                f"removed {removed:.0%} of the gap of doing nothing, under {LEAST_REMOVED:.0%}"
            )
        if self.error is not None and not costs.error_model.ready:
            return (
                f"an error within {self.error:.2g} nats cannot be promised yet: only "
                f"{len(costs.error_model.pairs)} of {LEAST} approximations were repaid and thereby "
                "compared with exact retraining"
            )
        return ""

    def _weigh(
        self, free: list[ShardWork], forced: list[int], costs: Costs
    ) -> dict[int, tuple[str, str]]:
        """Return a route and a reason for every shard that may be exact or approximate."""
        shards = [work.shard for work in free]
        if not shards:
            return {}
        retrained = costs.seconds([*forced, *shards], [])
        modified, unavoidable = costs.seconds(forced, shards), costs.seconds(forced, [])
        if retrained is None or modified is None or unavoidable is None:
            raise LookupError(
                "the adaptive boundary compares predicted seconds, and no training has been timed "
                "in this session; train first, or use FixedBoundary()"
            )
        both = (
            f"in CPU time, retraining is predicted to take {retrained:.2g} s, modifying "
            f"{modified:.2g} s"
        )
        budget = None if self.seconds is None else self.seconds / costs.pace  # in CPU seconds
        if budget is not None and retrained <= budget:
            why = f"{both}; retraining meets the deadline of {self.seconds:g} s"
            return dict.fromkeys(shards, (EXACT, why))
        if retrained - unavoidable < self.min_gain * (modified - unavoidable):
            why = f"{both}, which is less than {self.min_gain:g} times faster"
            late = budget is not None and min(retrained, modified) > budget
            return dict.fromkeys(shards, (EXACT, why + (_late(self.seconds) if late else "")))
        if budget is None:
            gain = (retrained - unavoidable) / max(modified - unavoidable, 1e-9)
            rest = ", not counting the shards that must be exact" if forced else ""
            why = f"{both}, which is {gain:.2g} times faster{rest}"
            return dict.fromkeys(shards, (APPROXIMATE, why))
        return self._in_time(free, forced, costs, both, modified > budget, budget)

    def _in_time(
        self,
        free: list[ShardWork],
        forced: list[int],
        costs: Costs,
        both: str,
        late: bool,
        budget: float,
    ) -> dict[int, tuple[str, str]]:
        """Retrain the shards that fit into the deadline, by forgotten share per visit."""
        assert self.seconds is not None
        why = _late(self.seconds) if late else ""
        chosen: list[int] = []
        for work in sorted(free, key=lambda work: -_forgotten(work) / max(1, work.visits)):
            rest = [w.shard for w in free if w.shard not in (*chosen, work.shard)]
            seconds = costs.seconds([*forced, *chosen, work.shard], rest)
            if seconds is not None and seconds <= budget:
                chosen.append(work.shard)
        fits = f"{both}; retraining this shard still fits into {self.seconds:g} s"
        over = f"{both}; retraining this shard too would take more than {self.seconds:g} s{why}"
        return {
            work.shard: (EXACT, fits) if work.shard in chosen else (APPROXIMATE, over)
            for work in free
        }


def _epochs(check: Check) -> str:
    return "1 epoch" if check.replayed == 1 else f"{check.replayed} epochs"


def _forgotten(work: ShardWork) -> float:
    """Share of the examples a shard was trained on that would be forgotten approximately."""
    gone = work.forget + work.debt
    return gone / max(1, gone + work.retained)


def _late(seconds: float | None) -> str:
    return f" (no route is predicted to meet the deadline of {seconds:g} s)"
