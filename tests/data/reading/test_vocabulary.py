"""Values of a table and the declared words that they are."""

import datetime

import numpy as np
import pandas as pd
import pytest

from raw_data import people
from unlearnkit import from_frame
from unlearnkit.data.reading.vocabulary import places_of


@pytest.mark.parametrize(
    ("values", "words", "expected"),
    [
        ([1, 2, 3], ["1", "2"], [0, 1, -1]),
        ([1067, 98765], ["01067", "98765"], [0, 1]),
        ([1.0, np.nan, 2.0], ["1", "2"], [0, -1, 1]),
        ([0.5, 1.5], ["0.5", "1.50"], [0, 1]),
        ([True, False], ["true", "false"], [0, 1]),
        ([True, False], ["False", "True"], [1, 0]),
        (["1", "01", "x", "1_0"], [1, "x", 10], [0, 0, 1, -1]),
        (["1", "01"], ["1", "01"], [0, 1]),
        (["1", "01"], ["1"], [0, -1]),
        (["True", "no"], [False, True], [1, -1]),
        ([1, 0], [True, False], [0, 1]),
        (["nan", "inf"], [1, 2], [-1, -1]),
        ([pd.Timestamp("2020-02-01")], ["2020-02-01"], [0]),
        ([datetime.date(2020, 2, 1)], ["2020-02-01"], [0]),
        ([None, pd.NA, "a"], ["a", "None"], [-1, -1, 0]),
    ],
)
def test_the_word_that_a_value_is(values, words, expected):
    assert places_of("frame", pd.Series(values, name="code"), words).tolist() == expected


def test_a_number_that_may_be_two_words_is_a_question():
    with pytest.raises(
        ValueError, match=r"'code' was read as numbers.*\['1', '01'\]; read .* text"
    ):
        places_of("frame", pd.Series([1, 2], name="code"), ["1", "01"])


def test_a_column_without_any_declared_value_is_refused_and_in_a_test_part_announced():
    frame, options = people(), {"features": ["coat"], "categories": {"coat": ["RED", "GREY"]}}
    with pytest.raises(ValueError, match=r"no value of column 'coat' \('red', .*'RED', 'GREY'"):
        from_frame(frame, "kind", **options)
    options["categories"] = {"coat": ["red"]}
    with pytest.warns(UserWarning, match=r"test: no value of column 'coat' \('grey'\) is among"):
        from_frame(frame, "kind", test=frame[1:2], **options)


def test_missing_values_beside_a_declared_word_for_them_are_announced():
    with pytest.warns(
        UserWarning, match="missing values in rows 2, 6.* 'NA'.*keep_default_na"
    ) as w:
        from_frame(people(), "kind", features=["coat"], categories={"coat": ["red", "NA"]})
    assert "unlearnkit/data" not in w[0].filename


def test_numbers_where_the_training_part_has_hashed_text_are_announced():
    frame = people().assign(coat=[["1", "x"][row % 2] for row in range(40)])
    test = frame[:4].assign(coat=[1.0, None, 1.0, 1.0])
    with pytest.warns(UserWarning, match="test: column 'coat' holds float64.* read the column as"):
        from_frame(frame, "kind", features=["coat"], test=test, hash_buckets=4)


def test_class_names_that_spell_the_numbers_of_the_target_are_matched():
    frame = pd.DataFrame({"x": np.arange(40.0), "y": np.arange(40) % 2 + 1})
    data = from_frame(frame, "y", class_names=["01", "02", "03"])
    assert data.examples([0, 1])[1].tolist() == [0, 1]
    # Names that are no numbers of the column are names of the class numbers.
    assert from_frame(frame, "y", class_names=list("abc")).examples([0, 1])[1].tolist() == [1, 2]
    named = from_frame(frame, "y", class_names=["2", "1", "0"])
    assert named.examples([0, 1])[1].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "words", "met"),
    [
        (["1.5", "2.0"], ["1.5", "2"], "'2.0', .* although '2' is declared"),
        (["yes", "No"], ["yes", "no"], "'No', .* although 'no' is declared"),
        (["a", " b"], ["a", "b"], "' b', .* although 'b' is declared"),
    ],
)
def test_values_that_are_nearly_declared_are_announced(values, words, met):
    frame = pd.DataFrame({"c": values * 20, "y": [0, 1] * 20})
    with pytest.warns(UserWarning, match=f"column 'c' holds {met}"):
        from_frame(frame, "y", categories={"c": words})


@pytest.mark.parametrize(
    "values",
    [
        [f"{row},5" for row in range(60)],
        [f"name {row}" for row in range(60)],
        pd.date_range("2020", periods=60),
    ],
)
def test_a_target_of_many_words_is_a_question(values):
    frame = pd.DataFrame({"a": np.arange(60.0), "y": values})
    with pytest.raises(ValueError, match="target 'y' holds 60 different values in 60 rows"):
        from_frame(frame, "y")
    assert from_frame(frame, "y", class_names=list(values)).num_classes == 60


def test_sets_have_no_order():
    frame = pd.DataFrame({"c": ["u", "v"] * 20, "y": ["a", "b"] * 20})
    with pytest.raises(ValueError, match="categories of 'c' are a set, whose order differs"):
        from_frame(frame, "y", categories={"c": {"u", "v"}})
    with pytest.raises(ValueError, match="class_names= is a set, whose order differs"):
        from_frame(frame, "y", class_names={"a", "b"}, hash_buckets=4)
    with pytest.raises(TypeError, match=r"features=.* is a set, whose order differs"):
        from_frame(frame, "y", features={"c"}, hash_buckets=4)


def test_generators_are_no_vocabularies():
    frame = pd.DataFrame({"c": ["a", "b"] * 20, "y": ["n", "y"] * 20})
    with pytest.raises(TypeError, match="categories of 'c' are a generator; give a list"):
        from_frame(frame, "y", categories={"c": (word for word in "ab")})
    with pytest.raises(TypeError, match="class_names= is a generator; give a list"):
        from_frame(frame, "y", categories={"c": ["a"]}, class_names=(word for word in "ny"))


@pytest.mark.parametrize(
    "values", [["1,5", "2,5"] * 20, [True, False] * 20, pd.Categorical(["low", "high"] * 20)]
)
def test_a_regression_refuses_words_and_says_so(values):
    frame = pd.DataFrame({"a": np.arange(40.0), "y": values})
    with pytest.raises(TypeError, match=r"the target 'y' holds .* a regression needs numbers"):
        from_frame(frame, "y", task="regression")
