"""Membership attacks against counting by hand, scikit-learn, and simulated coverage."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from unlearnkit.metrics.membership_auc import auc_interval, membership_auc, membership_gap
from unlearnkit.metrics.metrics import (
    auc,
    placements,
)

EMPTY, NO_LABELS = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)


def model(seed: int, rows: int = 40, classes: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, classes, generator=generator)).softmax(1)


def labels(rows: int = 40, classes: int = 3) -> Tensor:
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(9))


def test_auc_is_counting_pairs_and_sklearns() -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.randint(6, (13,), generator=generator).double()  # ties on purpose
    negative = torch.randint(5, (17,), generator=generator).double()
    pairs = [(p > n) + 0.5 * (p == n) for p in positive.tolist() for n in negative.tolist()]
    assert auc(positive, negative) == pytest.approx(sum(pairs) / len(pairs), rel=1e-14)
    truth = [1] * 13 + [0] * 17
    expected = roc_auc_score(truth, torch.cat([positive, negative]).numpy())
    assert auc(positive, negative) == pytest.approx(expected, rel=1e-14)
    assert auc(negative, positive) == pytest.approx(1 - expected, rel=1e-14)
    assert 1 - placements(negative, positive).mean().item() == pytest.approx(expected)
    assert math.isnan(auc(positive, negative[:0])) and math.isnan(auc(positive[:0], negative))
    assert math.isnan(auc(positive, negative * math.nan))


def test_attack_is_the_auc_of_label_probabilities() -> None:
    forget, test, y, z = model(0, 12), model(1, 30), labels(12), labels(30)
    attack = membership_auc(forget, y, test, z)
    scores = torch.cat([forget, test])[torch.arange(42), torch.cat([y, z])].log().double()
    assert attack.auc == pytest.approx(auc(scores[:12], scores[12:]), rel=1e-14)
    assert attack.interval is not None and attack.interval[0] < attack.auc < attack.interval[1]
    assert attack.reason == "" and repr(attack).endswith("12 forgotten, 30 test")
    assert membership_auc(forget, y, forget, y).auc == 0.5


def test_attack_without_examples_says_why() -> None:
    full, y = model(0), labels()
    nothing = membership_auc(EMPTY, NO_LABELS, full, y)
    assert math.isnan(nothing.auc) and nothing.interval is None
    assert nothing.reason == "no forgotten examples" and "no forgotten" in repr(nothing)
    assert membership_auc(full, y, EMPTY, NO_LABELS).reason == "no test examples"
    assert "not finite" in membership_auc(full * math.nan, y, full, y).reason
    gap = membership_gap(nothing, nothing)
    assert math.isnan(gap.value) and gap.interval is None and gap.note == nothing.reason
    with pytest.raises(ValueError, match="on the same forgotten and test examples"):
        membership_gap(nothing, membership_auc(full, y, full, y))


def test_gap_to_an_identical_model_is_nothing() -> None:
    attack = membership_auc(model(0), labels(), model(1), labels())
    gap = membership_gap(attack, attack)
    assert (gap.value, gap.interval, gap.direction) == (0.0, (0.0, 0.0), "zero")
    one = membership_auc(model(0, 1), labels(1), model(1), labels())
    assert (
        membership_gap(one, one).interval is None and "one example" in membership_gap(one, one).note
    )


def test_half_is_the_wrong_target() -> None:
    # A removed class: scratch never saw it and gives it no probability; a model that scores 0.5
    # still knows the class, and has the larger gap.
    removed, test, y, z = model(0), model(1), torch.full((40,), 2), labels() % 2
    blind = torch.tensor([[0.6, 0.4, 0.0]]).expand(40, 3)
    scratch = membership_auc(blind, y, test, z)
    knowing = membership_auc(removed, y, test, z)
    assert scratch.auc < 0.05 and abs(knowing.auc - 0.5) < 0.2
    gap = membership_gap(knowing, scratch)
    assert gap.interval is not None and gap.interval[0] > 0.2


@pytest.mark.parametrize(("num_positive", "shift"), [(1, 1.5), (3, 0.0), (10, 1.5), (100, 0.5)])
def test_auc_interval_covers(num_positive: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = (1 + math.erf(shift / 2)) / 2  # P(N(shift, 1) > N(0, 1))
    covered = 0
    for _ in range(400):
        positive = shift + torch.randn(num_positive, generator=generator)
        low, high = auc_interval(
            auc(positive, torch.randn(200, generator=generator)), num_positive, 200
        )
        covered += low <= truth <= high
    # 95 % nominal; 400 trials have a standard error of 1.1 %, and the method errs by up to 2 %
    assert covered / 400 > 0.91


def test_gap_interval_covers() -> None:
    generator = torch.Generator().manual_seed(0)

    def pair(rows: int, shift: float) -> list[Tensor]:
        """Correlated label probabilities of two models on the same rows, the first one higher."""
        shared = torch.randn(rows, generator=generator)
        noisy = [shared + torch.randn(rows, generator=generator) / 2 + s for s in (shift, 0.0)]
        return [torch.stack([s.sigmoid(), 1 - s.sigmoid()], dim=1) for s in noisy]

    truth = (1 + math.erf(0.8 / math.sqrt(4 * 1.25))) / 2 - 0.5
    covered = 0
    for _ in range(300):
        forget, test = pair(8, 0.8), pair(200, 0.0)
        zeros = torch.zeros(8, dtype=torch.long), torch.zeros(200, dtype=torch.long)
        gap = membership_gap(
            *(membership_auc(f, zeros[0], t, zeros[1]) for f, t in zip(forget, test, strict=True))
        )
        assert gap.interval is not None
        covered += gap.interval[0] <= truth <= gap.interval[1]
    # 95 % nominal, 1.3 % standard error of 300 trials
    assert covered / 300 > 0.90


def test_auc_interval_limits() -> None:
    assert auc_interval(0.0, 5, 50)[0] == 0 and auc_interval(1.0, 5, 50)[1] == 1
    low, high = auc_interval(0.7, 20, 80)
    assert auc_interval(0.3, 20, 80) == pytest.approx((1 - high, 1 - low))
    with pytest.raises(ValueError, match="at least one example on each side"):
        auc_interval(0.5, 0, 10)
