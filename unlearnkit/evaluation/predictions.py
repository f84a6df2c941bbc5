"""Where two models' predictions agree and where not: by pair of classes, class, and example."""

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
    """How many examples model `a` puts in the class of the row and `b` in that of the column.

    The contingency table of two classifiers' predictions; all on the diagonal where they agree.

    >>> p, q = torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    >>> confusion(p, q)
    tensor([[1, 1],
            [0, 0]])

    Raises:
        ValueError: the two differ in their number of examples or classes.
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
    """`confusion` of scratch (rows) and another model (columns) on one part.

    Raises:
        KeyError: no such model or part.
        ValueError: this is a regression.
    """
    _check(part, model)
    _need_classes(comparison, "the table of predicted classes")
    outputs = comparison.outputs
    table: Int[np.ndarray, "class class"] = confusion(
        getattr(outputs["scratch"], part), getattr(outputs[model], part)
    ).numpy()
    return table


def class_agreement(comparison: Comparison, part: str = "test") -> "pd.DataFrame":
    """Accuracy of the three models and output KL from scratch, for each class by itself.

    One row a class that the part has: class (number), examples, accuracy of original, unlearned and
    scratch (the nearer to scratch, the better), and mean KL(scratch || model) in nats of original
    and unlearned, best 0 (:func:`~unlearnkit.metrics.metrics.output_kl`). Forgetting a class, or
    examples of one, shows here where the mean over all classes hides it.

    Raises:
        KeyError: no such part.
        ValueError: this is a regression.
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
    """Examples whose output differs most from scratch's, by KL(scratch || model) in nats.

    One row an example, greatest first, equal ones by id: id, label, the class predicted by each
    model, its probability under each, and the KL. Those with a KL of 0 are left out.

    Args:
        comparison: of an unlearning.
        part: forget, retain or test.
        model: that is held against scratch, ``"unlearned"`` or ``"original"``.
        most: examples.

    Raises:
        KeyError: no such model or part.
        ValueError: this is a regression.
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
    """What the three models of a regression predict, in the units of the targets as given.

    One row an example and target, examples by id: id, target (its name or number), true, original,
    unlearned, scratch.

    Args:
        comparison: of an unlearning.
        dataset: that was compared on.
        part: forget, retain or test.

    Raises:
        KeyError: no such part.
        ValueError: this is a classification.
    """
    import pandas as pd

    _check(part)
    if not comparison.scratch.is_regression:
        raise ValueError(
            "predictions of targets are of a regression; most_changed(comparison) lists those of "
            "classes"
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
            f"{what} is for classes, and this is a regression; predictions(comparison, dataset) "
            "lists its predictions"
        )


def _check(part: str, model: str = "unlearned") -> None:
    if part not in PARTS:
        raise KeyError(f"no part is named {part!r}; known are {', '.join(PARTS)}")
    if model not in MODELS:
        raise KeyError(f"no model is named {model!r}; known are {', '.join(MODELS)}")
