"""KLoM and U-LiRA on the forget set: a population of unlearned models beside retrained ones.

    python tests/benchmarks/klom.py [--seeds 16] [--quick]

10,000 examples of Fashion-MNIST (digits with ``--quick``), a perceptron, 5 slices, a hundredth of
the training examples revoked at random, the same for every seed. Each seed is trained once,
unlearned approximately in every shard, and retrained. Models are kept in ``.bench`` as they are
made, so a run that was stopped goes on where it was; take the files away after a change of the
methods. Prints a table, with doing nothing and the null between two halves of the retrained models,
and writes it to ``klom.json`` beside this file.
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

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / ".bench"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="digits")
    options = parser.parse_args()
    name = "digits" if options.quick else "fashion-mnist"
    data = uk.load(name, num_examples=None if options.quick else 10_000)
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / ".gitignore").write_text("*\n")
    ids = data.train.ids
    ids = np.random.default_rng(0).choice(ids, len(ids) // 100, replace=False)
    rows = []
    for amend in ("replay", "rewind-and-replay"):
        population = uk.populate(
            data,
            ids,
            seeds=range(options.seeds),
            amend=amend,
            model="mlp",
            num_slices=5,
            path=OUTPUT / f"klom-{name}-{amend}.jsonl",
            on_progress=lambda event: print(f"{event.done_visits} models", flush=True),
        )
        for kind in ("original", "unlearned"):
            klom, ulira = uk.klom(population, kind), uk.ulira(population, kind)
            fitted = uk.klom(population, kind, estimator="gaussian")
            rows.append(
                {
                    "amend": amend,
                    "models": kind,
                    "klom": klom.value,
                    "interval": klom.interval,
                    "note": klom.note,
                    "klom, Gaussians": fitted.value,
                    "interval, Gaussians": fitted.interval,
                    "note, Gaussians": fitted.note,
                    "u-lira": ulira.value,
                    "u-lira interval": ulira.interval,
                }
            )
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))
    record = {
        "command": "python tests/benchmarks/klom.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "torch": str(torch.__version__),
        "rows": rows,
    }
    if not options.quick:
        (HERE / "klom.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
