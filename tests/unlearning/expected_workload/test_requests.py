"""The costs of requests beside expected ones."""

import numpy as np
import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.unlearning import expected_workload


def test_the_curve_is_the_mean_of_requests_that_are_drawn():
    data = uk.load("digits", num_examples=400)
    session = uk.Session(data, model="logistic", num_shards=4, num_slices=2, epochs=3)
    session.train()
    curve = expected_workload.expected_curve(session.plan, session.workload())
    assert curve["revoked"].min() == 1 and curve["revoked"].max() == 200
    for count in (1, 6, 15):
        found = []
        for seed in range(60):
            session.withdraw()
            session.revoke(count=count, seed=seed)
            found.append((session.workload().visits, session.workload().share))
        (row,) = curve[curve["revoked"] == count].to_dict("records")
        for values, name in zip(np.array(found).T, ("visits", "share"), strict=True):
            error = max(values.std() / np.sqrt(60), 0.005 * values.mean())
            assert abs(values.mean() - row[name]) < 4 * error
    assert np.allclose(curve["seconds"] / curve["visits"], curve["seconds"][0] / curve["visits"][0])


def test_the_expected_share_of_examples_is_that_of_the_formula() -> None:
    session = CASES["uneven"].session()
    plan = session.plan
    sizes, epochs = plan.partition.sizes(plan.retained), plan.spec.stage_epochs()
    for k in (1, 5, 33):
        expected = expected_workload.expected_visits_of(sizes, epochs, k)
        assert session.expected_share(k) == pytest.approx(
            expected / plan.total_visits * 34 / (34 - k)
        )
    with pytest.raises(ValueError, match="num_requests is 34, but 34 of 34 examples may leave"):
        session.expected_share(34)
