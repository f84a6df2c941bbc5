"""Importance sampling of the retained examples on which the curvature is computed.

The Gauss-Newton matrix is a mean over examples of J^T H J, with H the loss's Hessian at an
example's outputs. H is almost zero for examples that a network fits well, so most of a uniform
sample would contribute nothing. Instead m of N candidates are drawn, example i with the inclusion
probability

    p_i = min(1, a s_i),        s_i = (1 - e) tr H_i / sum_j tr H_j + e / N,        e = 0.1,

with a such that the p_i sum to m. A drawn example has the weight 1 / (N p_i), so that the
expectation of the weighted sum is the mean over all candidates (Horvitz and Thompson 1952). Drawing
systematically in a random order (Madow 1949) gives exactly m examples. The share e of uniform
sampling bounds the weight of a single example, since H is computed once, at the last tail, and used
for all segments. Importance sampling by curvature was derived for unlearnkit;
tests/benchmarks/defaults.md has the measurements.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.approximate.protocol import Members, ShardState
from unlearnkit.models.chunks import chunks
from unlearnkit.models.losses import CrossEntropy, Loss, output_hessians
from unlearnkit.store.checkpoint import State

UNIFORM_SHARE = 0.1  # e, the share of uniform sampling
CHUNK = 512  # candidates whose outputs are computed at a time


@dataclass(frozen=True, eq=False)
class Sample:
    """A weighted sample of a pool of examples.

    Attributes:
        members: the drawn examples.
        weights: weight of each example in a mean over the pool.
    """

    members: Members
    weights: Float[Tensor, " example"]

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Examples of one shard from which samples are drawn.

    Attributes:
        retain: all retained examples, for stages in which too few have a known trace.
        known: candidates whose trace of H is known.
        traces: trace of H for each of them.
    """

    retain: Members
    known: Members
    traces: Float[np.ndarray, " known"]

    def draw(self, stage: int, count: int, generator: np.random.Generator) -> Sample:
        """Draw ``count`` examples that take part in a stage, or all if there are fewer.

        If no more than ``count`` candidates of the stage have a known trace, the sample is uniform.
        """
        pool = self.known.until(stage)
        if count >= len(pool):
            some = self.retain.until(stage).sample(count, generator)
            return Sample(some, torch.full((len(some),), 1 / max(1, len(some))))
        chances = inclusion_probabilities(self.traces[self.known.slices <= stage], count)
        chosen = systematic_sample(chances, generator)
        weights = torch.from_numpy(1 / (len(pool) * chances[chosen]))
        return Sample(Members(pool.rows[chosen], pool.slices[chosen]), weights.float())


def candidates_at(
    state: ShardState, at: State, retain: Members, count: int, generator: np.random.Generator
) -> Candidates:
    """Draw at most ``count`` retained examples and compute their traces of H at a state.

    With ``count`` 0 no trace is known, and samples are drawn uniformly.
    """
    plan, some = state.plan, retain.sample(count, generator)
    if not len(some):
        return Candidates(retain, some, np.zeros(0))
    module, traces = plan.architecture.module(at), []
    for begin in range(0, len(some), CHUNK):
        part = slice(begin, begin + CHUNK)
        inputs, _ = state.data(Members(some.rows[part], some.slices[part]))
        with torch.no_grad():
            parts = [module(some) for some in chunks(plan.architecture, inputs, CHUNK)]
            traces.append(hessian_traces(torch.cat(parts), plan.spec.loss))
    return Candidates(retain, some, torch.cat(traces).double().numpy())


def hessian_traces(outputs: Float[Tensor, "row class"], loss: Loss) -> Float[Tensor, " row"]:
    """Return the trace of each example's H.

    >>> hessian_traces(torch.tensor([[0.0, 0.0], [2.0, -2.0]]), CrossEntropy())
    tensor([0.5000, 0.0353])
    """
    if type(loss) is CrossEntropy:
        probabilities = outputs.softmax(1)
        return (probabilities * (1 - probabilities)).sum(1)
    return output_hessians(outputs, loss).diagonal(dim1=1, dim2=2).sum(1)


def inclusion_probabilities(
    traces: Float[np.ndarray, " example"], count: int
) -> Float[np.ndarray, " example"]:
    """Return the inclusion probabilities p_i for drawing ``count`` of more examples.

    >>> inclusion_probabilities(np.array([0.0, 0.0, 1.0, 3.0]), 2).round(3)
    array([0.083, 0.083, 0.833, 1.   ])
    """
    size, known = len(traces), np.nan_to_num(traces)
    total = known.sum()
    shares = (
        (1 - UNIFORM_SHARE) * known / total + UNIFORM_SHARE / size
        if total > 0
        else np.full(size, 1 / size)
    )
    sure = np.zeros(size, bool)
    while True:
        chances = shares * ((count - sure.sum()) / shares[~sure].sum())
        above = ~sure & (chances > 1)
        if not above.any():
            return np.where(sure, 1.0, chances)
        sure |= above


def systematic_sample(
    chances: Float[np.ndarray, " example"], generator: np.random.Generator
) -> Int[np.ndarray, " drawn"]:
    """Draw positions with these inclusion probabilities, as many as they sum to; ascending.

    In a random order the examples are laid out as intervals, each as long as its probability.
    Points spaced by 1, with a random offset, select the intervals that they fall into (Madow 1949).
    """
    order = generator.permutation(len(chances))
    ends = np.cumsum(chances[order])
    marks = generator.random() + np.arange(round(ends[-1]))
    met = np.searchsorted(ends, marks, side="right")
    return np.unique(order[np.minimum(met, len(order) - 1)])
