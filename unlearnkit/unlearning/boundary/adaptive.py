"""The adaptive boundary: exact wherever it is worth it, judged by predicted seconds and by debt.

The abstract of Li, Yu, Wang et al. 2024 speaks of an adaptive boundary; what it adapts to is not
public to us, and these rules are our own. The first look at a request is free: how many examples
each shard is to forget, and what each way is predicted to take. The second is at the correction,
before anything is replayed; the third, the guard, at what the probe shows after the amend.
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
from unlearnkit.unlearning.error_model import LEAST
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import ShardWork, Workload


@dataclass(frozen=True)
class AdaptiveBoundary(Boundary):
    """Retrain exactly unless modifying is predicted to be much faster and harmless enough.

    A shard is retrained exactly where it has to be: where no method fits it, where its debt is over
    a cap, or where too large a part of it, or of one of its classes, would be forgotten
    approximately. All are where past approximations have shown that training is chaotic, above all
    at high learning rates, so that the next one would only be refused again. Of the others,

    - without a deadline all are retrained if the whole request is light; else all are modified if
      that is ``min_gain`` times faster than retraining them all, and else none;
    - with one, all are retrained if that is in time; if not, as many as are, those first that clear
      most forgotten share per second.

    Attributes:
        seconds: the deadline of a request; None for none.
        min_gain: how many times faster modifying has to be for an approximation to be worth its
            debt.
        light: of the visits of training from scratch, the part that a request may cost to be
            retrained anyway; not asked under a deadline.
        debt_cap: of a shard's examples, the part that may have been removed approximately before;
            above it the shard is retrained, which clears all of its debt.
        max_forgotten: of a shard's examples, the part that may be forgotten approximately, debt
            included; corrections are first-order, so large parts are beyond them.
        max_class: of a shard's examples of any one class, the same; only for networks, whose
            corrections leave much behind where a class goes.
        error: a budget: the most that an approximation may leave, as the mean KL in nats of the
            probe's outputs from those of exact retraining, by the 95 % bound of the calibration.
            None for none. Without calibration nothing is approximated under a budget.
        max_correction: of the norm of a model's parameters, the part that a correction may have.
            (Whole classes by logistic regression, 10,000 examples of Fashion-MNIST, correct about a
            quarter to a third; modified, 89 to 98 % of the output KL is removed, in the median of
            three seeds. Networks are seldom corrected by so much.)
        max_drift: how far the replay may move the outputs on the probe away from the corrected
            ones, for each epoch, beside what there is to forget
            (:mod:`unlearnkit.unlearning.inspection`). Only for networks. Measured on digits, breast
            cancer and 10,000 examples of Fashion-MNIST, networks of ReLUs, requests of thirteen
            kinds (at random, of a class, alike, hardest, easiest, of one shard...): at a third,
            once, three and ten times the default learning rate 0, 6, 38 and 82 % of the shards are
            over 0.7, and 0, 2, 4 and 2 % although half of the divergence from scratch or more was
            removed. A cap on how far outputs move for each part of a shard that is forgotten (0.4
            nats) refused 14 % at the default rates, 11 % for
            nothing: hard examples move them far, and rightly so. Of a regression half the squared
            difference of predictions stands for the nats: on diabetes (mlp, a fiftieth and a tenth
            revoked) drift was 0.0001 in the median at the default rate, 0.002 at three times and 1
            at ten. Losses other than cross-entropy and squared error of a regression have no drift,
            and are judged by the rise alone. Once the median of the last looks is over the cap, all
            shards are retrained: the regime is that of the whole training.
        max_rise: how much the loss on the probe may rise, as a part of what it was.
    """

    seconds: float | None = None
    min_gain: float = 2.0
    light: float = 0.25
    debt_cap: float = 0.02
    max_forgotten: float = 0.3
    max_class: float = 0.5
    error: float | None = None
    max_correction: float = 0.4
    max_drift: float = 0.7
    max_rise: float = 0.6

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds={self.seconds!r} is no deadline; give a number above 0")
        if not self.min_gain >= 1:
            raise ValueError(f"min_gain={self.min_gain!r} is below 1; give 1 or more")
        for name in ("light", "debt_cap", "max_forgotten", "max_class"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share!r} is out of range; give a share from 0 to 1")
        if self.error is not None and not self.error > 0:
            raise ValueError(f"error={self.error!r} is no budget; give one above 0")
        for name in ("max_correction", "max_drift", "max_rise"):
            cap = getattr(self, name)
            if not cap > 0:
                raise ValueError(f"{name}={cap!r} lets nothing pass; give a cap above 0")

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Force what must be exact, then weigh the rest.

        Raises:
            LookupError: nothing has been timed yet, so no seconds are predicted.
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
            share = f"{workload.share:.1%} of from scratch, within {self.light:.1%}"
            why = f"retraining is light: {share}"
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
        """Hold what was seen against the budget and the caps."""
        if self.error is not None and check.replayed is None:
            if check.bound is None:
                return "its error is not bounded, as nothing is calibrated"
            if not check.bound <= self.error:
                return (
                    f"its error may be {check.bound:.2g} nats by calibration, over {self.error:.2g}"
                )
        if check.correction is not None and not check.correction <= self.max_correction:
            return (
                f"its correction is {check.correction:.1%} of its parameters, over "
                f"{self.max_correction:.1%}"
            )
        if check.drift is not None and not check.drift <= self.max_drift:
            return (
                f"its outputs on the probe drifted by {check.drift:.2g}, over {self.max_drift:g}, "
                f"with {_epochs(check)} replayed, as if training were chaotic"
            )
        if check.rise is not None and not check.rise <= self.max_rise:
            return (
                f"its loss on the probe rose by {check.rise:.1%}, over {self.max_rise:.1%}, "
                f"with {_epochs(check)} replayed"
            )
        return ""

    def _forced(self, work: ShardWork, costs: Costs, debt: int) -> str:
        """Why a shard must be retrained, in a sentence; empty if it need not be."""
        if forced := costs.of(work.shard).forced:
            return forced
        before = work.retained + work.forget
        if debt > self.debt_cap * (before + debt):
            share = debt / (before + debt)
            return f"its debt of {debt} is {share:.1%} of it, over {self.debt_cap:.1%}"
        share = _forgotten(work)
        if share > self.max_forgotten:
            return f"{share:.1%} of it would be forgotten, over {self.max_forgotten:.1%}"
        lost = costs.of(work.shard).coverage
        if lost is not None and lost.share > self.max_class:
            return (
                f"{lost.gone} of its {lost.members} examples of class {lost.label} would be "
                f"forgotten, {lost.share:.1%} and over {self.max_class:.1%}, and the model is not "
                "convex"
            )
        regime = costs.error_model.regime
        if regime is not None and not regime <= self.max_drift:
            return (
                "training is chaotic, as at high learning rates: in the last approximations "
                f"outputs on the probe drifted by {regime:.2g}, over {self.max_drift:g}"
            )
        if self.error is not None and not costs.error_model.ready:
            return (
                f"an error within {self.error:.2g} nats cannot be promised yet: "
                f"{len(costs.error_model.pairs)} of {LEAST} approximations were repaid and so "
                "compared with exact retraining"
            )
        return ""

    def _weigh(
        self, free: list[ShardWork], forced: list[int], costs: Costs
    ) -> dict[int, tuple[str, str]]:
        """A route and a reason for every shard that may go either way."""
        shards = [work.shard for work in free]
        if not shards:
            return {}
        retrained = costs.seconds([*forced, *shards], [])
        modified, anyway = costs.seconds(forced, shards), costs.seconds(forced, [])
        if retrained is None or modified is None or anyway is None:
            raise LookupError(
                "the adaptive boundary weighs predicted seconds, and no training was timed in this "
                "session; train first, or use FixedBoundary()"
            )
        both = f"retraining is predicted to take {retrained:.2g} s, modifying {modified:.2g} s"
        if self.seconds is not None and retrained <= self.seconds:
            why = f"{both}: retraining is within {self.seconds:g} s"
            return dict.fromkeys(shards, (EXACT, why))
        if retrained - anyway < self.min_gain * (modified - anyway):
            why = f"{both}: less than {self.min_gain:g} times faster"
            late = self.seconds is not None and min(retrained, modified) > self.seconds
            return dict.fromkeys(shards, (EXACT, why + (_late(self.seconds) if late else "")))
        if self.seconds is None:
            gain = (retrained - anyway) / max(modified - anyway, 1e-9)
            rest = " (for the shards that may)" if forced else ""
            why = f"{both}: {gain:.2g} times faster{rest}"
            return dict.fromkeys(shards, (APPROXIMATE, why))
        return self._in_time(free, forced, costs, both, modified)

    def _in_time(
        self, free: list[ShardWork], forced: list[int], costs: Costs, both: str, modified: float
    ) -> dict[int, tuple[str, str]]:
        """Retrain what fits into the deadline, most forgotten share per second first."""
        assert self.seconds is not None
        late = _late(self.seconds) if modified > self.seconds else ""
        chosen: list[int] = []
        for work in sorted(free, key=lambda work: -_forgotten(work) / max(1, work.visits)):
            rest = [w.shard for w in free if w.shard not in (*chosen, work.shard)]
            seconds = costs.seconds([*forced, *chosen, work.shard], rest)
            if seconds is not None and seconds <= self.seconds:
                chosen.append(work.shard)
        fits = f"{both}; retraining it still fits into {self.seconds:g} s"
        over = f"{both}; retraining it too would take longer than {self.seconds:g} s{late}"
        return {
            work.shard: (EXACT, fits) if work.shard in chosen else (APPROXIMATE, over)
            for work in free
        }


def _epochs(check: Check) -> str:
    return "1 epoch" if check.replayed == 1 else f"{check.replayed} epochs"


def _forgotten(work: ShardWork) -> float:
    """The part of a shard, as it was trained, that would have been forgotten approximately."""
    gone = work.forget + work.debt
    return gone / max(1, gone + work.retained)


def _late(seconds: float | None) -> str:
    return f" (nothing is predicted to be done in {seconds:g} s)"
