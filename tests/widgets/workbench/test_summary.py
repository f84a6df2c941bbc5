"""What the strip says: counted in the decision, and faster or slower as predicted."""

from dataclasses import replace

import pytest

from panels import CASE, session_of
from unlearnkit.figures.drawing import duration
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.widgets.workbench.summary import better, chosen, happened, requested


@pytest.fixture(scope="module")
def waiting():
    session = CASE.session()
    session.train()
    partition = session.plan.partition
    session.revoke(
        [*partition.ids[partition.shard == 0][:2], *partition.ids[partition.shard == 1][:1]]
    )
    return session


def test_a_request_says_how_many_shards_it_hits(waiting):
    said = requested(waiting, waiting.assess())
    assert said.startswith("To forget: 3 examples in 2 of 3 shards. Exact retraining: ")
    assert said.endswith("% of training.")
    outside = waiting.fork()
    outside.withdraw()
    outside.revoke(outside.dataset.probe.ids[:1].tolist())
    said = requested(outside, outside.assess())
    assert said == "To forget: 1 example. No model was trained on it."


def test_a_decision_names_its_boundary_and_counts_its_routes(waiting):
    assessment = waiting.assess()
    for boundary, said in (
        (FixedBoundary(1.0), "Threshold 100%: 2 shards retrained, about "),
        (FixedBoundary(0.0), "Threshold 0%: 2 shards modified, about "),
        (AdaptiveBoundary(), "Adaptive: "),
    ):
        assert chosen(assessment.decide(boundary), boundary).startswith(said)


def test_all_exact_is_offered_only_where_it_is_predicted_to_be_faster(waiting):
    assessment = waiting.assess()
    decision = assessment.decide(FixedBoundary(0.0))
    exact = assessment.workload.seconds
    offered = better(assessment, replace(decision, seconds=2 * exact))
    assert offered == f"all exact: {duration(exact)}"
    assert better(assessment, replace(decision, seconds=exact)) == ""
    nothing_modified = assessment.decide(FixedBoundary(1.0))
    assert better(assessment, replace(nothing_modified, seconds=2 * exact)) == ""
    assert better(assessment, replace(decision, seconds=None)) == ""


def test_what_happened_is_told_against_retraining():
    result = session_of("uneven", 0.3).last
    told = happened(result, "3 examples")
    spent = f"{duration(result.cpu_seconds)} of CPU time"
    assert told.startswith(f"3 examples forgotten: 1 shard retrained, 1 modified in {spent}; ")
    retrained = duration(result.workload.seconds)
    assert told.endswith(f"; retraining all 2 would have taken about {retrained}.")
    exact = session_of("uneven", 1.0).last
    spent = f"{duration(exact.cpu_seconds)} of CPU time"
    assert happened(exact, "3 examples").endswith(f" retrained in {spent}.")
    elsewhere = happened(replace(result, cpu_seconds=None), "3 examples")
    assert elsewhere.endswith(f" in {duration(result.seconds)}.")
