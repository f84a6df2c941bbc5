"""Compares the predictions of two models by pairs of classes, by class, and by example."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import MODELS, PARTS, Comparison
from unlearnkit.metrics.metrics import accuracy, example_kl, output_kl

if TYPE_CHECKING:
    import pandas as pd

MOST_CHANGED = 10


def confusion(
    a: Float[Tensor, "batch class"], b: Float[Tensor, "batch class"]
) -> Int[Tensor, "class class"]:
    """Count the examples that model `a` assigns to the row's class and `b` to the column's class.

    This is the contingency table of two classifiers' predictions. Agreements lie on the diagonal.

    >>> p, q = torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    >>> confusion(p, q)
    tensor([[1, 1],
            [0, 0]])

    Raises:
        ValueError: the models differ in their number of examples or classes.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"probabilities of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; "
            "predict the same examples and classes with both models."
        )
    width = a.shape[1]
    cells = a.argmax(1) * width + b.argmax(1)
    return torch.bincount(cells, minlength=width * width).reshape(width, width)


def prediction_confusion(
    comparison: Comparison, model: str = "unlearned", part: str = "test"
) -> Int[np.ndarray, "class class"]:
    """Return :func:`confusion` of the retrained model (rows) and another one (columns) on one part.

    Args:
        comparison: the comparison of an unlearning.
        model: ``"unlearned"`` or ``"original"``.
        part: ``"forget"``, ``"retain"`` or ``"test"``.

    Raises:
        KeyError: the model or part has another name.
        ValueError: the model is a regression.
    """
    _check(part, model)
    _need_classes(comparison, "the table of predicted classes")
    outputs = comparison.outputs
    table: Int[np.ndarray, "class class"] = confusion(
        getattr(outputs["scratch"], part), getattr(outputs[model], part)
    ).numpy()
    return table


def class_agreement(comparison: Comparison, part: str = "test") -> "pd.DataFrame":
    """Return the accuracies of the three models, and their output KL divergences, by class.

    The effect of forgetting a class, or some of its examples, shows here even if the mean over all
    classes hides it.

    Args:
        comparison: the comparison of an unlearning.
        part: ``"forget"``, ``"retain"`` or ``"test"``.

    Returns:
        One row per class that occurs in the part: class (number), examples, the accuracies of
        original, unlearned and scratch (the retrained model; the closer to it, the better), and the
        mean KL(scratch || model) in nats of original and unlearned, best 0
        (:func:`~unlearnkit.metrics.metrics.output_kl`).

    Raises:
        KeyError: the part has another name.
        ValueError: the model is a regression.
    """
    import pandas as pd

    _check(part)
    _need_classes(comparison, "accuracy by class")
    labels = comparison.labels[part]
    outputs = {name: getattr(comparison.outputs[name], part) for name in MODELS}
    rows = []
    for label in labels.unique().tolist():
        own = labels == label
        row = {"class": label, "examples": int(own.sum())}
        row |= {name: accuracy(outputs[name][own], labels[own]) for name in MODELS}
        row |= {
            f"{name}_kl": output_kl(outputs["scratch"][own], outputs[name][own])
            for name in MODELS[:2]
        }
        rows.append(row)
    columns = ["class", "examples", *MODELS, *(f"{name}_kl" for name in MODELS[:2])]
    return pd.DataFrame(rows, columns=columns)


def most_changed(
    comparison: Comparison,
    part: str = "test",
    *,
    model: str = "unlearned",
    most: int = MOST_CHANGED,
) -> "pd.DataFrame":
    """Return the examples whose outputs differ most from those of the retrained model.

    They are ranked by KL(scratch || model) in nats, where scratch is the retrained model.

    Args:
        comparison: the comparison of an unlearning.
        part: ``"forget"``, ``"retain"`` or ``"test"``.
        model: model to compare with the retrained one, ``"unlearned"`` or ``"original"``.
        most: the largest number of examples.

    Returns:
        One row per example with a KL above 0, the greatest first and ties by id: id, label, the
        class that each model predicts, its probability under that model, and the KL.

    Raises:
        KeyError: the model or part has another name.
        ValueError: the model is a regression.
    """
    import pandas as pd

    _check(part, model)
    _need_classes(comparison, "the class predicted")
    outputs = {name: getattr(comparison.outputs[name], part) for name in MODELS}
    kl = example_kl(outputs["scratch"], outputs[model])
    order = (-kl).argsort(stable=True)  # ids ascend within a part
    chosen = order[kl[order] != 0][:most]
    return pd.DataFrame(
        {
            "id": comparison.ids[part][chosen.numpy()],
            "label": comparison.labels[part][chosen].numpy(),
            **{name: outputs[name][chosen].argmax(1).numpy() for name in MODELS},
            **{f"{name}_p": outputs[name][chosen].amax(1).double().numpy() for name in MODELS},
            "kl": kl[chosen].numpy(),
        }
    )


def predictions(comparison: Comparison, dataset: Dataset, part: str = "test") -> "pd.DataFrame":
    """Return the predictions of a regression's three models, in the original units of the targets.

    Args:
        comparison: the comparison of an unlearning.
        dataset: dataset of the comparison.
        part: ``"forget"``, ``"retain"`` or ``"test"``.

    Returns:
        One row per example and target, ordered by id: id, target (its name or number), true,
        original, unlearned, scratch (the retrained model).

    Raises:
        KeyError: the part has another name.
        ValueError: the model is a classifier.
    """
    import pandas as pd

    _check(part)
    if not comparison.scratch.is_regression:
        raise ValueError(
            "predicted targets exist only for a regression, and this is a classification; "
            "most_changed(comparison) lists predicted classes"
        )
    labels = comparison.labels[part]
    count = labels.shape[1]
    columns = {"true": labels} | {name: getattr(comparison.outputs[name], part) for name in MODELS}
    values = {name: dataset.in_units(rows).flatten().numpy() for name, rows in columns.items()}
    names = list(dataset.target_names or range(count))
    ids = {"id": np.repeat(comparison.ids[part], count), "target": names * len(labels)}
    return pd.DataFrame({**ids, **values})


def _need_classes(comparison: Comparison, what: str) -> None:
    if comparison.scratch.is_regression:
        raise ValueError(
            f"{what} needs classes, but this is a regression; use predictions(comparison, dataset) "
            "instead"
        )


def _check(part: str, model: str = "unlearned") -> None:
    if part not in PARTS:
        raise KeyError(f"no part is named {part!r}; choose from {', '.join(PARTS)}")
    if model not in MODELS:
        raise KeyError(f"no model is named {model!r}; choose from {', '.join(MODELS)}")
