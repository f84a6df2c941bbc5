"""A plain SISA loop, as anyone would write it from the paper (Bourtoule et al. 2021).

It shares nothing with the package: a DataLoader, an ``nn.Module``, ``torch.optim.SGD``, a
``torch.save`` per stage, one shard after the other. Here to be compared with, so it takes shards,
slices and epochs per stage from outside and then does the same work.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class PlainSisa:
    """An ensemble of constituents that are retrained from a checkpoint to forget.

    Args:
        make_model: returns a new module.
        features: of all examples.
        labels: class numbers.
        slices: ``slices[shard][slice]`` holds positions in ``features``.
        epochs: of every stage.
        batch_size: of every batch but an epoch's last.
        learning_rate: of SGD.
        momentum: of SGD.
        weight_decay: of SGD.
        seed: of initial weights and orders.
        folder: for the checkpoints.
    """

    def __init__(
        self,
        make_model: Callable[[], nn.Module],
        features: Tensor,
        labels: Tensor,
        slices: Sequence[Sequence[np.ndarray]],
        epochs: Sequence[int],
        batch_size: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        seed: int,
        folder: Path,
    ) -> None:
        self.make_model = make_model
        self.features, self.labels = features, labels
        self.slices = [list(shard) for shard in slices]
        self.epochs = epochs
        self.batch_size = batch_size
        self.sgd = {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
        self.seed = seed
        self.folder = folder
        self.loss = nn.CrossEntropyLoss()

    def train(self) -> int:
        """Train every shard; returns the number of example gradients."""
        return sum(self.train_shard(shard, first=0) for shard in range(len(self.slices)))

    def unlearn(self, rows: Iterable[int]) -> int:
        """Take rows out and retrain the shards that held them; returns example gradients."""
        gone, visits = np.asarray(list(rows)), 0
        for shard, slices in enumerate(self.slices):
            kept = [part[~np.isin(part, gone)] for part in slices]
            affected = [r for r in range(len(slices)) if len(kept[r]) < len(slices[r])]
            if affected:
                self.slices[shard] = kept
                visits += self.train_shard(shard, first=affected[0])
        return visits

    def train_shard(self, shard: int, first: int) -> int:
        """Train a shard from its stage ``first`` on (from 0), starting at the checkpoint before."""
        model = self.load(shard, first - 1)
        model.train()
        visits = 0
        for stage in range(first, len(self.slices[shard])):
            rows = torch.from_numpy(np.concatenate(self.slices[shard][: stage + 1]))
            data = DataLoader(
                TensorDataset(self.features[rows], self.labels[rows]),
                batch_size=self.batch_size,
                shuffle=True,
                generator=torch.Generator().manual_seed(self.seed + 1000 * shard + stage),
            )
            optimizer = torch.optim.SGD(model.parameters(), **self.sgd)
            for _ in range(self.epochs[stage]):
                for features, labels in data:
                    optimizer.zero_grad()
                    self.loss(model(features), labels).backward()
                    optimizer.step()
                    visits += len(labels)
            torch.save(model.state_dict(), self.path(shard, stage))
        return visits

    def path(self, shard: int, stage: int) -> Path:
        """File of the checkpoint at the end of a stage."""
        return self.folder / f"shard-{shard}-stage-{stage}.pt"

    def load(self, shard: int, stage: int) -> nn.Module:
        """The model at the end of a stage; at -1 the initial one."""
        if stage < 0:
            torch.manual_seed(self.seed + shard)
            return self.make_model()
        model = self.make_model()
        model.load_state_dict(torch.load(self.path(shard, stage)))
        return model

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Mean of the constituents' class probabilities."""
        last = len(self.epochs) - 1
        models = [self.load(shard, last).eval() for shard in range(len(self.slices))]
        return torch.stack([model(features).softmax(1) for model in models]).mean(0)
