"""Replaying the end of training after a correction."""

import unlearnkit as uk
from rounds import long_session, quiet, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    AMENDS,
    Replay,
    StagedInfluence,
)
from unlearnkit.seeding import state_bytes


def test_a_longer_replay_is_of_four_epochs_however_early_the_first_tail_is():
    plan = long_session().plan
    assert plan.spec.tail_epochs() == (11, 4, 1)
    assert Replay().longer(plan) == Replay(4) and Replay(4).longer(plan) is None
    assert AMENDS["rewind-and-replay"].epochs(plan) == 4


def test_replaying_shards_together_is_replaying_each():
    session = uneven_session(uk.MLP((9,)))
    rounds = uneven_rounds(session)
    modified = StagedInfluence()(rounds, on_progress=quiet)
    together = Replay()(rounds, modified, on_progress=quiet)
    for given, found, amended in zip(rounds, modified, together, strict=True):
        [alone] = Replay()([given], [found], on_progress=quiet)
        assert amended.checkpoint.shard == given.state.shard
        assert state_bytes(amended.checkpoint.state) == state_bytes(alone.checkpoint.state)
        assert set(amended.checkpoint.tails) == set(found.checkpoints[3].tails)
        assert amended.visits == alone.visits == len(given.retain)
