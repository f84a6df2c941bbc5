"""How much faster than exact retraining the adaptive boundary is, and what gap it leaves.

    make bench NAME=study             Fashion-MNIST, 10,000 examples: logistic regression, MLP, CNN
    ... ARGS="--whole --seeds 3"      all 60,000 examples (hours on two cores)
    ... ARGS=--quick                  digits, a few minutes
    ... ARGS="--whole --rates"        the effect of the learning rate on a perceptron, 5 shards
    ... ARGS="--whole --activations"  the effect of the perceptron's activation, likewise
    ... ARGS="--seed 7 --data mnist --revoked 10 0.1 half-class alike:0.05 costly:100"

Shards 5 and 10, slices 1 and 5, 20 epochs. Requests of 10 and 100 examples, of a tenth and of a
class; of 60,000 examples 100, a hundredth and a tenth. Means are over requests of random examples;
classes, which networks retrain exactly, have rows of their own. Rows are kept in
``.bench`` as they are measured, so a run that was stopped goes on where it was while the code is
the same. With ``--data``, ``--seed``, ``--revoked`` or ``--models`` the report stays as it is.

Beside the exact engine stands a plain SISA loop (``reference_sisa.py``): the CPU seconds that it
takes for a visit are measured on one epoch of a tenth of the examples, and multiplied by the visits
of the request, which are the same for both.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report
import torch
from reference_sisa import PlainSisa

import unlearnkit as uk
from unlearnkit import figures
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import OF_NULLS
from unlearnkit.progress import ProgressEvent

CELL = ["model", "num_shards", "num_slices", "kind", "revoked", "policy"]
GAPS = ["output_kl", "membership_gap", "forget_accuracy_gap", "test_accuracy_gap"]
SHOWN = [
    "speed",
    "speed_over_scratch",
    "speed_over_sisa",
    "gap_removed",
    "membership_gap_removed",
    *GAPS,
]
LEAST_SPEED = 4.0
LEAST_REMOVED = {"logistic": 0.95}
OTHERWISE = 0.6
MANY = 10_000  # examples; of more than these, so many are taken
RATES = (1 / 3, 1 / 2, 1, 2)  # of the default


def sisa_seconds(data: Dataset, model: str) -> float:
    """CPU seconds of the plain loop for a visit: one epoch of a tenth of the examples."""
    features, labels = data.examples(data.train.ids)
    plan = uk.Session(data, model=model).plan
    spec = plan.spec
    rows = np.arange(len(labels) // 10)
    with tempfile.TemporaryDirectory() as folder:
        loop = PlainSisa(
            plan.architecture.module,
            features,
            labels,
            [[rows]],
            [1],
            spec.batch_size,
            spec.learning_rate,
            spec.momentum,
            spec.weight_decay,
            0,
            Path(folder),
        )
        taken = []
        for _ in range(3):
            begun = time.process_time()
            visits = loop.train()
            taken.append(time.process_time() - begun)
    return float(np.median(taken)) / visits


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: medians over seeds; a cell that was routed exact counts as speed 1."""
    columns = [*SHOWN, *(f"{gap}{null}" for gap in GAPS[:2] for null in OF_NULLS), "cpu_seconds"]
    columns += ["exact_shards", "approximate_shards", "workload_share", "expected_share"]
    cells = frame.groupby(CELL, sort=False)[columns].median().reset_index()
    cells["measured_speed"] = cells.speed
    cells.loc[cells.approximate_shards == 0, "speed"] = 1.0
    return cells


def missing(cell: pd.Series) -> str:
    """What a cell lacks of the minimum, in words; empty if nothing, or if it was routed exact."""
    if not cell.approximate_shards:
        return ""
    least = LEAST_REMOVED.get(cell.model, OTHERWISE)
    lacks = []
    if cell.speed < LEAST_SPEED:
        lacks.append(f"{cell.speed:.1f}x of {LEAST_SPEED:g}x")
    for gap, removed in (("KL", cell.gap_removed), ("MIA", cell.membership_gap_removed)):
        if removed < least:
            lacks.append(f"{gap} {removed:.1%} of {least:.0%}")
    return ", ".join(lacks)


