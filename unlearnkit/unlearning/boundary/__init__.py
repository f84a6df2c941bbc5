"""Boundaries: which shards are retrained exactly and which are modified approximately."""

from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import ChosenBoundary, OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary

BOUNDARIES: dict[str, type[Boundary]] = {
    "fixed": FixedBoundary,
    "chosen": ChosenBoundary,
    "adaptive": AdaptiveBoundary,
    "overridden": OverriddenBoundary,
}
