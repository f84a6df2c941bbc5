"""The error model: bounds that hold on new cases, and a budget that is kept."""

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.unlearning.error_model import LEAST, ErrorModel


def log_linear(generator, count, a=-1.0, b=2.0, noise=0.5):
    """Pairs (x, e) with log e = a + b log x and normal noise."""
    x = np.exp(generator.uniform(-6, -1, count))
    e = np.exp(a + b * np.log(x) + noise * generator.normal(size=count))
    return tuple(zip(x.tolist(), e.tolist(), strict=True))


def test_the_line_is_found_where_there_is_no_noise():
    known = ErrorModel(log_linear(np.random.default_rng(0), 60, noise=0.0))
    assert known.fit == pytest.approx((-1.0, 2.0, 0.0), abs=1e-9)
    assert known.bound(0, 0.1) == pytest.approx(np.exp(-1.0 + 2.0 * np.log(0.1)))


@pytest.mark.parametrize("count", [LEAST, 100, 300])
def test_the_bound_covers_held_out_cases(count):
    covered = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        known = ErrorModel(log_linear(generator, count))
        held_out = log_linear(generator, 200)
        bounds = [(known.bound(0, x), e) for x, e in held_out]
        covered.append(np.mean([e <= bound for bound, e in bounds if bound is not None]))
    # 95 % on average over error models, as split-conformal prediction promises; the mean of 40
    # has a standard error of half a percent.
    assert 0.93 <= np.mean(covered) <= 0.995
    assert np.mean(np.array(covered) >= 0.9) > 0.75


def test_the_bound_is_no_wider_than_it_has_to_be():
    generator = np.random.default_rng(1)
    known = ErrorModel(log_linear(generator, 400))
    # The normal 95 % quantile is 1.645 standard deviations.
    assert known.fit[2] == pytest.approx(1.645 * 0.5, rel=0.25)


@pytest.mark.parametrize("count", range(19, 101))
def test_the_margin_is_the_smallest_residual_that_covers_one_case_more(count):
    # The next case is as likely to take any of the count + 1 ranks, so the r-th smallest residual
    # covers it in r of count + 1 cases (Vovk, Gammerman and Shafer 2005).
    rank = next(r for r in range(1, count + 1) if 100 * r >= 95 * (count + 1))
    # The older half lies on the line e = x, which is fitted; the others lie 1, 2, ... above it. The
    # lower quartile of all corrections is the smallest, so that none is taken for a larger one.
    generator = np.random.default_rng(0)
    logs = generator.permutation(np.r_[np.full(count, -1.0), np.linspace(-1, 1, count)])
    above = np.r_[np.zeros(count), generator.permutation(np.arange(1, count + 1))]
    pairs = np.stack([np.exp(logs), np.exp(logs + above)], 1).tolist()
    known = ErrorModel(tuple((x, e) for x, e in pairs))
    assert known.fit == pytest.approx((0.0, 1.0, rank), abs=1e-6)


def test_the_bound_neither_falls_with_tiny_corrections_nor_reaches_beyond_the_largest():
    known = ErrorModel(log_linear(np.random.default_rng(0), 100))
    corrections = sorted(x for x, _ in known.pairs)
    quartile, largest = np.quantile(corrections, 0.25), corrections[-1]
    assert known.range == (pytest.approx(quartile), largest)
    at_the_quartile = pytest.approx(known.bound(0, quartile))
    assert known.bound(0, corrections[0]) == known.bound(0, 1e-9) == at_the_quartile
    assert known.bound(0, largest) > known.bound(0, quartile)
    assert known.bound(0, largest * 1.01) is None
    assert known.corrected(0, largest).bound(0, quartile) is None  # both corrections count


