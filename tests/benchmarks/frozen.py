"""Frozen backbones: CPU seconds inside the module, and with features computed once.

    make bench NAME=frozen [ARGS="--quick | --memory 1000000"]

Images of Fashion-MNIST (digits with ``--quick``), and texts of random words that differ in
frequency between two classes; frozen convolutional backbones with random filters, 5 shards of 3
slices, 20 epochs. The head is trained inside a module that contains the backbone, as users write
it, and with ``uk.Frozen``, whose training includes the trial and the one pass over the data. Inside
the module texts are token ids that were made beforehand; ``uk.Frozen`` is given the strings.
Requests of ten examples drawn at random, retrained exactly and modified. With ``--memory`` rows of
16 bytes become 512 features in a store, and the growth of the process's anonymous memory is
measured instead.
"""

import argparse
import copy
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import report
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.data.examples import Dataset

INSIDE, FROZEN = "inside the module", "uk.Frozen"
SIZES = (1_000,)
HEADS = {"logistic": uk.MODELS["logistic"], "mlp": uk.MLP((64,))}
OPTIONS = {"num_shards": 5, "num_slices": 3, "epochs": 20, "seed": 0}
REVOKED, WIDTH = 10, 512
WORDS, LENGTH = 500, 24  # of texts


def filters(channels: int) -> nn.Module:
    """A convolutional network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
    ).eval()


class TextFilters(nn.Module):
    """A convolutional network over token ids with random weights, in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(WORDS + 1, 64)
        self.layers = nn.Sequential(
            nn.Conv1d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(128, 128, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(8),
            nn.Flatten(),
        )
        self.eval()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Features of texts."""
        return self.layers(self.embed(tokens).mT)


def tokens_of(strings: list[str]) -> torch.Tensor:
    """Token ids of texts, padded to a fixed length: words are their numbers."""
    found = torch.full((len(strings), LENGTH), WORDS)
    for row, text in zip(found, strings, strict=True):
        numbers = [int(word) for word in text.split()[:LENGTH]]
        row[: len(numbers)] = torch.tensor(numbers)
    return found


def texts(count: int) -> tuple[list[str], np.ndarray]:
    """Texts of random words and their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    likely = rng.dirichlet(np.full(WORDS, 0.3), 2)
    return [
        " ".join(map(str, rng.choice(WORDS, int(rng.integers(8, LENGTH)), p=likely[label])))
        for label in labels
    ], labels


def head(kind: str, outputs: int) -> nn.Module:
    """The head, with the layers of the built-in model."""
    return HEADS[kind]((1024,), outputs)


class Inside(nn.Module):
    """Backbone and head in one module."""

    def __init__(self, backbone: nn.Module, kind: str, outputs: int) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.head = head(kind, outputs)

    def train(self, mode: bool = True) -> "Inside":
        """The backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Outputs of the head."""
        return self.head(self.backbone(rows))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a piece of work."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(data: Dataset, kind: str) -> list[dict[str, object]]:
    """Rows for the two ways to train a head on images."""
    backbone = filters(data.feature_shape[0])
    ways = {
        INSIDE: (data, lambda: Inside(backbone, kind, data.num_outputs)),
        FROZEN: (data, uk.Frozen(backbone, head=HEADS[kind])),
    }
    return [measured("images", kind, name, *way) for name, way in ways.items()]


def measure_texts(count: int, kind: str) -> list[dict[str, object]]:
    """Rows for the two ways to train a head on texts."""
    strings, labels = texts(count)
    backbone = TextFilters()
    ids = uk.from_arrays(tokens_of(strings), labels, dtype=torch.int64)
    words = uk.from_arrays(strings, labels, dtype=str)
    encoder = uk.Frozen(lambda given: backbone(tokens_of(given)), head=HEADS[kind])
    ways = {INSIDE: (ids, lambda: Inside(backbone, kind, 2)), FROZEN: (words, encoder)}
    return [measured("texts", kind, name, *way) for name, way in ways.items()]


def measured(
    what: str, kind: str, way: str, data: Dataset, model: Callable[[], nn.Module] | uk.Frozen
) -> dict[str, object]:
    """A row: CPU seconds of training, of retraining exactly and of modifying, and the accuracy."""
    # The rate is the same for both ways, so that both do the same work.
    session = uk.Session(data, model=model, learning_rate=0.005, threads=1, **OPTIONS)
    row: dict[str, object] = {"data": what, "examples": len(data.train), "head": kind, "way": way}
    row["train"] = cpu_seconds(lambda: session.train(on_progress=False))
    ids = np.random.default_rng(1).choice(data.train.ids, REVOKED, replace=False)
    for name, share in (("exact", 1.0), ("approximate", 0.0)):
        fork = session.fork()
        fork.revoke(ids)
        row[name] = cpu_seconds(
            lambda fork=fork, share=share: fork.unlearn(share, spot_check=False, on_progress=False)
        )
    return {**row, "accuracy": session.accuracy()["test"]}


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown."""
    shown = [
        {
            **{name: row[name] for name in ("data", "head", "way")},
            "examples": f"{row['examples']:,}",
            **{name: f"{row[name]:.3g}" for name in ("train", "exact", "approximate")},
            "test accuracy": f"{row['accuracy']:.3f}",
        }
        for row in rows
    ]
    return report.markdown(pd.DataFrame(shown))


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 0


def memory(count: int) -> dict[str, object]:
    """Growth of anonymous memory in training a head on features of so many rows, in a store."""
    torch.manual_seed(0)
    rows = torch.randint(0, 256, (count, 16), dtype=torch.uint8)
    labels = (rows[:, 0] > 127).long()
    data = uk.from_arrays(rows, labels, offset=128, scale=128)
    backbone = nn.Sequential(nn.Linear(16, WIDTH), nn.Tanh()).eval()
    most, stop = [anonymous()], threading.Event()
    before = most[0]

    def watch() -> None:
        while not stop.wait(0.02):
            most.append(max(most.pop(), anonymous()))

    with tempfile.TemporaryDirectory() as folder:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            session = uk.Session(
                data,
                model=uk.Frozen(backbone, batch_size=512),
                store=folder,
                num_shards=10,
                num_slices=1,
                epochs=1,
                batch_size=256,
                threads=1,
            )
            seconds = cpu_seconds(lambda: session.train(on_progress=False))
            session.revoke(data.train.ids[:REVOKED])
            session.unlearn(1.0, on_progress=False)
        finally:
            stop.set()
            watcher.join()
        size = (Path(folder) / "features.bin").stat().st_size
    return {
        "rows": count,
        "features": WIDTH,
        "file MB": size / 1e6,
        "anonymous MB": (most[0] - before) / 1e6,
        "train, CPU s": seconds,
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits, one size")
    parser.add_argument("--memory", type=int, help="number of rows whose memory is measured")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    options = parser.parse_args()
    if options.memory:
        found = memory(options.memory)
        table = report.markdown(pd.DataFrame([{n: f"{v:,.0f}" for n, v in found.items()}]))
        print(table)
        command = report.command(__file__, f"--memory {options.memory}")
        report.keep("frozen-memory", command, found)
        report.put("frozen memory", table, command)
        return
    rows = []
    for size in SIZES[:1] if options.quick else SIZES:
        data = uk.load("digits" if options.quick else "fashion-mnist", num_examples=size)
        for kind in options.heads:
            rows += [*measure(data, kind), *measure_texts(len(data.train), kind)]
            print(table_of(rows[-4:]), flush=True)
    chosen = [] if options.heads == list(HEADS) else ["--heads", *options.heads]
    command = report.command(__file__, " ".join(["--quick"] * options.quick + chosen))
    report.keep("frozen-quick" if options.quick else "frozen", command, rows)
    if not options.quick:
        report.put("frozen", table_of(rows), command)


if __name__ == "__main__":
    main()
