"""How far each shard is from the retrained model, before and after."""

import pytest
import torch

from panels import session_of
from unlearnkit.evaluation.distances.shard_moves import shard_moves


@pytest.fixture(scope="module")
def session():
    return session_of("uneven", 0.3)


@pytest.mark.parametrize("part", ["forget", "test"])
def test_outputs_are_compared_shard_by_shard(session, part):
    comparison = session.compare()
    frame = shard_moves(comparison, session.dataset, part)
    assert frame["shard"].tolist() == list(comparison.shards)
    inputs, _ = session.dataset.examples(comparison.ids[part])

    def outputs(model, shard):
        ensemble = getattr(comparison, model)
        place = [each.shard for each in ensemble.constituents].index(shard)
        return ensemble.constituent_probabilities(inputs)[place].double()

    for row in frame.to_dict("records"):
        goal = outputs("scratch", row["shard"])
        for model in ("original", "unlearned"):
            own = outputs(model, row["shard"])
            kl = (goal * (goal.clamp_min(1e-30).log() - own.clamp_min(1e-30).log())).sum(1).mean()
            assert row[model] == pytest.approx(float(kl), rel=1e-3, abs=1e-6)
        assert (row["unlearned"] == 0) is row["exact"] or not torch.equal(goal, own)
    assert frame["exact"].any() and not frame["exact"].all()


def test_parameters_are_those_of_the_comparison(session):
    comparison = session.compare()
    frame = shard_moves(comparison, session.dataset, "parameters")
    for model in ("original", "unlearned"):
        expected = comparison.constituents[f"{model}_to_scratch_l2"]
        assert frame[model].tolist() == pytest.approx(expected.tolist())


def test_an_unknown_measure_is_refused(session):
    with pytest.raises(ValueError, match="measure='kl' is not known; choose from forget, test, "):
        shard_moves(session.compare(), session.dataset, "kl")
