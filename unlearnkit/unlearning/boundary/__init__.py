"""Boundaries: which shards are retrained exactly and which are modified approximately."""

from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import ChosenBoundary, OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.registry import BOUNDARIES

__all__ = ["BOUNDARIES"]

BOUNDARIES.include(
    {
        "fixed": FixedBoundary(),
        "chosen": ChosenBoundary(),
        "overridden": OverriddenBoundary(),
        "adaptive": AdaptiveBoundary(),
    }
)
