"""Figures of a comparison carry the numbers of the result, with an explicit zero."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unlearnkit import figures


def test_exact_layers_stand_at_zero_and_others_do_not(compared):
    assert 0 < compared.constituents["bit_identical"].sum() < len(compared.constituents)
    figure = figures.layer_distances(compared)
    axis = figure.layout.xaxis
    assert axis.ticktext[0] == "0, bit<br>for bit"
    zero = axis.tickvals[0]
    places = {trace.name: trace.x for trace in figure.data}
    assert set(places["unlearned, exact"]) == {zero}
    assert zero < min(places["unlearned, approximate"])
    original = compared.layers.query("model == 'original'")
    expected = np.where(original["l2"] == 0, zero, original["relative_l2"])
    assert np.array(places["original"], float) == pytest.approx(expected, nan_ok=True)


def test_comparisons_draw_the_numbers_of_the_result(compared):
    accuracy = figures.comparison_accuracy(compared)
    for trace, model in zip(accuracy.data, ("original", "unlearned", "scratch"), strict=True):
        assert list(trace.x) == compared.accuracies.loc[model].tolist()
    kl = figures.output_divergence(compared).data[0]
    assert dict(zip(kl.y, kl.x, strict=True)) == {
        "doing nothing": compared.output_kl["original"],
        "unlearned": compared.output_kl["unlearned"],
    }
    nothing, unlearned = figures.membership_gaps(compared).data
    assert nothing.x[0] == compared.original_membership_gap.value
    low, high = compared.membership_gap.interval
    assert unlearned.x[0] + unlearned.error_x.array[0] == pytest.approx(high)
    assert unlearned.x[0] - unlearned.error_x.arrayminus[0] == pytest.approx(low)


def test_an_attack_without_a_value_draws_no_dot(compared):
    gap = replace(compared.membership_gap, value=float("nan"), interval=None)
    figure = figures.membership_gaps(replace(compared, membership_gap=gap))
    assert figure.data[1].x == (None,)
    json.dumps(figure.to_plotly_json(), allow_nan=False)
