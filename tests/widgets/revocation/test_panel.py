"""The panel of requests: a click revokes what the Python call says."""

import re

import pytest

from cases import CASES
from panels import call, text
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.revocation.panel import parse_ids


@pytest.mark.parametrize(
    "fields",
    [
        {"ids": "7, 13 19-25\n[40]"},
        {"ids": "19-25"},
        {"mode": "by class", "label": "b"},
        {"mode": "by class", "label": "a", "amount": "a number", "number": 2},
        {"mode": "by class", "label": "c", "amount": "a share (%)", "number": 50, "seed": 3},
        {"mode": "at random", "amount": "a number", "number": 5, "seed": 1},
        {"mode": "at random", "amount": "a share (%)", "number": 12.5},
    ],
)
def test_a_click_revokes_what_the_python_call_says(session, fields):
    fork = session.fork()
    panel = PANELS["revocation"](session)
    if "ids" in fields:  # ids of the case are 7, 10, 13, ...
        fields = {"ids": re.sub(r"19-25", "19-19, 25", fields["ids"])}
    for name, value in fields.items():
        getattr(panel, name).value = value
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None
    assert len(session.pending) and session.pending.tolist() == fork.pending.tolist()
    assert f"The request: {len(session.pending)} example" in text(panel.pending)


def test_the_request_is_described(session, request_on_two):
    panel = PANELS["revocation"](session)
    assert "The request is empty" in text(panel.pending) and panel.withdraw_all.disabled
    panel.ids.value = " ".join(map(str, request_on_two))
    panel.add.click()
    said = text(panel.pending)
    assert "The request: 3 examples to forget." in said
    assert "They lie in 2 of 3 shards: shard 1 from slice 3, shard 2 from slice 1." in said
    panel.ids.value = str(request_on_two[0])
    panel.withdraw.click()
    assert session.pending.tolist() == sorted(request_on_two[1:])
    panel.withdraw_all.click()
    assert len(session.pending) == 0 and panel.message == "2 examples withdrawn."


def test_images_are_shown_with_their_ids():
    session = CASES["cnn-batchnorm"].session()
    session.revoke([7, 10])
    shown = PANELS["revocation"](session).pending.html
    assert shown.count("<img ") == 2 and 'alt="example 10, class' in shown


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ids": "7, x"}, "'x' is not an id; give whole numbers and ranges such as 3, 141, 10-20"),
        ({"ids": "20-10"}, "the range 20-10 runs backwards; write 10-20"),
        ({"ids": "0-99999999999"}, "is too many ids"),
        ({"ids": " "}, "no ids are given"),
        ({"ids": "9999"}, "id 9999 is not in uneven"),
        ({"mode": "at random", "number": 7.5}, "count=7.5 is not a whole number"),
        (
            {"mode": "at random", "amount": "a share (%)", "number": 150},
            "share=1.5 is out of range; give a number from 0 to 1",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_breaks_nothing(session, fields, sentence):
    panel = PANELS["revocation"](session)
    for name, value in fields.items():
        getattr(panel, name).value = value
    panel.add.click()
    assert sentence in panel.message and "\n" not in panel.message
    assert len(session.pending) == 0
    panel.mode.value, panel.ids.value = "by id", "7"
    panel.add.click()
    assert panel.message == "1 example revoked."


def test_ids_with_dashes_and_blanks():
    assert parse_ids("3 - 5;9") == [range(3, 6), 9]
    assert parse_ids("") == []


def test_only_new_examples_are_counted_as_revoked(session):
    panel = PANELS["revocation"](session)
    for ids, said in (
        ("7 13", "2 examples revoked."),
        ("7 13 10", "1 example revoked; 2 were in the request already."),
        ("10", "Nothing new: 1 example was in the request already."),
    ):
        panel.ids.value = ids
        panel.add.click()
        assert panel.message == said
    assert session.pending.tolist() == [7, 10, 13]
