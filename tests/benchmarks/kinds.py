"""What is removed by kind of request: at random, of a class, alike, hardest, easiest, a person.

    make bench NAME=kinds [ARGS="--quick"]

A perceptron on 10,000 examples of Fashion-MNIST (digits with ``--quick``) at the default spec is
trained with three seeds. Each request is unlearned as the adaptive boundary decides, without a spot
check, and with every shard approximate, beside every shard exact from the same session. Another
seed (``judging.py``) is trained beside the requests of the first one. Alike are an example and its
nearest ones; the hardest examples are those with the highest loss; a person has 15 successive
images.
"""

import argparse
from collections.abc import Iterator

import pandas as pd
import report
from guard import requests
from judging import ADAPTIVE, WAYS, judged
from tables import COLUMNS, lines_of, rule

import unlearnkit as uk

SEEDS = 3
CHOSEN = {name: WAYS[name] for name in (ADAPTIVE, "all approximate")}


def measure(data: str, num_examples: int | None, seed: int) -> Iterator[report.Row]:
    """Yield the rows of one seed."""
    dataset = uk.load(data, num_examples=num_examples) if num_examples else uk.load(data)
    session = uk.Session(dataset, model="mlp", seed=seed)
    session.train(on_progress=False)
    accuracy = session.accuracy()["test"]
    for name, ids in requests(session):
        about = {"seed": seed, "accuracy": accuracy, "request": name, "revoked": len(ids)}
        for row in judged(session, ids, CHOSEN, another=seed == 0):
            yield {**about, **row}
        print(f"seed {seed}: {name}", flush=True)


def table_of(rows: list[report.Row]) -> str:
    """Return medians over the seeds as Markdown."""
    lines = [f"| request | revoked | {COLUMNS} | seeds |"]
    lines.append(rule(lines[0]))
    for name, some in pd.DataFrame(rows).groupby("request", sort=False):
        lines += [f"| {name} | {some.revoked.median():.0f} | {line} |" for line in lines_of(some)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits, one seed")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    given = parser.parse_args()
    if given.quick:
        rows = list(measure("digits", None, 0))
        print(table_of(rows))
        report.keep("kinds-quick", report.command(__file__, "--quick"), rows)
        return
    rows = []
    for seed in range(given.seeds):
        rows += report.once(__file__, measure, "fashion-mnist", 10_000, seed)
    print(table_of(rows))
    arguments = "" if given.seeds == SEEDS else f"--seeds {given.seeds}"
    command = report.command(__file__, arguments)
    seeds = report.counted(given.seeds)
    report.publish("kinds", rows, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
