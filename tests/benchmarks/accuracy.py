"""How accurate the default learning rates are, beside the best of a grid, and what sharding costs.

    make bench NAME=accuracy          digits, and 10,000 and 60,000 examples of Fashion-MNIST
    ... ARGS=--full                   the whole grid at every size, five seeds (a day on two cores)
    ... ARGS=--quick                  one fold of digits, a perceptron and logistic regression
    ... ARGS="--only 60000"           cells with this text in data, examples, model or shards

Logistic regression, a perceptron and a CNN, 1, 5 and 10 shards of the default slices. The grid has
the rates 1, 3, 10 and 30 times ``OLD``, the defaults of unlearnkit up to November 2026; batches of
32 and 64; and, for Fashion-MNIST, inputs that are centred by published constants, as they are by
default, or mapped to -1..1. Of the grid the setting is taken that is most accurate on the probe
part, with seed 0, and this one and the default are compared on the test part. The seed determines
the partition, the initial weights and the order of examples; of digits, whose test part is small,
it also determines the test part, which is another fifth of all examples in each of five seeds.

Without ``--full`` the grid of Fashion-MNIST has batches of 32 only, that of the slow cells is
thinner still (``grid_of``), and slow cells have fewer seeds (``seeds_of``). Rows are added to
``.bench/accuracy.jsonl`` as they are measured, so a run that was stopped goes on where it was.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.data.examples import Dataset, Examples

OLD = {
    "digits": {"logistic": 0.03, "mlp": 0.03, "cnn": 0.01},
    "fashion-mnist": {"logistic": 0.001, "mlp": 0.003, "cnn": 0.003},
}
TIMES = (1, 3, 10, 30)
SLICES = {"digits": 3, "fashion-mnist": 5}
SHARDS = (1, 5, 10)
HALF = 127.5  # offset and scale that map pixels, 0..255, to -1..1
FOLDS, PROBE = 5, 141  # digits: 359 for testing, 141 probe examples, 1,297 for training
CELL = ["data", "examples", "model", "shards"]


@dataclass(frozen=True)
class Cell:
    """A dataset, its number of training examples, a model and a number of shards."""

    data: str
    examples: int
    model: str
    shards: int

    @property
    def slow(self) -> bool:
        """Whether one training takes more than ten CPU seconds."""
        return (self.model == "cnn" and self.data != "digits") or self.examples > 10_000


@dataclass(frozen=True)
class Setting:
    """How to train; without a rate and a batch size as the package does by default."""

    rate: float | None = None
    batch: int | None = None
    centred: bool = True


DEFAULT = Setting()


def grid_of(cell: Cell, full: bool) -> list[Setting]:
    """The settings that are tried."""
    old = OLD[cell.data][cell.model]
    centred = (True,) if cell.data == "digits" else (True, False)
    times, batches = TIMES, (32, 64)
    if not full and (cell.data != "digits" or cell.model == "cnn"):
        batches, times = (32,), (1, 3, 10)
    if not full and cell.slow and cell.model != "logistic":
        times = (3, 10) if cell.examples == 10_000 else (1, 3)
        centred = centred if cell.shards == 10 and cell.model != "cnn" else (True,)
    return [Setting(float(f"{old * t:.3g}"), b, c) for t, b, c in product(times, batches, centred)]


def seeds_of(cell: Cell, full: bool) -> range:
    """Seeds of the default and of the best of the grid."""
    return range(5 if full or cell.data == "digits" else 1 if cell.slow else 3)


@lru_cache(maxsize=2)
def load(name: str, examples: int, fold: int, centred: bool) -> Dataset:
    """A dataset; digits with the fifth ``fold`` of all examples as its test part."""
    data = uk.load(name, num_examples=examples)
    if name == "digits":
        return rotated(data, fold % FOLDS)
    if centred:
        return data
    parts = {k: replace(part, offset=HALF, scale=HALF) for k, part in data.parts.items()}
    return replace(data, **parts, input_span=2.0)


def rotated(data: Dataset, fold: int) -> Dataset:
    """The same examples in other parts."""
    features = torch.cat([part.features for part in data.parts.values()])
    labels = torch.cat([part.labels for part in data.parts.values()])
    num_test = len(labels) // FOLDS
    order = np.roll(np.arange(len(labels)), -fold * num_test)

    def part(rows: np.ndarray) -> Examples:
        ids = np.sort(rows)
        return replace(data.train, ids=ids, features=features[ids], labels=labels[ids])

    bounds = [num_test, num_test + PROBE]
    test, probe, train = map(part, np.split(order, bounds))
    return replace(data, train=train, probe=probe, test=test)


class Log:
    """Measured rows, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = {row.pop("key"): row for row in map(json.loads, lines)}

    def measure(self, cell: Cell, setting: Setting, seed: int) -> dict[str, object]:
        """Train and return accuracies; from the file if they are there."""
        fold = seed if cell.data == "digits" else 0
        data = load(cell.data, cell.examples, fold, setting.centred)
        session = uk.Session(
            data,
            model=cell.model,
            num_shards=cell.shards,
            num_slices=SLICES[cell.data],
            learning_rate=setting.rate,
            batch_size=setting.batch,
            seed=seed,
        )
        spec = session.spec
        key = f"{cell} {spec.learning_rate:.6g} {spec.batch_size} {setting.centred} {seed}"
        if key not in self.rows:
            session.train(on_progress=False)
            row = {
                **asdict(cell),
                "rate": spec.learning_rate,
                "batch": spec.batch_size,
                "centred": setting.centred,
                "seed": seed,
                **session.accuracy(),
            }
            print(row, flush=True)
            with self.path.open("a") as file:
                file.write(json.dumps({"key": key, **row}) + "\n")
            self.rows[key] = row
        return self.rows[key]

    def mean(self, cell: Cell, setting: Setting, seeds: range) -> dict[str, object]:
        """Means over seeds."""
        rows = pd.DataFrame([self.measure(cell, setting, seed) for seed in seeds])
        return {**rows.iloc[0], "test": rows.test.mean(), "probe": rows.probe.mean()}


