"""The section on membership inference: a threshold to sweep, and the examples most at risk."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation import membership
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.membership import Rates
from unlearnkit.evaluation.shard_attack import attack_shards
from unlearnkit.figures.compared.membership import Areas
from unlearnkit.figures.drawing import MODEL_NAMES
from unlearnkit.metrics.metrics import ShardTruePositiveGap
from unlearnkit.metrics.true_positives import RATES
from unlearnkit.widgets.parts.html import paragraphs, table
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.percent_slider import PercentSlider
from unlearnkit.widgets.parts.pictures import pictures
from unlearnkit.widgets.parts.view import OTHERS, WHOLE, HasComparison, View

if TYPE_CHECKING:
    import pandas as pd


class MembershipView(View):
    """Membership inference: losses, the ROC curve with a threshold, and the riskiest examples."""

    title = "Membership attack"
    explanation = (
        "Can an attacker recognise forgotten examples by their low loss? Move the threshold."
    )
    meaning = (
        "The attacker calls an example a member of the training data where its loss is at or below "
        "a threshold (Yeom, Giacomelli, Fredrikson and Jha 2018). True positives are forgotten "
        "examples called members, false positives are test examples called members; bars are 95% "
        "intervals over the choice of examples (Wilson 1927), which are wide if few were "
        "forgotten. The retrained model never saw the forgotten examples: its curve is the "
        "reference and need not be the diagonal. The excess of an example is its loss under the "
        "retrained model minus its loss under the unlearned one (difficulty calibration: Watson "
        "et al. 2022, with one reference model): above 0, the unlearned model knows it better "
        "than a model that never saw it. An ensemble can hide the leak of one shard, because the "
        "others outvote it: choose a constituent. The attack on constituents takes the other "
        "shards, whose models never saw an example, as references (Carlini et al. 2022), and "
        "counts the forgotten examples that it finds almost without false alarms. The bars of "
        "single shards hold for all of them at once (Bonferroni); p is the probability of a worst "
        "shard at least as bad without a difference to the retrained model (Westfall and Young "
        "1993). If these attacks fail, a stronger one may still succeed."
    )

    def __init__(self, panel: Panel, source: HasComparison) -> None:
        super().__init__(panel, source)
        self._losses: pd.DataFrame | None = None
        self._curves: pd.DataFrame | None = None
        self._areas: Areas = {}

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the controls, the summary, two plots and the table."""
        self.model = self.choice("attacked model", OTHERS)
        self.shard = self.shard_choice()
        self.slider = PercentSlider(
            value=10.0, step=1.0, description="threshold at this share of test losses"
        )
        self.slider.observe(self.panel.guard(lambda change: self.sweep()), names="value")
        self.summary = self.text()
        self.losses, self.roc = self.plot("membership-losses"), self.plot("membership-roc")
        self.risks = self.text()
        self.rate = self.choice("false positive rate", [(f"{rate:.1%}", rate) for rate in RATES])
        self.worst, self.shards = self.text(), self.plot("shard-attack")
        return [
            row(self.model, self.shard, self.slider),
            self.summary,
            row(self.losses.widget, self.roc.widget),
            self.risks,
            row(self.rate),
            self.worst,
            self.shards.widget,
        ]

    @property
    def code(self) -> str:
        """The calls for both plots at the threshold, and for the table."""
        model, shard = self.model.value, self.shard.value
        losses = "membership.membership_losses(session.compare())"
        if shard != WHOLE:
            losses = (
                f"membership.constituent_losses(\n    session.compare(), session.dataset, {shard})"
            )
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import membership\n"
            f"losses = {losses}\n"
            f"threshold = membership.threshold_at(losses, {self.slider.value / 100:g}, {model!r})\n"
            f"figures.membership_losses(losses, {model!r}, threshold)\n"
            f"rates = [membership.rates(losses, m, threshold) for m in ({model!r}, 'scratch')]\n"
            "curves, areas = membership.roc_curves(losses), membership.roc_areas(losses)\n"
            "figures.membership_roc(curves, areas, rates)\n"
            "membership.riskiest(losses)\n"
            "from unlearnkit.evaluation.shard_attack import attack_shards\n"
            f"found = attack_shards(session.compare(), rates=({self.rate.value:g},), each=True)\n"
            f"figures.shard_attack(found, {self.rate.value:g})"
        )

    def clear(self) -> None:
        """Discard the results, and the losses too."""
        super().clear()
        self._losses = self._curves = None
        self._areas = {}

    def draw(self) -> None:
        """Compute the losses of all examples, and list the examples at risk."""
        shard = self.offer_shards(self.shard, whole=True)
        if shard == WHOLE:
            self._losses = membership.membership_losses(self.comparison)
        else:
            dataset = self._source.session.dataset
            self._losses = membership.constituent_losses(self.comparison, dataset, shard)
        self._curves = membership.roc_curves(self._losses)
        self._areas = membership.roc_areas(self._losses)
        self._frames = {"membership-losses": self._losses, "membership-roc": self._curves}
        self.risks.html = self._riskiest(membership.riskiest(self._losses))
        self._attack()
        self.sweep()

    def _attack(self) -> None:
        """Attack the constituents, and say what is found in the worst shard."""
        comparison, rate = self.comparison, self.rate.value
        known = bool(comparison.shard_scores["scratch"].shards)
        for widget in (self.shards.widget, self.rate):
            widget.layout.display = None if known else "none"
        if not known:
            self.worst.html = paragraphs(
                "No constituent can be attacked: this needs two shards, one of which forgot an "
                "example, and test examples."
            )
            return
        frame = attack_shards(comparison, rates=(rate,), each=True)
        self._frames["shard-attack"] = frame
        self.shards.show(figures.shard_attack.spec(frame, rate))
        self.worst.html = paragraphs(
            "Attack on the constituents, with the other shards as references:",
            *_found_sentences(comparison, frame, rate),
        )

    def sweep(self) -> None:
        """Show the rates at the threshold."""
        losses, curves, model = self._losses, self._curves, self.model.value
        if losses is None or curves is None:
            return
        threshold = membership.threshold_at(losses, self.slider.value / 100, model)
        rates = [membership.rates(losses, name, threshold) for name in (model, "scratch")]
        self.losses.show(figures.membership_losses.spec(losses, model, threshold))
        self.roc.show(figures.membership_roc.spec(curves, self._areas, rates))
        self.summary.html = paragraphs(
            f"At a threshold of {threshold:.3g} nats:", *(_sentence(rate) for rate in rates)
        )
        if self._code_line is not None:
            self._code_line.code = self.code

    def _riskiest(self, frame: "pd.DataFrame") -> str:
        if frame.empty:
            return paragraphs(
                "The request forgets no training example here, so there is nothing to attack."
            )
        dataset = self._source.session.dataset
        labels = dataset.label_texts(dataset.labels(frame["id"].to_numpy()))
        rows = [
            [
                str(record["id"]),
                label,
                *(f"{-record[name]:.3g}" for name in ("original", "unlearned", "scratch")),
                _excess(record["excess"]),
                _excess(record["original excess"]),
            ]
            for record, label in zip(frame.to_dict("records"), labels, strict=True)
        ]
        score = "minus half the squared error"
        if not dataset.is_regression:
            score = "log probability of the class"
        headers = ["id", dataset.label_kind, *MODEL_NAMES.values(), "excess", "original excess"]
        return table(
            headers,
            rows,
            caption=f"Forgotten examples most at risk: {score}, and its excess over the retrained "
            "model (nats; best 0)",
            text=(1,),
            lead=pictures(dataset, frame["id"].to_numpy()),
        )


