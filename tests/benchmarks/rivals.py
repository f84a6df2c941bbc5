"""Approximate methods of the literature against ours, each with a small grid of settings.

    make bench NAME=rivals [ARGS="--data fashion-mnist | --quick"]

On digits, or 10,000 examples of Fashion-MNIST, at the default spec, a tenth of the training
examples is revoked at random and unlearned with every shard approximate, by each setting with and
without a replay of the last epoch. Of each method and amend the setting that removes most of doing
nothing's output KL is chosen on that request, and shown by what it does on another one. Speeds are
ratios of CPU seconds to exact retraining of the same request in the same run, once. Rows are added
to ``.bench/rivals-*.jsonl`` as they are measured, so a run that was stopped goes on where it was;
delete the file after a change of the methods.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import pandas as pd
import report
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
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.examples import Dataset

GRID: dict[str, list[Method]] = {
    "fixed-damping": [EachState(FixedDamping(d)) for d in (0.03, 0.1, 0.3, 1.0, 3.0)],
    "kfac": [EachState(KroneckerInfluence(d)) for d in (3.0, 30.0, 300.0, 3000.0)],
    "fine-tuning": [FineTuning(p, r) for p, r in ((1, 0.1), (1, 1.0), (3, 0.3))],
    "gradient-ascent": [
        EachState(GradientAscent(s, r))
        for s, r in ((1, 0.03), (1, 0.1), (5, 0.1), (5, 0.3), (10, 0.3))
    ],
    "neggrad-plus": [EachState(NegGradPlus(w, 1, r)) for w in (0.05, 0.1, 0.3) for r in (0.1, 0.3)],
    "scrub": [EachState(Scrub(a, 1.0, 2, 3, r)) for a in (0.1, 1.0) for r in (0.1, 0.3)],
    "ssd": [EachState(Dampening(a)) for a in (2.0, 5.0, 10.0)],
    "amnesiac-relabelling": [EachState(Relabelling(1, r)) for r in (0.03, 0.1, 0.3)],
    "deltagrad": [AlongTraining(DeltaGrad(p)) for p in (10, 20)],
}

TUNED, SHOWN = 1, 2  # seeds of the two requests
NAMES = {
    "staged-influence": "staged influence (ours)",
    "last-layer-influence": "staged influence of the last layer (ours)",
    "fixed-damping": "influence with fixed damping",
    "kfac": "K-FAC influence",
    "fine-tuning": "fine-tuning",
    "gradient-ascent": "gradient ascent",
    "neggrad-plus": "NegGrad+",
    "scrub": "SCRUB",
    "ssd": "SSD",
    "amnesiac-relabelling": "Amnesiac relabelling",
    "salun": "SalUn",
    "bad-teacher": "Bad Teacher",
    "l1-sparse": "l1-sparse",
    "unsir": "UNSIR",
    "rewind-to-delete": "Rewind-to-Delete",
    "single-gradient": "single gradient",
    "deltagrad": "DeltaGrad",
    "noisy-newton": "Newton with calibrated noise",
    "newton": "Newton with a certificate (last layer)",
}


class Race:
    """The methods on one trained model, and what was measured before."""

    def __init__(self, data: Dataset, model: str, log: Path) -> None:
        self.model, self.log = model, log
        self.session = uk.Session(data, model=model)
        self.session.train()
        self.baselines: dict[int, float] = {}

    def run(self, name: str, method: Method, amend: str, seed: int) -> dict[str, object]:
        """One setting on one request; as it was measured, if it was."""
        key = [self.model, repr(method), amend, seed]
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            row = json.loads(line)
            if row["key"] == key:
                return row
        fork = self.session.fork()
        how = {"method": method, "amend": amend, "boundary": uk.FixedBoundary(0.0)}
        seconds = forget(fork, seed, **how)
        found = fork.compare()
        kl, nothing = found.output_kl["unlearned"], found.output_kl["original"]
        gap, gap_before = found.membership_gap.value, found.original_membership_gap.value
        row = {
            "key": key,
            "model": self.model,
            "method": name,
            "amend": amend,
            "request": seed,
            "KL": kl,
            "gap removed": 1 - kl / nothing,
            "MIA gap removed": 1 - abs(gap) / abs(gap_before),
            "speed over exact": self.exact(seed) / seconds,
            "setting": repr(method),
        }
        with self.log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    def exact(self, seed: int) -> float:
        """CPU seconds of retraining a request."""
        if seed not in self.baselines:
            fork = self.session.fork()
            self.baselines[seed] = forget(fork, seed, boundary=uk.FixedBoundary(1.0))
        return self.baselines[seed]

    def best(self, name: str, amend: str) -> list[dict[str, object]]:
        """The settings of a method on the one request, and its best one on the other, last."""
        settings = GRID.get(name) or [self.default(name)]
        rows = [self.run(name, method, amend, TUNED) for method in settings]
        best = max(range(len(rows)), key=lambda i: rows[i]["gap removed"])
        return [*rows, self.run(name, settings[best], amend, SHOWN)]

    def default(self, name: str) -> Method:
        """A method without a grid: ours as it comes by default, where it is the default."""
        chosen = default_method(self.session.plan)
        ours = "last-layer-influence" if self.model == "cnn" else "staged-influence"
        return chosen if name == ours else METHODS[name]


def forget(session: uk.Session, seed: int, **how: object) -> float:
    """Unlearn a tenth; CPU seconds."""
    session.revoke(share=0.1, seed=seed)
    begun = time.process_time()
    session.unlearn(**how, spot_check=False)  # type: ignore[arg-type]
    return time.process_time() - begun


def table_of(shown: pd.DataFrame, models: list[str]) -> str:
    """What each method, followed by a replay, does on the request it was not tuned on."""
    some = shown[shown.amend == "replay"]
    order = some.groupby("method")["gap removed"].mean().sort_values(ascending=False).index
    lines = [
        "| method | " + " | ".join(f"{model}: KL, MIA, speed" for model in models) + " |",
        "|---|" + "---|" * len(models),
    ]
    for name in order:
        cells = []
        for model in models:
            found = some[(some.method == name) & (some.model == model)]
            if found.empty:
                cells.append("not on offer")
                continue
            row = found.iloc[0]
            kl, mia = (
                f"{row[part]:.0%}" if row[part] >= 0 else "below 0"
                for part in ("gap removed", "MIA gap removed")
            )
            cells.append(f"{kl}, {mia}, {row['speed over exact']:.2g}x")
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", choices=["digits", "fashion-mnist"])
    parser.add_argument("--quick", action="store_true", help="logistic regression, without amend")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = uk.load(options.data, num_examples=10_000 if options.data != "digits" else None)
    title = f"{options.data}-{len(data.train)}"
    models = ["logistic"] if options.quick else ["logistic", "mlp", "cnn"]
    rows: list[dict[str, object]] = []
    for model in models:
        race = Race(data, model, report.output() / f"rivals-{title}.jsonl")
        for name, amend in product(METHODS, ("none",) if options.quick else ("none", "replay")):
            if not METHODS[name].unsuitable(race.session.plan):
                rows += race.best(name, amend)
                print(f"{model} {name} {amend}: {rows[-1]['gap removed']:.1%}", flush=True)
    shown = pd.DataFrame(rows)
    shown = shown[shown.request == SHOWN].drop(columns=["key", "request"])
    shown = shown.sort_values(["model", "amend", "gap removed"], ascending=[True, True, False])
    print(shown.drop(columns="setting").to_string(index=False, float_format="{:.3g}".format))
    if options.quick:
        return
    command = report.command(__file__, f"--data {options.data}")
    report.keep(f"rivals-{title}", command, rows)
    report.put(f"rivals {title}", table_of(shown, models), command)


if __name__ == "__main__":
    main()
