"""The verdict: a table of what was left, what is left, and the goal."""

import re

import pytest

from panels import compare, session_of
from unlearnkit.evaluation.comparison import PARTS


def cells(html):
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_the_table_has_the_scores_of_the_comparison(panel):
    comparison = panel.comparison
    head, *rows = cells(panel.verdict.html)
    assert head == ["", "doing nothing", "unlearned", "retrained: the goal"]
    found = {row[0]: row[1:] for row in rows}
    for part, row in zip(PARTS, rows, strict=False):
        shown = [comparison.accuracies[part][m] for m in ("original", "unlearned", "scratch")]
        assert [float(cell.rstrip("%")) for cell in row[1:]] == pytest.approx(
            [100 * value for value in shown], abs=0.06
        )
    before, after, goal = found["outputs: KL from retrained (nats)"]
    assert goal == "0"
    assert float(before) == pytest.approx(comparison.output_kl["original"], rel=0.06)
    assert float(after) == pytest.approx(comparison.output_kl["unlearned"], rel=0.06)
    same = int(comparison.constituents["bit_identical"].sum())
    total = len(comparison.constituents)
    assert found["shards that equal retraining, bit for bit"] == ["-", f"{same} of {total}", "all"]


def test_after_an_exact_unlearning_the_difference_is_a_plain_zero():
    panel = compare(session_of("uneven", 1.0).panel("comparison"))
    rows = {row[0]: row[1:] for row in cells(panel.verdict.html)}
    assert rows["outputs: KL from retrained (nats)"][1:] == ["0", "0"]
