"""Queries over a table, and ids in a text or a file."""

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit.data.examples import Dataset
from unlearnkit.selection.example_map import example_table
from unlearnkit.selection.queries import ids_in


def people():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 60), "net income": rng.normal(size=60)})
    frame["coat"] = np.where(rng.random(60) < 0.5, "red", "grey")
    frame["left"] = np.where(rng.random(60) < 0.4, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def tabular():
    data = uk.from_frame(
        people(), "left", categories={"coat": ["red"]}, class_names=["no", "yes"], scale={"age": 10}
    )
    session = uk.Session(data, model="logistic", num_shards=3, num_slices=2, epochs=2)
    session.train()
    return session


def test_the_columns_of_a_table_keep_their_names(tabular):
    names = ("age", "net income", "coat=red", "coat=other")
    assert tabular.dataset.feature_names == names
    table = example_table(tabular)
    assert list(table)[5:] == list(names)
    np.testing.assert_allclose(table["age"], people()["age"][table["id"]] / 10, rtol=1e-6)
    with pytest.raises(ValueError, match="1 feature names for features of shape"):
        Dataset(
            *("x", tabular.dataset.train, tabular.dataset.probe, tabular.dataset.test),
            *(2, ("no", "yes"), ("age",)),
        )


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("age > 5 and class_name == 'yes'", lambda t: (t.age > 5) & (t.label == 1)),
        ("`coat=red` == 1 or shard in [0, 2]", lambda t: (t["coat=red"] == 1) | (t.shard != 1)),
        ("class_name.str.contains('e') & slice == 2", lambda t: (t.label == 1) & (t.slice == 2)),
        ("`net income` < loss", lambda t: t["net income"] < t.loss),
        ("age > 1000", lambda t: t.age > 1000),
    ],
)
def test_a_query_revokes_those_of_which_it_holds(tabular, query, holds):
    table = example_table(tabular, ["loss"])
    fork = tabular.fork()
    request = fork.revoke(query=query)
    assert request.ids.tolist() == table["id"][holds(table)].tolist() == fork.pending.tolist()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("agee > 3", "name 'agee' is not defined in the table; its columns are id, label, class_"),
        (
            "age > ",
            "the query 'age >' ends with '>', after which a condition or a value is missing",
        ),
        ("age = 3", "the query 'age = 3' has a single '=' where '==' compares"),
        ("age > 3 and", "ends with 'and', after which a condition or a value is missing; a query"),
        ("loss >", "the query 'loss >' ends with '>'"),  # before any score is computed
        ("or age > 3", "begins with 'or', before which a condition or a column is missing"),
        ("(age > 3", r"opens a bracket '\(' that it does not close"),
        ("age in [3, 4)", r"closes a bracket '\)' that it does not open"),
        ("age > 3 && id < 9", "has '&&', for which a query writes 'and'"),
        ("age > 3 OR id < 9", "has 'OR', for which a query writes 'or'"),
        ("age == '3", "has a quotation mark ' without its partner"),
        ("`net income < 3", "has a backtick ` without its partner"),
        ("age 3", "cannot be read; write comparisons of columns with values, joined by 'and'"),
        ("age is 3", "cannot be read; write comparisons of columns with values, joined by 'and'"),
        ("age", "the query 'age' is not a condition"),
        ("age > @x", "cannot use Python variables"),
        ("age.to_csv('stolen.csv')", "a query cannot call .to_csv; it may call abs, between"),
        ("age.__class__ == 3", "a query cannot call .__class__"),
        (" ", "the query is empty"),
    ],
)
def test_a_wrong_query_is_one_sentence(tabular, query, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        tabular.revoke(query=query)
    assert "\n" not in str(caught.value) and len(tabular.pending) == 0


def test_a_query_stands_alone(tabular):
    with pytest.raises(ValueError, match="a query and another choice were both given"):
        tabular.revoke([1], query="age > 3")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("3, 141; 592", [3, 141, 592]),
        ("[3, 4,\n5]", [3, 4, 5]),
        ("3 4\n5 6\n", [3, 4, 5, 6]),
        ("customer id\n3\n4.0\n\n", [3, 4]),
        ("\ufeffName;ID\r\n'a b';3\r\n\r\n'c';5\r\n", [3, 5]),
        ('id,why\n7,"asked, twice"\n12,', [7, 12]),
        ("a\tids\nx\t1\ny\t", [1]),
    ],
)
def test_ids_in_a_text(text, ids):
    assert ids_in(text) == ids


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("", None, "there are no ids in the text"),
        (
            "3\nx7\n-4",
            None,
            r"2 entries are not ids: 'x7' \(line 2\), '-4' \(line 3\); ids are whole",
        ),
        ("3, x", None, r"1 entry is not an id: 'x' \(line 1\)"),
        (
            "a,b\n1,2",
            None,
            "the columns are a, b, and none is named id; name the column that holds the ids",
        ),
        ("a,b\n1,2", "c", "and none is named 'c'"),
    ],
)
def test_wrong_entries_are_named(text, column, sentence):
    with pytest.raises(ValueError, match=sentence):
        ids_in(text, column)


@pytest.mark.parametrize(("column", "shown"), [("who is it", "who is it"), ("shard", "shard_")])
def test_groups_are_a_column_of_any_name(column, shown):
    frame = people().drop(columns="coat").assign(**{column: [f"p{row // 4}" for row in range(60)]})
    data = uk.from_frame(frame, "left", scale={"age": 10}, groups=column)
    session = uk.Session(data, model="logistic", num_shards=2, num_slices=2, epochs=1)
    assert list(example_table(session))[5] == shown
    for part in data.parts.values():
        number = int(part.groups[0])
        session.withdraw()
        session.revoke(query=f"`{shown}` == 'p{number}'")
        assert session.pending.tolist() == list(range(4 * number, 4 * number + 4))
    session.withdraw()
    session.revoke(query=f"`{shown}`.isin(['p3', 'p4']) and age > 4")
    ages = frame["age"].iloc[12:20] > 40
    assert session.pending.tolist() == ages.index[ages].tolist()
    session.withdraw()
    session.revoke(query=f"`{shown}` == 'p{int(data.test.groups[0])}' and `slice` > 0")
    assert len(session.pending) == 0  # probe and test examples are in no slice
