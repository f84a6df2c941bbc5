"""The fourth step: compare the original, unlearned and retrained models."""

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.parameters import image_layer
from unlearnkit.figures.drawing import duration
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.widgets.comparison.membership import MembershipView
from unlearnkit.widgets.comparison.networks import (
    EmbeddingView,
    LayerView,
    ParameterView,
    SeedView,
    WeightView,
)
from unlearnkit.widgets.comparison.predictions import ClassView, PredictionView, TargetView
from unlearnkit.widgets.parts.html import Html, bullets, coloured, paragraphs, table
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel, listing, plural
from unlearnkit.widgets.parts.view import View

if TYPE_CHECKING:
    import pandas as pd

VIEWS: tuple[type[View], ...] = (
    *(ParameterView, SeedView, WeightView, LayerView, EmbeddingView),
    *(ClassView, PredictionView, TargetView, MembershipView),
)


class ComparisonPanel(SessionPanel):
    """Retrains the affected shards from scratch, and compares the unlearned models with them."""

    name = "comparison"
    title = "4. Compare"
    explanation = (
        "Three models: the original (the result of doing nothing), the unlearned model, and the "
        "retrained model, trained from scratch without the forgotten examples, which is the goal."
    )
    meaning = (
        "Every measure is a gap to the retrained model, best 0. Accuracy alone cannot distinguish "
        "good forgetting from none. Parameters can be compared one by one because all three models "
        "start from the same weights and see the retained examples in the same order. Membership "
        "inference asks whether an attacker can distinguish forgotten from unseen examples by "
        "their loss (Yeom et al. 2018); the target is not 0.5 but the score of the retrained "
        "model. Intervals are wide if few examples were forgotten. An ensemble can hide the leak "
        "of one shard, so the table and the dots show each constituent."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.comparison: Comparison | None = None
        self._compared: tuple[object, ...] = ()
        self.note = Html(live=True)
        self.runner: Runner[Comparison] = Runner(
            self, "Compare", self._prepare, self._finished, ended=self.changed
        )
        self.discard = ipywidgets.Button(
            description="Discard original",
            tooltip="Delete the models from before the last unlearning from memory",
        )
        self.discard.layout.width = "auto"
        self.discard.on_click(self.guard(lambda button: self._discard()))
        self.verdict = Html(live=True)
        self.accuracy = self._plot(
            "accuracy", lambda result: result.scores.reset_index(names="model")
        )
        self.layers = self._plot("layer-distances", lambda result: result.layers)
        self.outputs = self._plot("output-kl", _summary)
        self.membership = self._plot("membership-gap", _summary)
        self.measures = Html()
        self.constituents = Html()
        self._results = ipywidgets.VBox(
            [
                self.verdict,
                row(self.accuracy.widget, self.layers.widget),
                row(self.outputs.widget, self.membership.widget),
                self.measures,
                self.constituents,
            ]
        )
        self._results.add_class("uk-body")
        self._results.layout.display = "none"
        self._kept = row(self.discard)
        # The detailed sections are created with the first comparison, and compute when opened.
        self.sections: list[View] = []
        self._closer = ipywidgets.VBox()
        self._closer.add_class("uk-body")
        self._closer.layout.display = "none"
        self.body.children = [
            *(self.note, self.runner.widget, self._results, self._closer, self._kept)
        ]
        self.update()

    @property
    def code(self) -> str:
        """The call that compares the models."""
        return "session.compare()"

    def refresh(self) -> None:
        """Say what can be compared; discard the results of an earlier request."""
        session = self.session
        kept = session.original is not None
        if session.last is None:
            lines = ["Nothing has been unlearned yet: that is step 3."]
        elif not kept:
            lines = ["The original models were discarded; there is nothing to compare with."]
        else:
            lines = [
                "The original models are kept in memory only, for this comparison, until you "
                "discard them or the kernel stops."
            ]
        self.note.html = paragraphs(*lines)
        self.runner.button.disabled = not kept or self.runner.running
        self._kept.layout.display = None if kept else "none"
        if self._compared and self._state() != self._compared and kept:
            self._compared = ()
            self._forget()
            self._results.layout.display = "none"

    def _released(self) -> None:
        """Release a comparison whose original the session has discarded or replaced."""
        if self._is_outdated():
            self.guard(self._forget)()
            self.update()

    def _is_outdated(self) -> bool:
        held = self.comparison
        return held is not None and held.original is not self.session.original

    def _state(self) -> tuple[object, ...]:
        """Return a value that changes with every unlearning and every repayment."""
        session = self.session
        return (id(session.last), tuple(session.debt))

    def _prepare(self) -> Work[Comparison]:
        if self.session.busy:
            raise RuntimeError("this session is busy; compare when it is done")

        def work(on_progress: OnProgress, cancel: threading.Event) -> Comparison:
            return self.session.compare(on_progress=on_progress, cancel=cancel)

        return work

    def _finished(self, result: Comparison) -> None:
        self.session.on_discard(self._released)
        self.comparison, self._compared = result, self._state()
        if self._is_outdated():
            self.comparison = None
            self.say("The original models were discarded meanwhile, and this comparison with them.")
            return
        self.verdict.html = bullets(verdict(result))
        self.accuracy.show(figures.comparison_accuracy.spec(result))
        self.layers.show(figures.layer_distances.spec(result))
        self.outputs.show(figures.output_divergence.spec(result))
        self.membership.show(figures.membership_gaps.spec(result))
        self.measures.html = _measures(result)
        self.constituents.html = _constituents(result)
        self._results.layout.display = None
        if not self.sections:
            has_images = image_layer(self.session.plan.architecture) is not None
            lacks: set[type[View]] = {TargetView}
            if self.session.dataset.is_regression:
                lacks = {ClassView, PredictionView}
            lacks |= set() if has_images else {WeightView}
            kinds = [kind for kind in VIEWS if kind not in lacks]
            self.sections = [kind(self, self) for kind in kinds]
            head = Html(html=paragraphs("Details: each section is computed when it is opened."))
            self._closer.children = [head, *(section.widget for section in self.sections)]
        self._closer.layout.display = None
        for section in self.sections:
            section.renew()

    def _forget(self) -> None:
        """Discard the comparison, which holds the original models, and everything drawn from it."""
        self.comparison = None
        for section in self.sections:
            section.forget()
        self._closer.layout.display = "none"

    def _plot(self, name: str, frame: Callable[[Comparison], "pd.DataFrame"]) -> Plot:
        """Return a plot whose numbers can be saved while there is a comparison."""

        def saved() -> "pd.DataFrame":
            if self.comparison is None:
                raise RuntimeError("the comparison was discarded; press Compare for a new one")
            return frame(self.comparison)

        return Plot(name=name, frame=saved)

    def _discard(self) -> None:
        self.session.discard_original()
        self.say(
            "The original models were discarded; the numbers above stay until the next comparison."
        )
        self.changed()


def _summary(comparison: Comparison) -> "pd.DataFrame":
    return comparison.to_frame().reset_index(names="model")


def verdict(comparison: Comparison) -> list[str]:
    """Return the results of a comparison, one sentence for each."""
    frame = comparison.constituents
    same, total = int(frame["bit_identical"].sum()), len(frame)
    others = [int(s) for s in frame["shard"][~frame["bit_identical"]]]
    lines = []
    if total and same == total:
        lines.append(
            f"Exact: all {total} unlearned constituents are byte for byte those of training from "
            "scratch. Every gap below is 0."
            if total > 1
            else "Exact: the unlearned constituent is byte for byte that of training from scratch."
        )
    elif same:
        lines.append(
            f"{same} of {total} constituents {'is' if same == 1 else 'are'} bit-identical to the "
            f"retrained model; {plural(len(others), 'shard')} ({listing(others)}) approximate."
        )
    elif total:
        lines.append(
            f"All {total} constituents compared are approximate."
            if total > 1
            else "The constituent compared is approximate."
        )
    kl = comparison.output_kl
    if kl["unlearned"] == 0 and kl["original"] > 0:
        lines.append(
            f"Outputs: identical to those of the retrained model on every test example; doing "
            f"nothing leaves {kl['original']:.2g} nats."
        )
    elif kl["original"] > 0:
        left = kl["unlearned"] / kl["original"]
        lines.append(
            f"Outputs: unlearning leaves {left:.0%} of the difference to the retrained model that "
            f"doing nothing leaves ({kl['unlearned']:.2g} against {kl['original']:.2g} nats)"
            + (": worse than doing nothing." if left > 1 else ".")
        )
    gap, nothing = comparison.membership_gap, comparison.original_membership_gap
    if not math.isnan(gap.value):
        lines.append(
            f"Membership inference: gap {_signed(gap.value)}, doing nothing "
            f"{_signed(nothing.value)}." + _power(gap.interval, nothing.interval)
        )
    if comparison.task.name == "classification":
        lines.append(
            f"Accuracy: the product of (1 - gap) over forget, retain and test is "
            f"{comparison.tug_of_war:.4f} (best 1)."
        )
    else:
        errors = comparison.scores["test"].to_dict()
        lines.append(
            f"RMSE on test examples: {errors['unlearned']:.4g}, retrained "
            f"{errors['scratch']:.4g}, original {errors['original']:.4g}."
        )
    predicted = comparison.predicted_seconds
    estimate = "" if predicted is None else f" ({duration(predicted)} of CPU time predicted)"
    lines.append(
        f"Wall time: unlearning took {duration(comparison.seconds)}{estimate}; training the "
        f"{plural(total, 'shard')} from scratch took {duration(comparison.scratch_seconds)}."
    )
    return lines


def _signed(value: float) -> str:
    """Format a gap with its sign, to three decimal places.

    >>> _signed(0.0123), _signed(-0.0001)
    ('+0.012', '0.000')
    """
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}"


