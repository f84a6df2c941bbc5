"""What EasyDUB reports, reproduced in direction: KLoM by how much of the retraining is done.

    make bench NAME=easydub [ARGS="--models 100 | --quick"]

The Easy Data Unlearning Bench (Rinberg, Puigdemont, Pawelczyk and Cevher 2026) compares models with
as many retrained ones of other seeds, for ResNet-9 on CIFAR-10: for each example, the divergence of
histograms of its margin, and of these the 95th percentile over examples. Its code reports that
doing nothing is far from retraining on the forget set (9.3) and near it on retained (.32) and
validation examples (.26), and in a figure, that retraining for a part of the epochs is worse than
doing nothing on the forget set while the part is small, better from a fifth of the epochs on, and
worse on all other examples until the end. Here the data are 1,000 images of Fashion-MNIST (digits
with ``--quick``), of which a twentieth is forgotten at random, and the model is a perceptron of one
shard and one slice at the default rate. Beside it stand the kinds of methods that EasyDUB's code
has, on the final model alone: ascent on the forgotten examples, descent on the others, and both;
and ours. Their settings were not tuned here; for SCRUB and others see rivals.py.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import report
import torch
from jaxtyping import Float
from rival_methods import PUBLISHED, in_form

import unlearnkit as uk
from unlearnkit.approximate import EachState, FineTuning, GradientAscent, Method, NegGradPlus
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.tasks import margins_of
from unlearnkit.studies.seed_models import trained, unlearned
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.unlearning.boundary.fixed import FixedBoundary

EPOCHS, SHARE, BINS, FLOOR = 20, 0.05, 20, 1e-5
PARTS = ("forget", "retain", "test")
PARTIAL = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the epochs
NOTHING, AGAIN, OURS = (
    "doing nothing",
    "retraining, other seeds",
    "staged influence and replay (ours)",
)
METHODS: dict[str, Method] = {
    "ascent, 1 step": EachState(GradientAscent(1, 0.1)),
    "ascent, 5 steps": EachState(GradientAscent(5, 0.3)),
    "ascent, 20 steps": EachState(GradientAscent(20, 1.0)),
    "descent, 1 epoch": FineTuning(1, 1.0),
    "ascent and descent": EachState(NegGradPlus(0.1, 1, 0.3)),
}
Margins = Float[np.ndarray, "model example"]


class Models:
    """The models of a seed, and their margins on some examples."""

    def __init__(self, data: Dataset, forget: np.ndarray) -> None:
        self.data, self.forget = data, forget
        kept = np.setdiff1d(data.train.ids, forget)
        ids = forget, kept[: len(forget) * 4], data.test.ids[: len(forget) * 4]
        self.bounds = np.cumsum([0, *map(len, ids)])
        self.inputs, self.labels = data.examples(np.concatenate(ids))

    def margins(self, models: Ensemble) -> list[float]:
        """The margins of all examples."""
        return margins_of(models.probabilities(self.inputs), self.labels).tolist()

    def session(self, seed: int, epochs: int = EPOCHS) -> uk.Session:
        """A trained session."""
        one = {"num_shards": 1, "num_slices": 1, "model": "mlp", "threads": 1}
        rate = uk.Session(self.data, **one).spec.learning_rate
        options = {**one, "epochs": epochs, "learning_rate": rate, "seed": seed}
        return trained(self.data, options, FixedBoundary(0.0))

    def of_number(self, number: int, count: int) -> Iterator[tuple[str, list[float]]]:
        """Yield the margins under the models with one number, each kind with its own seeds."""
        session = self.session(number)
        found = {NOTHING: session.ensemble}
        for name, method in METHODS.items():
            form = in_form(method, PUBLISHED)
            found[name] = unlearned(session, self.forget, FixedBoundary(0.0), form, "none")
        found[OURS] = unlearned(session, self.forget, FixedBoundary(0.0))
        found["oracle"] = unlearned(self.session(number + count), self.forget)
        found[AGAIN] = unlearned(self.session(number + 2 * count), self.forget)
        for share in PARTIAL:
            part = self.session(number + 3 * count, max(1, round(share * EPOCHS)))
            found[f"retraining, {share:.0%} of the epochs"] = unlearned(part, self.forget)
        for name, models in found.items():
            yield name, self.margins(models)


def divergences(p: Margins, q: Margins) -> Float[np.ndarray, " example"]:
    """KL(p || q) of histograms over the common range, as EasyDUB's code has it, by example."""
    found = []
    for one, other in zip(p.T, q.T, strict=True):
        low, high = min(one.min(), other.min()), max(one.max(), other.max())
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        a, b = (np.histogram(each, edges)[0] / len(each) for each in (one, other))
        there = a > 0
        found.append((a[there] * np.log(a[there] / np.maximum(b[there], FLOOR))).sum())
    return np.array(found)


def measure(data: Dataset, count: int) -> Iterator[report.Row]:
    """Yield a row for each kind of model: 95th percentiles of KLoM by part."""
    forget = np.random.default_rng(0).choice(
        data.train.ids, round(SHARE * len(data.train)), replace=False
    )
    models = Models(data, np.sort(forget))
    margins: dict[str, list[list[float]]] = {}
    for number in range(count):
        for name, row in models.of_number(number, count):
            margins.setdefault(name, []).append(row)
        print(f"{number + 1} of {count} models of each kind", flush=True)
    oracle = np.array(margins.pop("oracle"))
    for name, rows in margins.items():
        values = divergences(np.array(rows), oracle)
        ends = zip(PARTS, models.bounds[:-1], models.bounds[1:], strict=True)
        yield {"models": name} | {
            part: float(np.percentile(values[begin:end], 95)) for part, begin, end in ends
        }


def table_of(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    shown = [
        {"models": row["models"], **{part: f"{row[part]:.2f}" for part in PARTS}} for row in rows
    ]
    return report.markdown(pd.DataFrame(shown))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100, help="how many of each kind")
    parser.add_argument("--quick", action="store_true", help="digits, eight models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, count = ("digits", 8) if options.quick else ("fashion-mnist", options.models)
    rows = list(measure(uk.load(name, num_examples=1000), count))
    print(table_of(rows))
    command = report.command(__file__, f"--models {count}" if count != 100 else "")
    report.keep("easydub-quick" if options.quick else "easydub", command, rows)
    if not options.quick:
        seeds = f"{count} models of each kind"
        report.publish("easydub", rows, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
