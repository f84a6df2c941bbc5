"""The sections on predictions: accuracy by class, and examples on which two models differ."""

from collections.abc import Sequence

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation import predictions
from unlearnkit.evaluation.comparison import PARTS
from unlearnkit.figures.drawing import MODEL_NAMES, percent
from unlearnkit.widgets.parts.html import paragraphs, table
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.pictures import pictures
from unlearnkit.widgets.parts.view import OTHERS, View


class ClassView(View):
    """Accuracy and divergence of outputs by class."""

    title = "Class by class"
    explanation = (
        "Accuracy and outputs in each class, because a mean over all classes can hide one."
    )
    meaning = (
        "Accuracy of the three ensembles in each class, and the mean Kullback-Leibler divergence "
        "(Kullback and Leibler 1951) of the retrained ensemble's outputs from those of the other "
        "two. The goal is the retrained ensemble: where it predicts a class badly, the unlearned "
        "one should do so too. Values of classes with few examples vary widely; hover to see "
        "the number of examples."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of examples and two plots."""
        self.part = self.choice("examples", ["test", "forget", "retain"])
        self.accuracy = self.plot("class-accuracy")
        self.divergence = self.plot("class-divergence")
        return [row(self.part), row(self.accuracy.widget, self.divergence.widget)]

    @property
    def code(self) -> str:
        """The calls that draw both plots."""
        part = self.part.value
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import predictions\n"
            f"frame = predictions.class_agreement(session.compare(), {part!r})\n"
            f"figures.class_accuracy(frame, session.dataset.class_names, {part!r})\n"
            f"figures.class_divergence(frame, session.dataset.class_names, {part!r})"
        )

    def draw(self) -> None:
        """Compute accuracy and divergence by class, and draw them."""
        names, part = self._source.session.dataset.class_names, self.part.value
        frame = predictions.class_agreement(self.comparison, part)
        self._frames = {"class-accuracy": frame, "class-divergence": frame}
        self.accuracy.show(figures.class_accuracy.spec(frame, names, part))
        self.divergence.show(figures.class_divergence.spec(frame, names, part))


class PredictionView(View):
    """The confusion matrix of two models, and the examples on which they differ most."""

    title = "Predictions"
    explanation = (
        "Which classes are confused with which others, and the examples that changed most."
    )
    meaning = (
        "Rows are the classes that the retrained ensemble predicts, columns those of the other: "
        "entries off the diagonal are disagreements (churn: Milani Fard et al. 2016). The table "
        "ranks examples by the Kullback-Leibler divergence of the two outputs (Kullback and "
        "Leibler 1951), whether or not the predicted class has changed; examples whose outputs "
        "are bit-identical are not listed."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choices, the confusion matrix and the table of examples."""
        self.model = self.choice("compare retrained with", OTHERS)
        self.part = self.choice("examples", ["test", *PARTS[:2]])
        self.confusion = self.plot("prediction-confusion")
        self.changed = self.text()
        pair = row(self.confusion.widget, self.changed)
        self.changed.add_class("uk-beside")
        return [row(self.model, self.part), pair]

    @property
    def code(self) -> str:
        """The calls for the confusion matrix and the table."""
        model, part = self.model.value, self.part.value
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import predictions\n"
            "comparison = session.compare()\n"
            f"confused = predictions.prediction_confusion(comparison, {model!r}, {part!r})\n"
            "figures.prediction_confusion(\n"
            f"    confused, session.dataset.class_names, {model!r}, {part!r})\n"
            f"predictions.most_changed(comparison, {part!r}, model={model!r})"
        )

    def draw(self) -> None:
        """Compute the confusion matrix, and list the examples that differ most."""
        import pandas as pd

        dataset = self._source.session.dataset
        names, model, part = dataset.class_names, self.model.value, self.part.value
        confused = predictions.prediction_confusion(self.comparison, model, part)
        self.confusion.show(figures.prediction_confusion.spec(confused, names, model, part))
        columns = pd.Index(names, name="retrained")
        self._frames = {
            "prediction-confusion": pd.DataFrame(confused, columns, names).reset_index()
        }
        frame = predictions.most_changed(self.comparison, part, model=model)
        if frame.empty:
            self.changed.html = paragraphs(
                f"Every output on the {part} examples equals that of the retrained model, bit for "
                "bit."
            )
            return
        shown = ("original", "unlearned", "scratch")
        rows = [
            [
                str(record["id"]),
                f"{record['kl']:.2g}",
                str(names[record["label"]]),
                *(f"{names[record[m]]} ({percent(record[f'{m}_p'], 0)})" for m in shown),
            ]
            for record in frame.to_dict("records")
        ]
        headers = ["id", "KL (nats)", "class", *(MODEL_NAMES[m] for m in shown)]
        self.changed.html = table(
            headers,
            rows,
            caption=f"Most changed {part} examples, {MODEL_NAMES[model]} against retrained: "
            "predicted class and its probability",
            lead=pictures(dataset, frame["id"].to_numpy()),
        )


