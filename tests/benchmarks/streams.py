"""Streams of forty requests: the adaptive boundary and its debt cap against always retraining.

    make bench NAME=streams [ARGS="--quick | --whole --seeds 3 --models logistic"]

The data are 10,000 examples of Fashion-MNIST, digits with ``--quick``, all 60,000 with ``--whole``.

40 requests of 10 random examples, one after the other, at the default shards and slices, repayments
included, by ``uk.stream``; medians over the seeds. Every shard that the boundary retrains on the
way is compared, byte for byte with all its checkpoints, with that of always retraining.
"""

import argparse
import sys

import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.data.examples import Dataset


def measure(data: Dataset, model: str, seed: int) -> dict[str, object]:
    """One stream, in one row."""
    session = uk.Session(data, model=model, seed=seed)
    session.train()
    frame = uk.stream(session, seed=seed)
    if not (frame.bit_identical == frame.exact_operations).all():
        raise SystemExit(f"{model}: an exact operation is not bit-identical")
    spec, last = session.spec, frame.iloc[-1]
    return {
        "model": model,
        "num_shards": spec.num_shards,
        "num_slices": spec.num_slices,
        "seed": seed,
        "speed": last.speed,
        "seconds": frame.cpu_seconds.mean(),
        "exact_seconds": frame.exact_cpu_seconds.mean(),
        "exact_operations": int(frame.exact_operations.sum()),
        "approximate_operations": int(frame.approximate_operations.sum()),
        "debt": int(frame.debt.max()),
    }


def measured(data: Dataset, model: str, seed: int) -> list[dict[str, object]]:
    """Return the row of one stream."""
    return [measure(data, model, seed)]


def table_of(rows: list[dict[str, object]]) -> str:
    """Return medians over the seeds as Markdown."""
    lines = [
        "| model | shards x slices | CPU seconds of a request | always retraining | cheaper | "
        "shards modified | retrained, all bit-identical | most debt |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, some in pd.DataFrame(rows).groupby("model", sort=False):
        row = some.median(numeric_only=True)
        lines.append(
            f"| {model} | {row.num_shards:.0f} x {row.num_slices:.0f} | {row.seconds:.2g} | "
            f"{row.exact_seconds:.2g} | {row.speed:.1f}x | {row.approximate_operations:.0f} | "
            f"{row.exact_operations:.0f} | {row.debt:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits")
    parser.add_argument("--whole", action="store_true", help="all of Fashion-MNIST")
    parser.add_argument("--models", nargs="*", default=["logistic", "mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = "digits" if options.quick else "fashion-mnist"
    data = uk.load(name, num_examples=None if options.quick or options.whole else 10_000)
    rows = []
    for model in options.models:
        for seed in range(options.seeds):
            rows += report.once(__file__, measured, data, model, seed)
            print(rows[-1], flush=True)
    print(table_of(rows))
    if options.quick:
        return
    title = f"streams {name}-{len(data.train)}"
    command = report.command(__file__, " ".join(sys.argv[1:]))
    report.keep(title.replace(" ", "-"), command, rows)
    report.publish(
        title,
        rows,
        table_of,
        command,
        file=__file__,
        seeds=report.counted(options.seeds),
        by=lambda row: row["model"],
    )


if __name__ == "__main__":
    main()
