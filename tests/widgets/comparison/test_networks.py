"""The sections that look into the networks."""

import re
from dataclasses import replace

import pytest

import unlearnkit as uk
from panels import opened
from unlearnkit.evaluation import parameters
from unlearnkit.evaluation.distances.seed_distances import seed_distances
from unlearnkit.widgets.comparison.networks import (
    ParameterView,
    SeedView,
)


def text(prose):
    return re.sub(r"<[^>]+>", " ", prose.html)


def test_the_parameters_are_those_of_the_chosen_shard(panel):
    found = opened(panel, ParameterView)
    frame = panel.comparison.constituents.set_index("shard")
    assert [value for _, value in found.shard.options] == sorted(
        frame.index, key=lambda shard: bool(frame["bit_identical"][shard])
    )
    _, exact = (value for _, value in found.shard.options)
    assert "of the difference that doing nothing leaves" in text(found.summary)
    before = found.scatter.export.csv()
    found.shard.value = exact
    assert "Exact: all" in text(found.summary) and "bit for bit" in found.scatter.view.label
    sample = parameters.parameter_sample(panel.comparison, exact)
    assert found.scatter.export.csv() == sample.frame.to_csv(index=False) != before
    assert f"parameter_sample(comparison, {exact})" in found._code_line.code


def test_another_seed_is_trained_for_the_scale_of_distances(panel, session):
    shard = panel.comparison.shards[0]
    frame = seed_distances(session.plan, panel.comparison, shard, seed=7)
    # The same by hand: a session of that seed on the same partition, without the revoked examples.
    other = uk.Session(
        session.dataset,
        model=session.plan.architecture,
        spec=replace(session.plan.spec, seed=7),
        partition=session.plan.partition,
    )
    other.train()
    other.revoke(session.revoked)
    other.unlearn(1.0)
    twin = other.ensemble.by_shard[shard].state
    scratch = panel.comparison.scratch.by_shard[shard].state
    rows = frame[frame["model"] == "another seed"].set_index("layer")
    for layer, far in rows["l2"].items():
        assert far == pytest.approx(float((twin[layer] - scratch[layer]).double().norm()))
    far = frame.groupby("model")["l2"].sum()
    assert far["another seed"] > 3 * far["original"] > 0
    with pytest.raises(ValueError, match="is the ensemble's own"):
        seed_distances(session.plan, panel.comparison, shard, seed=session.plan.spec.seed)
    view = opened(panel, SeedView)
    assert "of the" in text(view.summary) or "Exact: the distance" in text(view.summary)
