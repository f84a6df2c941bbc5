"""Held-out predictions: each training example is predicted by the models that never saw it.

A sharded ensemble is its own cross-validation. Every constituent was trained without the examples
of the other shards, so the mean of the other constituents' outputs is an out-of-sample prediction
of an example, and no further model has to be trained. With groups, all examples of a group are in
one shard, so that the prediction comes from models that never saw the group.

Two limits: an example with a copy in another shard was seen there; and settings that were tuned on
the training data have seen every example.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from unlearnkit.display import plural
from unlearnkit.metrics.tasks import require_classes, task_of
from unlearnkit.models.chunks import CHUNK
from unlearnkit.models.losses import SquaredError
from unlearnkit.store import Store
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import assemble, state_probabilities
from unlearnkit.training.plan import Plan
from unlearnkit.training.session_view import SessionView

if TYPE_CHECKING:
    import pandas as pd


@own_settings()
def held_out_outputs(plan: Plan, store: Store) -> Float[np.ndarray, "example output"]:
    """The mean output of the constituents that never saw an example; nan for revoked examples.

    The outputs are class probabilities, or for a regression predictions of the scaled targets. The
    order is that of ``plan.partition.ids``.

    Raises:
        LookupError: a shard has no model yet.
        ValueError: fewer than two shards have models.
    """
    constituents = assemble(plan, store).constituents
    if len(constituents) < 2:
        raise ValueError(
            f"a held-out prediction needs a model that never saw the example, but there is "
            f"{plural(len(constituents), 'model')} in all; train with num_shards=2 or more, or "
            "rank examples by='loss'"
        )
    partition, loss = plan.partition, plan.spec.loss
    kept = np.flatnonzero(plan.retained)
    means = np.full((len(partition.ids), plan.architecture.num_outputs), np.nan)
    for begin in range(0, len(kept), CHUNK):
        rows = kept[begin : begin + CHUNK]
        inputs, _ = plan.examples[partition.ids[rows]]
        total = torch.zeros(len(rows), means.shape[1], dtype=torch.float64)
        for each in constituents:
            unseen = torch.from_numpy(partition.shard[rows] != each.shard)
            total[unseen] += state_probabilities(
                plan.architecture, loss, each.state, inputs[unseen]
            ).double()
        means[rows] = total.numpy() / (len(constituents) - 1)
    return means


@own_settings()
def held_out_losses(plan: Plan, store: Store) -> Float[np.ndarray, " example"]:
    """The loss of the held-out prediction of every training example; nan for revoked examples.

    A wrong label has a high loss under models that were not trained on it, whereas the model of its
    own shard may have memorised it (Feldman and Zhang 2020, What Neural Networks Memorize and Why).
    The loss is the cross-entropy in nats, without class weights; with the squared error it is half
    the squared distance. The order is that of ``plan.partition.ids``.

    Raises:
        LookupError: a shard has no model yet.
        ValueError: fewer than two shards have models.
    """
    return _losses(plan, held_out_outputs(plan, store))


def _losses(
    plan: Plan, outputs: Float[np.ndarray, "example output"]
) -> Float[np.ndarray, " example"]:
    """Losses of predictions of all training examples; nan where a prediction is nan."""
    given, labels, loss = torch.from_numpy(outputs), plan.examples.labels, plan.spec.loss
    if isinstance(loss, SquaredError):
        losses = loss.value(given, labels)
    else:
        losses = -task_of(labels).log_likelihood(given, labels)
    found: np.ndarray = losses.double().numpy()
    return found


@own_settings()
def held_out_frame(session: SessionView) -> "pd.DataFrame":
    """The table of :meth:`~unlearnkit.session.Session.held_out_probabilities`."""
    return _frame(session, held_out_outputs(session.plan, session.store))


def _frame(session: SessionView, given: Float[np.ndarray, "example output"]) -> "pd.DataFrame":
    """Predictions of the training examples that are not revoked, as a table."""
    import pandas as pd

    dataset, plan = session.dataset, session.plan
    outputs = given[plan.retained]
    if dataset.is_regression:
        outputs = dataset.in_units(torch.from_numpy(outputs)).numpy()
        names = list(dataset.target_names) or list(dataset.label_columns(dataset.train.labels[:1]))
    else:
        outputs = _as_probabilities(outputs)
        names = list(dataset.class_names)
    index = pd.Index(plan.partition.ids[plan.retained], name="id")
    return pd.DataFrame(outputs, index=index, columns=names)


@own_settings()
def suspicious_labels(session: SessionView) -> "pd.DataFrame":
    """Training examples whose labels are probably wrong, the most suspicious first.

    This is confident learning on held-out predictions. The threshold of a class is the mean
    predicted probability of this class among the examples that have it as label. An example is
    suspicious if its most probable class reaches its threshold and is not its label. Suspicious
    examples are ranked by their held-out loss::

        from unlearnkit.selection.held_out import suspicious_labels

        suspects = suspicious_labels(session)
        session.revoke(suspects["id"])

    Not every suspicious label is wrong: examples that are ambiguous or rare are among them, and the
    less accurate the models, the more there are. Class weights shift the predictions, and so make
    right labels of classes with low weights suspicious. Look at examples before you revoke them.

    Source: Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset
    Labels (section 3.1; the off-diagonal entries of the confident joint). Departure: their class is
    the most probable of those that reach their thresholds, even where another one is more probable.

    Args:
        session: a trained session of at least two shards.

    Returns:
        One row per suspicious example: id, label, suggested (the class that the held-out prediction
        gives instead), probability and suggested_probability (those of the two classes),
        held_out_loss (nats). Labels are class numbers.

    Raises:
        LookupError: the session is not trained yet.
        ValueError: fewer than two shards have models, or this is a regression.
    """
    import pandas as pd

    require_classes(
        session.dataset, "a suspicious label", "rank examples by the loss: uk.hardest(session, 20)"
    )
    plan = session.plan
    outputs = held_out_outputs(plan, session.store)
    kept, frame = plan.retained, _frame(session, outputs)
    labels = plan.examples.labels.numpy()[kept]
    places, suggested = _suspects(frame.to_numpy(), labels)
    p, own, rows = frame.to_numpy()[places], labels[places], np.arange(len(places))
    found = pd.DataFrame(
        {
            "id": frame.index.to_numpy()[places],
            "label": own,
            "suggested": suggested,
            "probability": p[rows, own],
            "suggested_probability": p[rows, suggested],
            "held_out_loss": _losses(plan, outputs)[kept][places],
        }
    )
    return found.sort_values(["held_out_loss", "id"], ascending=[False, True], ignore_index=True)


def _suspects(
    p: Float[np.ndarray, "example class"], labels: Int[np.ndarray, " example"]
) -> tuple[Int[np.ndarray, " suspect"], Int[np.ndarray, " suspect"]]:
    """Places of the examples whose labels are suspicious, and the classes suggested instead.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.95, 0.05]])
    >>> places, suggested = _suspects(p, np.array([0, 0, 1, 1, 1]))
    >>> places.tolist(), suggested.tolist()
    ([4], [0])
    """
    thresholds = np.array(
        [p[labels == c, c].mean() if (labels == c).any() else np.inf for c in range(p.shape[1])]
    )
    best = p.argmax(1)
    places = np.flatnonzero((best != labels) & (p.max(1) >= thresholds[best]))
    return places, best[places]


def _as_probabilities(
    outputs: Float[np.ndarray, "example class"],
) -> Float[np.ndarray, "example class"]:
    """Outputs as probabilities: those of a squared error may be negative or not add up to 1.

    >>> _as_probabilities(np.array([[0.5, 0.5], [1.2, -0.2], [-0.5, -0.1]])).tolist()
    [[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]]
    """
    positive = np.maximum(outputs, 0)
    total = positive.sum(1, keepdims=True)
    equal = np.full_like(positive, 1 / positive.shape[1])
    found: np.ndarray = np.divide(positive, total, out=equal, where=total > 0)
    return found
