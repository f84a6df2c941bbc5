"""Running statistics: the difference that the forget set makes, and nothing else, is taken out."""

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from rounds import quiet, rounds_of, states_of
from unlearnkit.approximate import METHODS, Replay
from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.stored_states import stored_states_of
from unlearnkit.store import Checkpoint

FEATURES = torch.randn(90, 3, generator=torch.Generator().manual_seed(0)) * 4 + 7
LABELS = torch.arange(90) % 2


class Norm(nn.Module):
    """The statistics of its first layer are those of the examples, whatever the weights are."""

    def __init__(self, momentum=0.1, frozen=False):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3, momentum=momentum), nn.Linear(3, 2)
        self.frozen = frozen

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            self.norm.eval()
        return self

    def forward(self, x):
        return self.head(self.norm(x))


def trained(num_slices=1, batch_size=8, **options):
    session = uk.Session(
        (FEATURES, LABELS),
        model=lambda: Norm(**options),
        version="1",
        num_shards=1,
        num_slices=num_slices,
        epochs=5,
        tails=(4, 1),
        batch_size=batch_size,
    )
    session.train()
    return session


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_statistics_change_by_the_difference_that_the_forget_set_makes(momentum):
    session = trained(momentum=momentum)
    forget = np.array([2, 30, 31, 57])
    (given,) = rounds_of(session, {0: forget})
    kept = np.setdiff1d(session.plan.partition.shard_rows(0), forget)
    whole, rest = (
        session.plan.examples.features[np.sort(some)] for some in ([*kept, *forget], kept)
    )
    statistics, stored_states = RunningStatistics(given), stored_states_of(given)
    assert len(stored_states) == 3
    for stored in stored_states:
        found = statistics.correct(stored.name, stored.state)
        steps = int(stored.state["norm.num_batches_tracked"])
        share = 1 if momentum is None else 1 - (1 - momentum) ** steps
        mean = stored.state["norm.running_mean"] + share * (rest.mean(0) - whole.mean(0))
        variance = stored.state["norm.running_var"] + share * (rest.var(0) - whole.var(0))
        assert torch.allclose(found["norm.running_mean"], mean, rtol=1e-5)
        assert torch.allclose(found["norm.running_var"], variance, rtol=1e-5)
        assert int(found["norm.num_batches_tracked"]) == steps
        assert torch.equal(found["head.weight"], stored.state["head.weight"])


def test_statistics_of_a_late_slice_change_from_its_stage_on():
    session = trained(num_slices=2)
    rows = session.plan.partition.shard_rows(0)
    late = rows[session.plan.partition.slice_[rows] == 2][:5]
    (given,) = rounds_of(session, {0: late})
    before = session.store.get(session.plan.chains[0][0].key).state
    whole, rest = (session.plan.examples.features[r] for r in (rows, np.setdiff1d(rows, late)))
    statistics = RunningStatistics(given)
    for stored in stored_states_of(given):
        found = statistics.correct(stored.name, stored.state)
        name = "norm.num_batches_tracked"
        steps = int(stored.state[name] - before[name])
        shift = (1 - 0.9**steps) * (rest.mean(0) - whole.mean(0))
        expected = stored.state["norm.running_mean"] + shift
        assert torch.allclose(found["norm.running_mean"], expected, rtol=1e-5)


def test_batches_are_counted_as_in_retraining():
    session = trained(num_slices=2, batch_size=3)
    rows = session.plan.partition.shard_rows(0)
    forget = rows[session.plan.partition.slice_[rows] == 1][5:]  # whole batches are lost
    (given,) = rounds_of(session, {0: forget})
    (found,) = METHODS["staged-influence"]([given], on_progress=quiet)
    session.revoke(session.plan.partition.ids[forget])
    session.unlearn(max_share=1)
    exact = {s.index: session.store.get(s.key) for s in session.plan.chains[0]}
    name = "norm.num_batches_tracked"
    counts = {place: int(state[name]) for place, state in states_of(found).items()}
    for (stage, tail), count in counts.items():
        checkpoint: Checkpoint = exact[stage]
        state = checkpoint.state if tail is None else checkpoint.tails[tail]
        assert count == int(state[name])
    assert counts[2, None] < int(given.state.checkpoints[2].state[name])


def test_frozen_statistics_stay():
    session = trained(frozen=True)
    (given,) = rounds_of(session, {0: np.array([2, 30])})
    (found,) = METHODS["staged-influence"]([given], on_progress=quiet)
    state = states_of(found)[1, None]
    assert torch.equal(state["norm.running_mean"], torch.zeros(3))
    assert torch.equal(state["norm.running_var"], torch.ones(3))


@pytest.mark.parametrize("method", ["staged-influence", "last-layer-influence", "fine-tuning"])
@pytest.mark.parametrize("amend", [Replay(), uk.AMENDS["distillation"]])
def test_every_method_is_nearer_to_the_retrained_statistics_than_doing_nothing(method, amend):
    session = trained(num_slices=2)
    rows = session.plan.partition.shard_rows(0)
    large = rows[session.plan.examples.features[rows].sum(1).argsort()[-8:]]
    old = session.ensemble.constituents[0].state["norm.running_mean"]
    session.revoke(session.plan.partition.ids[large])
    exact = session.fork()
    exact.unlearn(max_share=1)
    session.unlearn(max_share=0, method=method, amend=amend)
    new, right = (
        each.ensemble.constituents[0].state["norm.running_mean"] for each in (session, exact)
    )
    assert (new - right).norm() < 0.5 * (old - right).norm()
