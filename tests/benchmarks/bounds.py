"""Whether predicted error bounds and predicted seconds hold, over many requests.

    make bench NAME=bounds [ARGS="--quick"]

For 10,000 examples of Fashion-MNIST (digits with ``--quick``) at the default shards and slices,
requests of random sizes are modified in every hit shard and then repaid, which reveals the true
error of each approximation. The first requests calibrate; of the others, before the repayment, the
95 % upper bound is noted and later compared with the error. Predicted CPU seconds, too, are
noted before each run and compared with those measured. Sizes are log-uniform from 1 to a fiftieth
of the examples; the last requests are of kinds that were never calibrated on: of one class, alike,
the most easily and the least easily learned, and large (a twentieth to a seventh of all examples).
"""

import argparse

import numpy as np
import pandas as pd
import report

import unlearnkit as uk
from unlearnkit.data.examples import Dataset

KINDS = ("as calibrated", "one class", "alike", "easiest", "hardest", "large")


def ids_of(session: uk.Session, generator: np.random.Generator, kind: str) -> np.ndarray:
    """A request of this kind and of random size."""
    train = session.dataset.train
    candidates = np.setdiff1d(train.ids, session.revoked)
    size = round(float(np.exp(generator.uniform(0, np.log(len(train) // 50)))))
    if kind == "large":
        size = int(len(train) * generator.uniform(0.05, 0.15))
    elif kind == "one class":
        labels = train.labels[train.rows(candidates)].numpy()
        candidates = candidates[labels == generator.choice(labels)]
    elif kind in ("easiest", "hardest"):
        probabilities = session.ensemble.probabilities(train.inputs())
        own = probabilities.gather(1, train.labels[:, None])[train.rows(candidates), 0].numpy()
        order = np.argsort(-own if kind == "easiest" else own)
        candidates = candidates[order[: 3 * size]]
    elif kind == "alike":
        inputs = train.inputs()[train.rows(candidates)].flatten(1)
        distance = (inputs - inputs[generator.integers(len(inputs))]).square().sum(1)
        candidates = candidates[distance.argsort()[:size].numpy()]
    chosen: np.ndarray = generator.choice(
        candidates, min(size, len(candidates) // 2), replace=False
    )
    return chosen


def measure(data: Dataset, model: str, rounds: int) -> dict[str, object]:
    """One model: calibrate, then look whether bounds and costs hold."""
    session = uk.Session(data, model=model)
    session.train()
    generator = np.random.default_rng(0)
    held: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    silent = dict.fromkeys(KINDS, 0)
    ratios, misses = list[float](), dict[str, list[float]]({"approximate": [], "exact": []})
    while not session.error_model.ready:
        session.revoke(ids_of(session, generator, KINDS[0]))
        session.unlearn(0.0, spot_check=False)
        session.repay()
    for kind in KINDS * rounds:
        fork = session.fork()
        fork.revoke(ids_of(fork, generator, kind))
        results = {"approximate": fork.unlearn(0.0, spot_check=False)}
        owed = fork.error_model.owed
        bounds = {x: fork.error_model.bound(shard, 0.0) for shard, x in owed.items()}
        known = len(fork.error_model.pairs)
        results["exact"] = fork.repay()
        for x, error in fork.error_model.pairs[known:]:
            bound = bounds[x]
            if bound is None:
                silent[kind] += 1
                continue
            held[kind].append(error <= bound)
            ratios.append(bound / error)
        for branch, result in results.items():
            misses[branch].append(abs(result.predicted_seconds / result.cpu_seconds - 1))
    return {
        "data": data.name,
        "examples": len(data.train),
        "model": model,
        **{f"held, {kind}": sum(some) for kind, some in held.items()},
        **{f"cases, {kind}": len(some) for kind, some in held.items()},
        **{f"no bound, {kind}": count for kind, count in silent.items()},
        "bound over error, median": float(np.median(ratios)),
        **{f"seconds off, {branch}, median": float(np.median(m)) for branch, m in misses.items()},
    }


def measured(data: Dataset, model: str) -> list[dict[str, object]]:
    """Return the row of a model in the long form."""
    return [measure(data, model, 6)]


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown: of the shards of each kind, how many bounds held, and where none applied."""
    lines = [
        "| model | " + " | ".join(KINDS) + " | bound over error, median | "
        "seconds off: modifying | retraining |",
        "|---" * (len(KINDS) + 4) + "|",
    ]
    for _, row in pd.DataFrame(rows).iterrows():
        held = [
            f"{row[f'held, {kind}']} of {row[f'cases, {kind}']} (+{row[f'no bound, {kind}']})"
            for kind in KINDS
        ]
        lines.append(
            f"| {row.model} | {' | '.join(held)} | "
            f"{row['bound over error, median']:.1f}x | "
            f"{row['seconds off, approximate, median']:.0%} | "
            f"{row['seconds off, exact, median']:.0%} |"
        )
    return "\n".join(lines) + "\n\nIn brackets: shards for which no bound was given.\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits, fewer requests")
    quick = parser.parse_args().quick
    data = uk.load("digits") if quick else uk.load("fashion-mnist", num_examples=10_000)
    rows = []
    for model in ("logistic", "mlp") if quick else ("logistic", "mlp", "cnn"):
        if quick:
            rows.append(measure(data, model, 8))
        else:
            rows += report.once(__file__, measured, data, model)
        print(pd.DataFrame(rows).T.to_string(header=False), flush=True)
    command = report.command(__file__, "--quick" if quick else "")
    report.keep("bounds-quick" if quick else "bounds", command, rows)
    if not quick:
        report.publish("bounds", rows, table_of, command, file=__file__, seeds="seed 0")


if __name__ == "__main__":
    main()
