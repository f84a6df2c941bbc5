"""The sections that look into networks: parameters, weights, layers, twin embeddings."""

import math
from collections.abc import Sequence

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation import parameters, representations
from unlearnkit.evaluation.seed_distances import SEED, seed_distances
from unlearnkit.widgets.parts.html import paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.view import OTHERS, View


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
        self.summary = self.text()
        self.scatter, self.moves = self.plot("parameters"), self.plot("parameter-shifts")
        self.histogram = self.plot("shift-histogram")
        return [
            row(self.shard),
            self.summary,
            row(self.scatter.widget, self.moves.widget),
            self.histogram.widget,
        ]

    @property
    def code(self) -> str:
        """Scatter and histogram."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import parameters\n"
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
        elif not shifts.made:
            first = (
                f"Needed was a shift of norm {shifts.needed:.3g}, but none was made: the last "
                "request did not change this constituent, which owes from before."
            )
        else:
            first = (
                f"Needed was a shift of norm {shifts.needed:.3g}, made was one of "
                f"{shifts.made:.3g} (cosine {shifts.cosine:.2f}, best 1); what is left has norm "
                f"{shifts.left:.3g}, {shifts.left / (shifts.needed or 1):.0%} of what doing "
                "nothing leaves."
            )
        total = sum(sample.sizes.values())
        self.summary.html = paragraphs(
            first, f"Dots: {len(sample.frame):,} of {total:,} parameters, from every layer."
        )


class SeedView(View):
    """Distances of one constituent's layers, beside what another seed does."""

    title = "Distances beside another seed"
    explanation = "Is a distance large? The same constituent is trained once more, by another seed."
    meaning = (
        "A distance of parameters has no scale of its own. Here it is chance: a training on the "
        "same retained examples from other initial weights and in another order. Where what "
        "unlearning left is far below it, the unlearned model stands nearer to from scratch than "
        "a second training from scratch does. Nearness alone is no proof of forgetting, since "
        "doing nothing stands near, too: compare with the original. Source: ours; see Golatkar, "
        "Achille and Soatto 2020 for distances between seeds as a scale."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A choice of the shard, a sentence, the plot."""
        self.shard = self.shard_choice()
        self.summary = self.text()
        self.distances = self.plot("seed-distances")
        return [row(self.shard), self.summary, self.distances.widget]

    @property
    def code(self) -> str:
        """Train the twin and draw."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation.seed_distances import seed_distances\n"
            f"frame = seed_distances(session.plan, session.compare(), {self.shard.value})\n"
            "figures.seed_distances(frame)"
        )

    def draw(self) -> None:
        """Train the constituent by another seed, and set the distances side by side."""
        shard = self.offer_shards(self.shard)
        plan = self._source.session.plan
        frame = seed_distances(plan, self.comparison, shard, on_progress=False)
        self._frames = {"seed-distances": frame}
        self.distances.show(figures.seed_distances.spec(frame))
        total = frame.groupby("model", sort=False)["l2"].apply(lambda some: math.hypot(*some))
        left, chance = total["unlearned"], total[SEED]
        if left == 0:
            first = f"Exact: nothing is left. Another seed ends {chance:.3g} away from scratch."
        else:
            first = (
                f"Over all layers, unlearning leaves a distance of {left:.3g} to from scratch, "
                f"{left / (chance or math.nan):.2%} of the {chance:.3g} that another seed makes; "
                f"the original stands {total.get('original', math.nan):.3g} away."
            )
        self.summary.html = paragraphs(first)


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
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import parameters\n"
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
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import representations\n"
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
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import representations\n"
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
