"""The headline: how much faster than exact retraining, and how much of the gap is removed.

    make study              Fashion-MNIST, 10,000 examples: logistic regression, MLP, CNN
    make study WHOLE=1      all 60,000 examples (hours on two cores)
    make study QUICK=1      digits, a few minutes

Shards 5 and 10, slices 1 and 5, 20 epochs; requests of 1, 10 and 100 examples, 1 % and 10 %, and a
whole class. Rows are added to ``.bench/study-*.jsonl`` as they are measured, so a run that was
stopped goes on where it was. Prints the cells, and geometric means over them.
"""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import unlearnkit as uk
from unlearnkit import figures

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / ".bench"
CELL = ["model", "num_shards", "num_slices", "kind", "revoked", "policy"]
SHOWN = ["speed", "speed_over_scratch", "gap_removed", "output_kl", "membership_gap"]


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: medians over seeds."""
    columns = [*SHOWN, "exact_shards", "approximate_shards", "seconds", "predicted_seconds"]
    return frame.groupby(CELL, sort=False)[columns].median().reset_index()


def headline(cells: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean of the speed, and the least and median gap removed, by model and policy."""
    cells = cells[cells.policy != "exact"]
    rows = []
    for (model, policy), some in cells.groupby(["model", "policy"], sort=False):
        modified = some[some.approximate_shards > 0]
        rows.append(
            {
                "model": model,
                "policy": policy,
                "cells": len(some),
                "speed over exact": float(np.exp(np.log(some.speed).mean())),
                "speed over scratch": float(np.exp(np.log(some.speed_over_scratch).mean())),
                "of them approximate": len(modified),
                "their speed, least": modified.speed.min(),
                "gap removed, median": modified.gap_removed.median(),
                "gap removed, least": modified.gap_removed.min(),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits")
    parser.add_argument("--whole", action="store_true", help="all of Fashion-MNIST")
    parser.add_argument("--models", nargs="*", default=["logistic", "mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    options = parser.parse_args()
    name = "digits" if options.quick else "fashion-mnist"
    size = None if options.quick or options.whole else 10_000
    data = uk.load(name, num_examples=size)
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / ".gitignore").write_text("*\n")
    title = f"{name}-{len(data.train)}"

    def tell(event: uk.ProgressEvent) -> None:
        print(f"{event.done_visits} of {event.total_visits} requests", flush=True)

    frame = uk.study(
        data,
        models=options.models,
        num_shards=(5, 10),
        num_slices=(1, 5),
        epochs=20,
        seeds=range(options.seeds),
        revoked=(1, 10, 100, 0.01, 0.1, "class"),
        policies={
            "hybrid": uk.FixedBoundary(),
            "adaptive": uk.AdaptiveBoundary(),
            "approximate": uk.FixedBoundary(0.0),
        },
        path=OUTPUT / f"study-{title}.jsonl",
        on_progress=tell,
    )
    cells = summarise(frame)
    best = headline(cells)
    with pd.option_context(
        "display.width", 250, "display.max_columns", 30, "display.max_rows", 500
    ):
        print(cells.to_string(index=False, float_format="{:.3g}".format))
        print(best.to_string(index=False, float_format="{:.3g}".format))
    record = {
        "command": f"python tests/benchmarks/study.py ({title}, {options.seeds} seeds)",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "torch": str(torch.__version__),
        "headline": best.to_dict("records"),
        "cells": cells.to_dict("records"),
    }
    text = json.dumps(record, indent=1, default=float).replace("NaN", "null")
    (HERE / f"study-{title}.json").write_text(text + "\n")
    for draw in (figures.study_speed, figures.study_gap, figures.study_frontier):
        draw(frame).write_html(OUTPUT / f"{draw.__name__}-{title}.html")


if __name__ == "__main__":
    main()
