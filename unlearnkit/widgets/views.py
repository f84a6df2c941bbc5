"""The sections of the comparison: parameters, layers, embeddings, predictions, classes."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import ipywidgets

from unlearnkit import agreement, figures, parameters, representations
from unlearnkit.comparison import PARTS, Comparison
from unlearnkit.figures.drawing import MODEL_NAMES, percent
from unlearnkit.session import Session
from unlearnkit.widgets.panel import Panel, row
from unlearnkit.widgets.pictures import pictures
from unlearnkit.widgets.plot import Plot
from unlearnkit.widgets.prose import Prose, paragraphs, table
from unlearnkit.widgets.section import Section

if TYPE_CHECKING:
    import pandas as pd

WHOLE = -1  # in place of a shard
OTHERS = [(MODEL_NAMES[name], name) for name in ("unlearned", "original")]


class HasComparison(Protocol):
    """What a section asks of its panel."""

    session: Session
    comparison: Comparison | None


class View(Section):
    """A section on the panel's comparison, of which it keeps no reference."""

    def __init__(self, panel: Panel, source: HasComparison) -> None:
        super().__init__(panel)
        self._source = source
        self._plots: list[Plot] = []
        self._proses: list[Prose] = []
        self._frames: dict[str, pd.DataFrame] = {}

    @property
    def comparison(self) -> Comparison:
        """What is looked into.

        Raises:
            RuntimeError: it is gone.
        """
        if self._source.comparison is None:
            raise RuntimeError("there is no comparison any more; press Compare for a new one")
        return self._source.comparison

    def clear(self) -> None:
        """Empty the plots, the texts and the numbers behind them."""
        for plot in self._plots:
            plot.clear()
        for prose in self._proses:
            prose.html = ""
        self._frames.clear()

    def plot(self, name: str) -> Plot:
        """A plot that can be saved, with the frame of that name."""
        frame = functools.partial(self._frame, name)
        self._plots.append(Plot(name=name, frame=frame))
        return self._plots[-1]

    def prose(self) -> Prose:
        """A text."""
        self._proses.append(Prose(live=True))
        return self._proses[-1]

    def choice(self, words: str, options: Sequence[object]) -> ipywidgets.Dropdown:
        """A choice that redraws the section."""
        field = ipywidgets.Dropdown(options=list(options), description=words)
        field.style.description_width = "initial"
        field.layout.width = "auto"
        field.observe(self.panel.guard(lambda change: self._chosen()), names="value")
        return field

    def shard_choice(self) -> ipywidgets.Dropdown:
        """A choice of the shards compared, approximate ones first."""
        return self.choice("constituent", [])

    def offer_shards(self, field: ipywidgets.Dropdown, *, whole: bool = False) -> int:
        """Bring a choice of shards in line with the comparison; the shard chosen.

        Args:
            field: the choice.
            whole: offer the whole ensemble first.
        """
        frame = self.comparison.constituents.sort_values(["bit identical", "shard"])
        options = [
            (f"shard {shard} ({'exact' if same else 'approximate'})", int(shard))
            for shard, same in zip(frame["shard"], frame["bit identical"], strict=True)
        ]
        if whole:
            options.insert(0, ("the whole ensemble", WHOLE))
        if not options:
            raise ValueError("no shard was compared, so there is no constituent to look into")
        if list(field.options) != options:
            with field.hold_trait_notifications():
                field.options = options
        if field.value is None:
            field.value = options[0][1]
        return int(field.value)

    def _frame(self, name: str) -> "pd.DataFrame":
        return self._frames[name]

    def _chosen(self) -> None:
        # While a section draws, it may set its own choices.
        if self.open and not self._drawing:
            self.redraw()

    _drawing = False

    def redraw(self) -> None:
        """Draw, heedless of the changes that this makes to the controls."""
        self._drawing = True
        try:
            super().redraw()
        finally:
            self._drawing = False


