"""Tiny seeded problems: every one trains in a moment and is awkward in its own way.

Ids are never positions (7, 10, 13, ...), features are floats so that they can hold NaN, and widths,
shard sizes and batch sizes do not divide one another.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from unlearnkit import CNN, MLP, Session, TrainSpec
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.training.partition import Partition
from unlearnkit.training.plan import Plan, make_plan

NUM_CLASSES = 3
NUM_PROBE, NUM_TEST = 8, 12


@dataclass(frozen=True)
class Case:
    """A problem: data, model and spec.

    Attributes:
        name: its key in :data:`CASES`.
        model: makes a module for (feature shape, number of outputs).
        spec: how to train.
        feature_shape: of one example.
        num_examples: in the training part.
        slice_sizes: examples of every slice of every shard, for a partition made by hand; the
            product makes the partition if there are none.
        num_targets: of a regression; 0 for classes.
    """

    name: str
    model: Callable[[tuple[int, ...], int], nn.Module]
    spec: TrainSpec
    feature_shape: tuple[int, ...]
    num_examples: int
    slice_sizes: tuple[tuple[int, ...], ...] = ()
    num_targets: int = 0

    def dataset(self) -> Dataset:
        """Three noisy blobs, split into training, probe and test part.

        Targets, if there are some, are noisy sums over the blobs' features.
        """
        rng = np.random.default_rng(len(self.name))
        count = self.num_examples + NUM_PROBE + NUM_TEST
        labels = rng.integers(0, NUM_CLASSES, count)
        centres = rng.normal(size=(NUM_CLASSES, *self.feature_shape))
        features = (centres[labels] + rng.normal(size=(count, *self.feature_shape))) / 2
        answers = torch.from_numpy(labels.astype(np.int64))
        if self.num_targets:
            flat = features.reshape(count, -1)
            noise = rng.normal(size=(count, self.num_targets)) / 4
            targets = flat @ rng.normal(size=(flat.shape[1], self.num_targets)) / 2 + noise
            answers = torch.from_numpy(targets.astype(np.float32))
        ids = 7 + 3 * np.arange(count)
        bounds = [0, self.num_examples, self.num_examples + NUM_PROBE, count]
        parts = [
            Examples(
                ids[a:b],
                torch.from_numpy(features[a:b].astype(np.float32)),
                answers[a:b].clone(),
            )
            for a, b in pairwise(bounds)
        ]
        train, probe, test = parts
        if self.num_targets:
            return Dataset(self.name, train, probe, test, 0, ())
        return Dataset(self.name, train, probe, test, NUM_CLASSES, ("a", "b", "c"))

    def partition(self, examples: Examples) -> Partition | None:
        """The partition made by hand, if the case has one."""
        if not self.slice_sizes:
            return None
        places = [(s, r + 1) for s, sizes in enumerate(self.slice_sizes) for r in range(len(sizes))]
        dealt = np.repeat(places, [size for sizes in self.slice_sizes for size in sizes], axis=0)
        shuffled = np.random.default_rng(5).permutation(dealt).astype(np.int32)
        return Partition(examples.ids, shuffled[:, 0], shuffled[:, 1], examples.digests)

    def architecture(self) -> Architecture:
        """The model, checked."""
        return as_architecture(self.model, self.feature_shape, self.num_targets or NUM_CLASSES)

    def session(self, **options: Any) -> Session:
        """A session that is not trained yet."""
        data = self.dataset()
        options = {"spec": self.spec, "partition": self.partition(data.train), **options}
        return Session(data, model=self.model, **options)

    def waiting(self, count: int) -> Session:
        """A trained session in which this number of examples wait to be forgotten."""
        session = self.session()
        session.train()
        session.revoke(count=count, seed=2)
        return session


def norm_and_dropout(feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """A perceptron with both batch statistics and dropout."""
    width = torch.Size(feature_shape).numel()
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(width, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(9, num_outputs),
    )


def stop_after(count: int) -> dict[str, Any]:
    """Arguments that cancel a run at its event number ``count``."""
    cancel, events = threading.Event(), iter(range(1, count))
    return {
        "cancel": cancel,
        "on_progress": lambda event: None if next(events, None) else cancel.set(),
    }


# Rates are high for such small data: a wrong step then shows in the bits at once.
SMALL = TrainSpec(num_shards=3, num_slices=2, epochs=3, batch_size=5, learning_rate=0.05)

CASES = {
    case.name: case
    for case in (
        # Stage R has 6 epochs, so that both tails lie inside it.
        Case("logistic", Logistic(), SMALL.with_(epochs=9), (6,), 44),
        Case(
            "mlp-dropout",
            MLP((7, 5), dropout=0.3),
            SMALL.with_(num_shards=2, num_slices=3, epochs=4, batch_size=4, seed=3),
            (5,),
            37,
        ),
        # 13 and 12 examples in batches of 4: a full shard already has a batch of one example.
        Case(
            "cnn-batchnorm",
            CNN((3, 5), batch_norm=True),
            SMALL.with_(num_shards=2, batch_size=4, epochs=4, learning_rate=0.02),
            (1, 8, 8),
            25,
        ),
        # Slices of one example; the smallest shard has three examples, the largest twenty.
        Case(
            "uneven",
            norm_and_dropout,
            SMALL.with_(num_slices=3, epochs=5, batch_size=6),
            (4,),
            34,
            slice_sizes=((1, 1, 1), (1, 6, 4), (11, 1, 8)),
        ),
        Case(
            "adam",
            MLP((6,), "relu"),
            SMALL.with_(optimizer="adam", learning_rate=0.01),
            (5,),
            31,
        ),
        Case(
            "adamw",
            norm_and_dropout,
            SMALL.with_(optimizer="adamw", learning_rate=0.01, epochs=4),
            (5,),
            31,
        ),
        Case(
            "squared-error",
            MLP((6,), activation="tanh"),
            SMALL.with_(loss="squared-error", epoch_rule="equal_work"),
            (4,),
            29,
        ),
        Case(
            "regression",
            MLP((7,), dropout=0.2),
            SMALL.with_(loss="squared-error"),
            (5,),
            33,
            num_targets=1,
        ),
        # The loop, and two targets.
        Case(
            "regression-norm",
            norm_and_dropout,
            SMALL.with_(loss="squared-error", learning_rate=0.02),
            (4,),
            31,
            num_targets=2,
        ),
    )
}


def shard_ids(session: Session, shard: int) -> list[int]:
    """Return the ids of a shard, revoked ones among them."""
    partition = session.plan.partition
    return partition.ids[partition.shard == shard].tolist()


def of_slice(session, shard, stage):
    """Return an example of this slice that is not revoked yet."""
    partition, alive = session.plan.partition, session.plan.retained
    return int(partition.ids[(partition.shard == shard) & (partition.slice_ == stage) & alive][0])


def plan_of(case: Case, revoked: np.ndarray | tuple[int, ...] = (), kernel: str = "auto") -> Plan:
    """Return the plan of a case, without these of its examples."""
    examples = case.dataset().train
    return make_plan(
        examples,
        case.architecture(),
        case.spec.with_(kernel=kernel),
        partition=case.partition(examples),
        revoked=revoked,
    )
