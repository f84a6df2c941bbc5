"""Texts come in from lists, tables and files as they are, and are never made numbers."""

import gzip
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.datasets import text_options
from unlearnkit.data.reading.texts import Texts, texts_of

WORDS = ["a red cat", "", "two dogs", "NA", "007", "naïve 犬", "true", "a\nline"]
ROWS, LABELS = WORDS * 5, [0, 1] * 20


def test_texts_come_back_as_they_were_in_any_order():
    texts = Texts.of(ROWS)
    assert texts.tolist() == ROWS and len(texts) == texts.shape[0] == 40
    assert texts[torch.tensor([6, 2])].tolist() == ["true", "two dogs"]
    assert texts[np.array([5])].joined([texts[:2]]).tolist() == ["naïve 犬", "a red cat", ""]
    gone = np.arange(40) == 2
    assert "two dogs" not in texts[:3].overwritten(gone[:3]).tolist()
    assert not texts.is_floating_point() and texts.contiguous() is texts


def the_texts(dataset):
    ids = np.sort(np.concatenate([part.ids for part in dataset.parts.values()]))
    return dataset.raw(ids)


def test_lists_tables_and_files_give_the_same_data(tmp_path):
    frame = pd.DataFrame({"text": ROWS, "label": LABELS, "person": np.arange(40) % 7})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with gzip.open(tmp_path / "rows.csv.gz", "wt", newline="") as file:
        frame.to_csv(file, index=False)
    options = {"features": ["text"], "dtype": str}
    found = [
        uk.from_arrays(ROWS, LABELS, dtype=str),
        uk.from_arrays(np.array(ROWS, object), LABELS, dtype="str"),
        uk.from_arrays(pd.Series(ROWS), LABELS, dtype=str),
        uk.from_frame(frame, "label", **options),
        uk.from_file(tmp_path / "rows.csv", "label", **options),
        uk.from_file(tmp_path / "rows.csv.gz", "label", **options),
    ]
    assert all(the_texts(data) == ROWS for data in found)
    assert len({data.fingerprint for data in found}) == 1
    grouped = uk.from_frame(frame, "label", groups="person", **options)
    assert the_texts(grouped) == ROWS and grouped.groups_of([0, 7]).tolist() == [0]
    assert found[0].feature_shape == () and found[3].feature_names == ()


def test_parts_that_are_given_are_kept_apart():
    data = uk.from_arrays(ROWS, LABELS, test=(["x", "y"], [1, 0]), dtype=str)
    assert data.raw(data.test.ids) == ["x", "y"]
    assert data.raw([1, 41, 0]) == ["", "y", "a red cat"]
    assert data.without_test([40]).raw([41]) == ["y"]


def test_the_digest_of_a_row_follows_text_and_label():
    data = uk.from_arrays(["a", "b", "a", "a", "ab"] * 8, [0, 0, 0, 1, 1] * 8, dtype=str)
    whole = {i: bytes(p.digests[at]) for p in data.parts.values() for at, i in enumerate(p.ids)}
    assert whole[0] == whole[2] and len({whole[i] for i in range(5)}) == 4


def test_what_is_no_text_is_refused_with_its_rows():
    with pytest.raises(ValueError, match=r"2 of 4 rows have no text \(rows 1, 3\)"):
        texts_of("frame", ["a", None, "b", float("nan")])
    with pytest.raises(TypeError, match="a row holds 3;"):
        texts_of("frame", ["a", 3])
    with pytest.raises(TypeError, match="the features are a str"):
        texts_of("frame", "abc")
    with pytest.raises(TypeError, match="there are no rows"):
        texts_of("frame", [])
    with pytest.raises(ValueError, match="3 texts and labels of shape"):
        uk.from_arrays(["a", "b", "c"], [0, 1], dtype=str)
    frame = pd.DataFrame({"a": ["x"] * 8, "b": ["y"] * 8, "label": [0, 1] * 4})
    with pytest.raises(ValueError, match=r"dtype=str keeps the texts of one column.*a, b"):
        uk.from_frame(frame, "label", dtype=str)
    with pytest.raises(ValueError, match="dtype=str keeps texts as they are"):
        uk.from_frame(frame[["a", "label"]], "label", dtype=str, hash_buckets=8)
    with pytest.raises(ValueError, match=r"dtype='words'; give torch\.int64.*str for texts"):
        uk.from_arrays(ROWS, LABELS, dtype="words")


def test_models_that_take_numbers_refuse_texts():
    data = uk.from_arrays(ROWS, LABELS, dtype=str)
    with pytest.raises(TypeError, match=r"are texts, which 'logistic' does not take.*uk\.Frozen"):
        uk.Session(data, model="logistic")
    with pytest.raises(TypeError, match=r"texts, which models do not take"):
        data.test.inputs()


def test_a_session_on_a_frozen_backbone_keeps_texts_by_itself():
    frame = pd.DataFrame({"text": ROWS, "label": LABELS})
    for given in ((ROWS, LABELS), (frame, "label"), (np.array(ROWS), LABELS)):
        assert text_options(given) == {"dtype": str}
    for given in ((frame.assign(more=1), "label"), ([[1.0]], [0]), ("rows.csv", "label"), frame):
        assert text_options(given) == {}
    one = uk.Session(
        (frame, "label"), model=uk.Frozen(letters, batch_size=4), num_shards=2, epochs=2
    )
    assert one.dataset.raw([2]) == ["two dogs"]


def letters(texts):
    return torch.tensor([[len(t), t.count("a"), t.count(" ")] for t in texts]) / 10


class Table(SimpleNamespace):
    """What is used of a Hugging Face dataset."""

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, key):
        rows = {n: c[key] for n, c in zip(self.column_names, self.columns, strict=True)}
        return rows

    def with_format(self, kind, columns=None):
        held = dict(zip(self.column_names, self.columns, strict=True))
        names = self.column_names if columns is None else columns
        return Table(column_names=names, columns=[held[n] for n in names], features=self.features)


def test_hugging_face_gives_texts_and_token_ids_as_they_are():
    tokens = [[2**40 + i, i % 5, 0] for i in range(40)]
    names = ["text", "tokens", "label"]
    kinds = dict.fromkeys(names, SimpleNamespace())
    table = Table(column_names=names, columns=[ROWS, tokens, LABELS], features=kinds)
    data = uk.from_hugging_face(table, "label", features=["text"], dtype=str)
    assert the_texts(data) == ROWS
    data = uk.from_hugging_face(table, "label", features=["tokens"], dtype=torch.int64)
    assert data.raw([3]).tolist() == [tokens[3]] and data.train.features.dtype == torch.int64
