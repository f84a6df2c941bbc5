"""Whether predicted error bounds and predicted seconds hold, over many requests.

    make bench NAME=bounds [ARGS="--quick"]

For 10,000 examples of Fashion-MNIST (digits with ``--quick``) at the default shards and slices,
requests of random sizes are modified in every hit shard and then repaid, which reveals the true
error of each approximation. The first requests calibrate; of the others, before the repayment, the
95 % upper bound is noted and later compared with the error. Predicted seconds, too, are noted
before each run and compared with those measured. Sizes are log-uniform from 1 to a fiftieth of the
examples; the last requests are of a kind that was never calibrated on, of examples of one class.
"""

import argparse

import numpy as np
import pandas as pd
import report

import unlearnkit as uk
from unlearnkit.data.examples import Dataset


def ids_of(session: uk.Session, generator: np.random.Generator, label: int | None) -> np.ndarray:
    """A request of random size, of one class where one is given."""
    ids = session.dataset.train.ids
    most = len(ids) // 50
    if label is not None:
        ids = ids[session.dataset.train.labels.numpy() == label]
    ids = np.setdiff1d(ids, session.revoked)
    size = round(float(np.exp(generator.uniform(0, np.log(most)))))
    chosen: np.ndarray = generator.choice(ids, min(size, len(ids)), replace=False)
    return chosen


def measure(data: Dataset, model: str, rounds: int) -> dict[str, object]:
    """One model: calibrate, then look whether bounds and costs hold."""
    session = uk.Session(data, model=model)
    session.train()
    generator = np.random.default_rng(0)
    held: dict[str, list[bool]] = {"as calibrated": [], "one class": []}
    ratios, misses = list[float](), dict[str, list[float]]({"approximate": [], "exact": []})
    while not session.error_model.ready:
        session.revoke(ids_of(session, generator, None))
        session.unlearn(0.0)
        session.repay()
    for number in range(2 * rounds):
        kind = "as calibrated" if number < rounds else "one class"
        label = None if number < rounds else int(generator.integers(data.num_classes))
        session.revoke(ids_of(session, generator, label))
        results = {"approximate": session.unlearn(0.0)}
        owed = session.error_model.owed
        bounds = {x: session.error_model.bound(shard, 0.0) for shard, x in owed.items()}
        known = len(session.error_model.pairs)
        results["exact"] = session.repay()
        for x, error in session.error_model.pairs[known:]:
            held[kind].append(error <= bounds[x])
            ratios.append(bounds[x] / error)
        for branch, result in results.items():
            misses[branch].append(abs(result.predicted_seconds / result.seconds - 1))
    return {
        "data": data.name,
        "examples": len(data.train),
        "model": model,
        **{f"held, {kind}": float(np.mean(some)) for kind, some in held.items()},
        **{f"cases, {kind}": len(some) for kind, some in held.items()},
        "bound over error, median": float(np.median(ratios)),
        **{f"seconds off, {branch}, median": float(np.median(m)) for branch, m in misses.items()},
    }


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown."""
    lines = [
        "| model | bound held (cases) | of a kind never calibrated on | bound over error, median | "
        "seconds off: modifying | retraining |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in pd.DataFrame(rows).iterrows():
        lines.append(
            f"| {row.model} | {row['held, as calibrated']:.0%} ({row['cases, as calibrated']}) | "
            f"{row['held, one class']:.0%} ({row['cases, one class']}) | "
            f"{row['bound over error, median']:.1f}x | "
            f"{row['seconds off, approximate, median']:.0%} | "
            f"{row['seconds off, exact, median']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits, fewer requests")
    quick = parser.parse_args().quick
    data = uk.load("digits") if quick else uk.load("fashion-mnist", num_examples=10_000)
    rows = []
    for model in ("logistic", "mlp") if quick else ("logistic", "mlp", "cnn"):
        rows.append(measure(data, model, 10 if quick else 15))
        print(pd.DataFrame(rows).T.to_string(header=False), flush=True)
        command = report.command(__file__, "--quick" if quick else "")
        report.keep("bounds-quick" if quick else "bounds", command, rows)
        if not quick:
            report.put("bounds", table_of(rows), command)


if __name__ == "__main__":
    main()
