"""Approximate unlearning at tuned accuracy: speed, and what is removed of four gaps.

    make bench NAME=frontier [ARGS="--quick"]

A cell is a model, a number of examples, S, R, a batch size and a learning rate. It is trained once
for each seed; then 1 % and 10 % of the training examples are revoked at random. Each request is
unlearned from that session with every shard exact; as the adaptive boundary decides, with and
without a spot check; with every shard approximate; and by the default amend without a correction.
Doing nothing removes 0 % of each gap, and always exact has a speed of 1. Speeds are ratios of CPU
seconds in one run. The exact branch is the retrained model that the others are compared with. Shown
are medians over the seeds. Learning rates and tails are the defaults; a second table has other
learning rates.
"""

import argparse
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import report
import torch
from jaxtyping import Int

import unlearnkit as uk
from unlearnkit.approximate import EachState, ShardRound
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.membership_auc import membership_auc
from unlearnkit.metrics.metrics import output_kl
from unlearnkit.store.checkpoint import State
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.training.plan import Plan

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


@dataclass(frozen=True)
class AsTrained:
    """A rule that corrects nothing."""

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """Return the stored state."""
        return stored.state, 0

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Return that nothing is computed."""
        return 0, 0

    def unsuitable(self, plan: Plan) -> str:
        """Return that every plan is suitable."""
        return ""


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


ADAPTIVE = "adaptive boundary"
WAYS: dict[str, dict[str, Any]] = {  # arguments of Session.unlearn
    ADAPTIVE: {"boundary": "adaptive", "spot_check": False},
    f"{ADAPTIVE}, spot check": {"boundary": "adaptive", "spot_check": True},
    "all approximate": {"max_share": 0, "spot_check": False},
    "replay without a correction": {
        "max_share": 0,
        "spot_check": False,
        "method": EachState(AsTrained()),
    },
}


def measure(
    cell: Cell,
    seed: int,
    ways: Mapping[str, Mapping[str, Any]] = WAYS,
    shares: tuple[float, ...] = SHARES,
) -> Iterator[dict[str, object]]:
    """Yield a row for each share and way of unlearning, of one trained session."""
    session = uk.Session(
        data_of(cell),
        model=cell.model,
        num_shards=cell.shards,
        num_slices=cell.slices,
        batch_size=cell.batch,
        learning_rate=cell.rate,
        seed=seed,
        tails=cell.tails,
    )
    session.train()
    spec = session.spec
    shown = str(replace(cell, rate=spec.learning_rate, tails=spec.tail_epochs()))
    accuracy, before = session.accuracy()["test"], session.ensemble
    for share in shares:
        exact = session.fork()
        exact.revoke(share=share, seed=100 + seed)
        request = exact.unlearn(1)
        null = distances(session, request.ids, before, exact.ensemble)
        for name, arguments in ways.items():
            fork = session.fork()
            fork.revoke(request.ids)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of doubts, which are counted
                done = fork.unlearn(**arguments)
            left = distances(session, request.ids, fork.ensemble, exact.ensemble)
            spent, predicted = done.cpu_seconds, done.predicted_seconds
            assert spent is not None and request.cpu_seconds is not None
            yield {
                "cell": shown,
                "seed": seed,
                "accuracy": accuracy,
                "revoked": share,
                "method": name,
                "modified": len(done.decision.approximate) / max(1, len(done.decision.routes)),
                "doubtful": len(done.decision.doubtful),
                **{gap: 1 - left[gap] / null[gap] for gap in null},
                "speed": request.cpu_seconds / spent,
                "predicted over spent": (predicted or 0) / spent,
                **{f"{gap}, doing nothing": value for gap, value in null.items()},
            }


def distances(
    session: uk.Session, ids: Int[np.ndarray, " request"], found: Ensemble, scratch: Ensemble
) -> dict[str, float]:
    """Return the distances of an ensemble to the retrained one.

    Test KL, mean KL of the hit constituents on their own forgotten examples, and the absolute
    difference of the areas under the curve of membership inference.
    """
    data, partition = session.dataset, session.plan.partition
    (test, test_labels), (inputs, labels) = data.test[data.test.ids], data.train[ids]
    shards = partition.shard[partition.rows(ids)]
    sides = []
    for shard in sorted(set(shards.tolist())):
        own = inputs[torch.from_numpy(shards == shard)]
        p, q = (e.constituent_probabilities(own)[shard] for e in (scratch, found))
        sides.append(output_kl(p, q))
    areas = [
        membership_auc(e.probabilities(inputs), labels, e.probabilities(test), test_labels).auc
        for e in (scratch, found)
    ]
    return {
        "test KL": output_kl(scratch.probabilities(test), found.probabilities(test)),
        "forget-side KL": sum(sides) / len(sides),
        "MIA gap": abs(areas[1] - areas[0]),
    }


def table_of(rows: list[dict[str, object]]) -> str:
    """Return medians over the seeds as Markdown."""
    keys = ["cell", "revoked", "method"]
    groups = pd.DataFrame(rows).groupby(keys, sort=False)
    medians = groups.median(numeric_only=True).assign(seeds=groups.size()).reset_index()
    lines = [
        "| trained | test accuracy | revoked | method | shards modified (doubtful) | test KL of "
        "doing nothing | test KL removed | forget-side KL per constituent removed | MIA gap of "
        "doing nothing | MIA gap removed | speed | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, row in medians.iterrows():
        kl, side, mia = (
            "below 0" if row[gap] < 0 else f"{row[gap]:.0%}"
            for gap in ("test KL", "forget-side KL", "MIA gap")
        )
        lines.append(
            f"| {row.cell} | {row.accuracy:.3f} | {row.revoked:.0%} | {row.method} | "
            f"{row.modified:.0%} ({row.doubtful:.0f}) | {row['test KL, doing nothing']:.2g} | {kl} "
            f"| {side} | {row['MIA gap, doing nothing']:.2g} | {mia} | {row.speed:.1f}x | "
            f"{row.seeds} |"
        )
    return "\n".join(lines) + "\n"


def at_rates(cell: Cell) -> Iterator[dict[str, object]]:
    """Yield the rows of a cell at ``RATES``; a training that diverges has none."""
    spec = uk.Session(
        data_of(cell), model=cell.model, num_shards=cell.shards, num_slices=cell.slices
    ).spec
    for factor in RATES:
        rate = float(f"{factor * spec.learning_rate:.2g}")
        try:
            yield from measure(replace(cell, rate=rate), 0, shares=SHARES[-1:])
        except uk.NotFiniteError:
            print(f"{cell} diverges at a rate of {rate}", flush=True)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, one seed")
    parser.add_argument("--rates", action="store_true", help="only the table of other rates")
    parser.add_argument("--only", default="", help="cells with this text; keep the others' rows")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    chosen = () if given.rates else [c for c in CELLS if given.only in str(c)]
    if given.only:
        names = [str(cell).partition(" rate")[0] for cell in chosen]
        kept = report.kept("frontier")
        rows += [row for row in kept if str(row["cell"]).partition(" rate")[0] not in names]
    for cell in QUICK if given.quick else chosen:
        for seed in range(cell.seeds):
            print(f"{cell}, seed {seed} ...", flush=True)
            rows += measure(cell, seed)
        print(table_of(rows), flush=True)
    command = report.command(__file__, "--quick" if given.quick else "")
    if rows:
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))
        report.keep("frontier-quick" if given.quick else "frontier", command, rows)
    if given.quick:
        return
    if rows:
        report.put("frontier", table_of(rows), command)
    if given.only:
        return
    swept = list(at_rates(SWEPT))
    command = report.command(__file__, "--rates")
    report.keep("frontier-rates", command, swept)
    report.put("frontier rates", table_of(swept), command)


if __name__ == "__main__":
    main()
