"""Figures of what the layers compute."""

import pytest

from unlearnkit import figures
from unlearnkit.evaluation import representations


def test_dissimilarity_stands_at_zero_where_it_is(mixed):
    comparison, dataset, *_ = mixed
    frame = representations.layer_similarity(comparison, dataset)
    figure = figures.layer_similarity(frame)
    zero = figure.layout.xaxis.tickvals[0]
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces["unlearned, equal bit for bit"].x) == {zero}
    rest = frame[(frame["model"] == "unlearned") & ~frame["identical"]]
    assert list(traces["unlearned"].x) == pytest.approx((1 - rest["cka"]).tolist())
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
