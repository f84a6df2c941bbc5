"""Figures of parameters and of their shifts."""

import numpy as np
import pytest

from cases import CASES
from unlearnkit import figures
from unlearnkit.evaluation import parameters
from unlearnkit.evaluation.comparison import MODELS


def test_parameters_stand_at_their_values_and_have_the_colour_of_their_shift(mixed):
    comparison, _, exact, approximate = mixed
    sample = parameters.parameter_sample(comparison, approximate)
    [dots] = figures.parameter_scatter(sample).data
    moved = sample.frame["unlearned"] - sample.frame["original"]
    order = moved.abs().sort_values(kind="stable").index  # the most moved on top
    assert list(dots.x) == sample.frame["scratch"][order].tolist()
    assert list(dots.y) == sample.frame["unlearned"][order].tolist()
    assert list(dots.marker.color) == moved[order].tolist()
    assert dots.marker.cmax == -dots.marker.cmin == moved.abs().quantile(0.98) > 0
    first = sample.frame.loc[order[0]]
    assert dots.customdata[0] == f"{first['layer']} [{first['index']}]"
    title = figures.parameter_scatter(parameters.parameter_sample(comparison, exact)).layout.title
    assert title.text.endswith("all equal, bit for bit")
    layers = figures.shift_scatter(sample).data
    assert [trace.name for trace in layers] == list(sample.sizes)
    assert sum(len(trace.x) for trace in layers) == len(sample.frame)
    first = sample.frame[sample.frame["layer"] == layers[0].name]
    assert list(layers[0].x) == (first["scratch"] - first["original"]).tolist()
    assert list(layers[0].y) == (first["unlearned"] - first["original"]).tolist()


def test_histograms_have_every_bin_and_an_exact_zero(mixed):
    comparison, _, exact, approximate = mixed
    shifts = parameters.shifts(comparison, approximate)
    for trace, column in zip(
        figures.shift_histogram(shifts).data, ("needed", "made", "left"), strict=True
    ):
        assert [y or 0 for y in trace.y] == shifts.frame[column].tolist()
        assert list(trace.x) == ((shifts.frame["low"] + shifts.frame["high"]) / 2).tolist()
    left = figures.shift_histogram(parameters.shifts(comparison, exact)).data[2]
    assert left.name == "left: 0, bit for bit" and sum(y is not None for y in left.y) == 1


def test_the_mosaic_holds_the_images_in_their_places():
    session = CASES["cnn-batchnorm"].session()
    session.train()
    session.revoke(count=3)
    session.unlearn(0.0)
    images = parameters.weight_images(session.compare(), 0)
    figure = figures.weight_images(images)
    models, left = figure.data
    for row, model in enumerate(MODELS):
        for column in range(len(images.units)):
            tile = np.array(models.z)[4 * row : 4 * row + 3, 4 * column : 4 * column + 3]
            expected = images.images[model][column]
            assert tile.astype(float) == pytest.approx(expected, rel=6e-3)
    rest = images.images["unlearned"] - images.images["scratch"]
    assert np.array(left.z)[:3, :3].astype(float) == pytest.approx(rest[0], rel=6e-3)
    assert left.zmax == np.abs(rest).max() and left.y[0] == 12
    assert list(figure.layout.xaxis.ticktext) == [str(unit) for unit in images.units]
