"""Frozen backbones: CPU seconds inside the module, and with features computed once.

    make bench NAME=frozen [ARGS="--quick | --memory 1000000"]

Images of Fashion-MNIST (digits with ``--quick``), a frozen convolutional backbone with random
filters, 5 shards of 3 slices, 20 epochs. The head is trained inside a module that contains the
backbone, as users write it, and with ``uk.Frozen``, whose training includes the trial and the one
pass over the data. Requests of ten examples drawn at random, retrained exactly and modified. The
comparison checks both heads on Frozen's side. With ``--memory`` rows of 16 bytes become 512
features in a store, and the growth of the process's anonymous memory is measured instead.
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

SIZES = (1_000,)
HEADS = {"logistic": uk.MODELS["logistic"], "mlp": uk.MLP((64,))}
OPTIONS = {"num_shards": 5, "num_slices": 3, "epochs": 20, "seed": 0}
REVOKED, WIDTH = 10, 512


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
    """A row for each way."""
    backbone, outputs = filters(data.feature_shape[0]), data.num_outputs
    ways = {
        "inside the module": lambda: Inside(backbone, kind, outputs),
        "uk.Frozen": uk.Frozen(backbone, head=HEADS[kind]),
    }
    ids = np.random.default_rng(1).choice(data.train.ids, REVOKED, replace=False)
    rows = []
    for name, model in ways.items():
        # The rate is the same for both, so that both do the same work.
        session = uk.Session(data, model=model, learning_rate=0.005, threads=1, **OPTIONS)
        train = cpu_seconds(lambda session=session: session.train(on_progress=False))
        row: dict[str, object] = {"examples": len(data.train), "head": kind, "way": name}
        row["train"] = train
        for what, share in (("exact", 1.0), ("approximate", 0.0)):
            fork = session.fork()
            fork.revoke(ids)
            row[what] = cpu_seconds(
                lambda fork=fork, share=share: fork.unlearn(
                    share, spot_check=False, on_progress=False
                )
            )
        rows.append({**row, "accuracy": session.accuracy()["test"]})
    return rows


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown."""
    shown = [
        {
            **{name: row[name] for name in ("head", "way")},
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
            rows += measure(data, kind)
            print(table_of(rows[-2:]), flush=True)
    chosen = [] if options.heads == list(HEADS) else ["--heads", *options.heads]
    command = report.command(__file__, " ".join(["--quick"] * options.quick + chosen))
    report.keep("frozen-quick" if options.quick else "frozen", command, rows)
    if not options.quick:
        report.put("frozen", table_of(rows), command)


if __name__ == "__main__":
    main()
