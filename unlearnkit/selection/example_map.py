"""What to revoke, looked for in a session: its examples as a table, the hard ones, a map."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.representations import HIDDEN, OUTPUT, layer_outputs, principal_axes
from unlearnkit.seeding import numpy_generator
from unlearnkit.selection.example_scores import stage_state
from unlearnkit.selection.queries import INFLUENCE, LOSS, SCORES, table_of
from unlearnkit.training.session_view import SessionView
from unlearnkit.unlearning.request import select

if TYPE_CHECKING:
    import pandas as pd

INPUTS = "inputs"
MOST_POINTS = 2000  # of a map; each is drawn by itself


@dataclass(frozen=True, eq=False)
class ExampleMap:
    """Training examples in two dimensions.

    Attributes:
        ids: of the examples drawn, ascending.
        labels: theirs; of a regression the first target, in its units.
        places: on the two principal axes.
        explained: part of the variance that these carry, 0 to 1.
        shard: whose model gave the features; None for the inputs themselves.
        layer: that gave them, ``"inputs"``, or as in :mod:`unlearnkit.evaluation.representations`.
        total: examples that there are.
    """

    ids: Int[np.ndarray, " point"]
    labels: Int[np.ndarray, " point"] | Float[np.ndarray, " point"]
    places: Float[np.ndarray, "point 2"]
    explained: float
    shard: int | None
    layer: str
    total: int

    def to_frame(self) -> "pd.DataFrame":
        """One row a point."""
        import pandas as pd

        first, second = self.places.T
        return pd.DataFrame({"id": self.ids, "label": self.labels, "x": first, "y": second})


def example_table(session: SessionView, scores: Collection[str] = ()) -> "pd.DataFrame":
    """The training examples that are not revoked, one a row: what a query is asked of.

    Columns: id, label, class_name, shard, slice, and the features of tables whose column names are
    known.

    Args:
        session: with the examples.
        scores: further columns of ``"loss"`` and ``"self_influence"``
            (:mod:`unlearnkit.selection.example_scores`).

    Raises:
        KeyError: a score of another name.
        LookupError: there are scores, and the session is not trained.
    """
    unknown = [name for name in scores if name not in SCORES]
    if unknown:
        raise KeyError(f"no score is named {unknown[0]!r}; known are {', '.join(SCORES)}")
    return table_of(session.dataset, session.plan, session.store, scores)


def hardest(
    session: SessionView, count: int, by: str = LOSS, *, label: int | str | None = None
) -> Int[np.ndarray, " example"]:
    """Ids of the hardest training examples, the hardest first: ``session.revoke(hardest(...))``.

    Args:
        session: trained.
        count: so many.
        by: ``"loss"``, under the example's own shard's model; or ``"self_influence"``, of TracIn in
            the last layer (:func:`unlearnkit.selection.example_scores.self_influence`).
        label: only of this class, by number or name.

    Raises:
        KeyError: no such score or class.
        LookupError: the session is not trained.
        ValueError: there are not so many.
    """
    return hardest_of(score_table(session, by), count, by, session.dataset, label)


def score_table(session: SessionView, by: str) -> "pd.DataFrame":
    """The training examples with one score, without their features.

    Raises:
        KeyError: no such score.
        LookupError: the session is not trained.
    """
    if by not in SCORES:
        raise KeyError(f"no score is named {by!r}; known are {', '.join(SCORES)}")
    return table_of(session.dataset, session.plan, session.store, [by], features=False)


def hardest_of(
    frame: "pd.DataFrame", count: int, by: str, dataset: Dataset, label: int | str | None = None
) -> Int[np.ndarray, " example"]:
    """Those of a table with the highest scores; see :func:`hardest`."""
    if label is not None:
        frame = frame[frame["id"].isin(select(dataset, label=label))]
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"count={count!r} is not a whole number")
    if not 1 <= count <= len(frame):
        raise ValueError(f"count={count} is out of range; give 1 to {len(frame)}")
    chosen = frame.sort_values([by, "id"], ascending=[False, True])["id"].to_numpy()[:count]
    return np.asarray(chosen, np.int64)


def example_map(
    session: SessionView, shard: int | None = None, *, most: int = MOST_POINTS, seed: int = 0
) -> ExampleMap:
    """Training examples on the plane of their greatest variance (PCA: Pearson 1901).

    Of more than ``most``, a sample is drawn in which each is equally likely; examples that wait to
    be forgotten are added, up to a tenth of that. The plane is fitted to the sample.

    Args:
        session: with the examples.
        shard: place them by the last hidden layer of this shard's model, or by its output where
            there is no hidden one; None for the inputs.
        most: points.
        seed: of the sample.

    Raises:
        IndexError: there is no such shard.
        LookupError: the shard has no model.
    """
    plan, dataset = session.plan, session.dataset
    alive = plan.partition.ids[plan.retained]
    chosen = alive
    if len(alive) > most:
        generator = numpy_generator(seed, "example-map")
        chosen = np.sort(generator.choice(alive, most, replace=False))
    waiting = np.intersect1d(session.pending, alive)[: max(1, most // 10)]
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
        ids, dataset.label_values(labels), places, explained, shard, layer, len(alive)
    )


__all__ = ["INFLUENCE", "LOSS", "ExampleMap", "example_map", "example_table", "hardest"]
