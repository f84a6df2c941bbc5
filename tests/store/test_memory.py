"""The store in memory."""

from stores import approximation, checkpoint
from unlearnkit.store import MemoryStore


def test_a_fork_shares_checkpoints_and_nothing_else():
    store = MemoryStore()
    store.put(checkpoint("a"))
    store.put_approximation(approximation("a", checkpoint("a", stage=2)))
    fork = store.fork()
    assert fork.get("a") is store.get("a") and fork.approximation("a") is store.approximation("a")
    assert fork.prune((), ()) == 2 and not fork.keys and fork.nbytes == 0
    assert store.keys == {"a"} and store.approximation("a") is not None


def test_a_key_put_again_is_replaced_and_counted_once():
    store = MemoryStore()
    for value in (1.0, 2.0):
        store.put(checkpoint("a", value=value))
        store.put_approximation(approximation("a", checkpoint("a", stage=2, value=value)))
    assert store.get("a").state["w"].unique().tolist() == [2.0]
    # Two states of six floats and one 64-bit integer each.
    assert store.nbytes == 2 * 2 * (6 * 4 + 8)
    assert repr(store).startswith("MemoryStore(1 checkpoints, 1 approximate shards")
