"""The comparison: it leaves everything as it was, and identical means all bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import CASES
from unlearnkit.evaluation import parameters, representations
from unlearnkit.evaluation.retrained import same_bytes
from unlearnkit.store import Checkpoint


def test_looking_leaves_the_global_generators_alone(mixed):
    comparison, dataset = mixed
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    parameters.parameter_sample(comparison, comparison.shards[0])
    representations.twin_embedding(comparison, dataset, comparison.shards[0])
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before


def checkpoint(state: float = 1.0, **tails: float) -> Checkpoint:
    def tensors(value: float) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor([value, 2.0]), "n": torch.tensor(3)}

    states = {int(q.removeprefix("q")): tensors(value) for q, value in tails.items()}
    return Checkpoint("key", 0, 1, tensors(state), states)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (checkpoint(), checkpoint(), True),
        (checkpoint(q1=4.0, q2=5.0), checkpoint(q1=4.0, q2=5.0), True),
        (checkpoint(1.0), checkpoint(1.5), False),
        (checkpoint(0.0), checkpoint(-0.0), False),  # equal numbers, other bytes
        (checkpoint(float("nan")), checkpoint(float("nan")), False),  # NaN equals nothing
        (checkpoint(q1=4.0), checkpoint(q1=4.5), False),
        (checkpoint(q1=4.0, q2=5.0), checkpoint(q1=4.0, q2=5.5), False),
        (checkpoint(q1=4.0), checkpoint(q2=4.0), False),
        (checkpoint(q1=4.0), checkpoint(), False),
        (checkpoint(), checkpoint(q1=4.0), False),
    ],
)
def test_checkpoints_are_the_same_where_all_bytes_are_tails_included(a, b, same) -> None:
    assert same_bytes(a, b) is same and same_bytes(b, a) is same


def test_a_tail_that_differs_shows_in_the_comparison() -> None:
    session = CASES["logistic"].session()
    session.train()
    session.revoke(count=4)
    session.unlearn(1)
    assert session.compare().constituents["checkpoints_identical"].all()
    key = session.plan.final_key(session.last.decision.exact[0])
    kept = session.store.get(key)
    (q, tail), *_ = kept.tails.items()
    off = {name: value + 1e-6 for name, value in tail.items()}
    session.store.put(replace(kept, tails={**kept.tails, q: off}))
    rows = session.compare().constituents
    # What is told to be bit-identical is the model; this stage's checkpoint is not.
    assert rows["bit_identical"].all()
    assert rows["checkpoints_identical"].tolist().count(False) == 1
