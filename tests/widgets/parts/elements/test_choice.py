"""Radio buttons: the value follows the button, and the button the value."""

import pytest

from unlearnkit.widgets.parts.elements.choice import Choice


def test_a_click_chooses_and_a_value_checks_its_button():
    choice, heard = Choice(["a", ("the b", 2), "c"]), []
    choice.observe(lambda change: heard.append(change["new"]), names="value")
    assert choice.labels == ["a", "the b", "c"] and choice.value == "a"
    choice.index = 1  # what the page sets on a click
    choice.value = "c"
    assert heard == [2, "c"] and choice.index == 2


def test_without_a_kernel_it_says_what_is_chosen():
    choice = Choice(["a < b", "c"], description="which")
    assert choice.picture() == "<p>which: a &lt; b</p>"


def test_what_is_no_option_is_refused():
    with pytest.raises(ValueError, match="'d' is not an option; choose from 'a', 'b'"):
        Choice(["a", "b"], value="d")
    choice = Choice(["a", "b"], value="b")
    with pytest.raises(ValueError, match="'d' is not an option"):
        choice.value = "d"
    assert choice.value == "b" and choice.index == 1


def test_other_options_keep_the_value_if_it_is_among_them():
    choice = Choice(["a", "b"], value="b")
    choice.options = ["x", "a", "b"]
    assert choice.value == "b" and choice.index == 2
    choice.options = ["x", "a"]
    assert choice.value == "x" and choice.index == 0