def test_there_is_no_bound_where_more_of_a_class_is_lost_than_was_ever_repaid():
    known = ErrorModel(log_linear(np.random.default_rng(0), 100))
    assert known.bound(0, 0.1, 0.9) == known.bound(0, 0.1)  # nothing is known of classes
    for share in (0.04, 0.08):
        known = known.corrected(1, 0.1, share).retrained(1, 0.01)
    assert known.class_shares == (0.04, 0.08) and known.owed_shares == {}
    assert known.bound(0, 0.1, 0.08) == known.bound(0, 0.1) is not None
    assert known.bound(0, 0.1, 0.09) is None
    assert known.corrected(0, 0.01, 0.05).bound(0, 0.01, 0.05) is None  # both requests count


def test_half_a_class_has_no_bound_where_only_mixed_requests_were_repaid():
    session = calibrated("logistic", epochs=4)
    known = session.error_model
    assert known.ready and max(known.class_shares) < 0.5
    train = session.dataset.train
    zeros = np.setdiff1d(train.ids[(train.labels == 0).numpy()], session.revoked)
    session.revoke(zeros[: 3 * len(zeros) // 4])
    checks = session.unlearn(0.0).decision.checks
    assert checks and all(check.bound is None and check.class_share > 0.3 for check in checks)
    assert session.error_model.owed_shares == {c.shard: c.class_share for c in checks}


def test_there_is_no_bound_before_there_are_enough_pairs():
    few = ErrorModel(log_linear(np.random.default_rng(0), LEAST - 1))
    assert not few.ready and few.bound(0, 0.1) is None
    assert repr(few) == f"ErrorModel({LEAST - 1} of {LEAST} pairs, no bound yet)"
    with pytest.raises(
        LookupError, match=f"{LEAST - 1} repaid approximations are too few for a bound"
    ):
        few.fit  # noqa: B018


def test_earlier_corrections_count():
    known = ErrorModel(log_linear(np.random.default_rng(0), 50))
    assert known.corrected(2, 0.03).bound(2, 0.01) == known.bound(0, 0.04)
    assert known.corrected(2, 0.03).bound(1, 0.04) == known.bound(0, 0.04)
    assert known.corrected(2, 0.03).retrained(2).owed == {}


def calibrated(model, **options):
    """A digits session whose shards were repaid fourteen times over."""
    session = uk.Session("digits", model=model, num_shards=4, num_slices=2, **options)
    session.train()
    for seed in range(14):
        session.revoke(count=1 + 2 * seed, seed=seed)
        session.unlearn(0.0)
        session.repay()
    return session


def test_a_budget_is_kept_and_before_enough_repayments_nothing_is_approximated():
    session = calibrated("mlp", epochs=10)
    known = session.error_model
    assert known.ready
    boundary = uk.AdaptiveBoundary(min_gain=1.0, debt_cap=1.0, error=1.0)
    tight = uk.AdaptiveBoundary(min_gain=1.0, debt_cap=1.0, error=1e-12)

    # Errors that were not calibrated on: 8 requests of about the same sizes, on forks.
    pairs = []
    for seed in range(100, 108):
        fork = session.fork()
        fork.revoke(count=10, seed=seed)
        bounds = {check.shard: check.bound for check in fork.unlearn(0.0).decision.checks}
        pairs += [(check.error, bounds[check.shard]) for check in fork.repay().decision.checks]
    pairs = [(error, bound) for error, bound in pairs if bound is not None]
    assert len(pairs) >= 20
    assert np.mean([error <= bound for error, bound in pairs]) >= 0.9

    session.revoke(count=10, seed=200)
    loose, strict = session.fork(), session.fork()
    assert not [r for r in strict.unlearn(boundary=tight).decision.routes if r.kind != "exact"]
    for check in loose.unlearn(boundary=boundary).decision.checks:
        assert check.bound <= 1.0

    fresh = uk.Session("digits", model="mlp", num_shards=4, num_slices=2, epochs=10)
    fresh.train()
    fresh.revoke(count=10)
    for route in fresh.unlearn(boundary=boundary).decision.routes:
        assert route.kind == "exact"
        assert (
            f"cannot be promised yet: only 0 of {LEAST} approximations were repaid" in route.reason
        )
