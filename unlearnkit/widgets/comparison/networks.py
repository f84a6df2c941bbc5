"""The sections on the networks: parameters, distances, weights, layers, and embeddings."""

import math
from collections.abc import Sequence

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation import parameters, representations
from unlearnkit.evaluation.distances.seed_distances import SEED, seed_distances
from unlearnkit.widgets.parts.html import paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.view import OTHERS, View


class ParameterView(View):
    """Scatter plots and a histogram of the parameters of one constituent."""

    title = "Parameters"
    explanation = "Did unlearning move the parameters to where retraining from scratch puts them?"
    meaning = (
        "The three models start from the same weights, so every difference is an effect of the "
        "forgotten examples. The shift needed leads from the original to the retrained model, and "
        "the shift made from the original to the unlearned model; a cosine of 1 and equal norms "
        "are best. The dots are a sample with equally many from each layer (all of a small one), "
        "so that small layers are visible; the histogram counts all parameters. Two models "
        "can differ in their parameters and agree in every output. Source: ours; see for example "
        "Golatkar, Achille and Soatto 2020 for parameter distances in unlearning."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of a shard, the summary and three plots."""
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
        """The calls that draw the plots."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import parameters\n"
            "comparison = session.compare()\n"
            f"sample = parameters.parameter_sample(comparison, {self.shard.value})\n"
            "figures.parameter_scatter(sample)   # also figures.shift_scatter(sample)\n"
            f"figures.shift_histogram(parameters.shifts(comparison, {self.shard.value}))"
        )

    def draw(self) -> None:
        """Draw the parameters, and compare the shift needed with the shift made."""
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
                f"the retrained model, bit for bit. Shift needed {shifts.needed:.3g}, remaining "
                "difference 0."
            )
        elif not shifts.made:
            first = (
                f"Shift needed {shifts.needed:.3g}, shift made 0: the last request did not change "
                "this constituent, which has debt from earlier requests."
            )
        else:
            first = (
                f"Shift needed {shifts.needed:.3g}, shift made {shifts.made:.3g} (cosine "
                f"{shifts.cosine:.2f}, best 1). The remaining difference has norm "
                f"{shifts.left:.3g}, {shifts.left / (shifts.needed or 1):.0%} of the difference "
                "that doing nothing leaves."
            )
        total = sum(sample.sizes.values())
        self.summary.html = paragraphs(
            first, f"The dots are {len(sample.frame):,} of {total:,} parameters, from every layer."
        )


class SeedView(View):
    """Distances of one constituent's layers, beside the distance that another seed makes."""

    title = "Another seed"
    explanation = (
        "Is a distance large? The same constituent is trained once more with another seed."
    )
    meaning = (
        "A parameter distance has no natural scale, so chance serves as one: a training run on the "
        "same retained examples with other initial weights and another order. If the remaining "
        "distance is far below it, the unlearned model is closer to the retrained model than a "
        "second retrained model would be. Closeness alone does not prove forgetting, because the "
        "original model is close too: compare the two. Source: ours; see Golatkar, Achille and "
        "Soatto 2020 for distances between seeds as a scale."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of a shard, the summary and the plot."""
        self.shard = self.shard_choice()
        self.summary = self.text()
        self.distances = self.plot("seed-distances")
        return [row(self.shard), self.summary, self.distances.widget]

    @property
    def code(self) -> str:
        """The call that trains with another seed and draws the distances."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation.distances.seed_distances import seed_distances\n"
            f"frame = seed_distances(session.plan, session.compare(), {self.shard.value})\n"
            "figures.seed_distances(frame)"
        )

    def draw(self) -> None:
        """Train the constituent with another seed, and draw the distances side by side."""
        shard = self.offer_shards(self.shard)
        plan = self._source.session.plan
        frame = seed_distances(plan, self.comparison, shard, on_progress=False)
        self._frames = {"seed-distances": frame}
        self.distances.show(figures.seed_distances.spec(frame))
        total = frame.groupby("model", sort=False)["l2"].apply(lambda norms: math.hypot(*norms))
        left, chance = total["unlearned"], total[SEED]
        if left == 0:
            first = (
                f"Exact: the distance to the retrained model is 0. Another seed ends at a distance "
                f"of {chance:.3g}."
            )
        else:
            first = (
                f"Over all layers, unlearning leaves a distance of {left:.3g} to the retrained "
                f"model, {left / (chance or math.nan):.2%} of the {chance:.3g} that another seed "
                f"makes; the original is {total.get('original', math.nan):.3g} away."
            )
        self.summary.html = paragraphs(first)


