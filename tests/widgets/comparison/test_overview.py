"""The first sections of the comparison: shards, scores, layers, metrics."""

import re

import pytest

from panels import opened, text
from unlearnkit.metrics.metrics import METRICS
from unlearnkit.widgets.comparison.overview import MeasuresView, MovesView


def test_each_shard_has_its_distance_before_and_after(panel):
    moves = opened(panel, MovesView)
    moves.measure.value = "parameters"
    assert "'parameters'" in moves._head.code
    rows = re.findall(r"<tr>(.*?)</tr>", moves.constituents.html)[1:]
    for row, record in zip(rows, panel.comparison.constituents.to_dict("records"), strict=True):
        shard, before, after, *_ = re.findall(r"<td[^>]*>(.*?)</td>", row)
        assert int(shard) == record["shard"]
        assert float(before) == pytest.approx(record["original_to_scratch_l2"], rel=0.006)
        left = 0.0 if record["bit_identical"] else record["unlearned_to_scratch_l2"]
        assert float(after) == pytest.approx(left, rel=0.006)
    assert "original: " in moves.moves.view.description


def test_all_metrics_are_listed(panel):
    shown = text(opened(panel, MeasuresView).measures)
    measured = set(panel.comparison.measures["metric"])
    assert measured and all(name in shown for name in measured if name in METRICS)
