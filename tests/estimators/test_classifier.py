"""What a classifier has beside the other estimator: classes and their weights."""

import numpy as np
import pytest
from sklearn.base import clone

import unlearnkit
from estimator_cases import OURS, bits, problem
from unlearnkit.estimators import UnlearnableClassifier


def test_classes_stay_when_their_last_row_goes() -> None:
    X, y = problem()
    y[7] = "yak"
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y).unlearn(7)
    assert classifier.classes_.tolist() == ["ant", "bee", "cow", "yak"]
    assert classifier.predict_proba(X).shape == (61, 4)


def test_weights_of_classes_are_constants() -> None:
    X, y = problem()
    weighted = UnlearnableClassifier("logistic", class_weight={"bee": 4.0}, **OURS).fit(X, y)
    loss = unlearnkit.WeightedCrossEntropy((1, 4, 1))
    assert weighted.plan_.spec.loss == loss
    assert bits(weighted) == bits(UnlearnableClassifier("logistic", loss=loss, **OURS).fit(X, y))
    ours = clone(weighted)
    few = np.repeat(["ant", "bee"], [45, 16])
    with pytest.raises(ValueError, match=r"class_weight=\{'ant': 0\.678, 'bee': 1\.91\}"):
        ours.set_params(class_weight="balanced").fit(X, few)
    with pytest.raises(ValueError, match="names 'yak', but y holds the classes ant, bee, cow"):
        ours.set_params(class_weight={"yak": 2}).fit(X, y)
    with pytest.raises(TypeError, match="give a mapping from classes to weights"):
        ours.set_params(class_weight=[1, 2, 3]).fit(X, y)
    with pytest.raises(ValueError, match="weights the cross-entropy, but loss is"):
        ours.set_params(class_weight={"bee": 2}, loss="squared-error").fit(X, y)
