"""The view as Python sees it, and the copy of it that needs no kernel."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.widgets.instrument.frozen import MODULE
from unlearnkit.widgets.instrument.view import InstrumentView


@pytest.fixture
def view():
    return CASES["uneven"].waiting(6).instrument(0.3)


def picture_in(html: str) -> ElementTree.Element:
    address = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    return ElementTree.fromstring(base64.b64decode(address[1]))


def test_the_sentence_names_the_threshold_in_full(view):
    view.threshold = 0.123456
    assert view.sentence.startswith("At a threshold of 12.3456%, ")
    view.threshold = 1.0
    assert "approximate" not in view.sentence and set(view.outcome["kinds"]) == {"e"}
    assert view.fixed == uk.FixedBoundary(1.0)


def test_the_copy_holds_a_picture_the_sentence_and_the_module(view):
    html = view.picture()
    picture, script = html.split("<script", 1)
    assert view.sentence in picture and MODULE in script and html.count("</script") == 1
    values = json.loads(re.search(r"const values = (.*);\n", script)[1])
    assert values["data"] == view.data and values["threshold"] == 0.3
    assert len(list(picture_in(html).iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_no_name_in_the_data_ends_the_script(view):
    view.data = {**view.data, "noun": "</script><b>"}
    html = view.picture()
    assert html.count("</script") == 1 and "<b>" not in html.split("<script", 1)[1]


def test_the_module_does_not_end_the_script_that_it_is_written_into():
    assert "</script" not in MODULE and "<!--" not in MODULE


def test_a_view_without_a_request_is_one_sentence():
    view = InstrumentView()
    view.data = {**view.data, "nothing": "3 < 4"}
    assert view.picture() == "<p>3 &lt; 4</p>" and view.outcome is None


def test_the_copy_of_many_shards_stays_small():
    session = uk.Session("digits", model="logistic", num_shards=50, num_slices=5, epochs=1)
    session.train()
    session.revoke(count=200)
    view = session.instrument()
    assert len(view.picture()) < 150_000
    svg = picture_in(view.picture())
    assert len(ElementTree.tostring(svg)) < 25_000
    assert float(svg.attrib["height"]) < 400
