"""Membership inference: can an attacker tell forgotten examples from unseen ones?

The attack of Yeom, Giacomelli, Fredrikson and Jha 2018 (section 3, as a ranking): training lowers
the loss of the training examples, so the attack scores an example by minus its cross-entropy (in
regression minus half its squared error). The forget set are the members and test examples the
non-members. The area under the ROC curve (AUC) summarises all thresholds.

**An AUC of 0.5 is the wrong target.** Forgotten and test examples need not be alike. If a whole
class is forgotten, for example, the retrained model predicts it badly and its AUC lies far below
0.5; a model with an AUC of 0.5 still knows the class. The target is the AUC of the retrained model,
so the measure is `membership_gap`, whose best value is 0.

With few forgotten examples the attack has little statistical power. An interval that contains 0
means that no leak was detected, not that there is none.
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
    """Result of the attack on one model; `membership_gap` gives the value to judge it by.

    Attributes:
        auc: the probability that a forgotten example scores above a test example, 0..1; nan if
            the attack was not possible.
        interval: 95 % confidence interval of the AUC over the choice of examples (`auc_interval`).
        reason: why there is no value; empty if there is one.
        forget_placements: for each forgotten example, the share of test examples scoring below it.
        test_placements: for each test example, the share of forgotten examples scoring above it.
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

    The attack is deterministic. The score of an example is the logarithm of its label's
    probability, clamped at `SMALLEST_PROBABILITY`; for float targets it is minus half the squared
    error. Ties, such as float32 probabilities that saturate at 1, count half. If there are no
    forgotten or no test examples, or outputs are not finite, the AUC is nan and `reason` says why.

    >>> forget, test = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    >>> membership_auc(forget, torch.tensor([0]), test, torch.tensor([0, 0])).auc
    1.0

    Raises:
        ValueError: the number of labels differs from the number of rows.
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
    """AUC of the unlearned model minus that of the retrained model, on the same examples; best 0.

    The retrained model never saw the forgotten examples, so its AUC is that of a model without
    memory of them. Above 0 the unlearned model still remembers them. Below 0 it was pushed too far,
    which an attacker who knows the method can detect as well.

    The interval is that of DeLong, DeLong and Clarke-Pearson 1988 for two correlated areas: the
    variance of the paired differences of placements, over each sample's size. Departure: Student's
    t with Welch's 1947 degrees of freedom replaces the normal quantile, which covers too little
    when few examples are forgotten. The interval needs two examples on either side.

    Raises:
        ValueError: the two attacks used different numbers of examples.
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
    return Measure(
        "membership-gap", value, "zero", f"{SOURCE}, minus the retrained model's", interval, note
    )


def auc_interval(auc: float, num_positive: int, num_negative: int) -> tuple[float, float]:
    """95 % confidence interval of an area under the ROC curve, valid for small samples too.

    The standard error of Hanley and McNeil 1982 (with their Q1 = A / (2 - A) and
    Q2 = 2 A^2 / (1 + A)), in the form of Newcombe 2006 (part 2, method 5): inside the bracket both
    sizes are replaced by their mean, and the interval contains all areas A with
    |A - auc| <= 1.96 SE(A). Unlike auc +- 1.96 SE(auc), the interval stays in 0..1 and keeps a
    positive width at 0 and 1, the values that small forget sets often give.

    >>> [round(bound, 3) for bound in auc_interval(1.0, 1, 1)]      # a single pair says little
    [0.207, 1.0]

    Raises:
        ValueError: the area lies outside 0..1, or a sample is empty.
    """
    if not 0 <= auc <= 1 or min(num_positive, num_negative) < 1:
        raise ValueError(
            f"auc={auc} with {num_positive} positive and {num_negative} negative examples; give an "
            "area in 0..1 and at least one example on each side."
        )
    others = (num_positive + num_negative) / 2 - 1

    def excess(area: float) -> float:
        """Return a positive number if the observed AUC rules out this area."""
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
