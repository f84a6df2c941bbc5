"""Whether the checks of modified shards tell those that were led away from good ones.

    make bench NAME=guard [ARGS="--quick"]

Models of several kinds are trained on several data sets at a third to 30 times the default learning
rate. In every shard that a request hits, the request is modified whatever the boundary would say,
and retrained as well. So it is known what the modification did, and what the checks said of it:
accepted in silence, doubtful, or refused by the adaptive boundary.

A shard was *led away* if the modified model is further from the retrained one than the model before
the request, by more than the noise, both on test examples and on the shard's forgotten examples.
The noise is two standard errors of the mean difference over examples. A modification was *good* if
it removed half or more of the divergence on test examples. A training that diverges is left out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import report
import torch
from torch import Tensor, nn

import unlearnkit as uk
from unlearnkit.approximate import Replay
from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import example_kl
from unlearnkit.models.losses import LOSSES
from unlearnkit.seeding import numpy_generator
from unlearnkit.studies.requests import Revoked
from unlearnkit.unlearning.boundary.verdict import quietly

FACTORS = (1 / 3, 1.0, 3.0, 10.0, 30.0)  # of the default learning rate
MOST = 500  # examples on which models are compared
PERSON = 15  # examples of one person, one after the other
GOOD = 0.5
NOISE = 2.0  # standard errors
OURS = ("logistic", "mlp", "weighted", "own loss", "batchnorm", "residual")
MATRIX = {
    "table": OURS,
    "digits": (*OURS, "cnn"),
    "breast-cancer": OURS,
    "fashion-mnist 1000": ("logistic", "mlp", "weighted", "batchnorm", "cnn"),
    "fashion-mnist 10000": ("logistic", "mlp"),
}
QUICK = {"table": ("logistic", "mlp", "batchnorm"), "breast-cancer": ("logistic", "residual")}


class BatchNormed(nn.Module):
    """A perceptron with BatchNorm."""

    def __init__(self, inputs: int, classes: int) -> None:
        """Create the layers."""
        super().__init__()
        first, last = nn.Linear(inputs, 32), nn.Linear(32, classes)
        self.layers = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(32), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(x)


class Residual(nn.Module):
    """A perceptron with two residual blocks."""

    def __init__(self, inputs: int, classes: int) -> None:
        """Create the layers."""
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 32), nn.Linear(32, classes)
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = torch.relu(self.first(x.flatten(1)))
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.last(x)


@dataclass(frozen=True)
class Smoothed:
    """Cross-entropy with a tenth of label smoothing, as a loss of one's own."""

    name: str = "smoothed"

    def _goal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        classes = outputs.shape[-1]
        return 0.9 * nn.functional.one_hot(targets.long(), classes).to(outputs) + 0.1 / classes

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy from the smoothed labels."""
        return -(self._goal(outputs, targets) * outputs.log_softmax(-1)).sum(-1)

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Probabilities minus smoothed labels."""
        return outputs.softmax(-1) - self._goal(outputs, targets)

    def output_hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """The Hessian of cross-entropy."""
        p = outputs.softmax(-1)
        return p * vectors - p * (p * vectors).sum(-1, keepdim=True)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """The softmax."""
        return outputs.softmax(-1)


@dataclass(frozen=True)
class Watching(uk.AdaptiveBoundary):
    """Has everything modified, replays longer where the adaptive boundary would, refuses nothing.

    Attributes:
        longest: number of epochs of the longest replay.
    """

    longest: int = 1

    def decide(self, workload, costs, debts):
        """As the fixed boundary at 0."""
        return uk.FixedBoundary(0.0).decide(workload, costs, debts)

    def objection(self, check):
        """Object only if something can still be done."""
        if check.replayed is None or check.replayed >= self.longest:
            return ""
        return super().objection(check)


def load(name: str) -> Dataset:
    """Load one of the data sets, or generate the table: 1,500 rows of 100 people, 4 classes."""
    if name != "table":
        name, _, size = name.partition(" ")
        return uk.load(name, num_examples=int(size) if size else None)
    draw = np.random.default_rng(5)
    people = draw.normal(size=(100, 1, 20))
    features = (people + draw.normal(size=(100, PERSON, 20))).reshape(-1, 20)
    scores = np.tanh(features) @ draw.normal(size=(20, 4)) + 1.5 * np.sin(2 * features[:, :4])
    labels = (scores + draw.normal(size=scores.shape)).argmax(1)
    return uk.as_dataset((features.astype(np.float32), labels))


def trained(data: Dataset, kind: str, seed: int, factor: float) -> uk.Session:
    """A session with a model of this kind, at a multiple of the default learning rate."""
    size = int(np.prod(data.feature_shape)), data.num_outputs
    modules = {"batchnorm": lambda: BatchNormed(*size), "residual": lambda: Residual(*size)}
    model = {"weighted": "mlp", "own loss": "mlp"}.get(kind, modules.get(kind, kind))
    options: dict[str, object] = {"version": "1"} if kind in modules else {}
    if kind == "weighted":
        options["loss"] = uk.WeightedCrossEntropy((5.0, 3.0, *[1.0] * (size[1] - 2)))
    if kind == "own loss":
        LOSSES["smoothed"] = Smoothed()
        options["loss"] = "smoothed"
    small = len(data.train) < 5000
    options |= {"num_shards": 3, "num_slices": 2} if small else {"num_shards": 5, "num_slices": 3}
    options["epochs"] = 6 if kind in (*modules, "cnn") else 12
    default = uk.Session(data, model=model, **options).spec.learning_rate
    session = uk.Session(data, model=model, seed=seed, learning_rate=default * factor, **options)
    session.train(on_progress=False)
    return session


