"""KLoM, U-LiRA and attacks on single examples: unlearned models against as many retrained ones.

    make bench NAME=klom [ARGS="--seeds 200 --parallel 2 | --quick"]

Fashion-MNIST (digits with ``--quick``), a perceptron, 5 slices: 10,000 examples in the default
shards, a hundredth of them revoked, and 1,000 in a single shard, at the same learning rate, a
twentieth revoked, where there is more to forget; at random, the same for every seed. Each seed is
trained once, unlearned approximately in every shard, and retrained. LiRA and RULI attack the tenth
of the forgotten examples that the original models remember most. Models are kept in ``.bench``
as they are made, so a run that was stopped goes on where it was while the code is the same.
"""

import argparse

import numpy as np
import pandas as pd
import report

import unlearnkit as uk
from unlearnkit.studies.population import Population
from unlearnkit.studies.population_attacks import attack_examples
from unlearnkit.studies.population_metrics import ESTIMATORS, SEEDS

# Examples, shards (None: the default), part revoked, amends.
SETTINGS: list[tuple[int, int | None, float, tuple[str, ...]]] = [
    (10_000, None, 0.01, ("replay", "rewind-and-replay")),
    (1_000, 1, 0.05, ("replay",)),
]


def measures(population: Population, kind: str) -> dict[str, object]:
    """Measures of some models beside the retrained ones."""
    found = {
        **{
            f"klom, {estimator}s, {seeds}": uk.klom(
                population, kind, estimator=estimator, seeds=seeds
            )
            for estimator in ESTIMATORS
            for seeds in SEEDS
        },
        **{
            f"u-lira, {seeds}": uk.ulira(population, kind, seeds=seeds)
            for seeds in SEEDS
            if seeds == "paired" or len(population) >= 16
        },
    }
    return {"models": kind} | {name: vars(measure) for name, measure in found.items()}


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown, each value with its null in brackets."""
    kinds = {"original": "doing nothing", "unlearned": "modified"}
    shown = [
        {
            "examples": f"{row['examples']:,}",
            "revoked": row["revoked"],
            "amend": row["amend"],
            "models": kinds[str(row["models"])],
            **{
                name.replace("klom", "KLoM").replace("u-lira", "U-LiRA"): (
                    f"{measure['value']:.2g} ({measure['null']:.2g})"
                )
                for name, measure in row.items()
                if isinstance(measure, dict)
            },
        }
        for row in rows
    ]
    return report.markdown(pd.DataFrame(shown))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="digits")
    parser.add_argument("--parallel", type=int, help="worker processes, one seed each at a time")
    options = parser.parse_args()
    name = "digits" if options.quick else "fashion-mnist"
    rows = []
    for size, shards, share, amends in SETTINGS[1:] if options.quick else SETTINGS:
        data = uk.load(name, num_examples=size)
        ids = data.train.ids
        ids = np.random.default_rng(0).choice(ids, int(share * len(ids)), replace=False)
        for amend in amends:
            population = uk.populate(
                data,
                ids,
                seeds=range(options.seeds),
                amend=amend,
                model="mlp",
                num_shards=shards,
                num_slices=5,
                learning_rate=None if options.quick else 0.003,
                parallel=options.parallel,
                path=report.log(__file__, f"klom-{data.name}-{len(data.train)}.jsonl"),
                on_progress=lambda event: print(f"{event.done_visits} models", flush=True),
            )
            about = {"examples": len(data.train), "revoked": len(ids), "amend": amend}
            attacks = attack_examples(population, memorised=0.1)
            print(attacks.to_string(index=False, float_format="{:.3g}".format))
            rows += [
                {
                    **about,
                    **measures(population, kind),
                    "attacks": attacks[attacks["models"] == kind].to_dict("records"),
                }
                for kind in ("original", "unlearned")
            ]
    print(table_of(rows))
    arguments = f"--seeds {options.seeds}" + " --quick" * options.quick
    if options.parallel is not None:
        arguments += f" --parallel {options.parallel}"
    command = report.command(__file__, arguments)
    report.keep("klom-quick" if options.quick else "klom", command, rows)
    if not options.quick:
        seeds = report.counted(options.seeds)
        report.publish("klom", rows, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
