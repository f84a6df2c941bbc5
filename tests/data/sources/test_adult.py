"""Adult, as OpenML serves it, encoded by its authors' lists."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.sources import adult

PERSON = {
    **{"age": 39, "workclass": "State-gov", "fnlwgt": 77516, "education": "Bachelors"},
    **{"education-num": 13, "marital-status": "Never-married", "occupation": "Adm-clerical"},
    **{"relationship": "Not-in-family", "race": "White", "sex": "Male", "capital-gain": 2174},
    **{"capital-loss": 0, "hours-per-week": 40, "native-country": "United-States"},
    "income": "<=50K",
}


def people(n):
    """Rows of Adult, of which every fourth earns more; row 5 has values missing."""
    rows = [{**PERSON, "age": 17 + k, "income": "<=50K" if k % 4 else ">50K"} for k in range(n)]
    rows[5] |= {"workclass": "?", "occupation": "?", "native-country": "?"}
    return rows


def served(rows):
    """Rows as OpenML serves them: text in categories, and NaN for what is missing."""
    frame = pd.DataFrame(rows).rename(columns={"income": "class"})
    texts = frame.select_dtypes(exclude="number").columns
    frame = frame.replace("?", np.nan).astype(dict.fromkeys(texts, "category"))
    return lambda **kwargs: SimpleNamespace(frame=frame)


@pytest.fixture
def census(monkeypatch):
    """Training and test rows of a small Adult."""
    monkeypatch.setattr(adult, "ROWS", (40, 24))
    monkeypatch.setattr(adult, "ABOVE", (10, 6))
    return people(40), people(24)


@pytest.mark.parametrize("first", ["train", "test"])
def test_adult_is_encoded_by_the_authors_lists(online, census, first):
    train, test = census
    online("fetch_openml", served(train + test if first == "train" else test + train))
    data = uk.load("adult")
    assert (len(data.train), len(data.probe), len(data.test)) == (40, 4, 20)
    assert data.train.ids.tolist() == list(range(40))
    assert data.feature_shape == (112,) and data.class_names == ("<=50K", ">50K")
    assert data.examples([0, 1, 40, 41])[1].tolist() == [1, 0, 1, 0]

    inputs, names = data.examples([3, 5])[0], list(data.feature_names)
    of = {name: inputs[:, place].tolist() for place, name in enumerate(names)}
    assert of["age"] == pytest.approx([(20 - 53.5) / 36.5, (22 - 53.5) / 36.5])
    assert of["capital-gain"] == pytest.approx([0.2174, 0.2174])
    assert of["workclass=State-gov"] == [1, 0] and of["workclass=other"] == [0, 1]
    assert of["occupation=Adm-clerical"] == [1, 0] and of["native-country=other"] == [0, 1]
    assert of["sex=Male"] == [1, 1] and not any("fnlwgt" in name for name in names)
    assert inputs[:, 5:].sum(1).tolist() == [8, 8]  # one place in each of eight columns

    few = uk.load("adult", num_examples=8)
    assert torch.equal(data.examples(few.train.ids)[0], few.train.inputs())


def test_another_adult_is_noticed(online, census):
    train, test = census
    online("fetch_openml", served([*train, *test[:-1], {**PERSON, "workclass": "Robot"}]))
    with pytest.raises(ValueError, match="workclass has the value 'Robot', expected one of"):
        uk.load("adult")
    online("fetch_openml", served(train + train))
    with pytest.raises(ValueError, match="80 rows, 20 of them above 50K, are not the two"):
        uk.load("adult")
    frame = served(train + test)().frame.drop(columns="sex")
    online("fetch_openml", lambda **kwargs: SimpleNamespace(frame=frame))
    with pytest.raises(FileNotFoundError, match=r"OpenML's answer is unusable: .*sex"):
        uk.load("adult")


def test_adults_lists_are_whole():
    sizes = {column: len(values) for column, values in adult.ADULT_VALUES.items()}
    assert list(sizes.values()) == [8, 16, 7, 14, 6, 5, 2, 41, 2]
    assert all(len(set(values)) == len(values) for values in adult.ADULT_VALUES.values())