def geometric(speeds: pd.Series) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(speeds).mean()))


def headline(cells: pd.DataFrame) -> pd.DataFrame:
    """By model and policy, and over all models: cells of at least 10 random examples, if any."""
    random = (cells.revoked >= 10) & (cells.kind == "uniform")
    cells = cells[(cells.policy != "exact") & (random | (not random.any()))]
    groups = [(*key, some) for key, some in cells.groupby(["policy", "model"], sort=False)]
    groups += [(key, "all", some) for key, some in cells.groupby("policy", sort=False)]
    rows = []
    for policy, model, some in groups:
        modified = some[some.approximate_shards > 0]
        rows.append(
            {
                "policy": policy,
                "model": model,
                "cells": len(some),
                "approximate": len(modified),
                "speed over exact": geometric(some.speed),
                "speed of the approximate": geometric(modified.speed),
                "least": modified.speed.min(),
                "speed over scratch": geometric(some.speed_over_scratch),
                "speed over the plain loop": geometric(some.speed_over_sisa),
                "KL gap removed, median": modified.gap_removed.median(),
                "KL gap removed, least": modified.gap_removed.min(),
                "KL of another seed": _over_nothing(modified, "output_kl"),
                "MIA gap removed, median": modified.membership_gap_removed.median(),
                "MIA gap of another seed": _over_nothing(modified, "membership_gap"),
                "|test gap|, most": modified.test_accuracy_gap.abs().max(),
                "|forget gap|, mean": modified.forget_accuracy_gap.abs().mean(),
                "|MIA gap|, mean": modified.membership_gap.abs().mean(),
                "under the minimum": sum(bool(missing(cell)) for _, cell in modified.iterrows()),
            }
        )
    return pd.DataFrame(rows)


def _over_nothing(cells: pd.DataFrame, gap: str) -> float:
    """The median of another seed's gap over that of doing nothing."""
    nothing, other = (cells[f"{gap}{null}"].abs() for null in OF_NULLS)
    return float((other / nothing).median())


