"""The map of examples: a fair sample on the plane of greatest variance."""

import numpy as np
import pytest

from unlearnkit.selection.example_map import example_map


def test_a_map_is_a_fair_sample_on_the_plane_of_greatest_variance(session):
    fork = session.fork()
    everything = example_map(fork)
    inputs, labels = fork.dataset.examples(everything.ids)
    assert everything.total == len(everything.ids) == len(fork.dataset.train)
    assert everything.labels.tolist() == labels.tolist()
    flat = inputs.flatten(1).double().numpy()
    values = np.sort(np.linalg.eigvalsh(np.cov(flat.T)))[::-1]
    assert everything.explained == pytest.approx(values[:2].sum() / values.sum())
    np.testing.assert_allclose(everything.places.var(0, ddof=1), values[:2], rtol=1e-6)

    waiting = fork.dataset.train.ids[-3:]
    fork.revoke(waiting)
    some = example_map(fork, most=10)
    assert waiting[0] in some.ids and 10 <= len(some.ids) <= 11  # a tenth of them added
    drawn = np.concatenate([example_map(session, most=10, seed=seed).ids for seed in range(60)])
    counts = np.bincount(np.searchsorted(everything.ids, drawn), minlength=everything.total)
    expected = 600 / everything.total  # binomial, so within five of its deviations
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)
    hidden = example_map(fork, 1)
    assert hidden.shard == 1 and hidden.explained != everything.explained
    with pytest.raises(IndexError, match="there is no shard 9"):
        example_map(fork, 9)