def cells(quick: bool, full: bool) -> Iterator[Cell]:
    """What is measured; without ``full``, networks on all examples in ten shards only."""
    if quick:
        yield from (Cell("digits", 1297, model, 5) for model in ("logistic", "mlp"))
        return
    for (data, examples), model, shards in product(
        (("digits", 1297), ("fashion-mnist", 10_000), ("fashion-mnist", 60_000)),
        ("logistic", "mlp", "cnn"),
        SHARDS,
    ):
        cell = Cell(data, examples, model, shards)
        if full or shards == 10 or examples == 10_000 or not cell.slow or model == "logistic":
            yield cell


def compare(cell: Cell, log: Log, quick: bool, full: bool) -> dict[str, object]:
    """A row of the table: the default and the best of the grid."""
    seeds = range(1) if quick else seeds_of(cell, full)
    chosen_on = seeds if cell.data == "digits" else range(1)
    tried = [(log.mean(cell, each, chosen_on)["probe"], each) for each in grid_of(cell, full)]
    best = max(tried, key=lambda pair: pair[0])[1]
    default, tuned = log.mean(cell, DEFAULT, seeds), log.mean(cell, best, seeds)
    return {
        **asdict(cell),
        "seeds": len(seeds),
        "tried": len(tried),
        "rate": default["rate"],
        "batch": default["batch"],
        "test": default["test"],
        "best rate": tuned["rate"],
        "best batch": tuned["batch"],
        "best centred": tuned["centred"],
        "best test": tuned["test"],
    }


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown; the price of sharding is the default's accuracy below that of one shard."""
    lines = [
        "| data | model | shards | default rate | test accuracy | best of the grid | its accuracy "
        "| default below it | price of sharding | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    frame = pd.DataFrame(rows)
    whole = frame[frame.shards == 1].set_index(CELL[:3]).test
    for _, row in frame.iterrows():
        best = f"{row['best rate']:g}, batch {row['best batch']}"
        best += "" if row["best centred"] else ", -1..1"
        below = 100 * (row["best test"] - row.test)
        price = 100 * (whole.get((row.data, row.examples, row.model), np.nan) - row.test)
        shown = "" if row.shards == 1 or np.isnan(price) else f"{price:.1f}"
        lines.append(
            f"| {row.data} ({row.examples:,}) | {row.model} | {row.shards} | {row.rate:.2g} | "
            f"{row.test:.3f} | {best} (of {row.tried}) | {row['best test']:.3f} | {below:.1f} | "
            f"{shown} | {row.seeds} |"
        )
    return "\n".join(lines) + "\n"


def cell_of(row: report.Row) -> object:
    """Return what a row was measured on."""
    return tuple(row[name] for name in CELL)


PUBLISHED = {"file": __file__, "seeds": "seeds in the last column"}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one fold of digits, without a CNN")
    parser.add_argument("--full", action="store_true", help="the whole grid, five seeds")
    parser.add_argument("--only", default="", help="cells with this text; keep the others' rows")
    given = parser.parse_args()
    name = "accuracy-quick" if given.quick else "accuracy"
    log = Log(report.log(__file__, f"{name}.jsonl"))
    arguments = "--quick" if given.quick else "--full" if given.full else ""
    command, rows = report.command(__file__, arguments), []
    for cell in cells(given.quick, given.full):
        if given.only not in " ".join(map(str, asdict(cell).values())):
            continue
        rows.append(compare(cell, log, given.quick, given.full))
        print(table_of(rows), flush=True)
        if given.only:  # each cell as soon as it is known
            report.publish("accuracy", rows[-1:], table_of, command, by=cell_of, **PUBLISHED)
    report.keep(name, command, rows)
    if not (given.quick or given.only):
        report.publish("accuracy", rows, table_of, command, **PUBLISHED)


if __name__ == "__main__":
    main()
