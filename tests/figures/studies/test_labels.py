"""Names beside lines and points do not cover each other, and many groups can be told apart."""

from itertools import combinations, pairwise

import pytest

from unlearnkit.figures.palette import styles
from unlearnkit.figures.studies.labels import LETTER, LINE, WIDE, beside_ends, beside_points, spread


def test_places_keep_their_gap_and_their_order():
    found = spread([0, 3, 3.5, 40, 41, 200], 15)
    assert found == sorted(found)
    assert all(b - a >= 15 - 1e-9 for a, b in pairwise(found))
    assert found[-1] == 200


def test_names_of_a_dozen_lines_that_end_at_one_place_stand_apart():
    looks = styles(12)
    labels = [(f"method {i}", looks[i], 0.0, 0.5) for i in range(12)]
    notes = beside_ends(labels, span=1.0, height=250)
    places = sorted(250 * note["y"] + note["yshift"] for note in notes)
    assert min(b - a for a, b in pairwise(places)) == pytest.approx(LINE)
    assert len({note["text"] for note in notes}) == 12


def test_names_of_a_dozen_clouds_at_one_place_stand_apart():
    looks = styles(12)
    labels = [(f"method {i}", looks[i], 1.0, 0.5 + 0.001 * i) for i in range(12)]
    notes = beside_points(labels, (2.0, 1.0), 300)
    boxes = [(WIDE * note["x"] / 2, 300 * note["y"] - note["ay"]) for note in notes]
    wide = LETTER * len("method 11")
    for (x, y), (a, b) in combinations(boxes, 2):
        assert abs(x - a) >= wide or abs(y - b) >= LINE - 1e-6


def test_no_two_of_many_groups_look_alike():
    looks = styles(24)
    assert len({(look.color, look.symbol) for look in looks}) == 24
    # Neighbours differ in more than their colour.
    assert all(a.symbol != b.symbol and a.dash != b.dash for a, b in pairwise(looks))
