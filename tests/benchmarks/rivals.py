"""Methods of the literature against ours: each at its best, as published and as here.

    make bench NAME=rivals [ARGS="--data fashion-mnist | --models mlp | --quick"]

On digits, or 10,000 examples of Fashion-MNIST, at the default spec, a tenth of the training
examples is revoked at random and every shard is modified. Each method runs *as published*, on the
final model alone and without an amend, and *as here*, on all stored states with the default replay
behind it. Methods that follow the whole training have no form for the final model alone; as
published, they run on all stored states without an amend.

Settings are chosen from a small grid, for each model and form, by the remaining distances on the
forget side: the mean of two ratios to doing nothing, of the forget-side KL per constituent and of
the absolute MIA gap. They are chosen on one request to a model of one seed, and shown on five other
requests to models of five seeds, none of them used for the choice. Shown are medians and, for the
forget-side KL, the range. The nulls are doing nothing, another seed, and a replay without a
correction. Speeds are ratios of CPU seconds to exact retraining of the same request in the same
run. Rows are added to a log as they are measured, so a run that was stopped goes on where it was
while the code is the same.
"""

import argparse
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judging
import pandas as pd
import report
import torch
from rival_methods import FORMS, GRID, HERE, NAMES, PUBLISHED, follows_training, in_form
from tables import amount, share_of

import unlearnkit as uk
from unlearnkit.approximate import METHODS, EachState, Method
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.examples import Dataset
from unlearnkit.studies.seed_models import of_another_seed

TUNED, SHOWN = 9, (0, 1, 2, 3, 4)  # seeds of the models; each also draws its request
SHARE = 0.1
MODELS = ("logistic", "mlp", "cnn")
Row = dict[str, Any]


class Race:
    """The methods on models of one kind, and what was measured before.

    Attributes:
        data: the data.
        model: name of the model.
    """

    def __init__(self, data: Dataset, model: str, log: Path) -> None:
        self.data, self.model, self.log = data, model, log
        self.known: dict[str, Row] = {}
        for line in log.read_text().splitlines() if log.exists() else ():
            try:
                row = json.loads(line)
            except ValueError:  # a run that was killed left it incomplete
                continue
            self.known[row["key"]] = row
        self.untrained = uk.Session(data, model=model)
        self._trained: tuple[int, Any] | None = None

    def trained(self, seed: int) -> tuple[uk.Session, uk.Session, float, Row]:
        """Return a session, its exact fork, the CPU seconds of that, and doing nothing's gaps."""
        if self._trained is None or self._trained[0] != seed:
            session = uk.Session(self.data, model=self.model, seed=seed)
            session.train()
            exact = session.fork()
            exact.revoke(share=SHARE, seed=100 + seed)
            done = exact.unlearn(1)
            assert done.cpu_seconds is not None
            null = judging.distances(session, done.ids, session.ensemble, exact.ensemble)
            self._trained = seed, (session, exact, done.cpu_seconds, null)
        found: tuple[uk.Session, uk.Session, float, Row] = self._trained[1]
        return found

    def row(self, name: str, method: Method | None, form: str, seed: int) -> Row:
        """Return what a method leaves of one request; as it was measured, if it was.

        Without a method it is another seed that is measured.
        """
        key = f"{self.model} {name} {method!r} {form} {seed}"
        if key not in self.known:
            session, exact, exact_seconds, null = self.trained(seed)
            ids = exact.revoked
            if method is None:
                found, speed = of_another_seed(exact), math.nan
            else:
                fork = session.fork()
                fork.revoke(ids)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of doubts; all shards are modified anyway
                    done = fork.unlearn(
                        boundary=uk.FixedBoundary(0.0),
                        method=method,
                        amend="none" if form == PUBLISHED else "replay",
                        spot_check=False,
                    )
                found, speed = fork.ensemble, exact_seconds / (done.cpu_seconds or math.nan)
            left = judging.distances(session, ids, found, exact.ensemble)
            row = {
                "key": key,
                "model": self.model,
                "method": name,
                "form": form,
                "seed": seed,
                "setting": "" if method is None else repr(method),
                **left,
                **{f"{gap}, {judging.NOTHING}": null[gap] for gap in null},
                "speed": speed,
            }
            self.known[key] = report.plain(row)
            with self.log.open("a") as file:
                file.write(json.dumps(self.known[key]) + "\n")
        return self.known[key]

    def best(self, name: str, form: str, few: bool) -> Method:
        """Return the setting that leaves least on the forget side of the request for tuning."""
        settings = self.settings(name)[: 2 if few else None]
        forms = [in_form(each, form) for each in settings]
        if len(forms) == 1:
            return forms[0]
        left = [forget_side(self.row(name, each, form, TUNED)) for each in forms]
        return forms[min(range(len(forms)), key=left.__getitem__)]

    def settings(self, name: str) -> list[Method]:
        """Return the settings of a method to choose from; ours come as they are by default."""
        chosen = default_method(self.untrained.plan)
        ours = "last-layer-influence" if self.model == "cnn" else "staged-influence"
        return GRID.get(name) or [chosen if name == ours else METHODS[name]]

    def run(self, few: bool = False) -> Iterator[Row]:
        """Yield the rows of all methods that suit the model, and of the nulls."""
        plan, seeds = self.untrained.plan, SHOWN[: 1 if few else None]
        names = [name for name in METHODS if not METHODS[name].unsuitable(plan)]
        chosen = {(name, form): self.best(name, form, few) for form in FORMS for name in names}
        for seed in seeds:  # one model after the other, so that each is trained once
            yield self.row(judging.ANOTHER, None, "", seed)
            yield self.row("no correction", EachState(judging.AsTrained()), HERE, seed)
            for (name, form), method in chosen.items():
                yield self.row(name, method, form, seed)
            print(f"{self.model}, seed {seed}", flush=True)


