"""Assessing a request: what each way would cost, with nothing changed anywhere."""

import numpy as np
import pytest
import torch

from cases import CASES, of_slice, plan_of
from unlearnkit import Session
from unlearnkit.training.clock import Batches, Clock, Work
from unlearnkit.unlearning.assess import assess, coverage
from unlearnkit.unlearning.boundary.protocol import Coverage, Decision


@pytest.fixture
def session() -> Session:
    return CASES["uneven"].waiting(4)


def test_what_is_previewed_is_what_is_done(session: Session) -> None:
    for share in (0, 0.05, 0.2, 0.4, 1):
        fork = session.fork()
        preview = fork.preview(share)
        done = fork.unlearn(share).decision
        assert [(r.shard, r.kind, r.visits) for r in preview.routes] == [
            (r.shard, r.kind, r.visits) for r in done.routes
        ]
        for planned, run in zip(preview.routes, done.routes, strict=True):
            # What was seen of an approximation is added.
            assert run.reason.partition("; corrected by")[0] == planned.reason


def test_previewing_changes_nothing(session: Session) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    keys, plan, clock = session.store.keys, session.plan, session.clock
    decisions: list[Decision] = [session.preview(share) for share in (0, 0.3, 1, 0)]
    assert decisions[0] == decisions[3] != decisions[2]
    assert session.store.keys == keys and session.plan is plan and session.clock is clock
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_coverage_is_of_the_class_that_loses_the_largest_part() -> None:
    before = plan_of(CASES["logistic"])
    labels = before.examples.labels.numpy()
    mine = before.partition.shard == 1
    members = [before.partition.ids[mine & (labels == label)] for label in range(3)]
    fewest = min(range(3), key=lambda label: len(members[label]))
    other = (fewest + 1) % 3
    # One example of each: the part is largest where there are fewest.
    ids = [members[fewest][0], members[other][0]]
    found = coverage(before, before.without(ids), 1)
    assert found == Coverage(fewest, 1, len(members[fewest]))
    # What the shard owes has shaped its model and is gone as well.
    owed = members[other][1:]
    later = before.without(owed)
    found = coverage(later, later.without(members[other][:1]), 1, owed)
    assert found == Coverage(other, len(members[other]), len(members[other])) and found.share == 1


def test_a_part_of_the_seconds_is_given_to_each_shard() -> None:
    session = CASES["uneven"].session()
    session.train()
    clock = Clock().observe([(Work(0, 0, 1, 1, 0), 0.001), (Work(0, 0, 1, 2, 0), 0.003)])
    clock = clock.observe_modify(Batches(2, 10, 100), 0.01)
    ids = [of_slice(session, shard, 1) for shard in range(3)]
    assessment = assess(session.plan, session.store, np.sort(ids), clock)
    parts = [cost.approximate_seconds for cost in assessment.costs.shards]
    assert len(parts) == 3 and all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(assessment.costs.approximate_seconds((0, 1, 2)))
    assert not assessment.debts and assessment.plan.retained.sum() == 31
