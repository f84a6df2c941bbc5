"""KLoM, U-LiRA and attacks on single examples: unlearned models against as many retrained ones.

    make bench NAME=klom [ARGS="--seeds 200 --parallel 2 | --quick"]

Fashion-MNIST (digits with ``--quick``), a perceptron at default rates, 5 slices: 10,000 examples in
the default shards, a hundredth of them revoked, and 1,000 in a single shard, a twentieth revoked,
where there is more to forget; at random, the same for every seed. Each seed is trained once,
unlearned approximately in every shard, and retrained; a second amend has half of the seeds, whose
retrained models are known by then. LiRA and RULI attack the tenth of the
forgotten examples that the original models remember most. Models are kept in ``.bench`` as they are
made, so a run that was stopped goes on where it was while the code is the same.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import report
from joblib.externals.loky import get_reusable_executor

import unlearnkit as uk
from unlearnkit.studies.population_attacks import attack_examples
from unlearnkit.studies.population_metrics import judge

# Examples, shards (None: the default), part revoked, amends with the part of the seeds.
SETTINGS: list[tuple[int, int | None, float, dict[str, float]]] = [
    (10_000, None, 0.01, {"replay": 1, "rewind-and-replay": 0.5}),
    (1_000, 1, 0.05, {"replay": 1}),
]
NAMES = {"original": "doing nothing", "unlearned": "modified"}
DIRECTIONS = ("retrained || unlearned", "unlearned || retrained")
COLUMNS = {
    ("klom, histogram", DIRECTIONS[0]): "KLoM, histograms",
    ("klom, histogram", DIRECTIONS[1]): "reversed",
    ("klom, gaussian", DIRECTIONS[0]): "KLoM, Gaussians",
    ("klom, gaussian", DIRECTIONS[1]): "reversed ",
    ("u-lira", ""): "U-LiRA",
}
ABOUT = ["examples", "revoked", "amend", "models of each kind"]
Row = dict[str, Any]


@contextmanager
def timed(log: Path) -> Iterator[Row]:
    """Add what the work inside takes to a log, and afterwards give the total of all its runs.

    Workers are ended before their CPU seconds are read, since a process is counted when it has
    ended. The memory is the most of any process, and that of all workers is at most so many times
    as much.
    """
    total: Row = {"cpu": 0.0, "wall": 0.0, "MB": 0.0}
    begun, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield total
    finally:
        get_reusable_executor().shutdown(wait=True)
        who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        spent = {
            "cpu": _cpu_seconds() - cpu,
            "wall": time.perf_counter() - begun,
            "MB": max(resource.getrusage(each).ru_maxrss for each in who) / 1024,
        }
        with log.open("a") as file:
            file.write(json.dumps(spent) + "\n")
        runs = [json.loads(line) for line in log.read_text().splitlines()]
        total.update({name: sum(run[name] for run in runs) for name in ("cpu", "wall")})
        total["MB"] = max(run["MB"] for run in runs)


def _cpu_seconds() -> float:
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    usages = [resource.getrusage(each) for each in who]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def table_of(rows: list[Row]) -> str:
    """As Markdown, each value with its null and its p-value in brackets."""
    shown = []
    for (*about, models, seeds), some in _grouped(rows, [*ABOUT, "models", "seeds"]):
        line = _described(about) | {"models": NAMES[models], "seeds": seeds}
        for row in some:
            column = COLUMNS[row["measure"], row["divergence"]]
            line[column] = f"{row['value']:.2g} ({row['null']:.2g}, {row['p_value']:.2g})"
        shown.append(line)
    return report.markdown(pd.DataFrame(shown).fillna(""))


def attack_table(rows: list[Row]) -> str:
    """As Markdown, the shares of examples found, with their intervals and nulls."""
    shown = []
    for (*about, models), some in _grouped(rows, [*ABOUT, "models"]):
        line = _described(about) | {"models": NAMES[models]}
        for row in some:
            column = f"{ATTACKS[row['attacker']]} at {row['false_rate']:.1%}"
            found = f"{row['true_rate']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
            line[column] = f"{found}, null {row['null']:.2%}"
        shown.append(line)
    return report.markdown(pd.DataFrame(shown))


def cost_table(rows: list[Row]) -> str:
    """As Markdown, what the models of each setting took."""
    shown = [
        _described([row[name] for name in ABOUT])
        | {
            "worker processes": row["workers"],
            "CPU seconds a seed": f"{row['cpu'] / row['models of each kind']:.2g}",
            "CPU minutes in all": f"{row['cpu'] / 60:.3g}",
            "wall minutes": f"{row['wall'] / 60:.3g}",
            "MB of the largest process": f"{row['MB']:.0f}",
        }
        for row in rows
    ]
    return report.markdown(pd.DataFrame(shown))


ATTACKS = {"lira": "LiRA", "ruli": "RULI"}


def _described(about: list[Any]) -> Row:
    examples, *others = about
    return {"examples": f"{examples:,}", **dict(zip(ABOUT[1:], others, strict=True))}


def _grouped(rows: list[Row], names: list[str]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    yield from groups.items()


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="digits")
    parser.add_argument("--parallel", type=int, help="worker processes, one seed each at a time")
    options = parser.parse_args()
    name = "digits" if options.quick else "fashion-mnist"
    rows: list[Row] = []
    attacks: list[Row] = []
    costs: list[Row] = []
    for size, shards, share, amends in SETTINGS[1:] if options.quick else SETTINGS:
        data = uk.load(name, num_examples=size)
        ids = data.train.ids
        ids = np.random.default_rng(0).choice(ids, int(share * len(ids)), replace=False)
        for amend, part in amends.items():
            seeds = max(8, round(part * options.seeds))
            title = f"klom-{data.name}-{len(data.train)}"
            spent = report.log(__file__, f"{title}-{amend}-{seeds}-seconds.jsonl")
            with timed(spent) as cost:
                population = uk.populate(
                    data,
                    ids,
                    seeds=range(seeds),
                    amend=amend,
                    model="mlp",
                    num_shards=shards,
                    num_slices=5,
                    parallel=options.parallel,
                    path=report.log(__file__, f"{title}.jsonl"),
                    on_progress=lambda event: print(f"{event.done_visits} models", flush=True),
                )
            about = dict(zip(ABOUT, (len(data.train), len(ids), amend, seeds), strict=True))
            if part == 1:  # others share models
                costs.append({**about, "workers": options.parallel or 0, **cost})
            rows += [about | row for row in judge(population).to_dict("records")]
            found = attack_examples(population, memorised=0.1).to_dict("records")
            attacks += [about | row for row in found]
    print(table_of(rows), attack_table(attacks), cost_table(costs), sep="\n")
    arguments = f"--seeds {options.seeds}" + " --quick" * options.quick
    if options.parallel is not None:
        arguments += f" --parallel {options.parallel}"
    command = report.command(__file__, arguments)
    kept = {"measures": rows, "attacks": attacks, "costs": costs}
    report.keep("klom-quick" if options.quick else "klom", command, kept)
    if not options.quick:
        how = {"file": __file__, "seeds": report.counted(options.seeds)}
        report.publish("klom", rows, table_of, command, **how)
        report.publish("klom attacks", attacks, attack_table, command, **how)
        report.publish("klom cost", costs, cost_table, command, **how)


if __name__ == "__main__":
    main()
