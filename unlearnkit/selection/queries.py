"""Choosing examples by what is known of them: a table, queries on it, and ids in a pasted text."""

import csv
import io
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.selection.example_scores import example_losses, self_influence
from unlearnkit.store import Store
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.request import Revocations, select

if TYPE_CHECKING:
    import pandas as pd

LOSS, INFLUENCE = "loss", "self_influence"
SCORES = {LOSS: example_losses, INFLUENCE: self_influence}
EXAMPLE = "label == 3 and shard in [0, 2]"
# What a query may call. pandas would call any method of a column, those that write files too, and
# on a page that others use (Voila) a query is typed by strangers.
METHODS = {
    *("isin", "between", "isna", "notna", "abs", "round"),
    *("str", "contains", "startswith", "endswith", "lower", "upper"),
}


def column_names(dataset: Dataset) -> list[str]:
    """Columns of :func:`table_of` but for the scores."""
    known = ["id", *dataset.label_columns(dataset.train.labels[:1]), "shard", "slice"]
    taken = {*known, *SCORES}
    return [*known, *(f"{n}_" if n in taken else n for n in dataset.feature_names)]


def table_of(
    dataset: Dataset,
    plan: Plan,
    store: Store,
    scores: Collection[str] = (),
    features: bool = True,
) -> "pd.DataFrame":
    """One row for each training example that is not revoked.

    Columns: id, label, class_name (of a regression instead: target), shard, slice; the scores asked
    for; and of tables whose column names are known the features, as they are stored.

    Args:
        dataset: of the examples.
        plan: of the retain set.
        store: holds the models that the scores are taken of.
        scores: names in ``SCORES``.
        features: whether these columns are wanted, where they have names.

    Raises:
        LookupError: there are scores, and a shard has no model yet.
    """
    import pandas as pd

    kept, partition = plan.retained, plan.partition
    labels = dataset.train.labels[torch.from_numpy(kept)]
    columns = {
        "id": partition.ids[kept],
        **dataset.label_columns(labels),
        "shard": partition.shard[kept],
        "slice": partition.slice_[kept],
        **{name: SCORES[name](plan, store)[kept] for name in SCORES if name in scores},
    }
    frame = pd.DataFrame(columns)
    if not (dataset.feature_names and features):
        return frame
    names = column_names(dataset)[-len(dataset.feature_names) :]
    given = pd.DataFrame(dataset.train.features.numpy()[kept], columns=names)
    return pd.concat([frame, given], axis=1)


def query_ids(
    dataset: Dataset, plan: Plan, store: Store, query: str
) -> Int[np.ndarray, " example"]:
    """Ids of the training examples of which a query holds, ascending.

    A query is an expression of pandas (``DataFrame.query``) on the columns of :func:`table_of`;
    ``loss`` and ``self_influence`` are computed where it names them. Names with blanks or ``=``
    stand in backticks. Python variables (``@name``) cannot be used, nor methods other than those in
    ``METHODS``.

    Raises:
        LookupError: it asks for a score, and a shard has no model yet.
        ValueError: it cannot be read, or is no condition.
    """
    words = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", query)
    scores = [name for name in SCORES if re.search(rf"\b{name}\b", words)]
    bare = re.sub(r"`[^`]*`", "x", words)
    if not bare.strip():
        raise ValueError(f"the query is empty; write one, such as {EXAMPLE}")
    if "@" in bare:
        raise ValueError("a query cannot use Python variables (@); write their values in it")
    for method in re.findall(r"\.\s*([A-Za-z_]\w*)", bare):
        if method not in METHODS:
            raise ValueError(
                f"a query cannot call .{method}; it may call {', '.join(sorted(METHODS))}"
            )
    frame = table_of(dataset, plan, store, scores)
    try:
        found = frame.eval(query.strip(), engine="python", local_dict={}, global_dict={})
    except NameError as error:  # pandas' own kind of it names the column
        shown = ", ".join([*frame.columns[:12], *(["..."] if frame.shape[1] > 12 else [])])
        name = str(error).replace("BACKTICK_QUOTED_STRING_", "")
        raise ValueError(
            f"{name} in the table; its columns are {shown}, {', '.join(SCORES)}"
        ) from error
    except (
        SyntaxError,
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        NotImplementedError,
    ) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"the query {query.strip()!r} cannot be read ({said[0]}); write one such as {EXAMPLE}"
        ) from error
    holds = np.asarray(found)
    if holds.shape != (len(frame),) or holds.dtype != bool:
        raise ValueError(
            f"the query {query.strip()!r} is no condition; compare something, such as {EXAMPLE}"
        )
    ids: np.ndarray = frame["id"].to_numpy()[holds]
    return ids


