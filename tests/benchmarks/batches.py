"""DeltaGrad against our method, by the batch size that training uses.

    make bench NAME=batches

DeltaGrad replaces the gradient of most steps by a product with a quasi-Newton Hessian, so what it
saves is the size of a batch, while ours does not take the steps of training at all. Logistic
regression on all of Fashion-MNIST, one shard of one slice, batches of 64 and 1,024 (20 epochs) and
of 10,000 (100 epochs); requests of a thousandth and of a hundredth. DeltaGrad at its default
settings and without a replay, ours with its replay. CPU seconds, one run each.
"""

import time

import numpy as np
import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import output_kl

BATCHES = ((64, 20), (1024, 20), (10_000, 100))  # and epochs
WAYS = {
    "exact": {"boundary": uk.FixedBoundary(1.0)},
    "DeltaGrad": {"boundary": uk.FixedBoundary(0.0), "method": "deltagrad", "amend": "none"},
    "ours": {"boundary": uk.FixedBoundary(0.0)},
}


def measure(data: Dataset, size: int, epochs: int) -> list[dict[str, object]]:
    """A row for each request."""
    session = uk.Session(
        data, model="logistic", num_shards=1, num_slices=1, epochs=epochs, batch_size=size
    )
    session.train()
    inputs, _ = data.examples(data.test.ids)
    before, rows = session.ensemble.probabilities(inputs), []
    for share in (0.001, 0.01):
        generator = np.random.default_rng(1)
        count = round(share * len(data.train))
        ids = generator.choice(data.train.ids, count, replace=False)
        seconds, outputs = {}, {}
        for name, options in WAYS.items():
            fork = session.fork()
            fork.revoke(ids)
            begun = time.process_time()
            fork.unlearn(**options, spot_check=False)
            seconds[name] = time.process_time() - begun
            outputs[name] = fork.ensemble.probabilities(inputs)
        nothing = output_kl(outputs["exact"], before)
        row: dict[str, object] = {"batch": size, "epochs": epochs, "revoked": count}
        for name in ("DeltaGrad", "ours"):
            row[f"{name}, speed"] = seconds["exact"] / seconds[name]
            row[f"{name}, removed"] = 1 - output_kl(outputs["exact"], outputs[name]) / nothing
        rows.append(row)
    return rows


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown."""
    lines = [
        "| batches of | revoked | DeltaGrad: KL removed, speed | ours: KL removed, speed |",
        "|---|---|---|---|",
    ]
    for _, row in pd.DataFrame(rows).iterrows():
        cells = []
        for name in ("DeltaGrad", "ours"):
            removed = row[f"{name}, removed"]
            shown = f"{removed:.0%}" if removed >= 0 else "below 0"
            cells.append(f"{shown}, {row[f'{name}, speed']:.2g}x")
        lines.append(f"| {row.batch:,.0f} | {row.revoked:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    torch.set_num_threads(1)
    data, rows = uk.load("fashion-mnist"), list[dict[str, object]]()
    for size, epochs in BATCHES:
        rows += report.once(__file__, measure, data, size, epochs)
        print(rows[-2:], flush=True)
    print(table_of(rows))
    command = report.command(__file__)
    report.keep("batches", command, rows)
    report.publish("batches", rows, table_of, command, file=__file__, seeds="seed 0")


if __name__ == "__main__":
    main()
