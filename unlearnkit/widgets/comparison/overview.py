"""The first sections of the comparison panel: all shards, all scores, all layers, all metrics."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.distances.shard_moves import PARAMETERS, shard_moves
from unlearnkit.widgets.parts.html import coloured, table
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.view import View

if TYPE_CHECKING:
    import pandas as pd


class MovesView(View):
    """Where each shard's model was, and where unlearning moved it."""

    title = "Before and after"
    explanation = (
        "How far each shard's model was from the retrained one, and how far it is after unlearning."
    )
    meaning = (
        "Each row is one shard that the request affects. The ring is the original model, which is "
        "what doing nothing leaves; the filled mark is the unlearned model. The further the line "
        "leads to the left, the more of the forgotten influence is gone. A shard that was "
        "retrained exactly ends at 0: every byte equals the retrained model's. Outputs are "
        "compared by their mean divergence from those of the retrained model of the same shard "
        "(Kullback and Leibler 1951), parameters by the Euclidean norm of their difference (see "
        "for example Golatkar, Achille and Soatto 2020). Two models can agree in their outputs "
        "and differ in their parameters: an approximation corrects what the model computes, and "
        "need not end at the same parameters."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of a measure, the plot and the table."""
        self.measure = self.choice(
            "compare",
            [
                ("outputs on forgotten examples", "forget"),
                ("outputs on test examples", "test"),
                ("parameters", PARAMETERS),
            ],
        )
        self.moves, self.constituents = self.plot("before-and-after"), self.text()
        self.constituents.add_class("uk-beside")
        return [row(self.measure), row(self.moves.widget, self.constituents)]

    @property
    def code(self) -> str:
        """The calls that draw the plot."""
        measure = self.measure.value
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation.distances.shard_moves import shard_moves\n"
            f"frame = shard_moves(session.compare(), session.dataset, {measure!r})\n"
            f"figures.shard_moves(frame, {measure!r})"
        )

    def draw(self) -> None:
        """Draw the distances, and list them."""
        comparison, measure = self.comparison, self.measure.value
        frame = shard_moves(comparison, self._source.session.dataset, measure)
        self._frames = {"before-and-after": frame}
        self.moves.show(figures.shard_moves.spec(frame, measure))
        self.constituents.html = _constituents(comparison, frame)


class ScoresView(View):
    """The scores, the divergence of outputs, and the gap of the membership attack."""

    title = "Scores"
    explanation = "Accuracy, outputs and the membership attack: three models on the same examples."
    meaning = (
        "The goal is the retrained model's value, right or wrong, so its accuracy counts and not "
        "the highest one. The divergence is the mean Kullback-Leibler divergence (Kullback and "
        "Leibler 1951) of the retrained model's outputs from those of another model; in a "
        "regression it is half the mean squared difference. The attack compares losses (Yeom et "
        "al. 2018); its bars are 95% intervals, which are wide where few examples were forgotten."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create three plots."""
        self.accuracy = self.plot("accuracy")
        self.outputs, self.membership = self.plot("output-kl"), self.plot("membership-gap")
        beside = ipywidgets.VBox([self.outputs.widget, self.membership.widget])
        beside.add_class("uk-plot")
        return [row(self.accuracy.widget, beside)]

    @property
    def code(self) -> str:
        """The calls that draw the plots."""
        return (
            "from unlearnkit import figures\n"
            "comparison = session.compare()\n"
            "figures.comparison_accuracy(comparison)\n"
            "figures.output_divergence(comparison)\n"
            "figures.membership_gaps(comparison)"
        )

    def draw(self) -> None:
        """Draw the scores."""
        comparison = self.comparison
        summary = comparison.to_frame().reset_index(names="model")
        self._frames = {
            "accuracy": comparison.scores.reset_index(names="model"),
            "output-kl": summary,
            "membership-gap": summary,
        }
        self.accuracy.show(figures.comparison_accuracy.spec(comparison))
        self.outputs.show(figures.output_divergence.spec(comparison))
        self.membership.show(figures.membership_gaps.spec(comparison))


class DistanceView(View):
    """The distance of each layer from the retrained model's, of all shards."""

    title = "Distances of layers"
    explanation = "How far each layer of each shard is from the retrained model's."
    meaning = (
        "Each dot is one parameter tensor of one shard: the norm of its difference from the "
        "retrained model's tensor, divided by the norm of that tensor. A line links the original "
        "and the unlearned tensor of the same shard. Source: ours; see for example Golatkar, "
        "Achille and Soatto 2020 for parameter distances in unlearning."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the plot."""
        self.layers = self.plot("layer-distances")
        return [self.layers.widget]

    @property
    def code(self) -> str:
        """The call that draws the plot."""
        return "from unlearnkit import figures\nfigures.layer_distances(session.compare())"

    def draw(self) -> None:
        """Draw the distances."""
        self._frames = {"layer-distances": self.comparison.layers}
        self.layers.show(figures.layer_distances.spec(self.comparison))


class MeasuresView(View):
    """Every metric on test and forgotten examples."""

    title = "All metrics"
    explanation = "Every metric of uk.METRICS against the retrained model, with its 95% interval."
    meaning = (
        "Each metric is computed for the unlearned model and for doing nothing, once on test "
        "examples and once on forgotten examples. The column 'best' says which value is best, and "
        "the last column names the source of the metric, with its year. Put a metric of your own "
        "into uk.METRICS to see it here. A dash means that the metric does not apply. The choice "
        "of metrics is ours."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the table."""
        self.measures = self.text()
        return [self.measures]

    @property
    def code(self) -> str:
        """The expression that returns the table."""
        return "session.compare().measures"

    def draw(self) -> None:
        """Fill the table."""
        self._frames = {"measures": self.comparison.measures}
        self.measures.html = _measures(self.comparison)


def _measures(comparison: Comparison) -> str:
    """Return a table of every metric in ``METRICS`` on test and forgotten examples."""
    best = {"lower": "low", "higher": "high", "zero": "0"}
    rows = []
    parts = {part: comparison.measures_on(part) for part in ("test", "forget")}
    everything = comparison.measures
    shown = dict.fromkeys([*parts["test"]["metric"], *parts["forget"]["metric"]])
    for metric in shown:
        cells = []
        for frame in parts.values():
            own = frame[frame["metric"] == metric].set_index("model")
            cells += [_measured(own, model) for model in ("unlearned", "original")]
        measure = everything[everything["metric"] == metric].iloc[-1]
        rows.append([metric, best[measure["direction"]], *cells, measure["source"]])
    headers = ["metric", "best", "test", "test, doing nothing", "forgotten"]
    headers += ["forgotten, doing nothing", "source"]
    caption = "Each metric in uk.METRICS against the retrained model, with its 95% interval"
    return table(headers, rows, caption=caption, text=(0, 6))


def _measured(frame: "pd.DataFrame", model: str) -> str:
    """Format a value with its interval, or a dash if there is none."""
    if model not in frame.index or frame["value"].isna()[model]:
        return "-"
    value, low, high = (float(frame[name][model]) for name in ("value", "low", "high"))
    return f"{value:.3g}" + ("" if low != low else f" [{low:.2g}, {high:.2g}]")


def _constituents(comparison: Comparison, frame: "pd.DataFrame") -> str:
    rows = [
        [
            str(record["shard"]),
            f"{moved['original']:.3g}",
            "0" if record["bit_identical"] else f"{moved['unlearned']:.3g}",
            str(record["route"]),
            "yes" if record["bit_identical"] else "no",
            "yes" if record["checkpoints_identical"] else "no",
        ]
        for record, moved in zip(
            comparison.constituents.to_dict("records"), frame.to_dict("records"), strict=True
        )
    ]
    headers = ["shard", "before", "after", "route", "equal bits", "equal checkpoints"]
    caption = "Distance of each shard from the retrained model"
    return coloured(table(headers, rows, caption=caption, text=(3,)))
