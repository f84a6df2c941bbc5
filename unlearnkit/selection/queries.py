"""Choosing examples: the table of examples, queries on it, and ids from pasted text."""

import csv
import io
import re
from collections.abc import Collection, Hashable, Iterable
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int

from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.selection.example_scores import example_losses, self_influence
from unlearnkit.selection.held_out import held_out_losses
from unlearnkit.selection.query_syntax import slip_in
from unlearnkit.store import Store
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.request import Revocations, select

if TYPE_CHECKING:
    import pandas as pd

NOTHING = Revocations()
HELD_OUT, LOSS, INFLUENCE = "held_out_loss", "loss", "self_influence"
SCORES = {HELD_OUT: held_out_losses, LOSS: example_losses, INFLUENCE: self_influence}
EXAMPLE = "label == 3 and shard in [0, 2]"
# The methods that a query may call. pandas would allow every method of a column, including those
# that write files, and on a public page (Voila) strangers write the queries.
METHODS = {
    *("isin", "between", "isna", "notna", "abs", "round"),
    *("str", "contains", "startswith", "endswith", "lower", "upper"),
}


def column_names(dataset: Dataset) -> list[str]:
    """The columns of :func:`table_of` without the scores."""
    known = [*_usual_columns(dataset), *filter(None, [group_column(dataset)])]
    taken = {*known, *SCORES}
    return [*known, *(f"{n}_" if n in taken else n for n in dataset.feature_names)]


def _usual_columns(dataset: Dataset) -> list[str]:
    return ["id", *dataset.label_columns(dataset.train.labels[:1]), "shard", "slice"]


def group_column(dataset: Dataset) -> str:
    """The column with the names of groups; empty without groups."""
    if dataset.grouping is None:
        return ""
    name = dataset.grouping.column
    return f"{name}_" if name in {*_usual_columns(dataset), *SCORES} else name


def table_of(
    dataset: Dataset,
    plan: Plan,
    store: Store,
    scores: Collection[str] = (),
    features: bool = True,
) -> "pd.DataFrame":
    """A table with one row for each training example that is not revoked.

    The columns are id, label, class_name (for regression instead the target), shard, slice, the
    group if the data have groups, the requested scores, and the features if the data have column
    names.

    Args:
        dataset: the data.
        plan: the current plan, which knows the revoked examples.
        store: the checkpoints from which scores are computed.
        scores: names in ``SCORES``.
        features: whether to include the features.

    Raises:
        LookupError: scores are asked for, and a shard has no model yet.
    """
    import pandas as pd

    kept, partition = plan.retained, plan.partition
    labels = dataset.train.labels[torch.from_numpy(kept)]
    columns = {
        "id": partition.ids[kept],
        **dataset.label_columns(labels),
        "shard": partition.shard[kept],
        "slice": partition.slice_[kept],
        **_groups(dataset, dataset.train, kept),
        **{name: SCORES[name](plan, store)[kept] for name in SCORES if name in scores},
    }
    frame = pd.DataFrame(columns)
    return _with_features(frame, dataset, dataset.train, kept) if features else frame


def _groups(
    dataset: Dataset, examples: Examples, kept: Bool[np.ndarray, " example"]
) -> dict[str, "pd.Series"]:
    import pandas as pd

    if dataset.grouping is None or examples.groups is None:
        return {}
    names = np.fromiter(dataset.grouping.names, object, len(dataset.grouping))
    return {group_column(dataset): pd.Series(names[examples.groups[kept]]).infer_objects()}


def _with_features(
    frame: "pd.DataFrame",
    dataset: Dataset,
    examples: Examples,
    kept: Bool[np.ndarray, " example"],
) -> "pd.DataFrame":
    import pandas as pd

    if not dataset.feature_names:
        return frame
    names = column_names(dataset)[-len(dataset.feature_names) :]
    given = pd.DataFrame(examples.features.numpy()[kept], columns=names)
    return pd.concat([frame, given], axis=1)


def _with_other_parts(frame: "pd.DataFrame", dataset: Dataset, gone: Revocations) -> "pd.DataFrame":
    """Append the probe and test examples, which have neither shard nor slice nor scores."""
    import pandas as pd

    frames = [frame]
    for examples in (dataset.probe, dataset.test):
        kept = gone.retained(examples)
        columns = {
            "id": examples.ids[kept],
            **dataset.label_columns(examples.labels[torch.from_numpy(kept)]),
            **_groups(dataset, examples, kept),
        }
        frames.append(_with_features(pd.DataFrame(columns), dataset, examples, kept))
    return pd.concat([each for each in frames if len(each)], ignore_index=True)


