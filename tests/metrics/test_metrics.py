"""Metrics against counting by hand and scikit-learn."""

import math

import pytest
import torch
from torch import Tensor

from unlearnkit.metrics.membership_auc import membership_auc
from unlearnkit.metrics.metrics import (
    METRICS,
    NO_SHARDS,
    Measure,
    Metric,
    accuracy,
    churn,
    output_kl,
    tug_of_war,
)

EMPTY, NO_LABELS = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)


def model(seed: int, rows: int = 40, classes: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, classes, generator=generator)).softmax(1)


def labels(rows: int = 40, classes: int = 3) -> Tensor:
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(9))


def test_shares_are_counts() -> None:
    a, b, y = model(0), model(1), labels()
    hits = [row.index(max(row)) == label for row, label in zip(a.tolist(), y.tolist(), strict=True)]
    assert accuracy(a, y) == sum(hits) / 40
    moved = [
        p.index(max(p)) != q.index(max(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert churn(a, b) == sum(moved) / 40
    assert METRICS["accuracy-gap"](a, b, y).value == pytest.approx(accuracy(a, y) - accuracy(b, y))
    assert METRICS["churn"](a, b, y).value == churn(a, b)


def test_output_kl_is_torchs_and_points_from_the_reference() -> None:
    a, b, y = model(0).double(), model(1).double(), labels()
    expected = torch.nn.functional.kl_div(a.log(), b, reduction="batchmean").item()  # KL(b || a)
    assert output_kl(b, a) == pytest.approx(expected, rel=1e-12)
    assert METRICS["output-kl"](a, b, y).value == output_kl(b, a) != output_kl(a, b)


def test_output_kl_of_certainties_is_finite() -> None:
    sure = torch.eye(3)
    assert output_kl(sure, sure) == 0
    assert output_kl(sure, sure[[1, 2, 0]]) == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_every_metric_keeps_the_contract(metric: Metric) -> None:
    a, b, y = model(0), model(1), labels()
    assert isinstance(metric, Metric) and METRICS[metric.name] is metric
    same, apart, nothing = metric(a, a, y), metric(a, b, y), metric(EMPTY, EMPTY, NO_LABELS)
    if hasattr(metric, "of_shards"):  # outputs of whole ensembles do not tell
        assert math.isnan(same.value) and same.note == NO_SHARDS
    else:
        assert same.value == 0
    assert same.name == metric.name and same.source
    assert same.direction == "zero" or (same.direction == "lower" and apart.value > 0)
    for measure in (same, apart):
        low, high = measure.interval or (measure.value, measure.value)
        assert low <= measure.value <= high or math.isnan(measure.value)
    assert math.isnan(nothing.value) and nothing.interval is None and nothing.note
    # Where annotations are checked, they find wrong shapes first, with a TypeError.
    with pytest.raises((ValueError, TypeError), match=r"40, 3.*39, 3|b"):
        metric(a, b[:39], y)


def test_shape_errors() -> None:
    with pytest.raises((ValueError, TypeError), match="labels"):
        accuracy(model(0), labels(39))
    with pytest.raises((ValueError, TypeError), match="labels"):
        membership_auc(model(0), labels(39), model(1), labels())


def test_a_measure_prints_on_one_line() -> None:
    measure = Measure("churn", 0.25, "lower", "someone", (0.1, 0.4))
    assert repr(measure) == "churn 0.2500 [0.1000, 0.4000], best lower"
    measure = Measure("churn", math.nan, "lower", "someone", note="no examples")
    assert repr(measure) == "churn nan (no examples), best lower"


def test_tug_of_war() -> None:
    assert tug_of_war(0.1, -0.2, 0.5) == pytest.approx(0.9 * 0.8 * 0.5)
    assert tug_of_war(1.0, 0.0, 0.0) == 0
    with pytest.raises(ValueError, match="give shares, not percentages"):
        tug_of_war(3.0, 0.0, 0.0)


def test_wilson_interval_of_churn() -> None:
    # Wilson's interval for 0 of n is 0 to z^2 / (n + z^2).
    measure = METRICS["churn"](model(0), model(0), labels())
    z = 1.959964
    assert measure.interval == pytest.approx((0.0, z * z / (40 + z * z)), abs=1e-6)
