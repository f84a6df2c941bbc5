"""The costs of forgetting groups are those of the plans that forget them."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from cases import CASES
from unlearnkit import Session, from_arrays
from unlearnkit.unlearning import expected_workload
from unlearnkit.unlearning.expected_workload import expected_visits_of


def of_groups(sizes: list[int], **options: Any) -> Session:
    """A session on groups of these sizes, whose parts are given so that all are trained on."""
    count = sum(sizes)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(count + 8, 3)).astype("f4"), np.arange(count + 8) % 2
    held = {"test": np.arange(count, count + 4), "probe": np.arange(count + 4, count + 8)}
    parts = {part: (features[rows], labels[rows]) for part, rows in held.items()}
    data = from_arrays(
        features[:count],
        labels[:count],
        **parts,
        groups={"train": groups, **{part: 1000 + rows for part, rows in held.items()}},
    )
    given = {"model": "logistic", "epochs": 6, "num_shards": 3, "num_slices": 2, **options}
    return Session(data, **given)


SIZES = [25, 9, 7, 6, 6, 5, 4, 3, 3, 2, 1, 1]


def costs_by_workload(session: Session, k: int) -> tuple[list[int], list[float]]:
    """Visits and shares of forgetting every choice of k groups, as their plans say."""
    plan, visits, shares = session.plan, [], []
    known = session.dataset.train.groups[plan.retained]
    for chosen in combinations(np.unique(known).tolist(), k):
        ids = session.dataset.train.ids[np.isin(session.dataset.train.groups, chosen)]
        after = plan.without(ids)
        missing = after.missing(plan.keys, after.shards_of(ids))
        visits.append(sum(stage.visits for stage in missing))
        shares.append(visits[-1] / after.total_visits)
    return visits, shares


def test_the_costs_of_groups_are_those_of_their_plans() -> None:
    session = of_groups(SIZES)
    session.train()
    costs = session.group_costs()
    visits, shares = costs_by_workload(session, 1)
    names = session.dataset.grouping.names[: len(SIZES)]  # those in the training part
    assert costs.visits.tolist() == visits and costs.names == names
    assert costs.share == pytest.approx(shares) and costs.mean_share == pytest.approx(
        np.mean(shares)
    )
    assert costs.rows.tolist() == [SIZES[name] for name in names]
    assert costs.worst == names[int(np.argmax(shares))]
    session.revoke(session.dataset.ids_of_groups([1, 4]))
    session.unlearn(1)
    later = session.group_costs()
    assert later.visits.tolist() == costs_by_workload(session, 1)[0]
    assert later.names == tuple(name for name in names if name not in (1, 4))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_expected_cost_of_several_groups_is_the_mean_of_all_choices(k: int) -> None:
    session = of_groups(SIZES)
    visits, _ = costs_by_workload(session, k)
    assert session.group_costs().expected(k) == pytest.approx(np.mean(visits))


def test_the_costs_of_groups_say_which_ones_are_divided() -> None:
    costs = of_groups([30, *[4] * 9]).group_costs()
    assert costs.note == ""
    costs = of_groups([60, *[4] * 9]).group_costs()
    assert sorted(costs.shards) == [*[1] * 9, 2]
    assert costs.note.startswith("A shard holds 32 rows on average, so larger groups are divided")
    assert "0 (60 rows, 2 shards, " in costs.note and costs.note in costs._repr_html_()
    assert costs.to_frame()["group"].tolist()[0] == costs.worst
    with pytest.raises(ValueError, match=r"num_groups is 10, but 10 groups have rows .* 0 to 9"):
        costs.share_of(10)
    with pytest.raises(ValueError, match="digits has no groups"):
        Session("digits", model="logistic", epochs=1).group_costs()


def test_an_average_person_costs_what_one_slice_of_one_shard_costs() -> None:
    """500 persons of 20 rows, in 20 shards of 3 slices."""
    costs = of_groups([20] * 500, num_shards=20, num_slices=3, epochs=12).group_costs()
    rows = of_groups([1] * 1000, num_shards=20, num_slices=3, epochs=12).group_costs()
    assert costs.mean_share <= 0.05
    assert costs.mean_share <= 1.2 * rows.mean_share


def test_a_request_of_whole_groups_is_compared_with_as_many_groups() -> None:
    session = of_groups(SIZES)
    data, plan = session.dataset, session.plan
    ids = data.ids_of_groups([0, 3])
    assert expected_workload.whole_groups(plan, ids) == 2
    assert expected_workload.expected_like(plan, ids) == session.group_costs().expected(2)
    assert expected_workload.whole_groups(plan, ids[:-1]) is None
    sizes, epochs = plan.partition.sizes(plan.retained), plan.spec.stage_epochs()
    by_rows = expected_visits_of(sizes, epochs, len(ids) - 1)
    assert expected_workload.expected_like(plan, ids[:-1]) == by_rows
    assert expected_workload.whole_groups(plan, data.test.ids) is None
    assert expected_workload.whole_groups(plan.without(ids[:-1]), ids) == 1
    plain = CASES["logistic"].session().plan
    assert expected_workload.whole_groups(plain, plain.partition.ids[:2]) is None
