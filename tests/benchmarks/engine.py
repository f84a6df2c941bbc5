"""How fast the exact engine is, against a plain SISA loop and against its own targets.

    make bench NAME=engine [ARGS="--quick | --only speed store"]

Both sides do the same work on the same shards, slices and requests, in turn, in one process with
one compute thread. A ratio is the median over pairs of the plain loop's CPU seconds over ours.
``--quick`` takes three minutes: fewer rows, pairs and requests. The figure goes to
``.bench/engine.html``.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import report
import torch
from workloads import Ours, Plain, Workload, generate, workloads

import unlearnkit as uk
from unlearnkit.data.examples import Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.workload import estimate

MB = 1e6
Row = dict[str, Any]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, CPU seconds of this process, and wall seconds."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def row(
    group: str,
    work: str,
    what: str,
    ours: float,
    reference: float | None,
    value: float,
    target: float,
    at_least: bool,
    **more: Any,
) -> Row:
    """One line of the table; ``value`` is what the target is about."""
    met = value >= target if at_least else value <= target
    names = {"group": group, "work": work, "what": what, "ours": ours, "reference": reference}
    return {**names, "value": value, "target": target, "at least": at_least, "met": met, **more}


def compare_speed(work: Workload, pairs: int) -> list[Row]:
    """Train all, unlearn 1, unlearn 20: both sides in turn, ours first in every other pair."""
    sides = {"ours": Ours(work), "reference": Plain(work)}
    times: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for pair in range(pairs):
        for count in (0, 1, 20):
            visits = {}
            for name in sorted(sides, reverse=pair % 2 == 1):
                side = sides[name]
                side.prepare()
                ids = work.request(count, pair)
                job = (lambda s=side, i=ids: s.unlearn(i)) if count else side.train
                visits[name], *seconds = timed(job)
                what = f"unlearn {count}" if count else "train all"
                times.setdefault(what, {}).setdefault(name, []).append(tuple(seconds))
            if visits["ours"] != visits["reference"]:
                raise SystemExit(f"{work.name}: not the same work: {visits}")
    for side in sides.values():
        side.prepare()
        side.train()
    test = work.dataset.test
    right = {
        name: float((side.predict(test.inputs()).argmax(1) == test.labels).float().mean())
        for name, side in sides.items()
    }
    # Part of training all that the plain loop has no like of: digests of the contents.
    digests = timed(lambda: replace(work.dataset.train).digests)[1]
    rows = []
    for (what, by), target in zip(times.items(), work.targets, strict=True):
        both = list(zip(by["reference"], by["ours"], strict=True))
        cpu, wall = (median(r[i] / o[i] for r, o in both) for i in (0, 1))
        ours, reference = (median(seconds[0] for seconds in by[n]) for n in sides)
        spread = [min(r[0] / o[0] for r, o in both), max(r[0] / o[0] for r, o in both)]
        more = {"wall ratio": wall, "range": spread, "seconds": by, "test accuracy": right}
        more |= {"digest seconds": digests} if what == "train all" else {}
        rows.append(row("speed", work.name, what, ours, reference, cpu, target, True, **more))
    return rows


def measure_memory(name: str, rows: int) -> list[Row]:
    """Peak memory of training all, each side in a process of its own (Linux).

    Only `million` has a target: the peak less what the process weighs without data.
    """
    million = name == "million"
    found = {}
    for side in ("ours",) if million else ("ours", "reference"):
        command = [sys.executable, __file__, "--memory", side, name, str(rows)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        before, peak, data = (float(word) for word in output.split()[-3:])
        found[side] = {"before MB": before, "peak MB": peak, "data MB": data}
    ours, plain = found["ours"], found.get("reference")
    if million:
        what, reference = "peak less start-up, over the data's bytes", ours["data MB"]
        used = ours["peak MB"] - ours["before MB"] + ours["data MB"]
        value, target = used / reference, 2.0
        return [row("memory", "LR 1,000,000 x 600", what, used, reference, value, target, False)]
    grown = {side: f["peak MB"] - f["before MB"] for side, f in found.items()}
    assert plain is not None
    title, value = workloads()[name].name, ours["peak MB"] / plain["peak MB"]
    what = "peak MB (ours over the plain loop's)"
    more = {"grown MB": grown, "detail": found}
    return [
        row("memory", title, what, ours["peak MB"], plain["peak MB"], value, np.inf, False, **more)
    ]


def memory_probe(side: str, name: str, rows: int) -> None:
    """In a process of its own: print MB before training, at the peak, and of the data."""
    if name == "million":
        x, y = generate(rows, (600,), 2)
        examples = Examples(np.arange(rows), x, y)
        spec = uk.TrainSpec(num_shards=50, num_slices=2, epochs=2, batch_size=256)
        architecture = as_architecture(Logistic(), (600,), 2)
        data = x.nbytes + y.nbytes

        def job() -> Any:
            return train(make_plan(examples, architecture, spec), MemoryStore())
    else:
        work = workloads()[name].smaller(rows)
        chosen = Ours(work) if side == "ours" else Plain(work)
        examples = work.dataset.train
        data, job = examples.features.nbytes + examples.labels.nbytes, chosen.train
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, reading data, is forgotten
    before = _megabytes("VmRSS")
    job()
    print(before, _megabytes("VmHWM"), data / MB)


def _megabytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / MB


def measure_peak_share(repeats: int, rows_each: int) -> list[Row]:
    """Multiply-adds per second of a whole training call over those of a large matrix product."""
    widths, size, rows = (784, 256, 10), 2048, []
    a, b = torch.rand(size, size), torch.rand(size, size)
    # Forward, and backward with no gradient at the inputs of the first layer.
    per_visit = sum(2 * m * n * (2 if i == 0 else 3) for i, (m, n) in enumerate(pairwise(widths)))
    for batch, target in ((64, 0.5), (512, 0.8)):
        features, labels = generate(10 * rows_each, widths[:1], 10)
        examples = Examples(np.arange(len(labels)), features, labels)
        spec = uk.TrainSpec(num_shards=10, num_slices=1, epochs=3, batch_size=batch)
        architecture = as_architecture(uk.MLP(widths[1:-1]), widths[:1], 10)
        plan = make_plan(examples, architecture, spec)
        shares, ours, peaks = [], [], []
        for _ in range(repeats):
            _, peak, _ = timed(lambda: [torch.mm(a, b) for _ in range(4)])
            report, seconds, _ = timed(lambda plan=plan: train(plan, MemoryStore()))
            ours.append(report.visits * per_visit / seconds)
            peaks.append(4 * 2 * size**3 / peak)
            shares.append(ours[-1] / peaks[-1])
        numbers = (median(ours) / 1e9, median(peaks) / 1e9, median(shares), target)
        what = f"share of GEMM peak, B{batch} (GFLOP/s)"
        rows.append(row("peak", "MLP 784-256-10", what, *numbers, True, all=shares))
    return rows


class DropStore(MemoryStore):
    """Keeps nothing."""

    def put(self, checkpoint: Any) -> None:
        """Drop it."""


def train_and_commit(plan: Plan, store: Any) -> None:
    """To the end: a folder is then on the device."""
    train(plan, store)
    if isinstance(store, uk.DiskStore):
        store.commit({})


def measure_store(work: Workload, repeats: int) -> list[Row]:
    """Time with each store over the time with none, and bytes on disk over bytes kept."""
    seconds: dict[str, list[float]] = {"none": [], "memory": [], "disk": []}
    wall: dict[str, list[float]] = {"none": [], "memory": [], "disk": []}
    ratio = 0.0
    for repeat in range(repeats + 1):
        for name in seconds:
            with tempfile.TemporaryDirectory() as folder:
                store = {"none": DropStore, "memory": MemoryStore}.get(name)
                kept = store() if store else uk.DiskStore(folder)
                _, cpu, whole = timed(lambda kept=kept: train_and_commit(work.plan, kept))
                if repeat:  # the first warms up
                    seconds[name].append(cpu)
                    wall[name].append(whole)
                if name == "disk":
                    on_disk = sum(p.stat().st_size for p in Path(folder).rglob("*.*"))
                    ratio = on_disk / kept.nbytes
    rows = []
    for name in ("memory", "disk"):
        value = median(a / b for a, b in zip(seconds[name], seconds["none"], strict=True))
        whole = median(a / b for a, b in zip(wall[name], wall["none"], strict=True))
        numbers = (median(seconds[name]), median(seconds["none"]), value, 1.05)
        what = f"store in {name} over none"
        rows.append(row("store", work.name, what, *numbers, False, **{"wall ratio": whole}))
    numbers = (on_disk / MB, kept.nbytes / MB, ratio, 1.05)
    rows.append(row("store", work.name, "MB on disk over checkpoints", *numbers, False))
    return rows


def measure_planning(examples: int, repeats: int) -> list[Row]:
    """A first plan of many examples, content digests included, and a request of one percent."""
    features, labels = generate(examples, (16,), 10)
    spec = uk.TrainSpec(num_shards=50, num_slices=10)
    architecture = as_architecture(Logistic(), (16,), 10)
    generator = np.random.default_rng(0)
    first, request, hashing = [], [], []
    for _ in range(repeats):
        fresh = Examples(np.arange(examples), features, labels)
        plan, _, seconds = timed(lambda fresh=fresh: make_plan(fresh, architecture, spec))
        first.append(seconds)
        again = Examples(np.arange(examples), features, labels)
        hashing.append(timed(lambda again=again: again.digests)[2])
        ids = np.sort(generator.choice(examples, examples // 100, replace=False))
        keys = plan.keys
        _, _, seconds = timed(
            lambda plan=plan, ids=ids, keys=keys: estimate(plan.without(ids), keys, ids)
        )
        request.append(seconds)
    scale = examples / 1_000_000
    title = f"planning, {examples:,} examples, S=50 R=10"
    rows = []
    for what, found, target in (
        (f"request of {examples // 100:,} ids, seconds", request, 0.05),
        ("partition and first plan, seconds", first, 2.0),
    ):
        seconds = median(found)
        more = {"all": found, "digests": median(hashing)}
        rows.append(
            row("planning", title, what, seconds, None, seconds, target * scale, False, **more)
        )
    return rows


def measure_prediction(work: Workload, requests: int) -> list[Row]:
    """Predicted against measured wall seconds of random requests after one training.

    Every request is done twice; the difference of the two is the noise floor. Each is predicted
    by the clock after training alone, and by one that has seen one more request of its kind.
    """
    session = uk.Session(work.dataset, model=work.model, spec=work.spec)
    report, _, whole = timed(session.train)
    generator = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"exact": [], "approximate": []}
    later: dict[str, list[float]] = {"exact": [], "approximate": []}
    clocks = {}
    for name, share in (("exact", 1.0), ("approximate", 0.0)):
        fork = session.fork()
        fork.revoke(count=20, seed=requests)
        clocks[name] = fork.unlearn(share, spot_check=False).clock
    noise: dict[str, list[float]] = {"exact": [], "approximate": []}
    for number in range(requests):
        count = int(np.exp(generator.uniform(0, np.log(200))))
        for name, share in (("exact", 1.0), ("approximate", 0.0)):
            runs = []
            for _ in range(2):
                fork = session.fork()
                fork.revoke(count=count, seed=number)
                runs.append(fork.unlearn(share, spot_check=False))
            a, b = (run.seconds for run in runs)
            errors[name].append(runs[0].predicted_seconds / a - 1)
            assessed = assess(session.plan, session.store, runs[0].ids, clocks[name])
            load, costs = assessed.workload, assessed.costs
            then = uk.FixedBoundary(share).decide(load, costs, {}).seconds
            later[name].append(then / a - 1)
            noise[name].append(2 * abs(a - b) / (a + b))
    rows = []
    for name in errors:
        error, floor = median(map(abs, errors[name])), median(noise[name])
        what = f"error of predicted seconds, {name} (reference: noise)"
        more = {"errors": errors[name], "noise": noise[name]}
        rows.append(row("clock", work.name, what, error, floor, error, 0.1, False, **more))
        error, what = median(map(abs, later[name])), f"the same after one {name} request"
        more = {"errors": later[name]}
        rows.append(row("clock", work.name, what, error, floor, error, 0.1, False, **more))
    alone = report.seconds - report.probe_seconds
    what = "probe timings over training"
    rows.append(row("clock", work.name, what, whole, alone, whole / alone - 1, 0.01, False))
    return rows


def measure_import(repeats: int) -> list[Row]:
    """Wall seconds of importing the package over those of importing torch.

    Both have their bytecode, as an installed package has, whatever this process was told.
    """
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    found: dict[str, list[float]] = {"unlearnkit": [], "torch": []}
    with tempfile.TemporaryDirectory() as folder:
        own = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        for repeat in range(repeats + 1):
            for name in found:
                command = [sys.executable, "-c", code.format(name)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=own)
                if repeat:  # the first reads from disk, and compiles
                    found[name].append(float(done.stdout))
    ours, plain = (median(found[name]) for name in ("unlearnkit", "torch"))
    value = median(a / b for a, b in zip(*found.values(), strict=True))
    what = "import unlearnkit over import torch, s"
    return [row("import", "import", what, ours, plain, value, 1.1, False, all=found)]


def run(quick: bool, only: list[str]) -> list[Row]:
    """Everything, or the parts named."""
    works = workloads()
    if quick:
        works = {name: work.smaller(4000) for name, work in works.items()}
    pairs, repeats = (2, 2) if quick else (5, 5)
    parts: dict[str, list[Callable[[], list[Row]]]] = {
        "speed": [lambda w=work: compare_speed(w, pairs) for work in works.values()],
        "memory": [lambda n=n: measure_memory(n, works[n].rows) for n in ("lr64", "mlp600")],
        "peak": [lambda: measure_peak_share(repeats, 512 if quick else 2048)],
        "store": [lambda n=n: measure_store(works[n], repeats) for n in ("mlp600", "mlp784")],
        "planning": [lambda: measure_planning(100_000 if quick else 1_000_000, repeats)],
        "clock": [
            lambda n=n: measure_prediction(works[n], 5 if quick else 30) for n in ("lr64", "mlp784")
        ],
        "import": [lambda: measure_import(2 if quick else 9)],
    }
    if quick:  # Fashion-MNIST comes whole, whatever part is used: two of its loads are enough
        for part, kept in (("memory", 1), ("store", 1), ("clock", 1)):
            del parts[part][kept:]
    else:
        parts["memory"] += [
            lambda: measure_memory("mlp784", works["mlp784"].rows),
            lambda: measure_memory("million", 1_000_000),
        ]
    rows = []
    for part, jobs in parts.items():
        for job in jobs if not only or part in only else ():
            begun = time.perf_counter()
            rows += job()
            print(f"{part}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return rows


def as_table(rows: list[Row]) -> pd.DataFrame:
    """What people read."""
    return pd.DataFrame(
        [
            {
                "work": r["work"],
                "what": r["what"],
                "ours": f"{r['ours']:.4g}",
                "reference": "" if r["reference"] is None else f"{r['reference']:.4g}",
                "ratio": f"{r['value']:.3g}",
                "wall": f"{r['wall ratio']:.3g}" if "wall ratio" in r else "",
                "target": f"{'>=' if r['at least'] else '<='} {r['target']:g}"
                if np.isfinite(r["target"])
                else "",
                "met": "" if not np.isfinite(r["target"]) else "yes" if r["met"] else "NO",
            }
            for r in rows
        ]
    )


def speed_rows(rows: list[Row]) -> list[Row]:
    """How many times faster than the plain loop, a row a workload."""
    speed = [r for r in rows if r["group"] == "speed"]
    lines = {work: {"work": work} for work in dict.fromkeys(r["work"] for r in speed)}
    for r in speed:
        lines[r["work"]][r["what"]] = f"{r['value']:.2g}x"
    return list(lines.values())


def draw(rows: list[Row], path: Path) -> None:
    """Bars of speed-ups with their targets, and of everything else as a share of its target."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    parts = (
        ("Speed over a plain SISA loop (logarithmic)", [r for r in rows if r["group"] == "speed"]),
        (
            "Share of what the target allows (below 1 is good)",
            [r for r in rows if r["group"] != "speed" and np.isfinite(r["target"])],
        ),
    )
    figure = make_subplots(2, 1, subplot_titles=[title for title, _ in parts])
    for number, (_, some) in enumerate(parts, start=1):
        names = [f"{r['work']}: {r['what']}" for r in some]
        speed = number == 1
        shares = [
            r["target"] / r["value"] if r["at least"] else r["value"] / r["target"] for r in some
        ]
        values = [r["value"] for r in some] if speed else shares
        targets = [r["target"] if speed else 1 for r in some]
        colors = ["#2a7f62" if r["met"] else "#c0504d" for r in some]
        bars = go.Bar(x=values, y=names, orientation="h", marker_color=colors, name="measured")
        tick = {"symbol": "line-ns", "size": 14, "line": {"width": 3, "color": "black"}}
        marks = go.Scatter(x=targets, y=names, mode="markers", marker=tick, name="target")
        figure.add_traces([bars, marks], rows=[number] * 2, cols=[1, 1])
        figure.update_yaxes(autorange="reversed", automargin=True, row=number)
    figure.update_xaxes(type="log", row=1)
    figure.update_layout(height=1100, showlegend=False, title="unlearnkit: the exact engine")
    figure.write_html(path, include_plotlyjs=True)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within three minutes")
    parser.add_argument("--only", nargs="*", default=[], help="parts, such as speed and clock")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        side, name, rows = options.memory
        memory_probe(side, name, int(rows))
        return
    begun = time.perf_counter()
    rows = run(options.quick, options.only)
    seconds = time.perf_counter() - begun
    with pd.option_context("display.width", 250, "display.max_colwidth", 70):
        print(as_table(rows).to_string(index=False, justify="left"))
    command = report.command(__file__, " ".join(sys.argv[1:]))
    path = report.keep("engine", command, rows)
    draw(rows, path.with_suffix(".html"))
    if not options.quick and not options.only:
        how = {"file": __file__, "seeds": "seed 0"}
        report.publish("engine speed", speed_rows(rows), report.table, command, **how)
        others = as_table([row for row in rows if row["group"] != "speed"])
        report.publish("engine", others.to_dict("records"), report.table, command, **how)
    print(f"{seconds:.0f} s; wrote {path} and {path.with_suffix('.html')}")


if __name__ == "__main__":
    main()
