"""Compares the original, the unlearned and the retrained ("scratch") models of a request.

All three start from the same keyed initial weights and see the same slots, so that their parameters
can be compared one by one. The retrained model is trained from scratch on the retain set by the
same function as any other model, in a temporary store that keeps only the final states.
"""

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.layer_distances import layer_distances
from unlearnkit.evaluation.retrained import RetrainedModels
from unlearnkit.evaluation.shard_outputs import ShardOutputs, shard_outputs, shard_scores
from unlearnkit.metrics.membership_auc import Attack, membership_auc, membership_gap
from unlearnkit.metrics.metrics import (
    METRICS,
    NO_CLASSES,
    NO_EXAMPLES,
    NO_SHARDS,
    Measure,
    churn,
    column_of,
    measure_all,
    try_metrics,
    tug_of_war,
)
from unlearnkit.metrics.shard_scores import ShardScores
from unlearnkit.metrics.tasks import Task, task_of
from unlearnkit.models.state import same_state
from unlearnkit.models.vector import flatten
from unlearnkit.progress import Progress
from unlearnkit.store import Store
from unlearnkit.store.footprint import return_freed_memory
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import Constituent, Ensemble, assemble
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import train
from unlearnkit.unlearning.unlearn import Unlearned

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("original", "unlearned", "scratch")
PARTS = ("forget", "retain", "test")
RETAIN_MAX = 2000  # the most retained examples on which models are scored; the first by id


