"""Methods of the literature beside ours, each with a small grid of its hyperparameters.

    python tests/benchmarks/rivals.py [--quick]

On digits at the default spec, a tenth of the training examples is revoked at random and unlearned
with every shard approximate, by each setting with and without a replay of the last epoch. Speeds
are ratios of CPU seconds to exact retraining, once, of the same request in the same run. For each
method and amend the setting that removes most of doing nothing's output KL is shown: it was chosen
on the very request that is shown, which favours the rivals. Prints a table and writes all settings
to ``rivals.json`` beside this file.
"""

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pandas as pd
import torch

import unlearnkit as uk
from unlearnkit.approximate import (
    METHODS,
    AlongTraining,
    Dampening,
    DeltaGrad,
    EachState,
    FineTuning,
    FixedDamping,
    GradientAscent,
    KroneckerInfluence,
    Method,
    NegGradPlus,
    Relabelling,
    Scrub,
)

GRID: dict[str, list[Method]] = {
    "fixed-damping": [EachState(FixedDamping(d)) for d in (0.01, 0.03, 0.1)],
    "kfac": [EachState(KroneckerInfluence(d)) for d in (1.0, 3.0, 10.0)],
    "fine-tuning": [FineTuning(p, r) for p, r in ((1, 0.1), (1, 1.0), (3, 0.3))],
    "gradient-ascent": [
        EachState(GradientAscent(s, r)) for s, r in ((1, 0.1), (5, 0.1), (5, 0.3), (10, 0.3))
    ],
    "neggrad-plus": [EachState(NegGradPlus(w, 1, r)) for w in (0.05, 0.1, 0.3) for r in (0.1, 0.3)],
    "scrub": [EachState(Scrub(a, 1.0, 2, 3, r)) for a in (0.1, 1.0) for r in (0.1, 0.3)],
    "ssd": [EachState(Dampening(a)) for a in (2.0, 5.0, 10.0)],
    "amnesiac-relabelling": [EachState(Relabelling(1, r)) for r in (0.03, 0.1, 0.3)],
    "deltagrad": [AlongTraining(DeltaGrad(p)) for p in (10, 20)],
}


def race(model: str, names: list[str], amends: tuple[str, ...]) -> list[dict[str, object]]:
    """All settings of these methods on one request."""
    session = uk.Session("digits", model=model)
    session.train()
    exact = session.fork()
    baseline = forget(exact, boundary=uk.FixedBoundary(1.0))
    rows = []
    for name, amend in product(names, amends):
        if METHODS[name].unsuitable(session.plan):
            continue
        for method in GRID.get(name, [METHODS[name]]):
            fork = session.fork()
            seconds = forget(fork, boundary=uk.FixedBoundary(0.0), method=method, amend=amend)
            found = fork.compare()
            kl, nothing = found.output_kl["unlearned"], found.output_kl["original"]
            rows.append(
                {
                    "model": model,
                    "method": name,
                    "amend": amend,
                    "KL": kl,
                    "gap removed": 1 - kl / nothing,
                    "MIA gap": abs(found.membership_gap.value),
                    "MIA gap, doing nothing": abs(found.original_membership_gap.value),
                    "speed over exact": baseline / seconds,
                    "setting": repr(method),
                }
            )
    return rows


def forget(session: uk.Session, **how: object) -> float:
    """Unlearn a tenth; CPU seconds."""
    session.revoke(share=0.1, seed=1)
    begun = time.process_time()
    session.unlearn(**how)  # type: ignore[arg-type]
    return time.process_time() - begun


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="logistic regression, without amend")
    quick = parser.parse_args().quick
    rows: list[dict[str, object]] = []
    for model in ("logistic",) if quick else ("logistic", "mlp", "cnn"):
        print(f"{model} ...", flush=True)
        rows += race(model, list(METHODS), ("none",) if quick else ("none", "replay"))
    table = pd.DataFrame(rows)
    best = table.loc[table.groupby(["model", "amend", "method"])["gap removed"].idxmax()]
    best = best.sort_values(["model", "amend", "gap removed"], ascending=[True, True, False])
    print(best.drop(columns="setting").to_string(index=False, float_format="{:.3g}".format))
    record = {
        "command": "python tests/benchmarks/rivals.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "torch": str(torch.__version__),
        "rows": rows,
    }
    if not quick:
        Path(__file__).with_name("rivals.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
