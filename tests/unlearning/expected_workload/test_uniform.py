"""What is expected of uniform requests is what happens."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import CASES
from unlearnkit import TrainSpec, expected_visits
from unlearnkit.store import MemoryStore
from unlearnkit.training.partition import balanced_sizes
from unlearnkit.training.plan import make_plan
from unlearnkit.training.spec import EPOCH_RULES
from unlearnkit.training.train import train
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
