"""How much of the gap to the retrained model the approximate branch leaves.

    make bench NAME=gap [ARGS="--quick"]

For digits and 10,000 examples of Fashion-MNIST at the default specs, a tenth of the training
examples is revoked at random, several times over. Each request is unlearned once with every shard
approximate and once with every shard exact, in turn, from the same trained session; both times come
from that same run.
"""

import argparse

import pandas as pd
import report

import unlearnkit as uk
from unlearnkit.data.examples import Dataset


def measure(data: Dataset, model: str, share: float, repeats: int) -> dict[str, object]:
    """Medians over the repeats for one model."""
    session = uk.Session(data, model=model)
    session.train()
    rows = []
    for seed in range(repeats):
        approximate, exact = session.fork(), session.fork()
        for fork in (approximate, exact):
            fork.revoke(share=share, seed=seed)
        seconds = {
            "approximate": approximate.unlearn(0, spot_check=False).seconds,
            "exact": exact.unlearn(1).seconds,
        }
        comparison, check = approximate.compare(), exact.compare()
        if not check.bit_identical:
            raise SystemExit(f"{data.name} {model}: the exact branch is not bit-identical")
        accuracy = comparison.accuracies.loc["unlearned"] - comparison.accuracies.loc["scratch"]
        rows.append(
            {
                "KL": comparison.output_kl["unlearned"],
                "KL, doing nothing": comparison.output_kl["original"],
                "MIA gap": abs(comparison.membership_gap.value),
                "MIA gap, doing nothing": abs(comparison.original_membership_gap.value),
                "|test accuracy gap|": abs(float(accuracy["test"])),
                "|forget accuracy gap|": abs(float(accuracy["forget"])),
                "speed over exact": seconds["exact"] / seconds["approximate"],
            }
        )
    medians = pd.DataFrame(rows).median()
    name = {"data": data.name, "examples": len(data.train), "model": model, "share": share}
    removed = 1 - medians["KL"] / medians["KL, doing nothing"]
    accuracy = session.accuracy()["test"]
    return {**name, "test accuracy": accuracy, **medians.to_dict(), "gap removed": removed}


def table_of(rows: list[dict[str, object]]) -> str:
    """As Markdown."""
    lines = [
        "| data | model | test accuracy | output KL | doing nothing | gap removed | "
        "membership gap | doing nothing | speed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for _, row in pd.DataFrame(rows).iterrows():
        lines.append(
            f"| {row.data} ({row.examples:,}) | {row.model} | {row['test accuracy']:.3f} | "
            f"{row.KL:.1e} | {row['KL, doing nothing']:.1e} | {row['gap removed']:.0%} | "
            f"{row['MIA gap']:.1e} | {row['MIA gap, doing nothing']:.1e} | "
            f"{row['speed over exact']:.1f}x |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, one request a model")
    quick = parser.parse_args().quick
    sets = [uk.load("digits")]
    if not quick:
        sets.append(uk.load("fashion-mnist", num_examples=10_000))
    rows = []
    for data in sets:
        for model in ("logistic", "mlp", "cnn"):
            print(f"{data.name}, {model} ...", flush=True)
            rows.append(measure(data, model, 0.1, 1 if quick else 3))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.4g}".format))
    command = report.command(__file__, "--quick" if quick else "")
    report.keep("gap-quick" if quick else "gap", command, rows)
    if not quick:
        report.put("gap", table_of(rows), command)


if __name__ == "__main__":
    main()
