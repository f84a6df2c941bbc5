"""Figures of the views carry the numbers of the analysis, and show exact as exact."""

import json

import numpy as np
import pytest

from cases import CASES
from unlearnkit import figures
from unlearnkit.evaluation import membership, parameters, predictions, representations
from unlearnkit.evaluation.comparison import MODELS


@pytest.fixture(scope="module")
def mixed():
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    session.unlearn(0.3)
    comparison = session.compare()
    frame = comparison.constituents
    exact, approximate = (int(frame["shard"][frame["bit identical"] == b].iloc[0]) for b in (1, 0))
    return comparison, session.dataset, exact, approximate


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


def test_dissimilarity_stands_at_zero_where_it_is(mixed):
    comparison, dataset, *_ = mixed
    frame = representations.layer_similarity(comparison, dataset)
    figure = figures.layer_similarity(frame)
    zero = figure.layout.xaxis.tickvals[0]
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces["unlearned, equal bit for bit"].x) == {zero}
    rest = frame[(frame["model"] == "unlearned") & ~frame["identical"]]
    assert list(traces["unlearned"].x) == pytest.approx((1 - rest["CKA"]).tolist())
    assert zero < min(traces["unlearned"].x)


def test_twins_are_linked_and_the_forgotten_marked(mixed):
    comparison, dataset, exact, approximate = mixed
    twin = representations.twin_embedding(comparison, dataset, approximate)
    links, *groups = figures.twin_embedding(twin, dataset.class_names).data
    lost = len(comparison.forgotten_of(approximate))
    assert lost and [len(trace.x) for trace in groups] == [12, 12, lost, lost]
    for i in range(12 + lost):
        assert links.x[3 * i : 3 * i + 3] == (twin.scratch[i, 0], twin.other[i, 0], None)
        assert links.y[3 * i : 3 * i + 3] == (twin.scratch[i, 1], twin.other[i, 1], None)
    assert list(groups[3].y) == twin.other[12:, 1].tolist()
    assert f"example {twin.ids[12]}, " in groups[3].customdata[0]
    title = figures.twin_embedding(
        representations.twin_embedding(comparison, dataset, exact), dataset.class_names
    ).layout.title.text
    assert title.endswith("the same coordinates, bit for bit")


def test_confusion_has_every_count_once(mixed):
    comparison, dataset, *_ = mixed
    table = predictions.prediction_confusion(comparison, "original")
    figure = figures.prediction_confusion(table, dataset.class_names, "original")
    drawn = sum(np.array([[v or 0 for v in row] for row in trace.z]) for trace in figure.data)
    assert drawn.tolist() == table.tolist()
    differ = table.sum() - np.trace(table)
    assert f"{differ or 'none'} of 12" in figure.layout.title.text


def test_classes_are_drawn_as_measured(mixed):
    comparison, dataset, *_ = mixed
    frame = predictions.class_agreement(comparison)
    for trace, model in zip(
        figures.class_accuracy(frame, dataset.class_names).data, MODELS, strict=True
    ):
        assert list(trace.x) == frame[model].tolist()
    figure = figures.class_divergence(frame, dataset.class_names)
    for trace, model in zip(figure.data, MODELS[:2], strict=True):
        assert list(trace.x) == pytest.approx(frame[f"{model} KL"].tolist())
    assert list(figure.layout.yaxis.ticktext) == ["a", "b", "c"]


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
        assert list(trace.x) == own["false positive rate"].tolist()
        assert f"area {comparison.attacks[model].auc:.2f}" in trace.name
    point = figure.data[3]
    low, high = marks[0].true_interval
    assert point.y[0] + point.error_y.array[0] == pytest.approx(high)
    assert point.y[0] - point.error_y.arrayminus[0] == pytest.approx(low)


def test_every_figure_is_plain_json(mixed):
    comparison, dataset, exact, approximate = mixed
    names = dataset.class_names
    frame = predictions.class_agreement(comparison, "forget")
    losses = membership.membership_losses(comparison)
    specs = [
        *(
            draw.spec(parameters.parameter_sample(comparison, shard))
            for draw in (figures.parameter_scatter, figures.shift_scatter)
            for shard in (exact, approximate)
        ),
        figures.shift_histogram.spec(parameters.shifts(comparison, exact)),
        figures.class_accuracy.spec(frame, names, "forget"),
        figures.class_divergence.spec(frame, names, "forget"),
        figures.membership_losses.spec(losses, "original", 0.0),
        figures.membership_roc.spec(membership.roc_curves(losses), membership.roc_areas(losses)),
        figures.prediction_confusion.spec(predictions.prediction_confusion(comparison), names),
    ]
    for spec in specs:
        json.dumps(spec, allow_nan=False)


def test_an_attack_without_forgotten_examples_draws_what_there_is(mixed):
    comparison, *_ = mixed
    losses = membership.membership_losses(comparison)
    losses = losses[losses["part"] == "test"]
    rates = [membership.rates(losses, "unlearned", 0.5)]
    curves, areas = membership.roc_curves(losses), membership.roc_areas(losses)
    figure = figures.membership_roc(curves, areas, rates)
    assert all(not trace.x for trace in figure.data) and "area unknown" in figure.data[0].name
    assert len(figures.membership_losses(losses, "unlearned", 0.5).data[1].x) == 12
