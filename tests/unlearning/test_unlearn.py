"""Unlearning a request: estimate, decide, run, store, destroy."""

import unlearnkit as uk
from unlearnkit.unlearning.unlearn import unlearn


def test_without_a_probe_only_the_correction_is_judged(trained):
    plan = trained.plan
    after = plan.without(plan.partition.ids[:9])
    result = unlearn(plan, trained.fork().store, plan.partition.ids[:9], uk.FixedBoundary(0.0))
    assert result.plan.retained.tolist() == after.retained.tolist()
    for check in result.decision.checks:
        assert check.correction > 0 and check.kl is None and check.rise is None
