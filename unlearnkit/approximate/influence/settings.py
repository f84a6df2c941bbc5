"""Settings of staged influence, with the sample sizes and substeps that follow from them.

The solvers read these settings; :mod:`unlearnkit.approximate.influence.staged` combines settings
and solvers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np

from unlearnkit.approximate.influence.samples import Candidates, Sample, candidates_at
from unlearnkit.approximate.protocol import (
    Members,
    ShardRound,
)
from unlearnkit.approximate.segments import Segment, training_time
from unlearnkit.training.kernels.layout import UNIT

SCOPES = ("all", "head")
FEW_CURVATURE, FEW_CANDIDATES = 256, 1024  # upper limits for small requests; see `few`
SHORT = 50.0  # effective time up to which damping beyond 1/h does not grow; see `damping`
LATER = {"damping": 0.0, "merge": 1}  # settings that older ledgers do not know, left out of `repr`
REFERENCES_FROM = 500  # forgotten examples from which references are used; see `references`


@dataclass(frozen=True, repr=False)
class InfluenceSettings:
    """Settings of staged influence; :class:`StagedInfluence` documents the fields.

    Raises:
        ValueError: the scope is not known, or a setting does not fit the scope.
    """

    scope: str = "all"
    substeps: int = 2
    iterations: int = 13
    tolerance: float = 0.01
    candidates: int = 4096
    curvature_share: float = 1 / 28
    curvature_min: int = 80
    curvature_max: int = 640
    few: float = 0.004
    references: int = 0
    by_outputs: bool = False
    damping: float = 0.0
    merge: int = 1

    def __post_init__(self) -> None:
        """Check the scope, and the settings that depend on it."""
        if self.scope not in SCOPES:
            raise ValueError(f"scope={self.scope!r} is not known; use 'all' or 'head'")
        if self.by_outputs and self.scope == "head":
            raise ValueError(
                "by_outputs=True does not work with scope='head'; use by_outputs=False, or "
                "scope='all'"
            )
        if self.references < 0 or (self.references and self.scope != "head"):
            raise ValueError(
                f"references={self.references} does not work with scope={self.scope!r}; give 0, or "
                "a positive number with scope='head'"
            )

        if not 0 <= self.damping < math.inf:
            raise ValueError(f"damping={self.damping} is out of range; give a number from 0 up")

        if isinstance(self.merge, bool) or not isinstance(self.merge, int) or self.merge < 1:
            raise ValueError(f"merge={self.merge!r} is no number of stages; give 1 or more")

    def __repr__(self) -> str:
        """Leave out settings at their value in ``LATER``, by which older ledgers are recognised."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        said = (f"{n}={v!r}" for n, v in shown.items() if LATER.get(n, ...) != v)
        return f"{type(self).__qualname__}({', '.join(said)})"

    def damping_of(self, given: ShardRound) -> float:
        """Return d, the damping beyond 1/h, in a shard: ``damping`` / max(H, ``SHORT``)."""
        return self.damping / max(training_time(given.state.plan, given.state.shard), SHORT)

    def settings_for(self, forgotten: int, shard_size: int) -> Self:
        """Return the settings for a number of forgotten examples; small requests take less effort.

        ``few`` defines what a small request is and what changes for it.
        """
        if forgotten >= self.few * shard_size:
            return self
        if self.draws_by_curvature(shard_size):
            return self._fewer_examples
        small = self.curvature_share * shard_size <= self.curvature_min
        if small and not self.candidates and self.scope == "all":
            return self._fewer_substeps
        return self

    @cached_property
    def _fewer_examples(self) -> Self:
        return replace(
            self,
            substeps=1,
            candidates=min(self.candidates, FEW_CANDIDATES),
            curvature_max=min(self.curvature_max, FEW_CURVATURE),
            few=0.0,
        )

    @cached_property
    def _fewer_substeps(self) -> Self:
        return replace(self, substeps=max(1, self.substeps // 2), few=0.0)

    def draws_by_curvature(self, shard_size: int) -> bool:
        """Whether a shard of this size draws its examples for G by their curvature."""
        return self.candidates > 0 and self.curvature_share * shard_size >= 2 * self.curvature_min

    def curvature_size(self, shard_size: int) -> int:
        """Return the number of examples for G in a shard of this size."""
        wanted = int(self.curvature_share * shard_size)
        return min(max(wanted, self.curvature_min), self.curvature_max)

    def sample_size(self, pool: int, shard_size: int) -> int:
        """Return the number of examples for G in a segment, in proportion to its pool."""
        wanted = max(self.curvature_size(shard_size) * pool // max(1, shard_size), 1)
        if wanted >= 8 * UNIT:  # products are faster when rows start at aligned addresses
            wanted -= wanted % UNIT
        return max(wanted, self.curvature_min)

    def substeps_of(self, segment: Segment) -> int:
        """Return the number of implicit Euler substeps in a segment."""
        return 1 if segment.start is None else self.substeps

    def candidates_of(self, given: ShardRound, segments: Sequence[Segment]) -> Candidates:
        """Return the candidates from which the samples of all segments are drawn."""
        retain, at = given.retain, segments[-1].end
        count = self.candidates if self.draws_by_curvature(len(given.forget) + len(retain)) else 0
        return candidates_at(given.state, at, retain, count, given.generator)

    def draw(self, given: ShardRound, segment: Segment, candidates: Candidates) -> list[Sample]:
        """Draw an independent sample of examples for G for each substep."""
        whole = len(given.forget) + len(given.retain)
        count = self.sample_size(segment.num_forget + segment.num_retain, whole)
        substeps = range(self.substeps_of(segment))
        return [candidates.draw(segment.stage, count, given.generator) for _ in substeps]

    def references_of(self, given: ShardRound) -> tuple[Members, Members] | None:
        """Draw the reference examples, in two random halves; None if no references are used."""
        count = self._num_references(len(given.forget), len(given.retain))
        if count < 2 or given.state.plan.spec.num_slices > 1:
            return None
        drawn = given.retain.sample(count, given.generator)
        order = given.generator.permutation(len(drawn))
        first, second = (drawn.take(np.sort(half)) for half in np.array_split(order, 2))
        return first, second

    def _num_references(self, forgotten: int, retained: int) -> int:
        return min(self.references * forgotten, retained) if forgotten >= REFERENCES_FROM else 0