def requests(session: uk.Session) -> Iterator[tuple[str, np.ndarray]]:
    """Each request by its name."""
    ids, seed = session.plan.partition.ids, session.spec.seed
    for name, what in (
        *(("1% at random", 0.01), ("10% at random", 0.1)),
        *(("40% of a class", ("class", 0.4)), ("a class", ("class", 1.0))),
        ("5% alike", ("alike", 0.05)),
    ):
        yield name, Revoked.of(what).draw(session.plan, numpy_generator(seed, "guard", name))
    ranked = np.asarray(uk.hardest(session, len(ids), "loss"))
    yield "5% hardest", np.sort(ranked[: round(0.05 * len(ids))])
    yield "10% easiest", np.sort(ranked[-round(0.1 * len(ids)) :])
    person = numpy_generator(seed, "guard", "person").integers(len(ids) // PERSON)
    yield "one person", np.sort(ids)[person * PERSON :][:PERSON]


def probabilities(session: uk.Session, inputs: Tensor) -> dict[int, Tensor]:
    """The probabilities of each constituent."""
    made = session.ensemble
    found = made.constituent_probabilities(inputs).double()
    return dict(zip(made.by_shard, found, strict=True))


def compare(exact: Tensor, before: Tensor, after: Tensor) -> dict[str, float]:
    """The mean divergences from the retrained model, and whether modifying did harm."""
    nothing, left = example_kl(exact, before), example_kl(exact, after)
    difference = left - nothing
    noise = NOISE * float(difference.std()) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    worse = float(difference.mean()) > max(noise, 1e-9)
    return {"nothing": float(nothing.mean()), "left": float(left.mean()), "worse": worse}


def measure(data: Dataset, kind: str, seed: int, factor: float) -> Iterator[dict[str, object]]:
    """A row for every shard of every request."""
    session = trained(data, kind, seed, factor)
    plan, test = session.plan, data.examples(data.test.ids)[0][:MOST]
    watching = Watching(longest=(Replay().longer(plan) or Replay()).epochs(plan))
    for name, ids in requests(session):
        exact, modified = session.fork(), session.fork()
        for fork, boundary in ((exact, uk.FixedBoundary(1.0)), (modified, watching)):
            fork.revoke(ids)
            with quietly():
                fork.unlearn(boundary=boundary, spot_check=False, on_progress=False)
        on_test = [probabilities(one, test) for one in (exact, session, modified)]
        for check in modified.last.decision.checks:
            if check.shard not in modified.last.decision.approximate:
                continue  # not finite
            mine = ids[plan.partition.shard[plan.partition.rows(ids)] == check.shard][:MOST]
            gone = session.dataset.examples(mine)[0]
            on_gone = [probabilities(one, gone)[check.shard] for one in (exact, session, modified)]
            seen = {"test": [each[check.shard] for each in on_test], "forget": on_gone}
            outcome = {
                f"{place}_{what}": value
                for place, models in seen.items()
                for what, value in compare(*models).items()
            }
            refused = uk.AdaptiveBoundary().objection(check)
            verdict = "refused" if refused else "doubtful" if check.doubt else "silent"
            about = {"model": kind, "rate": factor, "seed": seed, "request": name}
            yield {**about, **asdict(check), **outcome, "verdict": verdict}


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with what was removed, and whether the shard was led away or modified well."""
    return frame.assign(
        removed=1 - frame.test_left / frame.test_nothing,
        forget_removed=1 - frame.forget_left / frame.forget_nothing,
        away=frame.test_worse & frame.forget_worse,
    ).assign(good=lambda rows: rows.removed >= GOOD)


def rows_by(frame: pd.DataFrame, by: str | list[str]) -> list[report.Row]:
    """What the checks said, by learning rate, say."""
    rows = []
    for group, some in [*frame.groupby(by, sort=False), ("all", frame)]:
        names = group if isinstance(group, tuple) else (group,)
        names = tuple(f"{name:.2g}" if isinstance(name, float) else name for name in names)
        row = dict(zip([by] if isinstance(by, str) else by, [*names, "", ""], strict=False))
        row |= {"shards": len(some), "removed, median": f"{some.removed.median():.0%}"}
        for name, chosen in (("led away", some[some.away]), ("good", some[some.good])):
            row[name] = len(chosen)
            for verdict in ("silent", "doubtful", "refused"):
                row[f"{name}: {verdict}"] = int((chosen.verdict == verdict).sum())
        rows.append(row)
    return rows


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, two rates")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 43 on")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name, kinds in (QUICK if given.quick else MATRIX).items():
        data = load(name)
        for kind in kinds:
            for seed in range(43, 43 + given.seeds):
                for factor in FACTORS[1::2] if given.quick else FACTORS:
                    try:
                        if given.quick:
                            found = list(measure(data, kind, seed, factor))
                        else:
                            found = report.once(__file__, measure, data, kind, seed, factor)
                    except uk.NotFiniteError as error:
                        print(f"{name}, {kind}, {factor:g} times the rate: {error}", flush=True)
                        continue
                    rows += [{"data": name, **row} for row in found]
                print(f"{name}, {kind}, seed {seed}: {len(rows)} shards so far", flush=True)
    frame = judged(pd.DataFrame(rows))
    ways = {"guard": "rate", "guard by data": ["data", "model"], "guard by request": "request"}
    quick = given.quick or given.seeds != 1
    command = report.command(__file__, "--quick" if given.quick else "")
    report.keep("guard-quick" if quick else "guard", command, frame.to_dict("records"))
    for name, by in ways.items():
        shown = rows_by(frame, by)
        print(f"{name}\n{report.table(shown)}")
        if not quick:
            report.publish(
                name, shown, report.table, command, file=__file__, seeds=report.counted(1, 43)
            )


if __name__ == "__main__":
    main()
