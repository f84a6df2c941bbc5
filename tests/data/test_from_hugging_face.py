"""Datasets of Hugging Face, read as they are."""

import datasets
import numpy as np
import pandas as pd
import pytest

from raw_data import picture, pixels
from unlearnkit import from_hugging_face
from unlearnkit.data.datasets import as_dataset


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Value:
    pass


class StandIn:
    """What is used of `datasets.Dataset`, for places without it."""

    def __init__(self, columns, names=None, kind=None):
        self.columns, self.format = columns, {"type": kind}
        self.column_names = list(columns)
        self.features = {
            column: ClassLabel(names) if names and column == "label" else Value()
            for column in columns
        }

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def with_format(self, type=None, columns=None):
        chosen = {name: self.columns[name] for name in columns or self.columns}
        return StandIn(chosen, kind=type)

    def __getitem__(self, key):
        return {name: values[key] for name, values in self.columns.items()}


@pytest.fixture(params=["stand-in", "datasets"])
def make(request):
    """Makes a table of columns, and of the names of its column "label" where there are any."""
    if request.param == "stand-in":
        return StandIn

    def real(columns, names=None):
        table = datasets.Dataset.from_dict(columns)
        return table.cast_column("label", datasets.ClassLabel(names=names)) if names else table

    return real


PEOPLE = {
    "age": [float(row) for row in range(30)],
    "coat": [["red", "grey", None][row % 3] for row in range(30)],
    "kind": ["cat", "dog"] * 15,
}


def test_columns_of_values_are_a_frame(make):
    options = {"categories": {"coat": ["red"]}, "scale": {"age": 10}}
    data = as_dataset((make(PEOPLE), "kind"), **options)
    ours = as_dataset((pd.DataFrame(PEOPLE), "kind"), **options)
    assert data.fingerprint == ours.fingerprint and data.class_names == ("cat", "dog")


def test_images_and_their_class_labels(make):
    def part(begin, end):
        images = [picture(pixels(row)) for row in range(begin, end)]
        return make({"image": images, "label": [0, 1] * ((end - begin) // 2)}, ["cat", "dog"])

    parts = {"train": part(0, 20), "test": part(20, 24), "validation": part(24, 26)}
    data = as_dataset(parts)
    assert data.class_names == ("cat", "dog") and data.train.offset == 127.5
    assert data.test.ids.tolist() == [20, 21, 22, 23] and data.probe.ids.tolist() == [24, 25]
    assert data.train.features.shape == (20, 1, 9, 8)
    for ids, rows in (([3], [3]), ([21, 25], [21, 25])):
        expected = np.stack([pixels(row) for row in rows])[:, None] / 127.5 - 1
        assert np.allclose(data.examples(ids)[0], expected, atol=1e-6)


def test_parts_with_other_class_labels_are_matched_by_name(make):
    train = make({"age": PEOPLE["age"], "label": [0, 1, 2] * 10}, ["ant", "bee", "cat"])
    test = make({"age": [1.0, 2.0], "label": [0, 1]}, ["cat", "ant"])
    data = as_dataset({"train": train, "test": test})
    assert data.class_names == ("ant", "bee", "cat")
    assert data.test.labels.tolist() == [2, 0]
    vectors = make({"v": [[1.0, 2.0]] * 30, "label": [0, 1, 2] * 10}, ["ant", "bee", "cat"])
    test = make({"v": [[1.0, 3.0]] * 2, "label": [0, 1]}, ["cat", "ant"])
    assert as_dataset({"train": vectors, "test": test}).test.labels.tolist() == [2, 0]


def test_other_columns_may_hold_images(make):
    images = [picture(pixels(row)) for row in range(30)]
    data = from_hugging_face(make({**PEOPLE, "image": images}), "kind", features=["age"])
    assert data.feature_shape == (1,)


def test_a_column_of_lists_is_an_array(make):
    vectors = np.random.default_rng(0).normal(size=(30, 2, 3)).tolist()
    table = make({"vector": vectors, "kind": PEOPLE["kind"]})
    data = from_hugging_face(table, "kind")
    assert data.feature_shape == (2, 3) and data.train.offset == 0
    assert np.allclose(data.examples([11])[0], vectors[11]) and data.examples([11])[1] == 1


def test_the_column_called_label_is_the_target(make):
    table = make({"age": PEOPLE["age"], "label": [0, 1, 2] * 10})
    assert from_hugging_face(table).num_classes == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda make: make(PEOPLE),
            KeyError,
            r"none of the columns .* as in the pair \(data, 'column",
        ),
        (lambda make: (make(PEOPLE), "hat"), KeyError, r"there are no columns \['hat'\]"),
        (lambda make: (make(PEOPLE), "kind"), TypeError, "'coat': .*categories="),
        (lambda make: {"test": make(PEOPLE)}, KeyError, r"no part 'train' among \['test'\]"),
        (
            lambda make: (make({**PEOPLE, "v": [[0.0, 1.0]] * 30}), "kind"),
            TypeError,
            r"because \['v'\] hold images or arrays; give .* features=\['v'\]",
        ),
        (
            lambda make: (make({"v": [[0.0]] * 29 + [[0.0, 1.0]], "kind": PEOPLE["kind"]}), "kind"),
            ValueError,
            "item 29 has shape",
        ),
    ],
)
def test_bad_tables(make, call, error, message):
    with pytest.raises(error, match=message):
        as_dataset(call(make))