class ParameterView(View):
    """Scatter and histogram of one constituent's parameters."""

    title = "Parameters, number by number"
    explanation = "Did unlearning move the parameters where training from scratch would have?"
    meaning = (
        "The three models start from the same weights, so a difference is an effect of the "
        "forgotten examples. Needed is the shift from the original to from scratch, made the shift "
        "from the original to the unlearned model; a cosine of 1 and equal norms are best. The "
        "dots are a sample, equally many from each layer as far as it has them, so that small "
        "layers are seen; the histogram counts all parameters. Two models can differ in their "
        "parameters and agree in every output. Source: ours; parameter distances "
        "for unlearning for example in Golatkar, Achille and Soatto 2020."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A choice of the shard, three plots, a sentence."""
        self.shard = self.shard_choice()
        self.words = self.prose()
        self.scatter, self.moves = self.plot("parameters"), self.plot("parameter-shifts")
        self.histogram = self.plot("shift-histogram")
        return [
            row(self.shard),
            self.words,
            row(self.scatter.widget, self.moves.widget),
            self.histogram.widget,
        ]

    @property
    def code(self) -> str:
        """Scatter and histogram."""
        return (
            "from unlearnkit import figures, parameters\n"
            "comparison = session.compare()\n"
            f"sample = parameters.parameter_sample(comparison, {self.shard.value})\n"
            "figures.parameter_scatter(sample)   # also figures.shift_scatter(sample)\n"
            f"figures.shift_histogram(parameters.shifts(comparison, {self.shard.value}))"
        )

    def draw(self) -> None:
        """Sample, count, and say how much of the way was gone."""
        shard = self.offer_shards(self.shard)
        sample = parameters.parameter_sample(self.comparison, shard)
        shifts = parameters.shifts(self.comparison, shard)
        self._frames = {
            "parameters": sample.frame,
            "parameter-shifts": sample.frame,
            "shift-histogram": shifts.frame,
        }
        self.scatter.show(figures.parameter_scatter.spec(sample))
        self.moves.show(figures.shift_scatter.spec(sample))
        self.histogram.show(figures.shift_histogram.spec(shifts))
        if shifts.identical:
            first = (
                f"Exact: all {shifts.num_parameters:,} parameters of shard {shard} equal those of "
                f"from scratch, bit for bit. What is left is 0; needed was a shift of norm "
                f"{shifts.needed:.3g}."
            )
        else:
            first = (
                f"Needed was a shift of norm {shifts.needed:.3g}, made was one of "
                f"{shifts.made:.3g} (cosine {shifts.cosine:.2f}, best 1); what is left has norm "
                f"{shifts.left:.3g}, {shifts.left / (shifts.needed or 1):.0%} of what doing "
                "nothing leaves."
            )
        total = sum(sample.sizes.values())
        self.words.html = paragraphs(
            first, f"Dots: {len(sample.frame):,} of {total:,} parameters, from every layer."
        )


class WeightView(View):
    """The first layer as pictures."""

    title = "First-layer weights as images"
    explanation = "What the first layer looks for in an image, before, after, and from scratch."
    meaning = (
        "Each column is one unit of the first layer (a class, where there is no other layer), each "
        "picture its weights: blue below 0, orange above. The units shown are those whose weights "
        "differ most between the original and from scratch. The last row is what unlearning left, "
        "in a colour scale of its own, or it would be invisible. Source: ours."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A choice of the shard and the pictures."""
        self.shard = self.shard_choice()
        self.images = self.plot("first-layer-weights")
        return [row(self.shard), self.images.widget]

    @property
    def code(self) -> str:
        """The pictures."""
        names = ", session.dataset.class_names" if self._classes() else ""
        return (
            "from unlearnkit import figures, parameters\n"
            f"images = parameters.weight_images(session.compare(), {self.shard.value})\n"
            f"figures.weight_images(images{names})"
        )

    def draw(self) -> None:
        """Show the units that had to change most."""
        images = parameters.weight_images(self.comparison, self.offer_shards(self.shard))
        if images is not None:
            self._frames = {"first-layer-weights": images.to_frame()}
            self.images.show(figures.weight_images.spec(images, self._classes()))

    def _classes(self) -> tuple[str, ...]:
        """Names of the units, where the first layer is the last."""
        stack = self._source.session.plan.architecture.stack
        alone = stack is not None and len(stack.linears) == 1
        return self._source.session.dataset.class_names if alone else ()


class LayerView(View):
    """CKA of each layer."""

    title = "Layers: similarity of representations"
    explanation = "Do the layers see the same in test examples as those of from scratch?"
    meaning = (
        "Linear centred kernel alignment (CKA; Kornblith, Norouzi, Lee and Hinton 2019) is 1 where "
        "one layer's outputs are those of the other up to rotation and scale. Shown is 1 - CKA, "
        "what is lacking, since good unlearning differs in the fourth digit. It is biased upwards "
        "where a layer is wider than there are examples, so read it against doing nothing, the "
        "grey rings, and beside the parameter distances above: parameters can differ where "
        "representations do not."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """One plot."""
        self.layers = self.plot("layer-similarity")
        return [self.layers.widget]

    @property
    def code(self) -> str:
        """The plot."""
        return (
            "from unlearnkit import figures, representations\n"
            "figures.layer_similarity(\n"
            "    representations.layer_similarity(session.compare(), session.dataset))"
        )

    def draw(self) -> None:
        """Run the test examples through the layers."""
        frame = representations.layer_similarity(self.comparison, self._source.session.dataset)
        self._frames = {"layer-similarity": frame}
        self.layers.show(figures.layer_similarity.spec(frame))


class EmbeddingView(View):
    """Twin embeddings."""

    title = "Twin embeddings"
    explanation = "The same examples in the last hidden layer of two models, linked."
    meaning = (
        "Principal components (Pearson 1901) of the features that the model from scratch gives "
        "test examples; both models are projected by these same two axes, so a long link is a "
        "change in the network and not of the picture. Movement across the plane is not seen: the "
        "axis says how much variance the plane carries. Forgotten examples (purple) of a good "
        "unlearning stand where the model from scratch, which never saw them, puts them. One "
        "projection for both models is ours."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Choices of shard and model, and the plot."""
        self.shard = self.shard_choice()
        self.model = self.choice("beside from scratch", OTHERS)
        self.twins = self.plot("twin-embedding")
        return [row(self.shard, self.model), self.twins.widget]

    @property
    def code(self) -> str:
        """The plot."""
        model = "" if self.model.value == "unlearned" else f", model={self.model.value!r}"
        return (
            "from unlearnkit import figures, representations\n"
            "twin = representations.twin_embedding(\n"
            f"    session.compare(), session.dataset, {self.shard.value}{model})\n"
            "figures.twin_embedding(twin, session.dataset.class_names)"
        )

    def draw(self) -> None:
        """Project."""
        dataset = self._source.session.dataset
        shard = self.offer_shards(self.shard)
        twin = representations.twin_embedding(
            self.comparison, dataset, shard, model=self.model.value
        )
        self._frames = {"twin-embedding": twin.to_frame()}
        self.twins.show(figures.twin_embedding.spec(twin, dataset.class_names))


class ClassView(View):
    """Accuracy and divergence by class."""

    title = "Class by class"
    explanation = "Accuracy and outputs in each class: a mean over all classes can hide one."
    meaning = (
        "Accuracy of the three ensembles in each class, and the mean Kullback-Leibler divergence "
        "(Kullback and Leibler 1951) of the outputs of from scratch from those of the other two. "
        "The goal is the model from scratch: a class that it does badly on should be done badly on "
        "by the unlearned model too. Classes with few examples jump; the hover tells how many."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A choice of the examples, and two plots."""
        self.part = self.choice("examples", ["test", "forget", "retain"])
        self.accuracy = self.plot("class-accuracy")
        self.divergence = self.plot("class-divergence")
        return [row(self.part), row(self.accuracy.widget, self.divergence.widget)]

    @property
    def code(self) -> str:
        """Both plots."""
        part = self.part.value
        return (
            "from unlearnkit import agreement, figures\n"
            f"frame = agreement.class_agreement(session.compare(), {part!r})\n"
            f"figures.class_accuracy(frame, session.dataset.class_names, {part!r})\n"
            f"figures.class_divergence(frame, session.dataset.class_names, {part!r})"
        )

    def draw(self) -> None:
        """Count by class."""
        names, part = self._source.session.dataset.class_names, self.part.value
        frame = agreement.class_agreement(self.comparison, part)
        self._frames = {"class-accuracy": frame, "class-divergence": frame}
        self.accuracy.show(figures.class_accuracy.spec(frame, names, part))
        self.divergence.show(figures.class_divergence.spec(frame, names, part))


class PredictionView(View):
    """Confusion of two models, and the examples that differ most."""

    title = "Predictions that differ"
    explanation = "Which classes are taken for which others, and the examples that changed most."
    meaning = (
        "Rows are the classes that the ensemble from scratch predicts, columns those of the other: "
        "what is off the diagonal are disagreements (churn: Milani Fard et al. 2016). The table "
        "lists examples by the Kullback-Leibler divergence of the two outputs (Kullback and "
        "Leibler 1951), whether or not the predicted class has changed; examples whose outputs are "
        "equal to the last bit are not listed."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Choices, the table of classes, the list of examples."""
        self.model = self.choice("beside from scratch", OTHERS)
        self.part = self.choice("examples", ["test", *PARTS[:2]])
        self.confusion = self.plot("prediction-confusion")
        self.changed = self.prose()
        pair = row(self.confusion.widget, self.changed)
        self.changed.add_class("uk-beside")
        return [row(self.model, self.part), pair]

    @property
    def code(self) -> str:
        """Both."""
        model, part = self.model.value, self.part.value
        return (
            "from unlearnkit import agreement, figures\n"
            "comparison = session.compare()\n"
            f"confused = agreement.prediction_confusion(comparison, {model!r}, {part!r})\n"
            "figures.prediction_confusion(\n"
            f"    confused, session.dataset.class_names, {model!r}, {part!r})\n"
            f"agreement.most_changed(comparison, {part!r}, model={model!r})"
        )

    def draw(self) -> None:
        """Count pairs of classes, and list examples."""
        import pandas as pd

        dataset = self._source.session.dataset
        names, model, part = dataset.class_names, self.model.value, self.part.value
        confused = agreement.prediction_confusion(self.comparison, model, part)
        self.confusion.show(figures.prediction_confusion.spec(confused, names, model, part))
        columns = pd.Index(names, name="from scratch")
        self._frames = {
            "prediction-confusion": pd.DataFrame(confused, columns, names).reset_index()
        }
        frame = agreement.most_changed(self.comparison, part, model=model)
        if frame.empty:
            self.changed.html = paragraphs(
                f"Every output on the {part} examples equals that of from scratch, bit for bit."
            )
            return
        shown = ("original", "unlearned", "scratch")
        rows = [
            [
                str(record["id"]),
                str(names[record["label"]]),
                *(f"{names[record[m]]} ({percent(record[f'{m} p'], 0)})" for m in shown),
                f"{record['KL']:.2g}",
            ]
            for record in frame.to_dict("records")
        ]
        heads = ["id", "class", *(MODEL_NAMES[m] for m in shown), "KL (nats)"]
        self.changed.html = table(
            heads,
            rows,
            caption=f"Most changed {part} examples, {MODEL_NAMES[model]} against from scratch: "
            "predicted class and its probability",
            text=(1, 2, 3, 4),
            lead=pictures(dataset, frame["id"].to_numpy()),
        )
