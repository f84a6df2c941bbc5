"""Membership inference: can an attacker tell forgotten examples from ones never seen?

The attack of Yeom, Giacomelli, Fredrikson and Jha 2018 (section 3, as a ranking): training lowers
the loss of what it sees, so the score of an example is minus its cross-entropy (of a regression
minus half its squared error), with the forget set as members and test examples as non-members. The
area under the ROC curve sums up all thresholds.

**0.5 is the wrong target.** Forgotten and test examples need not be alike: where a whole class was
removed, the model retrained from scratch never saw that class, does badly on it, and scores .05 to
.12. A model that scores 0.5 there still knows the class. The target is the score of scratch, so
`membership_gap` is the measure, and its best value is 0.

Few revoked examples give no power: read the intervals. Those with interval bounds on both sides of
0 show no leak, which is not the same as showing that there is none.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from unlearnkit.metrics.metrics import Z95, Measure, format_value, placements
from unlearnkit.metrics.tasks import task_of

SOURCE = "Yeom et al. 2018"


@dataclass(frozen=True, eq=False)
class Attack:
    """One model under attack. It has no best direction of its own: see `membership_gap`.

    Attributes:
        auc: the probability that a forgotten example scores above a test example, 0..1; nan where
            the attack could not be made.
        interval: its 95 % confidence interval over the choice of examples (`auc_interval`).
        reason: why there is no value; empty where there is one.
        forget_placements: for each forgotten example the share of test examples scoring below it.
        test_placements: for each test example the share of forgotten examples scoring above it.
    """

    auc: float
    interval: tuple[float, float] | None
    reason: str
    forget_placements: Float[Tensor, " forget"]
    test_placements: Float[Tensor, " test"]

    def __repr__(self) -> str:
        """For example `membership-auc 0.5400 [0.4210, 0.6542], 20 forgotten, 400 test`."""
        sizes = f"{len(self.forget_placements)} forgotten, {len(self.test_placements)} test"
        return f"membership-auc {format_value(self.auc, self.interval, self.reason)}, {sizes}"


def membership_auc(
    probabilities_forget: Float[Tensor, "forget class"],
    labels_forget: Integer[Tensor, " forget"] | Float[Tensor, "forget class"],
    probabilities_test: Float[Tensor, "test class"],
    labels_test: Integer[Tensor, " test"] | Float[Tensor, "test class"],
) -> Attack:
    """Attack one model by its loss on forgotten and on test examples.

    Deterministic. Scores are logarithms of the label's probability, clamped at
    `SMALLEST_PROBABILITY`, or of float targets minus half the squared error of the outputs; where
    float32 probabilities saturate at 1 examples tie, and count half. Without forgotten or test
    examples, or where outputs are not finite, the result is nan with the reason.

    >>> forget, test = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    >>> membership_auc(forget, torch.tensor([0]), test, torch.tensor([0, 0])).auc
    1.0

    Raises:
        ValueError: not one label per row of probabilities.
    """
    members = task_of(labels_forget).log_likelihood(probabilities_forget, labels_forget)
    others = task_of(labels_test).log_likelihood(probabilities_test, labels_test)
    reason = ""
    if not len(members):
        reason = "no forgotten examples"
    elif not len(others):
        reason = "no test examples"
    elif not (members.isfinite().all() and others.isfinite().all()):
        reason = "the model's probabilities are not finite"
    if reason:
        nothing = (torch.full_like(members, math.nan), torch.full_like(others, math.nan))
        return Attack(math.nan, None, reason, *nothing)
    forget, test = placements(members, others), 1 - placements(others, members)
    value = float(forget.mean())
    return Attack(value, auc_interval(value, len(forget), len(test)), "", forget, test)


def membership_gap(unlearned: Attack, scratch: Attack) -> Measure:
    """The unlearned model's attack score less scratch's, on the same examples; best 0, not 0.5.

    Scratch never saw the forgotten examples, so whatever it scores is what innocence looks like on
    these examples. Above 0 the unlearned model still remembers them; below 0 it was pushed
    beyond, which an attacker who knows the method can see as well.

    The interval is that of DeLong, DeLong and Clarke-Pearson 1988 for two correlated areas: the
    variance of the paired differences of placements, over each sample's size. Departure: Student's
    t with Welch's 1947 degrees of freedom in place of the normal quantile, for small requests
    (simulated coverage with 3, 5 and 10 forgotten examples .92, .94, .95; normal .80, .88, .92).
    It needs two examples on either side.

    Raises:
        ValueError: the two attacks were made on different numbers of examples.
    """
    gain = unlearned.forget_placements, scratch.forget_placements
    loss = unlearned.test_placements, scratch.test_placements
    if gain[0].shape != gain[1].shape or loss[0].shape != loss[1].shape:
        raise ValueError(
            f"{unlearned!r} and {scratch!r} cannot be compared; attack both models on the same "
            "forgotten and test examples."
        )
    value, interval, note = unlearned.auc - scratch.auc, None, unlearned.reason or scratch.reason
    if not note and min(len(gain[0]), len(loss[0])) < 2:
        note = "one example gives no interval"
    elif not note:
        parts = [float((x - y).var()) / len(x) for x, y in (gain, loss)]
        half = 0.0  # the two models rank alike, as after exact unlearning
        if sum(parts) > 0:
            shares = [p / sum(parts) for p in parts]
            freedom = 1 / sum(
                s**2 / (len(x) - 1) for s, (x, _) in zip(shares, (gain, loss), strict=True)
            )
            from scipy.special import stdtrit  # slow to import, and needed here only

            half = float(stdtrit(freedom, 0.975)) * math.sqrt(sum(parts))
        interval = (max(value - half, -1.0), min(value + half, 1.0))
    return Measure("membership-gap", value, "zero", f"{SOURCE}, less scratch", interval, note)


def auc_interval(auc: float, num_positive: int, num_negative: int) -> tuple[float, float]:
    """A 95 % confidence interval of an area under the ROC curve, for small samples too.

    The standard error of Hanley and McNeil 1982 (with their Q1 = A / (2 - A) and
    Q2 = 2 A^2 / (1 + A)), in the form of Newcombe 2006 (part 2, method 5): both sizes replaced by
    their mean inside the bracket, and the interval made of all areas A whose own standard error
    does not rule out the observed one, |A - auc| <= 1.96 SE(A). Unlike auc +- 1.96 SE(auc) it stays
    in 0..1 and keeps its width at 0 and 1, where the few examples of a small request often end.
    Simulated coverage with 1 to 200 forgotten examples against 400: .935 to 1 (plain: from .71).

    >>> [round(bound, 3) for bound in auc_interval(1.0, 1, 1)]      # one pair tells next to nothing
    [0.207, 1.0]

    Raises:
        ValueError: an area outside 0..1 or an empty sample.
    """
    if not 0 <= auc <= 1 or min(num_positive, num_negative) < 1:
        raise ValueError(
            f"auc={auc} of {num_positive} against {num_negative} examples met; expected 0..1 and "
            "at least one example on each side."
        )
    others = (num_positive + num_negative) / 2 - 1

    def excess(area: float) -> float:
        """Positive where `area` is ruled out."""
        bracket = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
        variance = area * (1 - area) * bracket / (num_positive * num_negative)
        return abs(area - auc) - Z95 * math.sqrt(variance)

    bounds = []
    for ruled_out in (0.0, 1.0):
        inside, outside = auc, ruled_out
        for _ in range(60):  # bisection down to rounding
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if excess(middle) > 0 else (middle, outside)
        bounds.append(outside)
    return bounds[0], bounds[1]
