"""The rehearsal: it times what a request does, and leaves everything but the clock as it was."""

from dataclasses import replace

import numpy as np
import torch

import unlearnkit as uk
from unlearnkit.approximate.defaults import default_method
from unlearnkit.evaluation.rehearsal import rehearse
from unlearnkit.training.clock import Clock
from unlearnkit.unlearning.inspection import evenly_spaced
from unlearnkit.unlearning.modify import members_of
from worker import content


class Own(torch.nn.Module):
    """A model that is not built in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


def trained() -> uk.Session:
    session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    session.train()
    session._journal.clock = replace(session.clock, modify=())
    return session


def test_a_rehearsal_changes_the_clock_only() -> None:
    session = trained()
    session.revoke(count=5, seed=0)
    keys = session.store.keys
    states = {key: content(session.store.get(key)) for key in session.plan.keys}
    torch.manual_seed(0)
    drawn = torch.get_rng_state()
    exact = session.clock.exact
    decision = session.preview(0.0)
    modified = session.clock.modify
    assert any(work.shards > 0 for work, _ in modified)
    assert all(seconds > 0 for _, seconds in (*modified, *session.clock.checks))
    assert session.clock.exact == exact and not any(session.clock.errors)
    assert session.store.keys == keys and not session.debt
    assert {key: content(session.store.get(key)) for key in session.plan.keys} == states
    assert torch.equal(torch.get_rng_state(), drawn)
    # It is done once, so that a request finds what its preview said.
    assert session.preview(0.0) == decision and session.clock.modify == modified
    assert session.unlearn(0.0).predicted_seconds == decision.seconds


def test_what_would_take_long_is_not_rehearsed() -> None:
    session = trained()
    slow = tuple((work, 1e6 * seconds) for work, seconds in session.clock.exact)
    clock = Clock(slow, tick=1.0)
    assert rehearse(session.plan, session.store, clock, None) == clock


def test_a_module_of_the_users_is_rehearsed_too() -> None:
    own = uk.Session("digits", model=Own, epochs=2, num_shards=2, num_slices=2, seed=0)
    own.train()
    before = {key: content(own.store.get(key)) for key in own.plan.keys}
    clock = rehearse(own.plan, own.store, replace(own.clock, modify=()), None)
    assert any(work.shards > 0 for work, _ in clock.modify) and clock.checks
    assert {key: content(own.store.get(key)) for key in own.plan.keys} == before


def test_a_rehearsal_forgets_examples_of_every_slice() -> None:
    session = trained()
    clock = rehearse(session.plan, session.store, session.clock, None)
    [work, *_] = [work for work, _ in clock.modify if work.shards == 1]
    plan = session.plan
    rows = plan.partition.shard_rows(0)
    rows = rows[np.argsort(plan.partition.slice_[rows], kind="stable")]
    after = plan.without(plan.partition.ids[rows[evenly_spaced(len(rows), 3)]])
    forget = {0: members_of(plan, after, 0)[0]}
    assert set(forget[0].slices.tolist()) == {1, 2, 3}
    assert work.batches == default_method(plan).batches(after, forget).batches


def test_without_a_pending_request_nothing_is_rehearsed() -> None:
    session = trained()
    assert session.assess().workload.visits == 0
    assert np.size(session.pending) == 0 and not session.clock.modify


def test_a_request_without_a_preview_is_rehearsed_where_it_may_modify() -> None:
    session = trained()
    session.revoke(count=5, seed=0)
    fixed, modified = session.fork(), session.fork()
    fixed.unlearn(1.0)
    assert not fixed.clock.modify
    result = modified.unlearn(0.0)
    assert len(modified.clock.checks) > 2  # those of the rehearsal, and two of the request
    assert result.predicted_seconds is not None
    session.unlearn(boundary=uk.AdaptiveBoundary(min_gain=1e9))
    assert not session.debt and session.clock.modify
