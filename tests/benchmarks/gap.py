"""How much of the gap to the retrained model the approximate branch leaves.

    make bench NAME=gap [ARGS="--quick"]

For digits and 10,000 examples of Fashion-MNIST at the default specs, a tenth of the training
examples is revoked at random, several times over. Each request is unlearned once with every shard
approximate and once with every shard exact, in turn, from the same trained session; both times come
from that same run. Another seed (``judging.py``) is trained beside the first request.
"""

import argparse

import pandas as pd
import report
from judging import WAYS, judged
from tables import COLUMNS, chaos, lines_of, rule

import unlearnkit as uk
from unlearnkit.data.examples import Dataset

WAY = "all approximate"
SHARE, REQUESTS = 0.1, 3


def measure(data: Dataset, model: str, requests: int) -> list[report.Row]:
    """Return the rows of one model, one for each request and one of another seed."""
    session = uk.Session(data, model=model)
    session.train(on_progress=False)
    about = {
        "data": data.name,
        "examples": len(data.train),
        "model": model,
        "accuracy": session.accuracy()["test"],
        "amplification": session.amplification(on_progress=False).value,
    }
    rows = []
    for number in range(requests):
        fork = session.fork()
        fork.revoke(share=SHARE, seed=number)
        found = judged(session, fork.pending, {WAY: WAYS[WAY]}, another=number == 0)
        rows += [{**about, "request": number, **row} for row in found]
    return rows


def table_of(rows: list[report.Row]) -> str:
    """Return medians over the requests as Markdown."""
    lines = [f"| data | model | test accuracy | amplification | {COLUMNS} | requests |"]
    lines.append(rule(lines[0]))
    keys = ["data", "examples", "model"]
    for (name, size, model), some in pd.DataFrame(rows).groupby(keys, sort=False):
        about = some.iloc[0]
        begin = f"| {name} ({size:,}) | {model} | {about.accuracy:.3f} | "
        begin += f"{chaos(about.amplification)} |"
        lines += [f"{begin} {line} |" for line in lines_of(some)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, one request a model")
    quick = parser.parse_args().quick
    sets = [uk.load("digits")]
    if not quick:
        sets.append(uk.load("fashion-mnist", num_examples=10_000))
    rows: list[report.Row] = []
    for data in sets:
        for model in ("logistic", "mlp", "cnn"):
            print(f"{data.name}, {model} ...", flush=True)
            if quick:
                rows += measure(data, model, 1)
            else:
                rows += report.once(__file__, measure, data, model, REQUESTS)
    print(table_of(rows))
    command = report.command(__file__, "--quick" if quick else "")
    report.keep("gap-quick" if quick else "gap", command, rows)
    if not quick:
        seeds = f"seed 0, requests of {report.counted(REQUESTS)}"
        report.publish("gap", rows, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