@own_settings()
def query_ids(
    dataset: Dataset, plan: Plan, store: Store, query: str, gone: Revocations = NOTHING
) -> Int[np.ndarray, " example"]:
    """The ids of the training examples that meet a condition, ascending.

    A condition on groups, such as ``"person == 17"``, is met by probe and test examples too, of
    which shard, slice and scores are missing.

    The condition is an expression of ``pandas.DataFrame.query`` on the columns of
    :func:`table_of`, such as ``"label == 3 and shard in [0, 2]"`` or ``"loss > 2"``. The scores
    ``held_out_loss``, ``loss`` and ``self_influence`` are computed if it uses them. Column names
    with spaces or ``=`` need backticks. Python variables (``@name``) are not available, and only
    the methods in ``METHODS`` of this module can be called.

    Args:
        dataset: the data.
        plan: the current plan, which knows the revoked examples.
        store: the checkpoints from which scores are computed.
        query: the condition.
        gone: revoked probe and test examples, which are left out.

    Raises:
        LookupError: the query uses a score, and a shard has no model yet.
        ValueError: the query cannot be parsed, uses an unknown column or method, or is not a
            condition.
    """
    words = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", query)
    scores = [name for name in SCORES if re.search(rf"\b{name}\b", words)]
    bare = re.sub(r"`[^`]*`", "x", words)
    if not bare.strip():
        raise ValueError(f"the query is empty; write one, such as {EXAMPLE}")
    if slip := slip_in(query, column_names(dataset)):
        raise ValueError(f"the query {query.strip()!r} {slip}; a query reads like {EXAMPLE}")
    if "@" in bare:
        raise ValueError("a query cannot use Python variables (@); write their values in it")
    for method in re.findall(r"\.\s*([A-Za-z_]\w*)", bare):
        if method not in METHODS:
            raise ValueError(
                f"a query cannot call .{method}; it may call {', '.join(sorted(METHODS))}"
            )
    frame = table_of(dataset, plan, store, scores)
    column = group_column(dataset)
    if column and re.search(rf"(?<!\w){re.escape(column)}(?!\w)", words):
        frame = _with_other_parts(frame, dataset, gone)
    try:
        found = frame.eval(query.strip(), engine="python", local_dict={}, global_dict={})
    except NameError as error:  # pandas' message names the column
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
        TokenError,
    ) as error:
        # The messages of pandas about syntax describe its internals.
        by_itself = isinstance(error, SyntaxError | NotImplementedError | TokenError)
        problem = "" if by_itself else f" ({str(error).strip().splitlines()[0]})"
        raise ValueError(
            f"the query {query.strip()!r} cannot be read{problem}; write comparisons of columns "
            f"with values, joined by 'and' or 'or', such as {EXAMPLE}"
        ) from error
    holds = np.asarray(found)
    if holds.shape != (len(frame),) or holds.dtype != bool:
        raise ValueError(
            f"the query {query.strip()!r} is not a condition; write a comparison such as {EXAMPLE}"
        )
    ids: np.ndarray = np.sort(frame["id"].to_numpy()[holds])
    return ids


@own_settings()
def chosen_ids(
    dataset: Dataset,
    plan: Plan,
    store: Store,
    gone: Revocations,
    ids: int | Iterable[int] | None,
    *,
    groups: list[Hashable] | None,
    label: int | str | None,
    count: int | None,
    share: float | None,
    query: str | None,
    seed: int,
    by_group: bool = False,
) -> int | Iterable[int]:
    """Resolve the arguments of :meth:`~unlearnkit.session.Session.revoke` to ids.

    Args:
        dataset: the data.
        plan: the current plan, which knows the revoked examples.
        store: the checkpoints from which a query computes scores.
        gone: revoked and pending examples, which a random choice leaves out.
        ids: ids of examples; they are returned as they are.
        groups: names of groups, all of whose examples are meant.
        label: a class, by number or name.
        count: the number of examples to draw at random.
        share: the share of the examples to draw at random, from 0 to 1.
        query: a condition, as for :func:`query_ids`.
        seed: the seed of the random choice.
        by_group: whether whole groups are drawn at random.

    Raises:
        KeyError: a group or the class is not known.
        LookupError: the query uses a score, and a shard has no model yet.
        ValueError: the arguments contradict each other, or none is given.
    """
    chooses = label is not None or count is not None or share is not None or by_group
    if groups is not None:
        if ids is not None or chooses or query is not None:
            raise ValueError("groups and another choice were both given; give one of them")
        return dataset.ids_of_groups(groups)
    if query is not None:
        if ids is not None or chooses:
            raise ValueError("a query and another choice were both given; give one of them")
        return query_ids(dataset, plan, store, query, gone)
    if ids is not None and chooses:
        raise ValueError(
            "ids and a selection (label, count, share) were both given; give one of them"
        )
    if ids is not None:
        return ids
    if not chooses:
        raise ValueError(
            "nothing selected: give ids, or group=, groups=, label=, count=, share= or query="
        )
    return select(
        dataset, gone, label=label, count=count, share=share, by_group=by_group, seed=seed
    )


def ids_in(text: str, column: str | None = None) -> list[int]:
    r"""Read ids from pasted text: a list, a table with a column of ids, or the content of a file.

    Separators are commas, semicolons, tabs, vertical bars and white space. A first line without
    numbers is a header. Empty cells are skipped, and ``12.0`` is read as 12, since spreadsheets
    write ids like this.

    Args:
        text: the text.
        column: the name of the column with the ids, if there are several columns; by default
            ``id`` or ``ids``.

    Raises:
        ValueError: the text holds no ids, an entry is not an id, or there is no such column.

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
        problem = "entry is not an id" if len(wrong) == 1 else "entries are not ids"
        raise ValueError(f"{len(wrong)} {problem}: {shown}{more}; ids are whole numbers from 0 on")
    return [int(cell.split(".")[0]) for _, cell in entries]


def _lines(text: str) -> list[list[str]]:
    text = text.removeprefix("\ufeff").strip("\r\n")
    first = text.lstrip().split("\n", 1)[0]
    mark = next((mark for mark in "\t;|," if mark in first), "\t")
    rows = csv.reader(io.StringIO(text), delimiter=mark, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows]


def _parts(cell: str) -> list[str]:
    """Split a cell of a list at the separators that did not separate its columns."""
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
    raise ValueError(
        f"the columns are {', '.join(head)}, and {missing}; name the column that holds the ids"
    )