def summary_table(best: pd.DataFrame) -> str:
    """The adaptive boundary's means as Markdown."""
    lines = [
        "| model | cells | of them approximate | speed over exact (exact cells count 1x) | "
        "speed of the approximate | over the plain SISA loop | "
        "KL gap removed, median (least) | another seed over doing nothing | "
        "MIA gap removed, median | another seed over doing nothing |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, row in best[best.policy == "adaptive"].iterrows():
        lines.append(
            f"| {row.model} | {row.cells} | {row.approximate} | {row['speed over exact']:.2f}x | "
            f"{row['speed of the approximate']:.2f}x | {row['speed over the plain loop']:.1f}x | "
            f"{row['KL gap removed, median']:.0%} "
            f"({row['KL gap removed, least']:.0%}) | {row['KL of another seed']:.2g} | "
            f"{row['MIA gap removed, median']:.0%} | {row['MIA gap of another seed']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def cell_table(cells: pd.DataFrame) -> str:
    """The adaptive boundary's cells as Markdown."""
    lines = [
        "| model | shards x slices | revoked | route | speed | KL, doing nothing | another seed | "
        "KL gap removed | MIA gap, doing nothing | another seed | MIA gap removed | "
        "below the minimum |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, cell in cells[cells.policy == "adaptive"].iterrows():
        exact = not cell.approximate_shards
        route = "exact" if exact else "approximate" if not cell.exact_shards else "both"
        share = "" if cell.kind == "uniform" else f" ({cell.kind})"
        gaps = [cell.gap_removed, cell.membership_gap_removed]
        shown = ["all"] * 2 if exact else [f"{g:.0%}" if g == g else "-" for g in gaps]
        kl, mia = ([f"{cell[f'{gap}{null}']:.1e}" for null in OF_NULLS] for gap in GAPS[:2])
        lines.append(
            f"| {cell.model} | {cell.num_shards} x {cell.num_slices} | {cell.revoked}{share} | "
            f"{route} | {cell.speed:.1f}x | {' | '.join([*kl, shown[0], *mia, shown[1]])} | "
            f"{missing(cell)} |"
        )
    return "\n".join(lines) + "\n"


def show(frame: pd.DataFrame, title: str, seeds: int, publish: bool) -> None:
    """Print, write and draw what there is; publish it if it is all."""
    cells = summarise(frame)
    best = headline(cells)
    command = report.command(__file__, " ".join(sys.argv[1:]))
    with pd.option_context(
        "display.width", 250, "display.max_columns", 40, "display.max_rows", 500
    ):
        print(cells[[*CELL, *SHOWN, "exact_shards", "approximate_shards"]].to_string(index=False))
        print(best.to_string(index=False, float_format="{:.3g}".format))
    rows = {"headline": best.to_dict("records"), "cells": cells.to_dict("records")}
    report.keep(f"study-{title}", command, rows)
    if publish:
        kept, how = cells.to_dict("records"), {"file": __file__, "seeds": report.counted(seeds)}
        report.publish(
            f"study {title}",
            best.to_dict("records"),
            lambda rows: summary_table(pd.DataFrame(rows)),
            command,
            **how,
        )
        report.publish(
            f"study {title}, every cell",
            kept,
            lambda rows: cell_table(pd.DataFrame(rows)),
            command,
            **how,
        )
    drawn = [
        figures.study_speed,
        figures.study_gap,
        figures.study_frontier,
        figures.study_workload,
    ]
    if (frame.kind == "uniform").any():
        drawn.append(figures.study_map)
    for draw in drawn:
        draw(frame).write_html(report.output() / f"{draw.__name__}-{title}.html")


def rates(data: Dataset, title: str, seeds: list[int], publish: bool) -> None:
    """The learning rate as an axis: how well a perceptron can be unlearned approximately."""
    default = uk.Session(data, model="mlp").spec.learning_rate
    settings = {f"{rate:g}": ("mlp", rate) for rate in (round(default * x, 6) for x in RATES)}
    axis(data, title, seeds, publish, ("rates", "learning rate"), settings)


def activations(data: Dataset, title: str, seeds: list[int], publish: bool) -> None:
    """The same with the activation between the layers as the axis."""
    settings = {name: (uk.MLP(activation=name), None) for name in ("gelu", "tanh", "relu")}
    axis(data, title, seeds, publish, ("activations", "activation"), settings)


def axis(
    data: Dataset,
    title: str,
    seeds: list[int],
    publish: bool,
    named: tuple[str, str],
    settings: dict[str, tuple[Any, float | None]],
) -> None:
    """Modify everything under some settings of training, and print, keep and publish a table.

    Args:
        data: to be trained on.
        title: of it.
        seeds: medians are over.
        publish: whether the report gets the table.
        named: the option's name, and what is varied in words.
        settings: models and learning rates (None for the default) by what is shown of them.
    """
    option, varied = named
    frames = [
        uk.study(
            data,
            models=[model],
            num_shards=[5],
            num_slices=(1, 5),
            learning_rates=[rate],
            epochs=20,
            seeds=seeds,
            revoked=(100, 0.01, 0.1),
            policies={"approximate": uk.FixedBoundary(0.0)},
            path=report.log(__file__, f"study-{data.name}-{len(data.train)}.jsonl"),
            on_progress=tell,
        ).assign(setting=shown)
        for shown, (model, rate) in settings.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    command = report.command(__file__, " ".join(sys.argv[1:]))
    report.keep(f"study-{option}-{title}", command, frame.to_dict("records"))
    rows = frame.to_dict("records")
    print(axis_table(rows, varied))
    if publish:
        report.publish(
            f"{option} {title}",
            rows,
            lambda rows: axis_table(rows, varied),
            command,
            file=__file__,
            seeds=report.counted(len(seeds), seeds[0]),
        )


def axis_table(rows: list[report.Row], varied: str) -> str:
    """Return medians over seeds and slices by what is varied, as Markdown."""
    frame = pd.DataFrame(rows)
    columns = ["output_kl_of_nothing", "gap_removed", "membership_gap_removed", "speed"]
    exact = frame[frame.policy == "exact"].groupby("setting").test_accuracy.mean()
    lines = [
        f"| {varied} | test accuracy | revoked | output KL, doing nothing | KL gap removed | "
        "MIA gap removed | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    modified = frame[frame.policy == "approximate"]
    for (setting, revoked), some in modified.groupby(["setting", "revoked"], sort=False):
        row = some[columns].median()
        lines.append(
            f"| {setting} | {exact[setting]:.3f} | {revoked} | {row.output_kl_of_nothing:.1e} | "
            f"{row.gap_removed:.0%} | {row.membership_gap_removed:.0%} | {row.speed:.1f}x |"
        )
    return "\n".join(lines) + "\n"


def request(word: str) -> float | str | tuple[str, float]:
    """What to revoke, from a word: 10, 0.1, class, or alike:0.05."""
    kind, _, amount = word.rpartition(":")
    if amount.replace(".", "", 1).isdecimal():
        number = float(amount) if "." in amount else int(amount)
        return (kind, number) if kind else number
    return word


def tell(event: ProgressEvent) -> None:
    """How far it is."""
    print(f"{event.done_visits} of {event.total_visits} requests", flush=True)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits")
    parser.add_argument("--whole", action="store_true", help="all of Fashion-MNIST")
    parser.add_argument("--rates", action="store_true", help="the learning rate as an axis")
    parser.add_argument("--activations", action="store_true", help="the activation as an axis")
    parser.add_argument("--data", default="", help="a name that uk.load knows")
    parser.add_argument("--models", nargs="*", help="logistic, mlp and, for images, cnn")
    parser.add_argument("--revoked", nargs="*", help="amounts, class, half-class, or kind:amount")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = options.data or ("digits" if options.quick else "fashion-mnist")
    data = uk.load(name)
    if data.train.labels.is_floating_point():
        parser.error(f"{name} is a regression, and these tables are of accuracies; take classes")
    if not options.whole and len(data.train) > MANY:
        data = uk.load(name, num_examples=MANY)
    title = f"{name}-{len(data.train)}"
    if options.seed:
        title += f"-seed-{options.seed}"
    revoked = [request(word) for word in options.revoked or ()]
    if revoked:
        title += "-" + "-".join(options.revoked).replace(":", "-")
    if options.models:
        title += "-" + "-".join(options.models)
    models = options.models or ["logistic", "mlp"] + ["cnn"] * (len(data.feature_shape) == 3)

    publish = not (options.quick or options.data or options.seed or revoked or options.models)
    seeds = list(range(options.seed, options.seed + options.seeds))
    if (options.rates or options.activations) and (revoked or options.models):
        parser.error(
            "--rates and --activations have requests and a model of their own; leave --revoked and "
            "--models"
        )
    if options.rates or options.activations:
        if options.activations:
            activations(data, title, seeds, publish)
        if options.rates:
            rates(data, title, seeds, publish)
        return
    usual = (100, 0.01, 0.1) if options.whole else (10, 100, 0.1, "class")
    frames = []
    for model in models:
        before = sisa_seconds(data, model)  # and after: machines are not steady
        frames.append(
            uk.study(
                data,
                models=[model],
                num_shards=(5, 10),
                num_slices=(1, 5),
                epochs=20,
                seeds=seeds,
                revoked=revoked or usual,
                policies={
                    "adaptive": uk.AdaptiveBoundary(),
                    "approximate": uk.FixedBoundary(0.0),
                },
                another_seed=True,
                path=report.log(__file__, f"study-{data.name}-{len(data.train)}.jsonl"),
                on_progress=tell,
            )
        )
        rate = (before + sisa_seconds(data, model)) / 2
        frames[-1]["speed_over_sisa"] = frames[-1].visits * rate / frames[-1].cpu_seconds
        whole = len(frames) == len(models)
        show(pd.concat(frames, ignore_index=True), title, options.seeds, publish and whole)


if __name__ == "__main__":
    main()
