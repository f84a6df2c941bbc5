"""Rewinding behind the first affected stage is exact retraining."""

import pytest

import unlearnkit as uk
from rounds import all_states
from unlearnkit.seeding import state_bytes


@pytest.mark.parametrize("slices", [1, 3])
def test_rewinding_behind_the_first_affected_stage_is_exact_retraining(slices):
    data = uk.load("digits", num_examples=200)
    spec = uk.TrainSpec(num_shards=2, num_slices=slices, epochs=8, batch_size=16)
    session = uk.Session(data, model=uk.MLP((8,)), spec=spec)
    session.train()
    partition = session.plan.partition
    ids = partition.ids[partition.slice_ == slices][:6]
    session.revoke(ids)
    exact, rewound = session.fork(), session.fork()
    exact.unlearn(1)
    rewound.unlearn(0, amend="rewind-and-replay")
    shards = [exact.plan.partition.shard[partition.rows(ids)].min()]
    for shard in shards:
        same = state_bytes(all_states(exact)[shard]) == state_bytes(all_states(rewound)[shard])
        assert same == (slices > 1)  # with one slice it starts from a tail that was corrected
    assert rewound.debt
