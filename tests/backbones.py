"""Small backbones, with data for them and features computed by other code."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.data.examples import Dataset, Examples

BATCH = 8
SHAPE = (2, 5, 5)
NUM_CLASSES = 3


def backbone(seed: int = 3) -> nn.Module:
    """A small convolutional network with running statistics, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 13)
        )
        layers[1].running_mean.normal_()
    return layers.eval()


def images(count: int = 150, *, twins: int = 0) -> Dataset:
    """Noisy images of three classes, whose parts take turns, so that they share batches.

    Args:
        count: number of rows.
        twins: how many of the last training rows repeat the first ones.
    """
    rng = np.random.default_rng(8)
    labels = rng.integers(0, NUM_CLASSES, count)
    centres = rng.normal(size=(NUM_CLASSES, *SHAPE))
    rows = torch.from_numpy((centres[labels] + rng.normal(size=(count, *SHAPE))).astype("f4"))
    ids, answers = 7 + np.arange(count), torch.from_numpy(labels)
    part = np.arange(count) % 5
    chosen = [np.flatnonzero(mask) for mask in (part < 3, part == 3, part == 4)]
    if twins:
        rows[chosen[0][-twins:]], answers[chosen[0][-twins:]] = (
            each[chosen[0][:twins]].clone() for each in (rows, answers)
        )
    train, probe, test = (Examples(ids[at], rows[at], answers[at]) for at in chosen)
    return Dataset("images", train, probe, test, NUM_CLASSES, ("a", "b", "c"))


def one_by_one(module: Any, dataset: Dataset, batch: int = BATCH) -> dict[int, Tensor]:
    """Features by id: each example alone in a batch of zeros, at the place of its id."""
    found = {}
    for part in (dataset.train, dataset.probe, dataset.test):
        for example, row in zip(part.ids.tolist(), part.features, strict=True):
            rows = torch.zeros(batch, *part.features.shape[1:])
            rows[example % batch] = (row - part.offset) / part.scale
            with torch.no_grad():
                found[example] = module(rows)[example % batch].clone()
    return found


def as_plain(dataset: Dataset, features: dict[int, Tensor]) -> Dataset:
    """A data set that holds features as if they were its raw values."""
    parts = [
        Examples(part.ids, torch.stack([features[i] for i in part.ids.tolist()]), part.labels)
        for part in (dataset.train, dataset.probe, dataset.test)
    ]
    return Dataset("plain", *parts, NUM_CLASSES, ("a", "b", "c"))
