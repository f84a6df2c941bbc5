"""Expected workloads of random requests, costs of groups, and the stages of a workload."""

from unlearnkit.unlearning.expected_workload.groups import GroupCosts, group_costs
from unlearnkit.unlearning.expected_workload.requests import (
    debt_places,
    expected_curve,
    expected_group_curve,
    expected_like,
    expected_share,
    stage_frame,
    visits_of_forgetting,
    visits_without_debt,
    whole_groups,
)
from unlearnkit.unlearning.expected_workload.uniform import expected_visits, expected_visits_of

__all__ = [
    "GroupCosts",
    "debt_places",
    "expected_curve",
    "expected_group_curve",
    "expected_like",
    "expected_share",
    "expected_visits",
    "expected_visits_of",
    "group_costs",
    "stage_frame",
    "visits_of_forgetting",
    "visits_without_debt",
    "whole_groups",
]
