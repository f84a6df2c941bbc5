"""How a test makes a comparison and finds its way in it."""

from cases import CASES


def compared(name, max_share=0.3, count=3):
    """A comparison after forgetting examples of two shards."""
    session = CASES[name].session()
    session.train()
    session.revoke(count=count, seed=1)
    session.unlearn(max_share)
    return session.compare(), session.dataset


def shard_of(comparison, identical):
    frame = comparison.constituents
    return int(frame["shard"][frame["bit_identical"] == identical].iloc[0])
