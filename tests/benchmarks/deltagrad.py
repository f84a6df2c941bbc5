"""What a paper reports, reproduced in direction: DeltaGrad's speed and error by deletion rate.

    make bench NAME=deltagrad [ARGS="--quick"]

Wu, Dobriban and Davidson 2020 (DeltaGrad, section 4) train logistic regression by gradient descent
on large batches, delete 0.005 % to 1 % of the examples at random, and report two things: DeltaGrad
is several times faster than retraining at every rate, and its distance to the retrained parameters
stays at least an order of magnitude below that of doing nothing. Here the data are 60,000 examples
of Fashion-MNIST (10,000 with ``--quick``) in one shard of one slice, a batch holds 10,000, and
there is no momentum, so that the figures differ from theirs; the directions should not. DeltaGrad
runs without a replay, from states that are stored after every fifth epoch, with an explicit step in
every fifth (as theirs on most data) and in every tenth. Speeds are ratios of CPU seconds in one
run.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.approximate import AlongTraining, DeltaGrad
from unlearnkit.data.examples import Dataset
from unlearnkit.models.vector import flatten
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.unlearning.boundary.verdict import quietly

RATES = (0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01)
BATCH, EPOCHS = 10_000, 100
PERIODS = (5, 10)


def measure(data: Dataset, seed: int) -> Iterator[report.Row]:
    """Yield a row for each deletion rate and period."""
    session = uk.Session(
        data,
        model="logistic",
        num_shards=1,
        num_slices=1,
        epochs=EPOCHS,
        batch_size=min(BATCH, len(data.train)),
        seed=seed,
        tails=range(5, EPOCHS, 5),
        learning_rate=0.01,
        momentum=0.0,
        weight_decay=0.005,
    )
    session.train(on_progress=False)
    generator = np.random.default_rng(seed)
    for rate in RATES:
        count = max(1, round(rate * len(data.train)))
        ids = generator.choice(data.train.ids, count, replace=False)
        exact = session.fork()
        exact.revoke(ids)
        retrained = exact.unlearn(1.0, on_progress=False)
        nothing = distance(exact.ensemble, session.ensemble)
        for period in PERIODS:
            fork = session.fork()
            fork.revoke(ids)
            with quietly():
                done = fork.unlearn(
                    0.0,
                    method=AlongTraining(DeltaGrad(period)),
                    amend="none",
                    spot_check=False,
                    on_progress=False,
                )
            assert retrained.cpu_seconds is not None and done.cpu_seconds is not None
            yield {
                "rate": rate,
                "revoked": count,
                "period": period,
                "seed": seed,
                "nothing": nothing,
                "left": distance(exact.ensemble, fork.ensemble),
                "speed": retrained.cpu_seconds / done.cpu_seconds,
            }


def distance(one: Ensemble, other: Ensemble) -> float:
    """Return the L2 distance between the parameters of two single models."""
    names = one.architecture.trainable_names
    a, b = (flatten(each.constituents[0].state, names) for each in (one, other))
    return float((a - b).norm())


def table_of(rows: list[report.Row]) -> str:
    """Return medians over the seeds as Markdown."""
    frame = pd.DataFrame(rows)
    periods = list(dict.fromkeys(frame.period))
    lines = [
        "| deleted | distance of doing nothing | "
        + " | ".join(f"T0 = {p}: distance (of doing nothing's), speed" for p in periods)
        + " |"
    ]
    lines.append("|---" * (2 + len(periods)) + "|")
    for rate, some in frame.groupby("rate", sort=False):
        cells = []
        for period in periods:
            row = some[some.period == period].median(numeric_only=True)
            share = row.left / row.nothing
            cells.append(f"{row.left:.1e} ({share:.1%}), {row.speed:.1f}x")
        begin = f"| {100 * rate:g}% ({some.revoked.iloc[0]}) | {some.nothing.median():.1e} | "
        lines.append(begin + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 examples, one seed")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    data = uk.load("fashion-mnist", num_examples=10_000 if quick else None)
    if quick:
        rows = list(measure(data, 0))
    else:
        rows = [row for seed in range(3) for row in report.once(__file__, measure, data, seed)]
    print(table_of(rows))
    command = report.command(__file__, "--quick" if quick else "")
    report.keep("deltagrad-quick" if quick else "deltagrad", command, rows)
    if not quick:
        seeds = report.counted(3)
        report.publish("deltagrad", rows, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
