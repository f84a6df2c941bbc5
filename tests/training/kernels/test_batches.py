"""Batches of several lanes hold the retained examples and zeros."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.models.architecture import as_architecture
from unlearnkit.training.kernels.batches import BatchReader
from unlearnkit.training.plan import make_plan


def make(model, data, **options):
    spec = uk.TrainSpec(**{"num_shards": 4, "num_slices": 2, "epochs": 4, **options})
    architecture = as_architecture(model, data.feature_shape, data.num_classes)
    return make_plan(data.train, architecture, spec)


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float32, scaled", "16 wide", "transposed"])
def test_batches_hold_the_retained_and_zeros(kind, small, monkeypatch):
    """Also in columns beyond the inputs; revoked examples are poisoned, so reading one shows."""
    monkeypatch.setattr("unlearnkit.training.kernels.batches.SMALL", small)
    generator, width = torch.Generator().manual_seed(1), 16 if kind == "16 wide" else 5
    raw = torch.rand((40, width), generator=generator) * 200
    features = raw.to(torch.uint8) if kind == "uint8" else raw
    scaling = {} if kind in ("float32", "16 wide") else {"offset": 3.0, "scale": 7.0}
    labels = torch.arange(40) % 2
    data = uk.from_arrays(features, labels, **scaling)
    plan = make("logistic", data, num_shards=2, num_slices=2)
    plan = plan.without(plan.partition.ids[::3])
    examples = plan.examples
    poisoned = examples.features.clone()
    gone = examples.rows(plan.partition.ids[~plan.retained])
    poisoned[gone] = 255 if kind == "uint8" else torch.nan
    if kind == "transposed":
        poisoned = poisoned.T.contiguous().T
    plan = replace(plan, examples=replace(examples, features=poisoned))
    rows = plan.partition.shard_rows(1)
    rows = np.concatenate([np.where(plan.retained[rows], rows, -1), [-1, -1]])
    reader, alive = BatchReader(plan, [1]), rows >= 0
    positions = torch.from_numpy(reader.positions(rows, alive))
    [empty] = reader.empty(alive[None])
    assert (empty is None) == bool(small)
    batch = torch.zeros(len(rows), 16)
    reader.read(positions, empty, batch)
    inputs, labels = examples[plan.partition.ids[rows[alive]]]
    assert torch.equal(batch[alive][:, :width], inputs)
    assert not batch[~alive].any() and not batch[:, width:].any()
    targets = reader.targets(positions, torch.from_numpy(alive))
    assert torch.equal(targets[alive], labels) and not targets[~alive].any()