def _power(gap: tuple[float, float] | None, nothing: tuple[float, float] | None) -> str:
    """Interpret the confidence intervals of the two gaps."""
    if nothing is not None and nothing[0] <= 0 <= nothing[1]:
        return (
            " The interval of doing nothing includes 0, so the attack has too little power on this "
            "request to show a leak."
        )
    if gap is not None and gap[0] <= 0 <= gap[1]:
        return " The interval of the unlearned model includes 0, so no leak is shown."
    return ""


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
        rows.append([metric, *cells, best[measure["direction"]], measure["source"]])
    headers = ["metric", "test", "test, doing nothing", "forgotten", "forgotten, doing nothing"]
    caption = "Each metric in uk.METRICS against the retrained model, with its 95% interval"
    return table([*headers, "best", "source"], rows, caption=caption, text=(0, 6))


def _measured(frame: "pd.DataFrame", model: str) -> str:
    """Format a value with its interval, or a dash if there is none."""
    if model not in frame.index or frame["value"].isna()[model]:
        return "-"
    value, low, high = (float(frame[name][model]) for name in ("value", "low", "high"))
    return f"{value:.3g}" + ("" if math.isnan(low) else f" [{low:.2g}, {high:.2g}]")


def _constituents(comparison: Comparison) -> str:
    rows = [
        [
            str(record["shard"]),
            str(record["route"]),
            "yes" if record["bit_identical"] else "no",
            "yes" if record["checkpoints_identical"] else "no",
            "0" if record["bit_identical"] else f"{record['unlearned_to_scratch_l2']:.3g}",
            f"{record['original_to_scratch_l2']:.3g}",
        ]
        for record in comparison.constituents.to_dict("records")
    ]
    headers = [
        "shard",
        "route",
        "bit identical",
        "checkpoints",
        "unlearned (L2)",
        "original (L2)",
    ]
    caption = "Parameter distances of each constituent to its retrained counterpart"
    return coloured(table(headers, rows, caption=caption, text=(1, 2, 3)))