def _found_sentences(comparison: Comparison, frame: "pd.DataFrame", rate: float) -> list[str]:
    """Say how many are found in all shards together, and what the worst shard gives away."""
    whole = frame[frame["shard"] == "all"].set_index("models")
    shares = ", ".join(
        f"{title} {row['true_rate']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
        for title, row in ((title, whole.loc[model]) for model, title in MODEL_NAMES.items())
    )
    lines = [f"Found at {rate:.1%} false positives: {shares} of the forgotten examples."]
    few = whole["others"].iloc[0] * rate < 1
    if few:
        lines.append(
            f"{whole['others'].iloc[0]:,} test examples are few for this rate: no false positive "
            "is allowed."
        )
    measures = comparison.measures
    worst = measures[
        (measures["part"] == "forget")
        & (measures["metric"] == ShardTruePositiveGap(rate, True).name)
    ].set_index("model")
    for model in ("unlearned", "original"):
        if model in worst.index and worst["value"].notna()[model]:
            found = worst.loc[model]
            lines.append(
                f"Worst shard, {MODEL_NAMES[model]}: {found['note'].split(';')[0]} gives away "
                f"{found['value']:.1%} more than retrained [{found['low']:.1%}, "
                f"{found['high']:.1%}]; by chance {found['null']:.1%}, p {found['p_value']:.3f}."
            )
    return lines


def _sentence(rate: Rates) -> str:
    shares = [
        f"{share:.1%} of {part} [{interval[0]:.1%}, {interval[1]:.1%}]"
        for share, interval, part in (
            (rate.true, rate.true_interval, "forgotten"),
            (rate.false, rate.false_interval, "test"),
        )
        if interval is not None
    ]
    return (
        f"{MODEL_NAMES[rate.model].capitalize()}: {' and '.join(shares)} examples called members."
    )


def _excess(value: float) -> str:
    """Format an excess with its sign; exactly 0 has none.

    >>> _excess(0.0), _excess(0.1234), _excess(-2e-9)
    ('0', '+0.123', '-2e-09')
    """
    return "0" if value == 0 else f"{value:+.3g}"
