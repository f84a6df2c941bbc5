"""Approximate unlearning at tuned accuracy: speed, and what is removed of four gaps.

    make bench NAME=frontier [ARGS="--quick"]

A cell is a model, a number of examples, S, R, a batch size and a learning rate. It is trained once
for each seed; then 1 % and 10 % of the training examples are revoked at random. Each request is
unlearned from that session with every shard exact; as the adaptive boundary decides, with and
without a spot check; with every shard approximate; and by the default amend without a correction.
Doing nothing removes 0 % of each gap, and always exact has a speed of 1. Speeds are ratios of CPU
seconds in one run. Another seed (``judging.py``) is trained beside the first seed of each cell.
Shown are medians over the seeds. Learning rates and tails are the defaults; a second table has
other learning rates. A cell and seed that was measured by the same code is not measured again.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import report
from judging import WAYS, judged
from tables import COLUMNS, chaos, lines_of, rule

import unlearnkit as uk
from unlearnkit.data.examples import Dataset

# Mean and standard deviation of the pixels of Fashion-MNIST (published constants).
OFFSET, SCALE = 72.94, 90.02
SHARES = (0.01, 0.1)


@dataclass(frozen=True)
class Cell:
    """What is trained.

    Attributes:
        model: name of the model.
        examples: number of training examples of Fashion-MNIST; 0 takes digits.
        shards: S.
        slices: R.
        batch: batch size.
        rate: learning rate; None for the default.
        centred: whether pixels are centred by ``OFFSET`` and ``SCALE``.
        tails: tails of the last stage; None for the default.
        seeds: number of seeds.
    """

    model: str
    examples: int
    shards: int = 10
    slices: int = 5
    batch: int = 32
    rate: float | None = None
    centred: bool = False
    tails: tuple[int, ...] | None = None
    seeds: int = 3

    def __str__(self) -> str:
        data = f"{self.examples:,}" if self.examples else "digits"
        return (
            f"{self.model} {data} {self.shards}x{self.slices}, batch {self.batch}, "
            f"{'centred, ' if self.centred else ''}rate {self.rate}"
            f"{f', tails {self.tails}' if self.tails else ''}"
        )


CELLS = (
    Cell("mlp", 10_000),
    Cell("mlp", 10_000, shards=5),
    Cell("mlp", 10_000, slices=1),
    Cell("logistic", 60_000),
    Cell("mlp", 60_000),
    Cell("mlp", 60_000, shards=5, seeds=1),
    Cell("mlp", 60_000, slices=1, seeds=1),
    Cell("cnn", 10_000),
    Cell("cnn", 60_000, seeds=1),
)
RATES = (0.1, 1 / 3, 1.0, 3.0, 10.0, 30.0)  # multiples of the default rate, in the second table
SWEPT = Cell("mlp", 10_000, seeds=1)
QUICK = (Cell("mlp", 0, shards=5, slices=3, seeds=1),)


def data_of(cell: Cell) -> Dataset:
    """Return the data of a cell."""
    if not cell.examples:
        return uk.load("digits")
    data = uk.load("fashion-mnist", num_examples=cell.examples)
    if not cell.centred:
        return data
    parts = {
        part: replace(getattr(data, part), offset=OFFSET, scale=SCALE)
        for part in ("train", "test", "probe")
    }
    return replace(data, **parts)


def session_of(cell: Cell, seed: int = 0) -> uk.Session:
    """Return the session of a cell, not trained."""
    return uk.Session(
        data_of(cell),
        model=cell.model,
        num_shards=cell.shards,
        num_slices=cell.slices,
        batch_size=cell.batch,
        learning_rate=cell.rate,
        seed=seed,
        tails=cell.tails,
    )


def measure(
    cell: Cell,
    seed: int,
    ways: Mapping[str, Mapping[str, Any]] = WAYS,
    shares: tuple[float, ...] = SHARES,
) -> Iterator[report.Row]:
    """Yield a row for each share and way of unlearning, of one trained session.

    Another seed is trained beside the first seed of a cell only.
    """
    session = session_of(cell, seed)
    session.train(on_progress=False)
    spec = session.spec
    about = {
        "cell": str(replace(cell, rate=spec.learning_rate, tails=spec.tail_epochs())),
        "seed": seed,
        "accuracy": session.accuracy()["test"],
        "amplification": session.amplification(on_progress=False).value,
    }
    for share in shares:
        fork = session.fork()
        fork.revoke(share=share, seed=100 + seed)
        for row in judged(session, fork.pending, ways, another=seed == 0):
            yield {**about, "revoked": share, **row}


def table_of(rows: list[report.Row]) -> str:
    """Return medians over the seeds as Markdown."""
    lines = [f"| trained | test accuracy | amplification | revoked | {COLUMNS} | seeds |"]
    lines.append(rule(lines[0]))
    frame = pd.DataFrame(rows)
    if "amplification" not in frame:
        frame["amplification"] = float("nan")
    for cell, trained in frame.groupby("cell", sort=False):
        shown = chaos(pd.to_numeric(trained.amplification).median())
        known = trained.groupby("seed").first().accuracy.median()
        for share, some in trained.groupby("revoked", sort=False):
            begin = f"| {cell} | {known:.3f} | {shown} | {share:.0%} |"
            lines += [f"{begin} {line} |" for line in lines_of(some)]
    return "\n".join(lines) + "\n"


def at_rates(cell: Cell) -> Iterator[report.Row]:
    """Yield the rows of a cell at ``RATES``; a training that diverges has none."""
    default = session_of(cell).spec.learning_rate
    for factor in RATES:
        rate = float(f"{factor * default:.2g}")
        faster = replace(cell, rate=rate)
        try:
            rows = report.once(__file__, measure, faster, 0, WAYS, SHARES[-1:])
        except uk.NotFiniteError:
            print(f"{cell} diverges at a rate of {rate}", flush=True)
        else:
            yield from rows


def cell_of(row: report.Row) -> str:
    """Return what a row was measured on, without rate and tails, which follow the defaults."""
    return str(row["cell"]).partition(" rate")[0]


def kind_of(row: report.Row) -> tuple[object, ...]:
    """Return the key of the rows that ``--nulls`` renews."""
    return (row["cell"], row["seed"], row["method"])


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, one seed")
    parser.add_argument("--rates", action="store_true", help="only the table of other rates")
    parser.add_argument("--only", default="", help="cells with this text; keep the others' rows")
    parser.add_argument(
        "--nulls", action="store_true", help="measure another seed only; keep the other rows"
    )
    parser.add_argument("--rows", type=Path, help="publish a file of raw rows; keep other cells")
    given = parser.parse_args()
    if given.quick:
        rows = [row for cell in QUICK for row in measure(cell, 0)]
        print(table_of(rows))
        report.keep("frontier-quick", report.command(__file__, "--quick"), rows)
        return
    how = {"file": __file__, "seeds": "seeds from 0 on"}
    if given.rows:
        record = json.loads(given.rows.read_text())
        rates = "--rates" in record["command"]
        table, key = ("frontier rates", None) if rates else ("frontier", cell_of)
        rows = record.pop("rows")
        report.publish(table, rows, table_of, record["command"], by=key, about=record, **how)
        return
    cells = () if given.rates else [cell for cell in CELLS if given.only in str(cell)]
    for cell in cells:
        found: list[report.Row] = []
        for seed in range(1 if given.nulls else cell.seeds):
            print(f"{cell}, seed {seed} ...", flush=True)
            ways = {} if given.nulls else WAYS
            found += report.once(__file__, measure, cell, seed, ways, SHARES)
        print(table_of(found), flush=True)
        # Each cell as soon as it is known: a run that is stopped loses no other.
        arguments = "--nulls" if given.nulls else ""
        command = report.command(__file__, arguments)
        by = kind_of if given.nulls else cell_of
        report.publish("frontier", found, table_of, command, by=by, **how)
    if given.only or given.nulls:
        return
    swept = list(at_rates(SWEPT))
    command = report.command(__file__, "--rates")
    print(table_of(swept))
    report.publish("frontier rates", swept, table_of, command, file=__file__, seeds="seed 0")


if __name__ == "__main__":
    main()
