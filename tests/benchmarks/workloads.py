"""The workloads of the engine's benchmark, and how each side does them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_sisa import PlainSisa
from torch import Tensor, nn

import unlearnkit as uk
from unlearnkit.data.examples import Dataset
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.store import MemoryStore
from unlearnkit.training.clock import Clock
from unlearnkit.training.ensemble import assemble
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train as train_plan
from unlearnkit.unlearning.unlearn import unlearn as unlearn_ids


@dataclass(frozen=True)
class Workload:
    """A dataset, a model and a spec.

    Attributes:
        name: as in the issue's table.
        data: ``digits``, ``fashion`` or ``generated``.
        shape: of an example.
        classes: number of them.
        rows: of the training part.
        model: of the package.
        plain: makes the same model without the package.
        spec: how to train.
        targets: ratios asked for: train all, unlearn 1, unlearn 20.
    """

    name: str
    data: str
    shape: tuple[int, ...]
    classes: int
    rows: int
    model: Any
    plain: Callable[[], nn.Module]
    spec: uk.TrainSpec
    targets: tuple[float, float, float]

    def smaller(self, rows: int) -> "Workload":
        """The same with fewer rows."""
        if rows >= self.rows:
            return self
        return replace(self, rows=rows, name=self.name.replace("20k", f"{rows:,} rows"))

    @cached_property
    def dataset(self) -> Dataset:
        """Training rows, and a probe and test part of 2,000 rows at most."""
        if self.data == "digits":
            return uk.load("digits")
        if self.data == "fashion":
            try:
                return uk.load("fashion-mnist", num_examples=self.rows)
            except FileNotFoundError:
                print("Fashion-MNIST is absent; generated rows stand in")
        features, labels = generate(self.rows + 4000, self.shape, self.classes)
        n = self.rows
        return uk.from_arrays(
            features[:n],
            labels[:n],
            probe=(features[n : n + 2000], labels[n : n + 2000]),
            test=(features[n + 2000 :], labels[n + 2000 :]),
            num_classes=self.classes,
            name="generated",
        )

    @cached_property
    def architecture(self) -> Architecture:
        """The model, checked."""
        return as_architecture(self.model, self.dataset.feature_shape, self.classes)

    @cached_property
    def plan(self) -> Plan:
        """Of all rows."""
        return make_plan(self.dataset.train, self.architecture, self.spec)

    @cached_property
    def arrays(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels as the plain loop wants them: floats, all in memory."""
        return self.dataset.train.inputs(), self.dataset.train.labels

    def request(self, count: int, number: int) -> np.ndarray:
        """Ids to forget. A single one comes from each slice in turn, so that a few are fair."""
        generator = np.random.default_rng(number)
        ids, slices = self.plan.partition.ids, self.plan.partition.slice_
        if count == 1:
            ids = ids[slices == number % self.spec.num_slices + 1]
        return np.sort(generator.choice(ids, count, replace=False))


class Ours:
    """Our side of a workload."""

    def __init__(self, work: Workload) -> None:
        self.work, self.store = work, MemoryStore()

    def train(self) -> int:
        """Everything from raw rows on: digests, partition, plan, schedule, training, storing."""
        examples = replace(self.work.dataset.train)  # a new one, without the digests kept so far
        self.plan = make_plan(examples, self.work.architecture, self.work.spec)
        self.store = MemoryStore()
        report = train_plan(self.plan, self.store)
        self.clock = Clock().observe(report.timed, report.tick)
        return report.visits

    def prepare(self) -> None:
        """Keep the trained store as it is: the next request changes a copy."""
        self.copy = self.store.fork()

    def unlearn(self, ids: np.ndarray) -> int:
        """The public function: estimate, decide, retrain, store, destroy."""
        always = uk.FixedBoundary(1.0)
        return unlearn_ids(self.plan, self.copy, ids, always, clock=self.clock).visits

    def predict(self, features: Tensor) -> Tensor:
        """Class probabilities."""
        return assemble(self.plan, self.store).probabilities(features)