def forget_side(row: Row) -> float:
    """Return the mean share of two forget-side gaps that is left; infinity if it is not finite."""
    shares = [row[gap] / row[f"{gap}, {judging.NOTHING}"] for gap in judging.GAPS[1:]]
    mean = sum(shares) / len(shares) if None not in shares else math.inf
    return mean if math.isfinite(mean) else math.inf


def table_of(rows: list[Row]) -> str:
    """Return a table for each model as Markdown, sorted by what is left of the forget-side KL."""
    parts = []
    for model, some in pd.DataFrame(rows).groupby("model", sort=False):
        lines = [
            f"{model}, {some.seed.nunique()} seeds:\n",
            "| method | form | forget-side KL left (removed, range) | MIA gap left (removed) | "
            "test KL left (removed) | speed |",
            "|---|---|---|---|---|---|",
        ]
        nothing = [f"{gap}, {judging.NOTHING}" for gap in judging.GAPS]
        test, side, mia = some.groupby("seed")[nothing].first().median()
        lines.append(
            f"| *{judging.NOTHING}* | | {amount(side)} | {amount(mia)} | {amount(test)} | |"
        )
        groups = {key: group for key, group in some.groupby(["method", "form"])}
        order = sorted(groups, key=lambda key: groups[key]["forget-side KL"].median())
        lines += [_line(*key, groups[key]) for key in order]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(name: str, form: str, rows: pd.DataFrame) -> str:
    cells = []
    for gap in (judging.GAPS[1], judging.GAPS[2], judging.GAPS[0]):
        removed = 1 - rows[gap] / rows[f"{gap}, {judging.NOTHING}"]
        spread = f", {share_of(removed.min())} to {share_of(removed.max())}"
        more = spread if gap == judging.GAPS[1] else ""
        cells.append(f"{amount(rows[gap].median())} ({share_of(removed.median())}{more})")
    speed = rows["speed"].astype(float).median()
    null = name not in NAMES
    shown = f"*{name}*" if null else NAMES[name]
    said = "whole training" if form == PUBLISHED and follows_training(name) else form
    cells.append("" if math.isnan(speed) else f"{speed:.2g}x")
    return f"| {shown} | {said} | {' | '.join(cells)} |"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", choices=["digits", "fashion-mnist"])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="few settings, one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = uk.load(options.data, num_examples=10_000 if options.data != "digits" else None)
    title = f"{options.data}-{len(data.train)}"
    models = ["logistic"] if options.quick else options.models
    log = report.log(__file__, f"rivals-{title}.jsonl")
    rows: list[Row] = []
    for model in models:
        found = Race(data, model, log).run(options.quick)
        rows += [{name: row[name] for name in row if name != "key"} for row in found]
        print(table_of(rows), flush=True)
    if options.quick:
        return
    arguments = [f"--data {options.data}"] if options.data != "digits" else []
    arguments += [] if models == list(MODELS) else [f"--models {' '.join(models)}"]
    command = report.command(__file__, " ".join(arguments))
    report.keep(f"rivals-{title}", command, rows)
    report.publish(
        f"rivals {title}",
        rows,
        table_of,
        command,
        file=__file__,
        seeds=f"settings from seed {TUNED}, {report.counted(len(SHOWN))}",
        by=lambda row: row["model"],
    )


if __name__ == "__main__":
    main()
