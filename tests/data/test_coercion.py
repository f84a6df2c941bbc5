"""What callers pass is coerced to tensors, or refused with one sentence."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from raw_data import problem
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.frames import from_frame


def test_classes_may_be_given_or_counted():
    features, labels = problem()
    assert from_arrays(features, labels).class_names == ("0", "1", "2")
    assert from_arrays(features, labels, num_classes=5).num_classes == 5
    assert from_arrays(features, labels, class_names=list("abcd")).num_classes == 4
    with pytest.raises(ValueError, match="2 class names for num_classes=3"):
        from_arrays(features, labels, class_names=["a", "b"], num_classes=3)
    with pytest.raises(ValueError, match="contains a name twice"):
        from_arrays(features, labels, class_names=["a", "b", "a"])
    with pytest.raises(
        ValueError, match="the largest label is 10000000000, which gives more classes"
    ):
        from_arrays(features, labels * 5_000_000_000)


def broken(row, value):
    features, labels = problem()
    features[row, 1] = value
    return features, labels


def labelled(row, value, kind=np.int64):
    features, labels = problem()
    labels = labels.astype(kind)
    labels[row] = value
    return features, labels


FEATURES, LABELS = problem()


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (broken([3, 5], np.nan), {}, r"2 of 40 rows hold NaN or infinite .*\(rows 3, 5\)"),
        (broken(7, -np.inf), {}, r"1 of 40 rows hold NaN or infinite .*\(rows 7\)"),
        (broken(7, 1e300), {}, r"float32 cannot hold \(rows 7\)"),
        (labelled(4, -1), {}, r"1 labels are outside 0..2 \(rows 4, such as -1\)"),
        (labelled(4, 3), {"num_classes": 3}, r"outside 0..2 \(rows 4, such as 3\)"),
        (
            labelled(4, 0.5, float),
            {"num_classes": 9},
            r"\(rows 4, such as 0.5\).*task='regression'",
        ),
        (labelled(4, np.nan, float), {}, r"1 of \d+ rows have a label that is NaN.*\(rows 4\)"),
        ((FEATURES, LABELS[:-1]), {}, "40 rows of features and 39 labels"),
        ((FEATURES[:0], LABELS[:0]), {}, "no examples"),
        (([], []), {}, "no examples"),
        ((FEATURES, LABELS * 0), {}, "fewer than two classes"),
        ((FEATURES, LABELS), {"num_classes": 1}, "fewer than two classes"),
        ((FEATURES[:, 0], LABELS), {}, r"shape \(40,\) have no feature axis"),
        ((np.float64(3), LABELS), {}, r"shape \(\) have no feature axis"),
        ((FEATURES[:, :0], LABELS), {}, r"shape \(40, 0\) have no feature axis"),
        ((FEATURES, np.eye(3)[LABELS]), {}, r"classes or targets.*one-hot rows labels.argmax\(1\)"),
        ((FEATURES[:4], LABELS[:4]), {}, "'test': 1, 'probe': 0} leave a part empty"),
        ((FEATURES, LABELS), {"test_share": 1.0}, "test_share=1.0 is not between 0 and 1"),
        ((FEATURES, LABELS), {"probe_share": 0}, "probe_share=0 is not between 0 and 1"),
        ((FEATURES, LABELS), {"test_share": 0.7, "probe_share": 0.4}, "leave a part empty"),
        ((FEATURES, LABELS), {"scale": 0}, "scale=0; give a finite constant"),
        ((FEATURES, LABELS), {"offset": float("nan")}, "offset=nan; give a finite constant"),
        ((FEATURES, LABELS), {"test": problem(0)}, "test: no examples"),
        ((FEATURES, LABELS), {"test": (FEATURES[:, :1], LABELS)}, r"test has rows of shape \(1,\)"),
        ((FEATURES, LABELS), {"probe": broken(0, np.nan)}, "probe: 1 of 40 rows hold NaN"),
        (([[1, 2], [3]], [0, 1]), {}, "rows have different lengths"),
    ],
)
def test_bad_values_in_arrays(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(*arrays, **options)


@pytest.mark.parametrize("labels", [np.arange(60) % 3 + 1, 10 * (np.arange(60) % 3 + 1)])
def test_class_numbers_with_gaps_are_announced(labels):
    features = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.warns(UserWarning, match=r"of which no row has 0.*empty classes.*num_classes="):
        data = from_arrays(features, labels)
    # Declared classes may be empty, and the data set is the same as without the warning.
    declared = from_arrays(features, labels, num_classes=int(labels.max()) + 1)
    assert data.fingerprint == declared.fingerprint


@pytest.mark.parametrize("labels", [np.arange(4000) // 2, np.arange(20_000) % 1500])
def test_whole_numbers_with_many_values_are_a_question(labels):
    features = np.ones((len(labels), 1)) * np.arange(len(labels))[:, None]
    with pytest.raises(ValueError, match=r"\d+ different values in \d+ rows.*task='regression'"):
        from_arrays(features, labels)
    assert from_arrays(features, labels, task="regression").is_regression
    assert from_arrays(features, labels, task="classification").num_classes == labels.max() + 1


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.float64])
def test_whole_numbers_that_float32_cannot_tell_apart_are_announced(kind):
    features = (FEATURES * 0 + np.arange(40)[:, None] + 1_700_000_000).astype(kind)
    with pytest.warns(UserWarning, match="column 0 of the features holds whole .*40 different"):
        from_arrays(features, LABELS)
    frame = pd.DataFrame(features, columns=["at", "to"]).assign(y=LABELS)
    with pytest.warns(UserWarning, match="frame: column 'at' holds whole numbers above 16,777,216"):
        from_frame(frame[["at", "y"]], "y")
    # A constant keeps the digits, and numbers that remain different are no matter.
    data = from_frame(frame, "y", offset={"at": 1_700_000_000, "to": 1_700_000_000})
    assert data.examples([5])[0].tolist() == [[5.0, 5.0]]
    from_arrays(FEATURES * 1e8, LABELS)


MASKED = np.ma.masked_array(FEATURES, mask=FEATURES == 3)


@pytest.mark.parametrize(
    "arrays",
    [
        (MASKED, LABELS),
        (list(MASKED), LABELS),
        (FEATURES, np.ma.masked_equal(LABELS, 1)),
    ],
)
def test_masked_entries_are_missing_values(arrays):
    with pytest.raises(ValueError, match=r"of 40 rows have masked entries \(rows \d+.*missing"):
        from_arrays(*arrays)


def test_a_mask_that_hides_nothing_is_no_matter():
    whole = from_arrays(np.ma.masked_array(FEATURES), np.ma.masked_array(LABELS))
    assert whole.fingerprint == from_arrays(FEATURES, LABELS).fingerprint


@pytest.mark.parametrize("kind", ["Int64", "Float64", "int64[pyarrow]", "double[pyarrow]"])
def test_nullable_columns_are_numbers(kind):
    frame = pd.DataFrame({"a": FEATURES[:, 0], "b": FEATURES[:, 1]})
    labels = pd.Series(LABELS)
    given = from_arrays(frame.astype(kind), labels.astype("int64[pyarrow]"))
    assert given.fingerprint == from_arrays(FEATURES, LABELS).fingerprint
    with pytest.raises(ValueError, match=r"1 of 40 rows hold NaN .*\(rows 3\)"):
        from_arrays(frame.astype(kind).mask(frame["a"] == 3), LABELS)


def test_sparse_matrices_and_single_labels_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"sparse float64 cannot be used; give .*\.toarray\(\)"):
        from_arrays(sparse.csr_matrix(FEATURES), LABELS)
    with pytest.raises(TypeError, match=r"sparse .*; give a dense tensor \(\.to_dense\(\)\)"):
        from_arrays(torch.from_numpy(FEATURES).to_sparse(), LABELS)
    with pytest.raises(ValueError, match="single value 3; give one label per row"):
        from_arrays(FEATURES, 3)
    with pytest.raises(TypeError, match=r"object \(such as 'much'\) cannot be used"):
        from_arrays(np.array([[1, "much"]] * 40, object), LABELS)


@pytest.mark.parametrize(
    ("arrays", "kind"),
    [
        ((FEATURES.astype(complex), LABELS), "complex128"),
        ((torch.from_numpy(FEATURES).to(torch.complex64), LABELS), "complex64"),
        ((FEATURES.astype(str), LABELS), "<U"),
        ((np.where(FEATURES > 1, "a", FEATURES.astype(object)), LABELS), "object"),
        ((FEATURES, LABELS.astype(str)), "<U"),
        ((torch.from_numpy(FEATURES).to_sparse(), LABELS), "float64"),
    ],
)
def test_bad_kinds_in_arrays(arrays, kind):
    with pytest.raises(TypeError, match=f"values of kind .*{kind}.* cannot be used"):
        from_arrays(*arrays)


def test_times_that_float32_cannot_tell_apart_are_announced():
    seconds = 1.7e9 + np.arange(400)[:, None] / 4  # fractions, within one step of float32
    labels = np.arange(400) % 2
    with pytest.warns(UserWarning, match="column 0 of the features holds numbers so close togeth"):
        from_arrays(seconds, labels)
    with pytest.warns(UserWarning, match="frame: column 'at' holds numbers so close together"):
        from_frame(pd.DataFrame({"at": seconds[:, 0], "y": labels}), "y")
    # A constant for the column keeps them apart.
    from_arrays(seconds, labels, offset=[1.7e9])


@pytest.mark.parametrize("kind", ["int64", "uint64", "Int64"])
def test_identifiers_beyond_float64_are_announced(kind):
    frame = pd.DataFrame({"id": 2**53 + np.arange(40), "y": LABELS}).astype({"id": kind})
    with pytest.warns(UserWarning, match="'id' holds whole numbers .*40 different ones become 1"):
        from_frame(frame, "y")
    # Subtracting in float64 comes too late for every other one of them.
    with pytest.warns(UserWarning, match="'id' holds whole numbers .*40 different ones become 2"):
        from_frame(frame, "y", offset={"id": 2**53})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS * 2 - 1, r"such as -1\); number the classes from 0 \(for labels -1 and 1"),
        (-1 - LABELS, "all labels are negative"),
        (
            LABELS.astype(np.uint64) + np.uint64(2**63),
            "labels reach .* beyond any number of classes",
        ),
        (LABELS * 1e30 + 1e30, "labels reach .* beyond any number of classes"),
    ],
)
def test_numbers_that_are_no_classes(labels, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(FEATURES, labels, task="classification")


def test_the_part_with_doubtful_labels_is_named():
    with pytest.raises(ValueError, match="labels of test are floats but all whole numbers"):
        from_arrays(FEATURES, LABELS, test=(FEATURES, LABELS * 1.0))


def test_labels_in_another_order_than_the_rows_are_announced():
    features = pd.DataFrame(FEATURES)
    labels = pd.Series(LABELS)
    with pytest.warns(UserWarning, match="index of the labels has the rows .* another order"):
        from_arrays(features, labels[::-1])
    from_arrays(features, labels.set_axis(labels.index + 7))


def test_columns_that_are_nearly_named_are_suggested():
    frame = pd.DataFrame({"a": FEATURES[:, 0], " Y": LABELS, 3: LABELS})
    with pytest.raises(KeyError, match=r"lacks .*; ' Y' may be meant"):
        from_frame(frame, "y")
    with pytest.raises(KeyError, match=r"lacks .*; 3 may be meant"):
        from_frame(frame, "3")


@pytest.mark.parametrize("start", [np.int64(2**62), np.uint64(2**64 - 60)])
@pytest.mark.parametrize("column", [None, "offset"])
def test_integers_that_float64_cannot_tell_apart_are_announced(start, column):
    """Their smallest and largest are the same number in float64."""
    ids = start + np.arange(60, dtype=start.dtype)
    options = {} if column is None else {"offset": {"id": float(start)}}
    frame = pd.DataFrame({"id": ids, "y": np.arange(60) % 2})
    with pytest.warns(UserWarning, match="cannot tell apart .60 different ones become 1"):
        from_frame(frame, "y", **options)
    with pytest.warns(UserWarning, match="cannot tell apart .60 different ones become 1"):
        from_arrays(frame[["id"]], frame["y"], **options)


@pytest.mark.parametrize("scale", ["3", None, object(), [1.0, "2"]])
def test_constants_of_targets_are_numbers(scale):
    features, _ = problem()
    with pytest.raises(TypeError, match=r"target_scale=.* one number for each target"):
        from_arrays(features, features + 0.5, target_scale=scale)


@pytest.mark.parametrize("scale", [np.float32(2), torch.tensor(2.0), np.array([2.0, 2.0])])
def test_constants_of_targets_may_be_arrays(scale):
    features, _ = problem()
    data = from_arrays(features, features + 0.5, target_scale=scale)
    assert data.target_scale == (2.0, 2.0)


def test_the_number_of_classes_is_whole():
    for number in (3.0, "3", True):
        with pytest.raises(TypeError, match=r"num_classes=.* give a whole number"):
            from_arrays(*problem(), num_classes=number)
    names = from_arrays(*problem(), class_names=np.array(["a", "b", "c"])).class_names
    assert [type(name) for name in names] == [str] * 3