class Plain:
    """The plain loop's side of a workload."""

    def __init__(self, work: Workload) -> None:
        self.work, self.partition = work, work.plan.partition
        self.folder = tempfile.TemporaryDirectory()
        self.prepare()

    def prepare(self) -> None:
        """Shards and slices as ours, nothing forgotten; checkpoints on disk stay."""
        spec, partition = self.work.spec, self.partition
        slices = [
            [
                np.flatnonzero((partition.shard == s) & (partition.slice_ == r))
                for r in range(1, spec.num_slices + 1)
            ]
            for s in range(spec.num_shards)
        ]
        self.sisa = PlainSisa(
            self.work.plain,
            *self.work.arrays,
            slices,
            spec.stage_epochs(),
            spec.batch_size,
            spec.learning_rate,
            spec.momentum,
            spec.weight_decay,
            spec.seed,
            Path(self.folder.name),
        )

    def train(self) -> int:
        """Every shard."""
        return self.sisa.train()

    def unlearn(self, ids: np.ndarray) -> int:
        """The shards hit, from the checkpoint before the first affected slice."""
        return self.sisa.unlearn(self.partition.rows(ids))

    def predict(self, features: Tensor) -> Tensor:
        """Class probabilities."""
        return self.sisa.predict(features)


def generate(rows: int, shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Binary features and the labels that a random linear teacher gives them, with noise."""
    generator = torch.Generator().manual_seed(0)
    features = torch.empty(rows, *shape).bernoulli_(0.3, generator=generator)
    width = features[0].numel()
    teacher = torch.randn(width, classes, generator=generator) / width**0.5
    scores = features.flatten(1) @ teacher
    scores += 0.3 * scores.std() * torch.randn(scores.shape, generator=generator)
    return features, (scores - scores.mean(0)).argmax(1)


def perceptron(*widths: int) -> Callable[[], nn.Module]:
    """A plain multi-layer perceptron."""

    def make() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(widths[:-1]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(*widths[-2:]))

    return make


def small_cnn() -> nn.Module:
    """A plain CNN: two convolutions that halve the image, and a linear head."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 10),
    )


def pooled_cnn() -> nn.Module:
    """A larger CNN, as tutorials have it: 16 and 32 channels, each pooled."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def _spec(shards: int, slices: int, batch: int, per_stage: int, rate: float) -> uk.TrainSpec:
    """A spec with so many epochs in every stage."""
    epochs = per_stage * (slices + 1) // 2
    return uk.TrainSpec(
        num_shards=shards,
        num_slices=slices,
        batch_size=batch,
        epochs=epochs,
        learning_rate=rate,
    )


def workloads() -> dict[str, Workload]:
    """All of them, by short name."""
    lr, mlp, image = Logistic(), uk.MLP, (1, 28, 28)
    return {
        "digits": Workload(
            "digits LR, S=20 R=5 B32",
            "digits",
            (1, 8, 8),
            10,
            1297,
            lr,
            perceptron(64, 10),
            _spec(20, 5, 32, 6, 0.03),
            (25, 8, 20),
        ),
        "lr64": Workload(
            "LR 64-10 on 20k, S=20 R=5 B32",
            "generated",
            (64,),
            10,
            20_000,
            lr,
            perceptron(64, 10),
            _spec(20, 5, 32, 2, 0.03),
            (40, 7, 30),
        ),
        "purchase": Workload(
            "Purchase-shaped LR 600-2, 20k, S=20 R=5 B32",
            "generated",
            (600,),
            2,
            20_000,
            lr,
            perceptron(600, 2),
            _spec(20, 5, 32, 2, 0.01),
            (14, 5, 14),
        ),
        "mlp600": Workload(
            "MLP 600-128-100, 20k, S=20 R=5 B32",
            "generated",
            (600,),
            100,
            20_000,
            mlp((128,), "relu"),
            perceptron(600, 128, 100),
            _spec(20, 5, 32, 2, 0.01),
            (5, 3.5, 5),
        ),
        "mlp784": Workload(
            "MLP 784-256-10 Fashion-MNIST 20k, S=10 R=4 B64",
            "fashion",
            image,
            10,
            20_000,
            mlp((256,), "relu"),
            perceptron(784, 256, 10),
            _spec(10, 4, 64, 2, 0.003),
            (2.5, 2.5, 2.5),
        ),
        "cnn": Workload(
            "small CNN 28x28 Fashion-MNIST 20k, S=5 R=2 B128",
            "fashion",
            image,
            10,
            20_000,
            uk.CNN(),
            small_cnn,
            _spec(5, 2, 128, 2, 0.01),
            (1.5, 1.5, 1.5),
        ),
        "pooled": Workload(
            "pooled CNN 28x28 Fashion-MNIST 5k, S=5 R=2 B128",
            "fashion",
            image,
            10,
            5_000,
            pooled_cnn,
            pooled_cnn,
            _spec(5, 2, 128, 2, 0.01),
            (1.5, 1.5, 1.5),
        ),
    }