class WeightView(View):
    """The weights of the first layer as pictures."""

    title = "First-layer weights"
    explanation = (
        "The patterns that the first layer detects, before and after unlearning, and retrained."
    )
    meaning = (
        "Each column is one unit of the first layer (a class, if there is no other layer); each "
        "picture shows its weights: blue below 0, orange above. The units shown are those whose "
        "weights differ most between the original and the retrained model. The last row is the "
        "difference that unlearning leaves, on a separate colour scale that makes it visible. "
        "Source: ours."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of a shard and the pictures."""
        self.shard = self.shard_choice()
        self.images = self.plot("first-layer-weights")
        return [row(self.shard), self.images.widget]

    @property
    def code(self) -> str:
        """The call that draws the pictures."""
        names = ", session.dataset.class_names" if self._classes() else ""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import parameters\n"
            f"images = parameters.weight_images(session.compare(), {self.shard.value})\n"
            f"figures.weight_images(images{names})"
        )

    def draw(self) -> None:
        """Draw the units that had to change most."""
        images = parameters.weight_images(self.comparison, self.offer_shards(self.shard))
        if images is not None:
            self._frames = {"first-layer-weights": images.to_frame()}
            self.images.show(figures.weight_images.spec(images, self._classes()))

    def _classes(self) -> tuple[str, ...]:
        """Return the class names if the first layer is also the last, else nothing."""
        stack = self._source.session.plan.architecture.stack
        alone = stack is not None and len(stack.linears) == 1
        return self._source.session.dataset.class_names if alone else ()


class LayerView(View):
    """The similarity (CKA) of each layer to that of the retrained model."""

    title = "Similarity of layers"
    explanation = "Do the layers represent test examples as those of the retrained model do?"
    meaning = (
        "Linear centred kernel alignment (CKA; Kornblith, Norouzi, Lee and Hinton 2019) is 1 if "
        "the outputs of two layers agree up to rotation and scale. The plot shows 1 - CKA, because "
        "after good unlearning only the fourth digit differs. CKA is biased upwards if a layer has "
        "more units than there are examples, so compare it with the original model (grey rings) "
        "and with the parameter distances above: parameters can differ while representations do "
        "not."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the plot."""
        self.layers = self.plot("layer-similarity")
        return [self.layers.widget]

    @property
    def code(self) -> str:
        """The call that draws the plot."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import representations\n"
            "figures.layer_similarity(\n"
            "    representations.layer_similarity(session.compare(), session.dataset))"
        )

    def draw(self) -> None:
        """Compute the similarities on the test examples and draw them."""
        frame = representations.layer_similarity(self.comparison, self._source.session.dataset)
        self._frames = {"layer-similarity": frame}
        self.layers.show(figures.layer_similarity.spec(frame))


class EmbeddingView(View):
    """The embeddings of the same examples in two models."""

    title = "Twin embeddings"
    explanation = "The same examples in the last hidden layer of two models, linked."
    meaning = (
        "Principal components (Pearson 1901) of the features that the retrained model computes for "
        "test examples. Both models are projected onto the same two axes, so a long link is a "
        "change of the network and not of the projection. Movement perpendicular to the plane is "
        "not visible: the axes give the share of the variance that the plane shows. After good "
        "unlearning, forgotten examples (purple) lie where the retrained model, which never saw "
        "them, puts them. Projecting both models onto the same axes was devised for unlearnkit."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choices of a shard and a model, and the plot."""
        self.shard = self.shard_choice()
        self.model = self.choice("compare retrained with", OTHERS)
        self.twins = self.plot("twin-embedding")
        return [row(self.shard, self.model), self.twins.widget]

    @property
    def code(self) -> str:
        """The call that draws the plot."""
        model = "" if self.model.value == "unlearned" else f", model={self.model.value!r}"
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import representations\n"
            "twin = representations.twin_embedding(\n"
            f"    session.compare(), session.dataset, {self.shard.value}{model})\n"
            "figures.twin_embedding(twin, session.dataset.class_names)"
        )

    def draw(self) -> None:
        """Project the features and draw them."""
        dataset = self._source.session.dataset
        shard = self.offer_shards(self.shard)
        twin = representations.twin_embedding(
            self.comparison, dataset, shard, model=self.model.value
        )
        self._frames = {"twin-embedding": twin.to_frame()}
        self.twins.show(figures.twin_embedding.spec(twin, dataset.class_names))