def test_what_only_the_real_ones_have():
    table = datasets.Dataset.from_dict(PEOPLE)
    with pytest.raises(TypeError, match=r"has no length.* streaming=True"):
        from_hugging_face(table.to_iterable_dataset(), "kind")
    with pytest.raises(ValueError, match=r"with_transform.*data\.map"):
        from_hugging_face(table.with_transform(lambda batch: batch), "kind")
    formatted = table.with_format("torch")
    options = {"hash_buckets": 4}
    data = from_hugging_face(formatted, "kind", **options)
    assert data.fingerprint == from_hugging_face(table, "kind", **options).fingerprint


NAMES = ["ant", "bee", "cat"]


def numbered(make, rows=30):
    return make(
        {"x": [float(row) for row in range(rows)], "label": [row % 3 for row in range(rows)]}, NAMES
    )


def test_names_of_classes_in_one_part_meet_the_numbers_of_another(make):
    words = make({"x": [0.0] * 4, "label": ["cat", "ant", "bee", "cat"]})
    data = from_hugging_face(numbered(make), test=words)
    assert data.class_names == tuple(NAMES) and data.test.labels.tolist() == [2, 0, 1, 2]
    words = make({"x": [0.0] * 30, "label": ["cat", "bee", "ant"] * 10})
    data = from_hugging_face(words, "label", test=numbered(make, 6))
    assert data.class_names == tuple(NAMES) and data.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    unknown = make({"x": [0.0] * 2, "label": ["cat", "dog"]})
    with pytest.raises(ValueError, match="test: column 'label' holds 'dog', which is none of the"):
        from_hugging_face(numbered(make), test=unknown)


def test_a_feature_of_classes_is_matched_by_its_names():
    def part(names):
        columns = {"kind": [0, 1, 2] * 10, "y": [0, 1] * 15}
        return datasets.Dataset.from_dict(columns).cast_column(
            "kind", datasets.ClassLabel(names=names)
        )

    data = from_hugging_face(part(NAMES), "y", test=part(["cat", "bee", "ant"]))
    assert data.test.features[:3].tolist() == [[2], [1], [0]]


@pytest.mark.parametrize("missing", [0, 5])
def test_rows_without_an_array_are_named(make, missing):
    rows = [[1.0, 2.0] for _ in range(30)]
    rows[missing] = None
    with pytest.raises(
        ValueError, match=rf"data: row {missing} has no input \(None\); leave it out"
    ):
        from_hugging_face(make({"x": rows, "label": [0, 1] * 15}))


def test_numbers_that_are_missing_in_arrays_are_missing_values(make):
    rows = [[1.0, 2.0] for _ in range(30)]
    rows[4] = [None, 2.0]
    with pytest.raises(ValueError, match=r"1 of 30 rows hold NaN .*\(rows 4\)"):
        from_hugging_face(make({"x": rows, "label": [0, 1] * 15}))


def test_a_dict_of_parts_is_no_part(make):
    with pytest.raises(TypeError, match="test: a dict has parts; give one, as data"):
        from_hugging_face(numbered(make), test={"test": numbered(make)})


def test_columns_of_class_labels_are_encoded_by_their_names():
    """The parts number the names otherwise; a vocabulary of numbers stays one of numbers."""
    parts = []
    for names in (["ant", "bee"], ["bee", "ant"]):
        kinds = datasets.Features(
            {"kind": datasets.ClassLabel(names=names), "label": datasets.Value("int64")}
        )
        columns = {"kind": [0, 1] * 20, "label": [0, 1] * 20}
        parts.append(datasets.Dataset.from_dict(columns, features=kinds))
    options = {"test": parts[1], "target": "label"}
    data = from_hugging_face(parts[0], categories={"kind": ["bee", "ant"]}, **options)
    assert data.examples([0, 1, 40])[0].tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    data = from_hugging_face(parts[0], categories={"kind": [1, 0]}, **options)
    assert data.examples([0, 1, 40])[0].tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


def test_groups_are_a_column_of_their_own(make):
    persons = [row // 2 for row in range(30)]
    data = from_hugging_face(
        make({**PEOPLE, "person": persons}), "kind", groups="person", features=["age"]
    )
    assert data.feature_names == ("age",) and data.ids_of_groups([3]).tolist() == [6, 7]
    columns = {**PEOPLE, "person": persons}
    frame = as_dataset(
        (pd.DataFrame(columns), "kind"), groups="person", categories={"coat": ["red"]}
    )
    data = from_hugging_face(make(columns), "kind", groups="person", categories={"coat": ["red"]})
    assert data.fingerprint == frame.fingerprint and data.grouping.column == "person"
    with pytest.raises(KeyError, match=r"no columns \['who'\]"):
        from_hugging_face(make(PEOPLE), "kind", groups="who")


def test_images_have_groups_beside_them(make):
    columns = {
        "image": [picture(pixels(row)) for row in range(20)],
        "person": [f"p{row // 2}" for row in range(20)],
        "label": [row % 2 for row in range(20)],
    }
    data = from_hugging_face(make(columns, names=["a", "b"]), groups="person")
    assert data.feature_shape == (1, 9, 8) and data.ids_of_groups(["p3"]).tolist() == [6, 7]
