"""The protocol of stores, kept in memory and on disk alike."""

import pytest

from stores import Store, approximation, checkpoint, reopened
from worker import content


def test_what_is_put_is_there(store: Store) -> None:
    store.put(checkpoint("a", value=0.1))
    store.put(checkpoint("b", shard=1, stage=2))
    again = reopened(store)
    assert "a" in again and "c" not in again and again.keys == {"a", "b"}
    assert content(again.get("a")) == content(checkpoint("a", value=0.1))
    assert (again.get("b").shard, again.get("b").stage) == (1, 2)
    assert again.nbytes == 2 * 2 * (6 * 4 + 8)
    with pytest.raises(KeyError):
        again.get("c")


def test_an_approximation_never_counts_as_clean(store: Store) -> None:
    store.put_approximation(approximation("a", checkpoint("a", stage=2, value=0.5)))
    again = reopened(store)
    assert "a" not in again and not again.keys
    kept = again.approximation("a")
    assert kept is not None and kept.debt.tolist() == [3, 9] and kept.method == "in words"
    assert content(kept.checkpoints[2]) == content(checkpoint("a", stage=2, value=0.5))
    assert again.approximation("b") is None


def test_prune_destroys_all_that_is_not_listed(store: Store) -> None:
    for key in "abc":
        store.put(checkpoint(key, shard="abc".index(key)))
        store.put_approximation(approximation(key, checkpoint(key, shard="abc".index(key))))
    assert store.prune(["a", "b", "z"], ["b"]) == 1 + 2
    for now in (store, reopened(store)):
        assert now.keys == {"a", "b"}
        assert [now.approximation(key) is not None for key in "abc"] == [False, True, False]


def test_two_approximations_may_share_a_checkpoint(store: Store) -> None:
    # As when a second round corrects later stages only, before the first round is destroyed.
    shared = checkpoint("a", stage=1)
    store.put_approximation(approximation("one", shared))
    store.put_approximation(approximation("two", shared, checkpoint("b", stage=2)))
    again = reopened(store)
    assert content(again.approximation("two").checkpoints[1]) == content(shared)