class TargetView(View):
    """Predicted targets of a regression."""

    title = "Predictions"
    explanation = "Predicted against true targets, and the examples that changed most."
    meaning = (
        "The goal is the predictions of the retrained model, right or wrong. The table ranks "
        "examples by the distance of the prediction from that of the retrained model, in the units "
        "of the target; bit-identical predictions are not listed. The summary above uses half the "
        "squared difference, in units of the target scale: the Kullback-Leibler divergence between "
        "normal distributions of variance 1 around the predictions (Kullback and Leibler 1951)."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choices, the plot and the table of examples."""
        dataset = self._source.session.dataset
        self.model = self.choice("compare retrained with", OTHERS)
        self.part = self.choice("examples", ["test", *PARTS[:2]])
        names = list(dataset.target_names or range(dataset.num_outputs))
        self.target = self.choice("target", names)
        self.target.layout.display = None if len(names) > 1 else "none"
        self.predicted = self.plot("predicted-targets")
        self.changed = self.text()
        self.changed.add_class("uk-beside")
        fields = row(self.model, self.part, self.target)
        return [fields, row(self.predicted.widget, self.changed)]

    @property
    def code(self) -> str:
        """The call that draws the plot."""
        model, part = self.model.value, self.part.value
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation import predictions\n"
            f"frame = predictions.predictions(session.compare(), session.dataset, {part!r})\n"
            f"figures.predicted_targets(frame, {self.target.value!r}, {model!r}, {part!r})"
        )

    def draw(self) -> None:
        """Draw the predictions, and list the examples that differ most."""
        model, part, target = self.model.value, self.part.value, self.target.value
        frame = predictions.predictions(self.comparison, self._source.session.dataset, part)
        self._frames = {"predicted-targets": frame}
        self.predicted.show(figures.predicted_targets.spec(frame, target, model, part))
        own = frame[frame["target"] == target]
        own = own.assign(moved=own[model] - own["scratch"])
        moved = own["moved"].abs()
        order = moved[moved > 0].sort_values(ascending=False, kind="stable").index
        own = own.loc[order[: predictions.MOST_CHANGED]]
        if own.empty:
            self.changed.html = paragraphs(
                f"Every prediction on the {part} examples equals that of the retrained model, bit "
                "for bit."
            )
            return
        columns = ("true", "original", "unlearned", "scratch")
        rows = [
            [str(record["id"]), *(f"{record[c]:.4g}" for c in columns), f"{record['moved']:+.2g}"]
            for record in own.to_dict("records")
        ]
        headers = ["id", "true", *MODEL_NAMES.values(), "difference"]
        caption = f"Most changed {part} examples, {MODEL_NAMES[model]} minus retrained"
        self.changed.html = table(headers, rows, caption=caption)
