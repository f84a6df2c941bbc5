"""Whether the adaptive boundary's guard tells good approximations from bad ones, on held-out runs.

    make bench NAME=guard [ARGS="--quick"]

The caps of ``AdaptiveBoundary`` were chosen on seeds 11 and 12. Here other seeds of Fashion-MNIST,
digits and breast cancer are trained at a third, once, three and ten times the default learning
rate. Requests of random examples, of part of a class, of examples that are alike, and of those that
are hardest and easiest for the model are modified in every shard and retrained. For each shard it
is noted whether the guard refuses it, if need be after the longer replay that it asks for, and
which part of doing nothing's divergence from the retrained model is removed, on test examples, by
what it refuses or lets pass.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.approximate import Replay
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import output_kl
from unlearnkit.seeding import numpy_generator
from unlearnkit.studies.requests import Revoked

FACTORS = (1 / 3, 1.0, 3.0, 10.0)
REQUESTS = (0.01, 0.1, ("class", 0.3), ("alike", 0.05), ("hardest", 0.05), ("easiest", 0.1))
SEEDS = (21, 22)
LONGER = 4  # epochs that the guard asks to be replayed where it is not content
SHARES = ("longer", "refused", "led_away", "for_nothing", "removed")
COLUMNS = {
    "rate": "learning rate, of the default",
    "shards": "shards modified",
    "longer": "replayed longer",
    "led_away": "accepted, and led away",
    "for_nothing": "refused for nothing",
    "removed": "KL gap removed, median",
    "drift": "drift, median",
}
ENOUGH = 0.5  # of the divergence removed: refusing this was for nothing


class Judge(uk.AdaptiveBoundary):
    """Has everything modified that may be, and looks at it as the adaptive boundary does."""

    def decide(self, workload, costs, debts):
        """As the fixed boundary at 0."""
        return uk.FixedBoundary(0.0).decide(workload, costs, debts)


def by_shard(session: uk.Session, inputs: torch.Tensor) -> dict[int, torch.Tensor]:
    """Probabilities by each constituent."""
    made = session.ensemble
    return dict(zip(made.by_shard, made.constituent_probabilities(inputs), strict=True))


def ids_of(session: uk.Session, what: float | tuple[str, float]) -> np.ndarray:
    """What is to be forgotten."""
    ids = session.plan.partition.ids
    if isinstance(what, tuple) and what[0] in ("hardest", "easiest"):
        kind, share = what
        ranked = np.asarray(uk.hardest(session, len(ids)))
        count = round(share * len(ids))
        return np.sort(ranked[:count] if kind == "hardest" else ranked[-count:])
    draw = numpy_generator(session.spec.seed, "guard", repr(what))
    return Revoked.of(what).draw(session.plan, draw)


def measure(data: Dataset, model: str, seed: int, factor: float) -> Iterator[dict[str, object]]:
    """A row for every shard of every request."""
    default = uk.Session(data, model=model).spec.learning_rate
    session = uk.Session(data, model=model, seed=seed, learning_rate=default * factor)
    session.train()
    inputs, _ = data.examples(data.test.ids)
    for what in REQUESTS:
        ids = ids_of(session, what)
        # The same request and the same draws: the guard's own run, and what it looked at, which is
        # gone from it where it was retrained; by the length of the replay.
        ways = {"exact": (uk.FixedBoundary(1.0), 1), "judged": (Judge(), 1)}
        ways |= {length: (uk.FixedBoundary(0.0), length) for length in (1, LONGER)}
        outputs = {"before": by_shard(session, inputs)}
        for name, (boundary, length) in ways.items():
            fork = session.fork()
            fork.revoke(ids)
            done = fork.unlearn(boundary=boundary, amend=Replay(length), spot_check=False)
            outputs[name] = by_shard(fork, inputs)
            if name == "judged":
                decision = done.decision
        for check in decision.checks:
            looked_at = outputs[LONGER if check.replayed == LONGER else 1]
            left, nothing = (
                output_kl(outputs["exact"][check.shard], some[check.shard])
                for some in (looked_at, outputs["before"])
            )
            yield {
                "data": f"{data.name} ({len(data.train):,})",
                "model": model,
                "rate": factor,
                "seed": seed,
                "request": repr(what),
                "shard": check.shard,
                "refused": check.shard in decision.exact,
                "longer": check.replayed == LONGER,
                "removed": 1 - left / nothing,
                "drift": check.drift,
            }


def parts_of(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The same by data, model and learning rate, say."""
    marked = frame.assign(
        led_away=~frame.refused & (frame.removed < 0),
        for_nothing=frame.refused & (frame.removed >= ENOUGH),
    )
    return (
        marked.groupby(by)
        .agg(
            shards=("removed", "size"),
            longer=("longer", "mean"),
            refused=("refused", "mean"),
            led_away=("led_away", "mean"),
            for_nothing=("for_nothing", "mean"),
            removed=("removed", "median"),
            drift=("drift", "median"),
        )
        .reset_index()
    )


def table_of(frame: pd.DataFrame) -> str:
    """What the guard let through and what it refused, by learning rate."""
    lines = [
        "| learning rate, of the default | shards modified | replayed longer | refused | KL gap "
        "removed where accepted, median | accepted, and led away | refused, though half of the gap "
        "or more was removed |",
        "|---|---|---|---|---|---|---|",
    ]
    for factor, some in frame.groupby("rate"):
        refused = some.refused
        accepted = some[~refused]
        median = f"{accepted.removed.median():.0%}" if len(accepted) else "-"
        lines.append(
            f"| {factor:.2g} | {len(some)} | {some.longer.mean():.0%} | {refused.mean():.0%} | "
            f"{median} | "
            f"{(~refused & (some.removed < 0)).mean():.0%} | "
            f"{(refused & (some.removed >= ENOUGH)).mean():.0%} |"
        )
    return "\n".join(lines) + "\n"


def detail_of(parts: pd.DataFrame) -> str:
    """The same by data and model, or by request."""
    percent = "{:.0%}".format
    shown = parts.assign(
        rate=parts.rate.map("{:.2g}".format),
        drift=parts.drift.map("{:.1e}".format),
        **{name: parts[name].map(percent) for name in SHARES},
    )
    return report.markdown(shown.rename(columns=COLUMNS))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits and breast cancer, one seed")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    runs = [("digits", None, ("mlp", "cnn")), ("breast-cancer", None, ("mlp",))]
    runs += [] if quick else [("fashion-mnist", 10_000, ("mlp", "cnn"))]
    rows: list[dict[str, object]] = []
    for name, size, models in runs:
        data = uk.load(name, num_examples=size)
        for model in models:
            for seed in SEEDS[: 1 if quick else None]:
                for factor in FACTORS:
                    rows += measure(data, model, seed, factor)
                print(f"{name} {model} {seed}", flush=True)
    frame = pd.DataFrame(rows)
    parts = parts_of(frame, ["data", "model", "rate"])
    requests = parts_of(frame, ["request", "rate"])
    for some in (parts, requests):
        print(some.to_string(index=False, float_format="{:.3g}".format))
    print(table_of(frame))
    command = report.command(__file__, "--quick" if quick else "")
    report.keep("guard-quick" if quick else "guard", command, frame.to_dict("records"))
    if quick:
        return
    report.put("guard", table_of(frame), command)
    for name, some in (("guard by data", parts), ("guard by request", requests)):
        report.put(name, detail_of(some), command)


if __name__ == "__main__":
    main()
