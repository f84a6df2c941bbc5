"""Datasets of tables."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from unlearnkit.arrays import from_arrays
from unlearnkit.examples import Dataset
from unlearnkit.intake import check_columns, class_numbers, feature_array, vocabulary_of

if TYPE_CHECKING:
    import pandas as pd


def from_frame(
    frame: "pd.DataFrame",
    target: Hashable,
    *,
    features: Sequence[Hashable] | None = None,
    test: "pd.DataFrame | None" = None,
    probe: "pd.DataFrame | None" = None,
    num_classes: int | None = None,
    class_names: Sequence[Hashable] | None = None,
    test_share: float = 0.2,
    probe_share: float = 0.1,
    offset: float = 0.0,
    scale: float = 1.0,
    seed: int = 0,
    name: str = "frame",
) -> Dataset:
    """A dataset of a pandas DataFrame.

    Numbers in the target column are class numbers 0..C-1 as they stand. Any other value is
    replaced by its place in ``class_names``, else in the categories of a categorical column, else
    among the sorted values that occur. **The class names are a fixed vocabulary**: what they are
    may not depend on one example, so give ``class_names`` where a class may lose its last one.

    Args:
        frame: one row per example; an example's id is its row number (position), not its index.
        target: the column with the classes.
        features: the columns to learn from, numbers or booleans; None takes all but the target.
        test: rows of the test part with the same columns; None splits it off from ``frame``.
        probe: the same for the probe part.
        num_classes: as in :func:`from_arrays`.
        class_names: names of the classes, or the values that the target column holds for them.
        test_share: as in :func:`from_arrays`.
        probe_share: as in :func:`from_arrays`.
        offset: as in :func:`from_arrays`: a fixed constant for all columns.
        scale: as in :func:`from_arrays`: a fixed constant for all columns.
        seed: of the split.
        name: for people.

    Raises:
        KeyError: a column that the frame lacks; the message lists those it has.
        TypeError: feature columns that hold neither numbers nor booleans.
        ValueError: a missing target value or one that no class name matches; and all that
            :func:`from_arrays` raises.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": range(20), "kind": ["cat", "dog"] * 10})
    >>> data = from_frame(frame, "kind", class_names=["cat", "dog"])
    >>> data.examples([5, 6])
    (tensor([[5.],
            [6.]]), tensor([1, 0]))
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    columns: list[Hashable] = list(frame.columns if features is None else features)
    if features is None:
        columns = [column for column in columns if column != target]
    frames = {"frame": frame, "test": test, "probe": probe}
    given = {what: table for what, table in frames.items() if table is not None}
    for what, table in given.items():
        check_columns(what, table, target, columns)
    targets = {what: table[target] for what, table in given.items()}
    vocabulary = vocabulary_of(targets, class_names)
    names: Sequence[Hashable] | None = class_names if vocabulary is None else vocabulary
    pairs = {
        what: (feature_array(table[columns]), class_numbers(what, targets[what], vocabulary))
        for what, table in given.items()
    }
    return from_arrays(
        *pairs["frame"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        num_classes=num_classes,
        class_names=None if names is None else [str(value) for value in names],
        test_share=test_share,
        probe_share=probe_share,
        offset=offset,
        scale=scale,
        seed=seed,
        name=name,
    )
