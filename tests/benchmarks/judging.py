"""Distances to the retrained model, beside doing nothing and beside another seed.

Each request is unlearned in several ways from one trained session, and once with every shard exact;
the exact branch is the retrained model that the others are compared with. Two nulls give a distance
its scale. *Doing nothing* is the model before the request. *Another seed* is a model that was
trained on the same retained examples in the same shards and slices, from other initial weights and
in another order, and differs from the retrained one by chance alone.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

import unlearnkit as uk
from unlearnkit.approximate import EachState, ShardRound
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.metrics.membership_auc import membership_auc, membership_gap
from unlearnkit.metrics.metrics import output_kl
from unlearnkit.store.checkpoint import State
from unlearnkit.studies.seed_models import of_another_seed
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.training.plan import Plan

GAPS = ("test KL", "forget-side KL", "MIA gap")
NOTHING, ANOTHER = "doing nothing", "another seed"
ADAPTIVE = "adaptive boundary"
Row = dict[str, Any]


@dataclass(frozen=True)
class AsTrained:
    """A rule that corrects nothing."""

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """Return the stored state."""
        return stored.state, 0

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Return that nothing is computed."""
        return 0, 0

    def unsuitable(self, plan: Plan) -> str:
        """Return that every plan is suitable."""
        return ""


WAYS: dict[str, dict[str, Any]] = {  # arguments of Session.unlearn
    ADAPTIVE: {"boundary": "adaptive", "spot_check": False},
    f"{ADAPTIVE}, spot check": {"boundary": "adaptive", "spot_check": True},
    "all approximate": {"max_share": 0, "spot_check": False},
    "replay without a correction": {
        "max_share": 0,
        "spot_check": False,
        "method": EachState(AsTrained()),
    },
}


def judged(
    session: uk.Session,
    ids: Int[np.ndarray, " request"],
    ways: Mapping[str, Mapping[str, Any]] = WAYS,
    *,
    another: bool = True,
) -> Iterator[Row]:
    """Yield a row for each way of unlearning a request, and one for another seed.

    Args:
        session: a trained session; it does not change.
        ids: the request.
        ways: arguments of ``Session.unlearn`` by name.
        another: whether a model of another seed is trained.
    """
    exact = session.fork()
    exact.revoke(ids)
    request = exact.unlearn(1)
    scratch = exact.ensemble
    nothing = distances(session, ids, session.ensemble, scratch)
    null = {f"{name}, {NOTHING}": value for name, value in nothing.items()}
    if another:
        left = distances(session, ids, of_another_seed(exact), scratch)
        yield {"method": ANOTHER, **removed(left, nothing), **null}
    for name, arguments in ways.items():
        fork = session.fork()
        fork.revoke(ids)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubts, which are counted
            done = fork.unlearn(**arguments)
        left = distances(session, ids, fork.ensemble, scratch)
        assert done.cpu_seconds is not None and request.cpu_seconds is not None
        yield {
            "method": name,
            "modified": len(done.decision.approximate) / max(1, len(done.decision.routes)),
            "doubtful": len(done.decision.doubtful),
            **removed(left, nothing),
            "speed": request.cpu_seconds / done.cpu_seconds,
            "predicted over spent": (done.predicted_seconds or 0) / done.cpu_seconds,
            **null,
        }


def removed(left: Row, nothing: Row) -> Row:
    """Return the shares of the gaps that were removed, and the half-width of the MIA gap."""
    shares = {gap: 1 - left[gap] / nothing[gap] if nothing[gap] else math.nan for gap in GAPS}
    return {**shares, "MIA half-width": left["MIA half-width"]}


def distances(
    session: uk.Session, ids: Int[np.ndarray, " request"], found: Ensemble, scratch: Ensemble
) -> dict[str, float]:
    """Return the distances of an ensemble to the retrained one.

    Test KL, mean KL of the hit constituents on their own forgotten examples, the absolute
    difference of the areas under the curve of membership inference, and half the width of the 95 %
    interval of that difference over the choice of examples.
    """
    data, partition = session.dataset, session.plan.partition
    (test, test_labels), (inputs, labels) = data.test[data.test.ids], data.train[ids]
    shards = partition.shard[partition.rows(ids)]
    sides = []
    for shard in sorted(set(shards.tolist()) & scratch.by_shard.keys()):
        own = inputs[torch.from_numpy(shards == shard)]
        p, q = (one_of(ensemble, shard, own) for ensemble in (scratch, found))
        sides.append(output_kl(p, q))
    attacks = [
        membership_auc(e.probabilities(inputs), labels, e.probabilities(test), test_labels)
        for e in (found, scratch)
    ]
    gap = membership_gap(*attacks)
    low, high = gap.interval or (math.nan, math.nan)
    return {
        "test KL": output_kl(scratch.probabilities(test), found.probabilities(test)),
        "forget-side KL": sum(sides) / len(sides) if sides else math.nan,
        "MIA gap": abs(gap.value),
        "MIA half-width": (high - low) / 2,
    }


def one_of(ensemble: Ensemble, shard: int, inputs: torch.Tensor) -> torch.Tensor:
    """Return the probabilities of a shard's constituent."""
    return ensemble.constituent_probabilities(inputs)[list(ensemble.by_shard).index(shard)]
