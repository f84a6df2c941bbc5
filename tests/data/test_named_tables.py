"""Tables by their names."""

import numpy as np
import pytest

import unlearnkit as uk


def test_breast_cancer_is_scikit_learns_and_unlearns_exactly():
    from sklearn.datasets import load_breast_cancer

    data, bunch = uk.load("breast-cancer"), load_breast_cancer()
    assert (len(data.train), len(data.probe), len(data.test)) == (419, 56, 94)
    inputs, labels = data.examples(np.arange(569))
    assert np.array_equal(labels, bunch.target)
    # One constant for each column, a power of ten.
    digits = np.log10(bunch.data.max(0) / inputs.numpy().max(0))
    assert np.allclose(digits, digits.round(), atol=1e-6)
    assert np.allclose(inputs.numpy() * 10 ** digits.round(), bunch.data, rtol=1e-6)
    assert data.fingerprint == uk.load("breast-cancer").fingerprint

    session = uk.Session("breast-cancer", model="logistic", seed=0)
    session.train()
    assert session.accuracy()["test"] > 0.8  # measured .88; the larger class is 63 %
    session.revoke(data.train.ids[:3])
    session.unlearn(max_share=1)
    assert session.compare().bit_identical
    with pytest.raises(ValueError, match="breast-cancer ships with scikit-learn; leave path="):
        uk.load("breast-cancer", path="here")


def test_diabetes_is_scaled_by_constants_and_by_nothing_of_other_rows() -> None:
    from sklearn.datasets import load_diabetes

    data = uk.load("diabetes")
    assert [len(part) for part in data.parts.values()] == [309, 44, 89]
    measured, progression = load_diabetes(return_X_y=True, scaled=False)
    inputs, targets = data.examples(np.arange(442))
    ages = 15 * inputs[:, data.feature_names.index("age")].double().numpy() + 50
    pairs = np.stack([ages, data.in_units(targets)[:, 0].numpy()]).round(3)
    raw = np.stack([measured[:, 0], progression])
    assert sorted(pairs.T.tolist()) == sorted(raw.T.tolist())
    few = uk.load("diabetes", num_examples=50)
    assert np.array_equal(few.train.digests, data.train.digests[:50])
