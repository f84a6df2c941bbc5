"""Figures of the membership attack."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import figures
from unlearnkit.evaluation import membership
from unlearnkit.evaluation.comparison import MODELS


def test_an_attack_is_drawn_with_threshold_and_intervals(mixed):
    comparison, *_ = mixed
    losses = membership.membership_losses(comparison)
    threshold = membership.threshold_at(losses, 0.5)
    forgotten, test, reference = figures.membership_losses(losses, "unlearned", threshold).data
    own = losses[losses["part"] == "forget"]
    assert list(forgotten.x) == sorted(own["unlearned"]) and forgotten.y[-1] == 1
    assert list(reference.x) == sorted(own["scratch"]) and len(test.x) == 12
    line = figures.membership_losses(losses, "unlearned", threshold).layout.shapes[0]
    assert line.x0 == line.x1 == threshold
    curves = membership.roc_curves(losses)
    marks = [membership.rates(losses, model, threshold) for model in ("unlearned", "scratch")]
    figure = figures.membership_roc(curves, membership.roc_areas(losses), marks)
    for trace, model in zip(figure.data[:3], MODELS, strict=True):
        own = curves[curves["model"] == model]
        assert list(trace.x) == own["false_positive_rate"].tolist()
        assert f"area {comparison.attacks[model].auc:.2f}" in trace.name
    point = figure.data[3]
    low, high = marks[0].true_interval
    assert point.y[0] + point.error_y.array[0] == pytest.approx(high)
    assert point.y[0] - point.error_y.arrayminus[0] == pytest.approx(low)


def test_an_attack_without_forgotten_examples_draws_what_there_is(mixed):
    comparison, *_ = mixed
    losses = membership.membership_losses(comparison)
    losses = losses[losses["part"] == "test"]
    rates = [membership.rates(losses, "unlearned", 0.5)]
    curves, areas = membership.roc_curves(losses), membership.roc_areas(losses)
    figure = figures.membership_roc(curves, areas, rates)
    assert all(not trace.x for trace in figure.data) and "area unknown" in figure.data[0].name
    assert len(figures.membership_losses(losses, "unlearned", 0.5).data[1].x) == 12


def test_every_shard_is_drawn_beside_the_retrained_model_the_worst_first():
    rows = [
        (shard, model, rate, share, share / 2, min(1.0, 2 * share), rate, 10, 200)
        for shard, share in (("all", 0.2), (0, 0.1), (4, 0.4))
        for model in ("original", "unlearned", "scratch")
        for rate in (0.01, 0.001)
    ]
    columns = "shard models false_rate true_rate low high false members others".split()
    spec = figures.shard_attack.spec(pd.DataFrame(rows, columns=columns), 0.01)
    assert spec["layout"]["yaxis"]["ticktext"] == ["all shards", "shard 4", "shard 0"]
    assert [trace["name"] for trace in spec["data"]] == ["original", "unlearned", "retrained"]
    for trace in spec["data"]:
        assert dict(zip(np.round(trace["y"]), trace["x"], strict=True)) == {0: 0.2, 2: 0.1, 1: 0.4}
        assert trace["error_x"]["array"] == pytest.approx([0.2, 0.1, 0.4])