@dataclass(frozen=True, eq=False)
class Outputs:
    """Probabilities of one model on the three parts; predictions for a regression."""

    forget: Float[Tensor, "forget class"]
    retain: Float[Tensor, "retain class"]
    test: Float[Tensor, "test class"]

    def __repr__(self) -> str:
        sizes = (f"{len(getattr(self, part))} {part}" for part in PARTS)
        return f"Outputs({', '.join(sizes)})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Measurements of the three models of one request.

    Attributes:
        constituents: one row per retrained shard: shard, route, whether the unlearned constituent
            equals the retrained one byte for byte (one that holds NaN equals none), whether the
            checkpoints of all its stages do,
            and the L2 distances of unlearned and original parameters to the retrained ones.
        layers: one row per shard, model and parameter tensor: L2 distance to the retrained tensor,
            the same relative to the norm of the retrained tensor, and cosine.
        task: the task of the models; it determines the scores.
        scores: accuracy, or RMSE of a regression in the original units of the targets. Rows are
            original, unlearned and scratch; columns are forget, retain and test.
        output_kl: mean KL divergence in nats from the retrained model's outputs on the test part,
            for unlearned and original. For a regression it is half the mean squared difference of
            predictions, in squared units of the target scale
            (:class:`~unlearnkit.metrics.tasks.Regression`).
        churn: share of test examples whose predicted class differs from that of the retrained
            model, for unlearned and original; empty for a regression.
        measures: every metric of ``METRICS`` against the retrained model: part, metric, model,
            value, low and high (a 95 % interval), direction (which values are best), source, note,
            null and p_value. Those of single shards are measured on the forget part only.
        tug_of_war: product of 1 - |accuracy gap| over the three parts, between unlearned and
            retrained model; nan for a regression, whose gaps are not shares.
        attacks: result of membership inference on each model.
        membership_gap: attack AUC of the unlearned model minus that of the retrained model; 0 is
            best.
        original_membership_gap: the same for the original model, as if nothing had been unlearned.
        predicted_seconds: predicted CPU seconds of unlearning; None if no training had been timed.
        seconds: measured wall seconds of unlearning, including storing and destroying.
        scratch_seconds: measured wall seconds of retraining the compared shards from scratch.
        scratch: the retrained ensemble.
        unlearned: the unlearned ensemble.
        original: the ensemble before unlearning.
        ids: ids of the examples of each part on which the models were measured.
        labels: labels of these examples.
        outputs: outputs of each model for these examples.
        forget_shard: shard of each forgotten example; -1 for an example of the probe.
        shard_scores: for each model the scores of an attack on the constituents of the shards that
            forgot examples; :func:`~unlearnkit.evaluation.shard_attack.attack_shards` counts who
            is found.
    """

    constituents: "pd.DataFrame"
    layers: "pd.DataFrame"
    task: Task
    scores: "pd.DataFrame"
    output_kl: dict[str, float]
    churn: dict[str, float]
    measures: "pd.DataFrame"
    tug_of_war: float
    attacks: dict[str, Attack]
    membership_gap: Measure
    original_membership_gap: Measure
    predicted_seconds: float | None
    seconds: float
    scratch_seconds: float
    scratch: Ensemble
    unlearned: Ensemble
    original: Ensemble
    ids: dict[str, Int[np.ndarray, " part"]]
    labels: dict[str, Tensor]
    outputs: dict[str, Outputs]
    forget_shard: Int[np.ndarray, " forget"]
    shard_scores: dict[str, ShardScores]

    @property
    def accuracies(self) -> "pd.DataFrame":
        """The accuracies of a classification.

        Raises:
            ValueError: the models are of a regression.
        """
        if self.task.name != "classification":
            raise ValueError("a regression has no accuracies; comparison.scores holds its RMSE")
        return self.scores

    def forgotten_of(self, shard: int) -> Int[np.ndarray, " some"]:
        """Return the ids of the request that belong to this shard."""
        ids: Int[np.ndarray, " some"] = self.ids["forget"][self.forget_shard == shard]
        return ids

    @property
    def ensembles(self) -> dict[str, Ensemble]:
        """The three models by name."""
        return {name: getattr(self, name) for name in MODELS}

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards that were retrained from scratch for the comparison."""
        return tuple(int(shard) for shard in self.constituents["shard"])

    @property
    def bit_identical(self) -> bool:
        """Whether every compared constituent equals the retrained one byte for byte."""
        return bool(self.constituents["bit_identical"].all())

    def __repr__(self) -> str:
        same = int(self.constituents["bit_identical"].sum())
        shown = self.measures_on("test").query("model == 'unlearned'")
        values = dict(zip(shown["metric"], shown["value"], strict=True))
        own = [f", {name} {values[name]:.2g}" for name in METRICS.own if name in values]
        return (
            f"Comparison({same} of {len(self.constituents)} constituents bit-identical to scratch, "
            f"output KL {self.output_kl['unlearned']:.2g}, "
            f"doing nothing {self.output_kl['original']:.2g}{''.join(own)})"
        )

    def measures_on(self, part: str = "test") -> "pd.DataFrame":
        """Return the measures on one part: forget, retain or test.

        Metrics that do not apply, because the part is empty or has no classes, or because they are
        of single shards and the part is not the forget set, are left out.
        """
        frame = self.measures[self.measures["part"] == part]
        without = [NO_CLASSES, NO_EXAMPLES, NO_SHARDS]
        return frame[frame["value"].notna() | ~frame["note"].isin(without)]

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per model.

        Its columns are the scores, each metric of ``METRICS`` on the test part (named in snake
        case; those of single shards are on the forget part), the attack's AUC, and the measured and
        predicted seconds.
        """
        import pandas as pd

        score = self.task.part_score_name.lower()
        frame = self.scores.rename(columns=lambda part: f"{part}_{score}").rename_axis("model")
        measures, forgotten = (self.measures_on(part) for part in ("test", "forget"))
        of_shards = forgotten[~forgotten["metric"].isin(measures["metric"])]
        measures = pd.concat([measures, of_shards]).set_index("model")
        for metric in dict.fromkeys(measures["metric"]):
            frame[column_of(metric)] = measures["value"][measures["metric"] == metric]
        frame["membership_auc"] = pd.Series({name: a.auc for name, a in self.attacks.items()})
        frame["seconds"] = pd.Series({"unlearned": self.seconds, "scratch": self.scratch_seconds})
        frame["predicted_seconds"] = pd.Series({"unlearned": self.predicted_seconds}, dtype=float)
        return frame

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(float_format="{:.4g}".format, na_rep="")
        return f"<p>{self!r}</p>{table}"


@own_settings()
def compare(
    result: Unlearned,
    store: Store,
    original: Ensemble,
    dataset: Dataset,
    *,
    shards: tuple[int, ...] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    parallel: int | None = None,
    threads: int | None = None,
) -> Comparison:
    """Compare the unlearned ensemble in the store with one that is retrained from scratch.

    Args:
        result: the result of the unlearning.
        store: holds the unlearned ensemble; it is only read.
        original: the ensemble before unlearning.
        dataset: holds the test part and the forgotten examples. Of groups only the examples that
            were trained on are measured, and none of their probe and test examples.
        shards: shards to retrain; by default those that the forget set hits and those with debt.
            The other constituents are the same in all three models.
        on_progress: gets events of the retraining; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: setting this event stops the retraining.
        parallel: number of workers that retrain, as in :func:`~unlearnkit.training.train.train`.
        threads: upper limit of the number of threads that retrain, as there.

    Raises:
        ValueError: a metric of ``METRICS`` fails, or its name is that of another column; metrics
            are tried before anything is trained.
        TypeError: a metric does not return a ``Measure``.
        NotFiniteError: the retraining diverged, or a compared model holds NaN.
        Cancelled: the retraining was stopped.
    """
    import pandas as pd

    plan, forget = result.plan, result.ids
    if dataset.grouping is not None:
        forget = forget[dataset.train.find(forget)[1]]
    return_freed_memory(plan.architecture.state_bytes)
    ids = {
        "forget": forget,
        "retain": plan.partition.ids[plan.retained][:RETAIN_MAX],
        "test": dataset.test.ids,
    }
    examples = {part: dataset.examples(chosen) for part, chosen in ids.items()}
    labels = {part: examples[part][1] for part in PARTS}
    try_metrics(labels["test"], plan.architecture.num_outputs)
    unlearned = assemble(plan, store, original.aggregation)
    chosen = shards if shards is not None else affected_shards(plan, unlearned, forget)
    retrained = RetrainedModels(plan, store)
    report = train(
        plan,
        retrained,
        shards=chosen,
        on_progress=on_progress,
        cancel=cancel,
        phase="scratch",
        parallel=parallel,
        threads=threads,
    )
    fresh = {s: retrained.get(plan.final_key(s)) for s in chosen if plan.alive(s)}
    scratch = Ensemble(
        plan.architecture,
        plan.spec.loss,
        tuple(
            Constituent(c.shard, fresh[c.shard].state, np.empty(0, np.int64))
            if c.shard in fresh
            else c
            for c in unlearned.constituents
        ),
        original.aggregation,
        original.is_regression,
    )
    ensembles = {"original": original, "unlearned": unlearned, "scratch": scratch}
    forget_shard = np.full(len(forget), -1)
    trained_on = np.isin(forget, plan.partition.ids)
    forget_shard[trained_on] = plan.partition.shard[plan.partition.rows(forget)]
    task = task_of(dataset)
    found = {name: _outputs(each, examples, task) for name, each in ensembles.items()}
    outputs = {name: each for name, (each, _) in found.items()}
    attacked = {s: np.flatnonzero(forget_shard == s) for s in fresh}
    attacked = {s: places for s, places in attacked.items() if len(places)}
    scores_of_shards = {
        name: shard_scores(ensembles[name], own, attacked, ensembles.values())
        for name, (_, own) in found.items()
    }
    scores = pd.DataFrame(
        {
            part: {
                name: task.part_score(getattr(o, part), labels[part]) for name, o in outputs.items()
            }
            for part in PARTS
        }
    )
    attacks = {
        name: membership_auc(o.forget, labels["forget"], o.test, labels["test"])
        for name, o in outputs.items()
    }
    reference = outputs["scratch"].test
    others = {name: outputs[name].test for name in MODELS[:2]}
    return Comparison(
        constituents=_constituent_rows(plan, retrained, ensembles, tuple(fresh)),
        layers=layer_distances(plan, ensembles, tuple(fresh)),
        task=task,
        scores=scores,
        output_kl={
            name: float(task.divergence(reference, own).mean()) for name, own in others.items()
        },
        churn={}
        if dataset.is_regression
        else {n: churn(reference, own) for n, own in others.items()},
        measures=_measure_rows(outputs, labels, scores_of_shards),
        tug_of_war=math.nan if dataset.is_regression else _tug_of_war(scores),
        attacks=attacks,
        membership_gap=membership_gap(attacks["unlearned"], attacks["scratch"]),
        original_membership_gap=membership_gap(attacks["original"], attacks["scratch"]),
        predicted_seconds=result.predicted_seconds,
        seconds=result.seconds,
        scratch_seconds=report.seconds,
        scratch=scratch,
        unlearned=unlearned,
        original=original,
        ids=ids,
        labels=labels,
        outputs=outputs,
        forget_shard=forget_shard,
        shard_scores=scores_of_shards,
    )


def _outputs(
    ensemble: Ensemble, examples: dict[str, tuple[Tensor, Tensor]], task: Task
) -> tuple[Outputs, ShardOutputs]:
    forget, own_forget = shard_outputs(ensemble, *examples["forget"], task)
    test, own_test = shard_outputs(ensemble, *examples["test"], task)
    found = Outputs(forget, ensemble.probabilities(examples["retain"][0]), test)
    return_freed_memory(ensemble.architecture.state_bytes)
    return found, ShardOutputs(own_forget, own_test)


def _measure_rows(
    outputs: dict[str, Outputs], labels: dict[str, Tensor], scores: dict[str, ShardScores]
) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for part in PARTS:
        reference = getattr(outputs["scratch"], part)
        found = {
            model: measure_all(
                getattr(outputs[model], part),
                reference,
                labels[part],
                (scores[model], scores["scratch"]) if part == "forget" else None,
            )
            for model in MODELS
        }
        for metric in found["scratch"]:
            for model in MODELS:
                measure = found[model][metric]
                low, high = measure.interval or (math.nan, math.nan)
                read = (measure.value, low, high, measure.direction, measure.source, measure.note)
                chance = (measure.null, measure.p_value)
                rows.append((part, metric, model, *read, *chance))
    columns = ["part", "metric", "model", "value", "low", "high", "direction", "source", "note"]
    columns += ["null", "p_value"]
    return pd.DataFrame(rows, columns=columns).astype({"null": float, "p_value": float})


def _tug_of_war(accuracies: "pd.DataFrame") -> float:
    values = accuracies.to_dict()
    gaps = [float(values[part]["unlearned"] - values[part]["scratch"]) for part in PARTS]
    return tug_of_war(*(0.0 if math.isnan(gap) else gap for gap in gaps))


def affected_shards(
    plan: Plan, unlearned: Ensemble, forget: Int[np.ndarray, " request"]
) -> tuple[int, ...]:
    """Return the non-empty shards that the forget set hits or that carry debt."""
    hit = set(plan.shards_of(forget)) | {c.shard for c in unlearned.constituents if not c.exact}
    return tuple(sorted(s for s in hit if plan.alive(s)))


def _constituent_rows(
    plan: Plan,
    retrained: RetrainedModels,
    ensembles: dict[str, Ensemble],
    shards: tuple[int, ...],
) -> "pd.DataFrame":
    import pandas as pd

    names = plan.architecture.trainable_names
    rows = []
    for s in shards:
        scratch = ensembles["scratch"].by_shard[s]
        target = flatten(scratch.state, names)
        row: dict[str, object] = {
            "shard": s,
            "route": "exact" if ensembles["unlearned"].by_shard[s].exact else "approximate",
            "bit_identical": same_state(scratch.state, ensembles["unlearned"].by_shard[s].state),
            "checkpoints_identical": all(retrained.same(stage.key) for stage in plan.chains[s]),
        }
        for name in ("unlearned", "original"):
            model = ensembles[name].by_shard.get(s)
            distance = (
                float((flatten(model.state, names) - target).norm()) if model else float("nan")
            )
            row[f"{name}_to_scratch_l2"] = distance
        rows.append(row)
    columns = [
        "shard",
        "route",
        "bit_identical",
        "checkpoints_identical",
        "unlearned_to_scratch_l2",
        "original_to_scratch_l2",
    ]
    return pd.DataFrame(rows, columns=columns).astype(
        {"bit_identical": bool, "checkpoints_identical": bool}
    )
