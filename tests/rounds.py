"""Sessions and shards' rounds on which approximate methods and their amends are tested."""

from functools import cache

import numpy as np
import torch

import unlearnkit as uk
from unlearnkit.approximate import (
    Members,
    ShardRound,
    ShardState,
)
from unlearnkit.seeding import numpy_generator


def quiet(sentence, share):
    """Take progress and do nothing with it."""


def tiny_session(model="logistic", **options):
    return uk.Session(
        uk.load("digits", num_examples=200),
        model=model,
        num_shards=2,
        num_slices=3,
        epochs=12,
        batch_size=16,
        **options,
    )


def rounds_of(session, gone):
    """A round of each shard of these that forgets these rows."""
    plan, rounds = session.plan, []
    after = plan.without(plan.partition.ids[np.concatenate(list(gone.values()))])
    for shard, forget in gone.items():
        rows = plan.partition.shard_rows(shard)
        kept = rows[after.retained[rows]]
        members = [Members(some, plan.partition.slice_[some]) for some in (np.sort(forget), kept)]
        checkpoints = {s.index: session.store.get(s.key) for s in plan.chains[shard]}
        state = ShardState(after, shard, checkpoints)
        rounds.append(ShardRound(state, *members, numpy_generator(0, shard)))
    return rounds


@cache
def uneven_session(model, **options):
    """Three shards of different sizes; generated data with odd widths."""
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(151, 7, generator=generator)
    labels = (features[:, :2] > 0).sum(1) + 3 * (features[:, 2] > 0.5)
    spec = uk.TrainSpec(
        num_shards=3, num_slices=3, epochs=12, batch_size=8, learning_rate=0.05, **options
    )
    session = uk.Session((features, labels), model=model, spec=spec)
    session.train()
    return session


def uneven_rounds(session, whole=None):
    """Rounds of all shards; each forgets some examples from a first slice on, or one whole."""
    plan, gone = session.plan, {}
    for shard, (first, count) in enumerate([(1, 5), (3, 2), (2, 9)]):
        rows = plan.partition.shard_rows(shard)
        slices = plan.partition.slice_[rows]
        late = rows[slices >= first][1 - count :]
        gone[shard] = np.union1d(rows[slices == first][:1], late)
        if shard == whole:
            gone[shard] = rows[slices == 1]
    return rounds_of(session, gone)


def states_of(found):
    """All states that a method or an amend has made, by place."""
    states = {}
    for r, checkpoint in found.checkpoints.items():
        states[r, None] = checkpoint.state
        states |= {(r, q): tail for q, tail in checkpoint.tails.items()}
    return states
