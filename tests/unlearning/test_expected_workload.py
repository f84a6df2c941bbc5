"""What is expected of random requests is what happens."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit import Session, TrainSpec, expected_visits, from_arrays
from unlearnkit.store import MemoryStore
from unlearnkit.training.partition import balanced_sizes
from unlearnkit.training.plan import make_plan
from unlearnkit.training.spec import EPOCH_RULES
from unlearnkit.training.train import train
from unlearnkit.unlearning import expected_workload
from unlearnkit.unlearning.expected_workload import expected_visits_of
from unlearnkit.unlearning.workload import estimate


def simulated_visits(spec: TrainSpec, count: int, revoked: int, rounds: int) -> np.ndarray:
    """W of random requests of this size, by counting stages."""
    rng = np.random.default_rng(0)
    members = np.arange(count)
    shards, slices = members % spec.num_shards, members // spec.num_shards % spec.num_slices
    epochs = np.array(spec.stage_epochs())
    found = np.zeros(rounds)
    for i in range(rounds):
        gone = np.zeros(count, bool)
        gone[rng.choice(count, revoked, replace=False)] = True
        for s in np.unique(shards[gone]):
            for r in range(slices[gone & (shards == s)].min(), spec.num_slices):
                pool = (shards == s) & (slices <= r)
                found[i] += epochs[r] * (pool & ~gone).sum()
    return found


@pytest.mark.parametrize("revoked", [1, 7, 60])
@pytest.mark.parametrize(("shards", "slices"), [(1, 1), (1, 4), (5, 1), (4, 3)])
@pytest.mark.parametrize("rule", EPOCH_RULES)
def test_expected_visits_agree_with_simulation(
    rule: str, shards: int, slices: int, revoked: int
) -> None:
    spec = TrainSpec(num_shards=shards, num_slices=slices, epochs=6, epoch_rule=rule)
    found = simulated_visits(spec, 240, revoked, 200)
    expected = expected_visits(240, shards, spec.stage_epochs(), revoked)
    # Four standard errors of the mean; exact where nothing is left to chance.
    assert abs(found.mean() - expected) <= 4 * found.std() / 200**0.5 + 1e-6 * expected


def test_expected_visits_of_the_product_itself() -> None:
    case, rng = CASES["logistic"], np.random.default_rng(0)
    examples, spec = case.dataset().train, case.spec.with_(num_shards=4, num_slices=1)
    plan, store = make_plan(examples, case.architecture(), spec), MemoryStore()
    train(plan, store)
    found = []
    for _ in range(200):
        ids = rng.choice(examples.ids, 3, replace=False)
        found.append(estimate(plan.without(ids), store, ids).visits)
    expected = expected_visits(len(examples), 4, spec.stage_epochs(), 3)
    assert abs(np.mean(found) - expected) <= 4 * np.std(found) / 200**0.5


def test_expected_share_of_one_revocation_has_closed_forms() -> None:
    for shards, slices in ((1, 1), (3, 4), (10, 5)):
        n = 10_000 * shards * slices
        pools = np.arange(1, slices + 1) * n / slices
        equal, work = (6,) * slices, tuple(60 // r for r in range(1, slices + 1))
        share = expected_visits(n, shards, equal, 1) / np.dot(equal, pools)
        # 1/n, the revoked one itself, is what the forms leave out.
        assert share == pytest.approx((2 * slices + 1) / (3 * shards * slices), rel=1e-3)
        share = expected_visits(n, shards, work, 1) / np.dot(work, pools)
        assert share == pytest.approx((slices + 1) / (2 * shards * slices), rel=1e-3)


def test_expected_visits_at_the_ends() -> None:
    assert expected_visits(100, 5, (2, 2), 0) == pytest.approx(0)
    with pytest.warns(UserWarning, match="all 100 examples are revoked"):
        assert expected_visits(100, 5, (2, 2), 100) == 0
    for count in (-1, 101):
        with pytest.raises(ValueError, match=f"num_revoked is {count}, .* from 0 to 100"):
            expected_visits(100, 5, (2, 2), count)


def test_the_warning_names_the_line_of_the_call(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # in this process, type checks stand between the calls
    script.write_text(
        "import numpy as np\n"
        "from unlearnkit.unlearning import expected_workload as of\n"
        "of.expected_visits(100, 5, (2, 2), 100)\n"
        "of.expected_visits_of(np.full((5, 2), 10), (2, 2), 100)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    for line in (3, 4):
        assert f"{script}:{line}: UserWarning: all 100 examples are revoked" in done.stderr


@pytest.mark.parametrize(("count", "shards", "slices"), [(92, 10, 7), (11, 5, 2), (30, 4, 3)])
def test_small_slices_count_as_they_are(count: int, shards: int, slices: int) -> None:
    """Every single revocation is tried, so the mean is exact; then again after three are gone."""
    case = CASES["logistic"]
    spec = case.spec.with_(num_shards=shards, num_slices=slices, epochs=slices)
    examples = replace(case, num_examples=count).dataset().train
    plan, store = make_plan(examples, case.architecture(), spec), MemoryStore()
    assert (plan.partition.sizes(plan.retained) == balanced_sizes(count, shards, slices)).all()
    for now in (plan, plan.without(examples.ids[:3])):
        train(now, store)
        ids = examples.ids[now.retained]
        found = [estimate(now.without(ids[[i]]), store, ids[[i]]).visits for i in range(len(ids))]
        sizes = now.partition.sizes(now.retained)
        assert np.mean(found) == pytest.approx(expected_visits_of(sizes, spec.stage_epochs(), 1))


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
