"""Views of the training examples from which to choose: a table, the hardest examples, a map."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from unlearnkit.data.examples import Dataset
from unlearnkit.display import as_html
from unlearnkit.evaluation.representations import HIDDEN, OUTPUT, layer_outputs, principal_axes
from unlearnkit.seeding import numpy_generator
from unlearnkit.selection.example_scores import stage_state
from unlearnkit.selection.queries import HELD_OUT, INFLUENCE, LOSS, SCORES, table_of
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.session_view import SessionView
from unlearnkit.unlearning.request import select

if TYPE_CHECKING:
    import pandas as pd

INPUTS = "inputs"
MOST_POINTS = 2000  # more points would make the map slow to draw


@dataclass(frozen=True, eq=False)
class ExampleMap:
    """Training examples as points in two dimensions.

    Attributes:
        ids: ids of the examples shown, ascending.
        labels: their labels; for regression the first target, in its units.
        places: coordinates on the first two principal axes.
        explained: the share of the variance along these axes, from 0 to 1.
        shard: the shard whose model computed the features, or None if they are the inputs.
        layer: the layer that computed the features: ``"inputs"``, ``"last hidden layer"`` or
            ``"output"``.
        total: the number of examples that are not revoked, shown or not.
    """

    ids: Int[np.ndarray, " point"]
    labels: Int[np.ndarray, " point"] | Float[np.ndarray, " point"]
    places: Float[np.ndarray, "point 2"]
    explained: float
    shard: int | None
    layer: str
    total: int

    def to_frame(self) -> "pd.DataFrame":
        """A table with one row for each point and the columns id, label, x and y."""
        import pandas as pd

        first, second = self.places.T
        return pd.DataFrame({"id": self.ids, "label": self.labels, "x": first, "y": second})

    def __repr__(self) -> str:
        return (
            f"ExampleMap({len(self.ids)} of {self.total} examples by {self.layer}, "
            f"{self.explained:.0%} of variance)"
        )

    def _repr_html_(self) -> str:
        return as_html(self)


@own_settings()
def example_table(session: SessionView, scores: Collection[str] = ()) -> "pd.DataFrame":
    """A table with one row for each training example that is not revoked.

    ``session.revoke(query=...)`` evaluates its condition on this table. The columns are id, label,
    class_name (for regression instead the target), shard, slice, and the features if the data have
    column names.

    Args:
        session: the session that holds the examples.
        scores: scores to add as columns: ``"held_out_loss"``, ``"loss"`` and ``"self_influence"``,
            which :func:`hardest` explains.

    Raises:
        KeyError: no score has this name.
        LookupError: scores are asked for, and the session is not trained yet.
        ValueError: the held-out loss is asked for, and fewer than two shards have models.
    """
    named = [score_named(name) for name in scores]
    return table_of(session.dataset, session.plan, session.store, named)


@own_settings()
def hardest(
    session: SessionView, count: int, by: str = HELD_OUT, *, label: int | str | None = None
) -> Int[np.ndarray, " example"]:
    """Ids of the hardest training examples, the hardest first.

    Hard examples are often mislabelled, and they test unlearning most severely. The models of the
    other shards, which never saw an example, find wrong labels best, because the model of its own
    shard may have memorised it::

        session.revoke(uk.hardest(session, 20))

    Args:
        session: a trained session.
        count: the number of examples.
        by: the score: ``"held_out_loss"`` under the models of all other shards
            (:mod:`unlearnkit.selection.held_out`), which needs at least two shards; ``"loss"``
            under the model of the example's shard; or ``"self_influence"``, which is TracIn in the
            last layer (:func:`unlearnkit.selection.example_scores.self_influence`). Blanks and
            hyphens may stand for underscores.
        label: a class, by number or name, from which to choose; None chooses from all.

    Raises:
        KeyError: no score or class has this name.
        LookupError: the session is not trained yet.
        TypeError: ``count`` is not a whole number.
        ValueError: ``count`` is below 1, or there are fewer examples; or the held-out loss is asked
            for, and fewer than two shards have models.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> len(uk.hardest(session, 20)), len(uk.hardest(session, 5, by="loss", label=3))
    (20, 5)
    """
    by = score_named(by)
    return hardest_of(score_table(session, by), count, by, session.dataset, label)


def score_named(by: str) -> str:
    """The name of a score as its column has it.

    >>> score_named("held-out loss")
    'held_out_loss'

    Raises:
        KeyError: no score has this name.
    """
    name = by.replace("-", "_").replace(" ", "_") if isinstance(by, str) else ""
    if name not in SCORES:
        raise KeyError(f"no score is named {by!r}; choose from {', '.join(SCORES)}")
    return name


@own_settings()
def score_table(session: SessionView, by: str) -> "pd.DataFrame":
    """The table of training examples with one score and without features.

    Raises:
        KeyError: no score has this name.
        LookupError: the session is not trained yet.
        ValueError: the held-out loss is asked for, and fewer than two shards have models.
    """
    named = [score_named(by)]
    return table_of(session.dataset, session.plan, session.store, named, features=False)


def hardest_of(
    frame: "pd.DataFrame", count: int, by: str, dataset: Dataset, label: int | str | None = None
) -> Int[np.ndarray, " example"]:
    """The ids of the rows of a table with the highest scores, as :func:`hardest` chooses them.

    Raises:
        KeyError: the class is not known.
        TypeError: ``count`` is not a whole number.
        ValueError: ``count`` is below 1, or there are fewer rows.
    """
    if label is not None:
        frame = frame[frame["id"].isin(select(dataset, label=label))]
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"count={count!r} is not a whole number; give one from 1 on")
    if not 1 <= count <= len(frame):
        raise ValueError(f"count={count} is out of range; give 1 to {len(frame)}")
    chosen = frame.sort_values([by, "id"], ascending=[False, True])["id"].to_numpy()[:count]
    return np.asarray(chosen, np.int64)


@own_settings()
def example_map(
    session: SessionView, shard: int | None = None, *, most: int = MOST_POINTS, seed: int = 0
) -> ExampleMap:
    """Project the training examples onto their first two principal components (Pearson 1901).

    If there are more than ``most`` examples, a uniform random sample is shown and the components
    are fitted to it. Pending examples are added to the sample, at most ``most`` / 10 of them.

    Args:
        session: the session that holds the examples.
        shard: the shard whose model computes the features: the input of its last linear layer, or
            its output if it has only one layer. None projects the inputs themselves.
        most: the maximum number of points.
        seed: the seed of the sample.

    Raises:
        IndexError: there is no such shard.
        LookupError: the shard has no model yet.
    """
    plan, dataset = session.plan, session.dataset
    retained = plan.partition.ids[plan.retained]
    chosen = retained
    if len(retained) > most:
        generator = numpy_generator(seed, "example-map")
        chosen = np.sort(generator.choice(retained, most, replace=False))
    waiting = np.intersect1d(session.pending, retained)[: max(1, most // 10)]
    ids = np.union1d(chosen, waiting)
    inputs, labels = dataset.examples(ids)
    layer = INPUTS
    if shard is None:
        features = inputs.flatten(1)
    else:
        if not 0 <= shard < plan.num_shards:
            raise IndexError(
                f"there is no shard {shard}; shards run from 0 to {plan.num_shards - 1}"
            )
        state = stage_state(plan, session.store, shard, plan.spec.num_slices)
        if state is None:
            raise LookupError(f"shard {shard} has no model yet; train first: session.train()")
        layers = layer_outputs(plan.architecture, state, inputs)
        layer = HIDDEN if HIDDEN in layers else OUTPUT
        features = layers[HIDDEN] if HIDDEN in layers else list(layers.values())[-1]
    features = features.double()
    sampled = torch.from_numpy(np.isin(ids, chosen))
    mean = features[sampled].mean(0)
    axes, explained = principal_axes(features[sampled] - mean)
    places = ((features - mean) @ axes).numpy()
    return ExampleMap(
        ids, dataset.label_values(labels), places, explained, shard, layer, len(retained)
    )


__all__ = [
    "HELD_OUT",
    "INFLUENCE",
    "LOSS",
    "ExampleMap",
    "example_map",
    "example_table",
    "hardest",
]
