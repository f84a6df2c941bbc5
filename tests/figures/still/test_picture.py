"""Still pictures: marks lie where the values say, whatever the figure."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from unlearnkit.figures.still import MOST_BYTES, as_image, picture

SVG = "{http://www.w3.org/2000/svg}"


def elements(figure):
    return list(ET.fromstring(picture(figure)).iter())


def dots(figure):
    """Centres of all filled circles, by colour."""
    found = {}
    for part in elements(figure):
        if part.get("stroke-linecap") == "round":
            pairs = re.findall(r"M(\S+) (\S+)h0", part.get("d"))
            found.setdefault(part.get("stroke"), []).extend((float(x), float(y)) for x, y in pairs)
    return found


def texts(figure):
    return [
        (part.text, float(part.get("x"))) for part in elements(figure) if part.tag == SVG + "text"
    ]


def points(x, y, **more):
    marker = {"color": "#0072B2"}
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker, **more}


def test_points_lie_in_proportion_to_their_values():
    [found] = dots({"data": [points([0, 1, 4], [2, 4, 3])], "layout": {}}).values()
    (x0, y0), (x1, y1), (x4, y2) = found
    assert (x4 - x0) / (x1 - x0) == pytest.approx(4, abs=0.02)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(2, abs=0.02)  # upwards


def test_a_log_axis_puts_equal_ratios_at_equal_distances():
    figure = {"data": [points([1, 10, 1000], [1, 1, 1])], "layout": {"xaxis": {"type": "log"}}}
    [[(a, _), (b, _), (c, _)]] = dots(figure).values()
    assert (c - b) / (b - a) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("missing", [None, math.nan, 0.0])
def test_values_without_a_place_are_left_out(missing):
    figure = {"data": [points([1, missing, 10], [1, 1, 1])], "layout": {"xaxis": {"type": "log"}}}
    [found] = dots(figure).values()
    assert len(found) == 2
    assert "nan" not in picture(figure)


@pytest.mark.parametrize("flat", [False, True])
def test_bars_are_as_long_as_their_values_and_begin_at_zero(flat):
    names, values = ["a", "b", "c"], [1.0, 4.0, -2.0]
    trace = {"type": "bar", "marker": {"color": "#E69F00"}}
    trace |= {"x": values, "y": names, "orientation": "h"} if flat else {"x": names, "y": values}
    bars = [
        float(part.get("width" if flat else "height"))
        for part in elements({"data": [trace], "layout": {}})
        if part.tag == SVG + "rect" and part.get("fill") == "#E69F00"
    ]
    assert bars[1] / bars[0] == pytest.approx(4, rel=0.02)
    assert bars[2] / bars[0] == pytest.approx(2, rel=0.02)


def test_bars_of_groups_stand_beside_each_other_and_stacked_ones_on_top():
    first, second = (
        {"type": "bar", "x": ["a"], "y": [2.0], "marker": {"color": color}}
        for color in ("#0072B2", "#E69F00")
    )

    def places(mode):
        drawn = elements({"data": [first, second], "layout": {"barmode": mode}})
        return [
            (float(part.get("x")), float(part.get("y")))
            for part in drawn
            if part.tag == SVG + "rect" and part.get("fill") in ("#0072B2", "#E69F00")
        ]

    (ax, ay), (bx, by) = places("group")
    assert ax < bx and ay == by
    (ax, ay), (bx, by) = places("stack")
    assert ax == bx and ay > by


def test_cells_have_the_colours_of_their_scale_and_their_texts():
    trace = {
        "type": "heatmap",
        "z": [[0, 1], [None, 0.5]],
        "colorscale": [[0, "#000000"], [1, "#ffffff"]],
        "texttemplate": "%{z}",
    }
    figure = {"data": [trace], "layout": {}}
    fills = {part.get("fill") for part in elements(figure) if part.tag == SVG + "path"}
    assert {"#000000", "#ffffff", "#808080"} <= fills
    # On black the text is white, and the other way round.
    cells = [part for part in elements(figure) if part.get("text-anchor") == "middle"]
    inks = {part.text: part.get("fill") for part in cells if part.get("font-size") == "11"}
    assert inks == {"0": "#ffffff", "1": "#000000", "0.5": "#000000"}


def test_a_large_heat_map_is_one_image():
    trace = {"type": "heatmap", "z": np.arange(2500.0).reshape(50, 50)}
    drawn = picture({"data": [trace], "layout": {}})
    assert drawn.count("<image ") == 1 and len(drawn) < 30_000


def test_many_points_that_fall_on_one_pixel_are_drawn_once():
    once = picture({"data": [points([0, 1], [0, 1])], "layout": {}})
    often = picture({"data": [points([0, 1] * 700, [0, 1] * 700)], "layout": {}})
    assert len(often) < 1.2 * len(once)


def test_facets_have_their_own_halves():
    left, right = points([0, 1], [0, 1]), points([0, 1], [0, 1], xaxis="x2", yaxis="y2")
    right["marker"] = {"color": "#E69F00"}
    layout = {
        "xaxis": {"domain": [0, 0.45]},
        "xaxis2": {"domain": [0.55, 1], "anchor": "y2", "matches": "x"},
        "yaxis2": {"anchor": "x2", "matches": "y"},
    }
    found = dots({"data": [left, right], "layout": layout})
    assert max(x for x, _ in found["#0072B2"]) < min(x for x, _ in found["#E69F00"])


def test_shapes_take_values_and_annotations_logarithms_on_a_log_axis():
    layout = {
        "xaxis": {"type": "log", "range": [0, 2]},
        "shapes": [{"type": "line", "x0": 10, "x1": 10, "y0": 0, "y1": 1, "yref": "paper"}],
        "annotations": [{"x": 1, "y": 1, "yref": "paper", "text": "ten", "showarrow": False}],
    }
    figure = {"data": [points([1, 100], [0, 1])], "layout": layout}
    [[(low, _), (high, _)]] = dots(figure).values()
    [place] = [x for text, x in texts(figure) if text == "ten"]
    assert place == pytest.approx((low + high) / 2, abs=0.2)
    lines = [part.get("d") for part in elements(figure) if part.get("stroke-width") == "2"]
    assert any(
        float(re.match(r"M(\S+)", line)[1]) == pytest.approx(place, abs=0.2) for line in lines
    )


def test_long_legends_and_titles_wrap_within_the_picture():
    data = [points([0], [i], name=f"a method with a long name, {i}") for i in range(12)]
    figure = {"data": data, "layout": {"title": {"text": "word " * 60}, "height": 500}}
    entries = [(text, x) for text, x in texts(figure) if text.startswith("a method")]
    assert len(entries) == 12 and max(x for _, x in entries) < 700
    assert sum(text.startswith("word") for text, _ in texts(figure)) > 1


def test_texts_of_figures_are_no_markup():
    figure = {"data": [points([0, 1], [0, 1])], "layout": {"title": {"text": "a < b & c"}}}
    assert ("a < b & c", 10.0) in texts(figure)
    image = as_image({"data": [points([0], [0], name='"><script>')], "layout": {}})
    assert "<script" not in image and image.count("<") == 1


def test_what_cannot_be_drawn_has_no_picture():
    assert as_image({"data": [{"type": "pie", "values": [1, 2]}], "layout": {}}) is None
    assert (
        as_image({"data": [points([0], [object()])], "layout": {"xaxis": {"type": "date"}}}) is None
    )
    rows = np.random.default_rng(0).random((2, 9000))
    crowd = [points(rows[0].tolist(), rows[1].tolist(), marker={"symbol": "star-open"})]
    image = as_image({"data": crowd, "layout": {"height": 2000, "width": 2000}})
    assert image is None or len(image) <= MOST_BYTES + 1000
