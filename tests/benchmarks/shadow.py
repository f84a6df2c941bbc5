"""Whether the models of other shards find wrong labels, and what leaks from the own shard.

    make bench NAME=shadow [ARGS="--data table | --quick"]

Labels of digits, of 4,000 images of Fashion-MNIST and of a table of 4,000 rows are made wrong in
several ways. Ten shards of perceptrons are trained at the default rates; for the images also as
heads on a frozen convolutional backbone with random filters, whose features are normalised for each
image. Wrong labels are ranked by the
held-out loss, by the loss and by self-influence. Then every constituent is attacked on its own
training examples, by its loss alone and calibrated by the other constituents. The null of a ranking
is the same ranking with other examples called wrong; the null of the attack is one on a constituent
that never saw the examples.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import report
import torch
from frozen import filters
from sklearn.datasets import make_classification
from torch import nn

import unlearnkit as uk
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.reading.groups import Grouping
from unlearnkit.metrics.metrics import auc
from unlearnkit.metrics.shard_scores import calibrated
from unlearnkit.metrics.tasks import margins_of
from unlearnkit.metrics.true_positives import true_positives
from unlearnkit.selection.example_scores import example_losses, self_influence
from unlearnkit.selection.held_out import held_out_losses, suspicious_labels

SCORES = {
    "held-out loss": held_out_losses,
    "loss": example_losses,
    "self-influence": self_influence,
}
KINDS = ("a tenth, any class", "a tenth, the next class", "one class, 30%", "one shard, 80%")
PERSON = "one person, all"
ROWS, TESTED, SHARDS = 40, 3000, 10


def spoilt(base: Dataset, kind: str, seed: int) -> tuple[Dataset, np.ndarray]:
    """Return the data with wrong labels of one kind, and which training rows are wrong."""
    generator = np.random.default_rng(seed)
    labels = base.train.labels.numpy().copy()
    count, classes = len(labels), base.num_classes
    change = generator.integers(1, classes, count)
    if kind == "one class, 30%":
        three = np.flatnonzero(labels == 3)
        chosen, change[:] = generator.choice(three, round(0.3 * len(three)), replace=False), 2
    elif kind == "one shard, 80%":
        partition = uk.Session(base, model="mlp", num_shards=SHARDS, seed=seed).plan.partition
        own = base.train.rows(partition.ids[partition.shard == 0])
        chosen = generator.choice(own, round(0.8 * len(own)), replace=False)
    elif kind == PERSON:
        assert base.train.groups is not None
        chosen = np.flatnonzero(base.train.groups == base.train.groups[seed])
    else:
        chosen = generator.choice(count, count // 10, replace=False)
        if kind == "a tenth, the next class":
            change[:] = 1
    labels[chosen] = (labels[chosen] + change[chosen]) % classes
    train = replace(base.train, labels=torch.from_numpy(labels))
    return replace(base, train=train), np.isin(np.arange(count), chosen)


def grouped(base: Dataset) -> Dataset:
    """Return the data with a person for every 40 training rows, and one for each other part."""
    count = len(base.train)
    own = np.arange(count) // ROWS
    parts = {
        part: replace(getattr(base, part), groups=np.full(len(getattr(base, part)), number))
        for part, number in (("probe", own[-1] + 1), ("test", own[-1] + 2))
    }
    names = tuple(f"P{i}" for i in range(own[-1] + 3))
    train = replace(base.train, groups=own)
    return replace(base, train=train, grouping=Grouping(names, "person"), **parts)


def found_first(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Return which share of the wrong labels is among the first tenth, or as many as are wrong."""
    first = np.argsort(-scores, kind="stable")[: max(len(scores) // 10, int(wrong.sum()))]
    return float(wrong[first].sum() / wrong.sum())


def area(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Return the area under the ROC curve."""
    return auc(torch.from_numpy(scores[wrong]), torch.from_numpy(scores[~wrong]))


def attacked(session: uk.Session, data: Dataset) -> dict[str, float]:
    """Attack each constituent on its own training examples; means over the shards."""
    ensemble, partition = session.ensemble, session.plan.partition
    inputs, labels = data.examples(partition.ids)
    members = np.stack([margins_of(p, labels) for p in ensemble.constituent_probabilities(inputs)])
    inputs, labels = data.test.inputs(), data.test.labels
    others = np.stack([margins_of(p, labels) for p in ensemble.constituent_probabilities(inputs)])
    rows = []
    for shard in range(SHARDS):
        own = members[:, partition.shard == shard]
        innocent = (shard + 1) % SHARDS
        rest = np.delete(own, shard, 0), np.delete(others, shard, 0)
        place = innocent - (innocent > shard)
        for rate in (0.01, 0.001):
            pairs = {
                "calibrated": (calibrated(own, shard), calibrated(others, shard)),
                "loss alone": (own[shard], others[shard]),
                "null": (calibrated(rest[0], place), calibrated(rest[1], place)),
            }
            for name, pair in pairs.items():
                rows.append((f"{name} at {rate:.1%}", true_positives(*pair, rate).true))
    frame = pd.DataFrame(rows, columns=["attack", "found"])
    return frame.groupby("attack", sort=False)["found"].mean().to_dict()


def table(rows: int = 4000, tested: int = TESTED) -> Dataset:
    """Return a table of 20 columns and five classes, of which each has two clusters."""
    features, labels = make_classification(
        rows + 500 + tested, 20, n_informative=12, n_classes=5, flip_y=0, random_state=0
    )
    ends = np.cumsum([0, rows, 500, tested])
    inputs = torch.from_numpy(features.astype(np.float32))
    parts = [
        Examples(np.arange(a, b), inputs[a:b], torch.from_numpy(labels[a:b]), scale=2.0)
        for a, b in itertools.pairwise(ends.tolist())
    ]
    return Dataset("table", *parts, 5, tuple("abcde"))


def images() -> Dataset:
    """Return 4,000 images of Fashion-MNIST, with as many test examples as the other data."""
    data = uk.load("fashion-mnist", num_examples=4000)
    return data.without_test(data.test.ids[TESTED:])


def head_on_filters() -> uk.Frozen:
    """Return a perceptron on a frozen backbone."""
    normalised = nn.Sequential(filters(1), nn.LayerNorm(1024, elementwise_affine=False)).eval()
    return uk.Frozen(normalised, head="mlp")


# The data, and the model.
SETS: dict[str, tuple[Callable[[], Dataset], Callable[[], Any]]] = {
    "digits": (lambda: uk.load("digits"), lambda: "mlp"),
    "fashion-mnist": (images, lambda: "mlp"),
    "fashion-mnist-frozen": (images, head_on_filters),
    "table": (table, lambda: "mlp"),
}


def measure(
    name: str, base: Dataset, model: Any, kind: str, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row for each score, and one for the attacks, for one seed."""
    data, wrong = spoilt(grouped(base) if kind == PERSON else base, kind, seed)
    session = uk.Session(data, model=model, num_shards=SHARDS, seed=seed)
    session.train(on_progress=False)
    order = data.train.rows(session.plan.partition.ids)
    wrong = wrong[order]
    other = np.random.default_rng(seed).permutation(wrong)
    about, rows = {"data": name, "wrong labels": kind}, []
    for ranking, score in SCORES.items():
        begin = time.process_time()
        scores = score(session.plan, session.store)
        seconds = time.process_time() - begin
        rows.append(
            about
            | {"score": ranking, "AUC": area(scores, wrong), "null": area(scores, other)}
            | {"in the first tenth": found_first(scores, wrong), "chance": max(0.1, wrong.mean())}
            | {"CPU s for 10,000": seconds * 10_000 / len(wrong)}
        )
    suspects = suspicious_labels(session)["id"]
    flagged = np.isin(session.plan.partition.ids, suspects)
    rows[0]["suspicious"], rows[0]["of them wrong"] = len(suspects), wrong[flagged].mean()
    rows[0]["of the wrong"] = wrong[flagged].sum() / wrong.sum()
    return rows, about | attacked(session, data)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, one seed")
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    names, seeds = options.data, options.seeds
    if options.quick:
        names, seeds = ["digits"], 1
    ranked, attacks = [], []
    for name in names:
        data, model = (make() for make in SETS[name])
        for kind in (*KINDS, PERSON):
            for seed in range(seeds):
                rows, attack = measure(name, data, model, kind, seed)
                ranked += rows
                attacks.append(attack)
            print(name, kind, flush=True)
    print(table_of(ranked), table_of(attacks), sep="\n")
    arguments = "" if names == list(SETS) else "--data " + " ".join(names)
    command = report.command(__file__, "--quick" if options.quick else arguments)
    report.keep("shadow-quick" if options.quick else "shadow", command, ranked + attacks)
    if not options.quick:
        how = {"file": __file__, "seeds": report.counted(seeds), "by": lambda row: row["data"]}
        report.publish("shadow", ranked, table_of, command, **how)
        report.publish("shadow attack", attacks, table_of, command, **how)


def table_of(rows: list[dict[str, object]]) -> str:
    """Return medians over seeds as Markdown, with blanks for what is unknown."""
    keys = [name for name in ("data", "wrong labels", "score") if name in rows[0]]
    frame = pd.DataFrame(rows).groupby(keys, sort=False).median().reset_index()
    text = frame.map(lambda x: "" if x != x else f"{x:.3g}" if isinstance(x, float) else x)
    return report.markdown(text)


if __name__ == "__main__":
    main()
