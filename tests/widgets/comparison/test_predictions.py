"""The section of predictions: examples and their pictures."""

from panels import compare, opened, session_of
from unlearnkit.widgets.comparison.membership import MembershipView
from unlearnkit.widgets.comparison.networks import (
    WeightView,
)


def test_pictures_stand_beside_the_examples_of_image_data():
    panel = compare(session_of("cnn-batchnorm", 0.0).panel("comparison"))
    found = opened(panel, MembershipView)
    assert found.risks.html.count("<img ") == 3
    assert "unit" in opened(panel, WeightView).images.view.spec["layout"]["xaxis"]["title"]["text"]
