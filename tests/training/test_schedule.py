"""Schedules: who is visited when, and that survivors keep their slots."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cases import CASES, plan_of
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import make_job


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; the product takes the spec's one, and so do we."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def places(plan: Plan, shard: int, stage: int) -> Iterator[tuple[int, int, int, int]]:
    """Where everyone who is left sits: (id, epoch, step, slot)."""
    job = make_job(plan, [plan.chains[shard][stage - 1]], {})
    for rows, (_, epoch, place) in zip(job.rows, job.keys.tolist(), strict=True):
        for slot in np.flatnonzero(rows >= 0).tolist():
            yield int(plan.partition.ids[rows[slot]]), epoch, place, slot


@pytest.mark.parametrize("name", ["logistic", "uneven"])
def test_survivors_keep_their_slots(name: str) -> None:
    before = plan_of(CASES[name])
    revoked = before.partition.ids[1::3]
    after = before.without(revoked)
    for stage in before.stages:
        old = set(places(before, stage.shard, stage.index))
        new = set(places(after, stage.shard, stage.index))
        assert new == {place for place in old if place[0] not in revoked}


def test_every_living_example_is_visited_once_an_epoch() -> None:
    plan = plan_of(CASES["uneven"], revoked=(10, 22, 40))
    for stage in plan.stages:
        pool = plan.pool(stage.shard, stage.index)
        alive = sorted(plan.partition.ids[pool[plan.retained[pool]]].tolist())
        seen = [(epoch, i) for i, epoch, _, _ in places(plan, stage.shard, stage.index)]
        assert sorted(seen) == [(epoch, i) for epoch in range(stage.epochs) for i in alive]