def chosen_ids(
    dataset: Dataset,
    plan: Plan,
    store: Store,
    gone: Revocations,
    ids: int | Iterable[int] | None,
    *,
    label: int | str | None,
    count: int | None,
    share: float | None,
    query: str | None,
    seed: int,
) -> int | Iterable[int]:
    """The ids that the arguments of :meth:`~unlearnkit.session.Session.revoke` name, as given.

    Args:
        dataset: of the examples.
        plan: of the retain set.
        store: holds the models that a query may ask for losses.
        gone: what is chosen at random is none of these.
        ids: see there, as for the rest.
        label: see there.
        count: see there.
        share: see there.
        query: see there.
        seed: see there.

    Raises:
        ValueError: the arguments do not fit together, or name nothing.
    """
    chooses = label is not None or count is not None or share is not None
    if query is not None:
        if ids is not None or chooses:
            raise ValueError("a query and another choice were both given; give one of them")
        return query_ids(dataset, plan, store, query)
    if ids is not None and chooses:
        raise ValueError("ids and a selection (label, count, share) were both given; give one")
    if ids is not None:
        return ids
    if not chooses:
        raise ValueError("nothing selected: give ids, or label=, count=, share= or query=")
    return select(dataset, gone, label=label, count=count, share=share, seed=seed)


def ids_in(text: str, column: str | None = None) -> list[int]:
    r"""Ids in a pasted text: a list, a column of a table, or a file's content.

    Separators are commas, semicolons, tabs, bars or blanks. A first line without a number is a
    header; where it names several columns, that of the ids is named ``column``, by default ``id``
    or ``ids``. Empty cells are skipped; ``12.0`` is 12, as spreadsheets write it.

    Args:
        text: what to read.
        column: the column of the ids.

    Raises:
        ValueError: nothing is there, an entry is no id, or the column is unknown.

    >>> ids_in("3, 141; 592"), ids_in("id,why\n7,asked\n12,left")
    ([3, 141, 592], [7, 12])
    """
    lines = [(n, cells) for n, cells in enumerate(_lines(text), start=1) if any(cells)]
    if not lines:
        raise ValueError("there are no ids in the text; paste a list or a column of them")
    head = lines[0][1]
    named = len(lines) > 1 and not any(_is_id(part) for cell in head for part in _parts(cell))
    if named or column is not None:
        place = _column(head, column)
        entries = [(n, cells[place]) for n, cells in lines[1:] if len(cells) > place]
    else:
        entries = [(n, part) for n, cells in lines for cell in cells for part in _parts(cell)]
    entries = [(n, cell) for n, cell in entries if cell]
    wrong = [(number, cell) for number, cell in entries if not _is_id(cell)]
    if wrong:
        shown = ", ".join(f"{cell[:20]!r} (line {number})" for number, cell in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        what = "entry is no id" if len(wrong) == 1 else "entries are no ids"
        raise ValueError(f"{len(wrong)} {what}: {shown}{more}; ids are whole numbers from 0 on")
    return [int(cell.split(".")[0]) for _, cell in entries]


def _lines(text: str) -> list[list[str]]:
    text = text.removeprefix("\ufeff").strip("\r\n")
    first = text.lstrip().split("\n", 1)[0]
    mark = next((mark for mark in "\t;|," if mark in first), "\t")
    rows = csv.reader(io.StringIO(text), delimiter=mark, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows]


def _parts(cell: str) -> list[str]:
    """What stands in a cell of a list, whose other separators are separators too."""
    return [part for part in re.split(r"[\s,;|\[\]()]+", cell) if part]


def _is_id(cell: str) -> bool:
    return re.fullmatch(r"\d{1,18}(\.0*)?", cell) is not None


def _column(head: list[str], column: str | None) -> int:
    names = [name.strip().lower() for name in head]
    if column is None and len(head) == 1:
        return 0
    for wanted in ("id", "ids") if column is None else (column.strip().lower(),):
        if wanted in names:
            return names.index(wanted)
    missing = "none is named id" if column is None else f"none is named {column!r}"
    raise ValueError(f"the columns are {', '.join(head)}, and {missing}; name that of the ids")
