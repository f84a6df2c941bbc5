"""Datasets from arrays. The split depends on the number of rows and a seed, never on content."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from unlearnkit.data.coercion import (
    as_pair,
    check_contents,
    check_dtype,
    class_labels,
    constants_of,
    names_of_classes,
    targets_of,
    task_of_labels,
)
from unlearnkit.data.column_constants import Constants, by_column, one_constant, scaled
from unlearnkit.data.conversion import Array, listed
from unlearnkit.data.examples import PARTS, Dataset, Examples
from unlearnkit.data.reading.groups import (
    Grouping,
    has_shared_groups,
    numbers_of_groups,
    rows_of_parts,
)
from unlearnkit.data.reading.propensities import propensities_of
from unlearnkit.data.reading.texts import Texts
from unlearnkit.torch_settings import own_settings

FEATURES = "features and labels"
NAMES = {FEATURES: "train"}  # of what is given, as a part of the dataset


@own_settings()
def from_arrays(
    features: Array,
    labels: Array,
    *,
    test: tuple[Array, Array] | None = None,
    probe: tuple[Array, Array] | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    test_share: float = 0.2,
    probe_share: float = 0.1,
    offset: Constants = 0.0,
    scale: Constants = 1.0,
    seed: int = 0,
    name: str = "arrays",
    task: str | None = None,
    target_offset: float | Sequence[float] = 0.0,
    target_scale: float | Sequence[float] = 1.0,
    target_names: Sequence[str] = (),
    dtype: torch.dtype | type[str] | None = None,
    groups: Any = None,
    propensity: Any = None,
) -> Dataset:
    """Make a dataset from tensors or arrays.

    Integer labels make a classification, labels with fractions a regression. Regression models
    learn (target - target_offset) / target_scale, and all losses and divergences are in these
    units. Choose the scale such that 1 is a substantial difference, such as the typical spread of
    the targets.

    Args:
        features: one row per example, of any shape. uint8 is kept, other types become float32.
            The id of an example is its row number in this array, whatever part it is put into.
        labels: class numbers 0..C-1, one per row; or targets, one or several per row.
        test: features and labels of the test part, whose ids follow the last row number; tables
            have the columns of ``features`` in the same order. None splits a part off from
            ``features``.
        probe: the same for the probe part, whose ids follow those of ``test``.
        num_classes: number of classes C. None takes the number of class names, or else the largest
            label + 1. Give it if the last class may have a single example that could be revoked,
            since C must not depend on a revoked example.
        class_names: one name per class; None uses the class numbers.
        test_share: share of the rows to split off if ``test`` is None, between 0 and 1, exclusive.
        probe_share: the same for the probe part.
        offset: fixed constant that is subtracted from the features: one number, or one for each
            column as a sequence, an array, or a mapping by name or number of the column, such as
            ``{"age": 40}`` (0 for the others); for images a sequence has one number for each
            channel. Do not compute it from the data: a mean over all rows would depend on examples
            that are revoked later. :func:`~unlearnkit.data.suggestions.suggest_scaling` prints
            constants to copy.
        scale: fixed constant, such as 255, or one for each column, that divides the difference;
            the same rule applies. Features are kept as they are with one number for all columns;
            with constants for each column they are kept scaled, as float32.
        seed: seed of the split, which depends only on the seed and the number of rows.
        name: name for display.
        task: ``"classification"`` or ``"regression"``; required if labels are floats that are all
            whole numbers.
        target_offset: fixed constant, or one per target, that is subtracted from the targets. The
            same rule applies: it must not be computed from the data.
        target_scale: fixed constant, or one per target, that divides the difference.
        target_names: names of the targets for display.
        dtype: ``torch.int64`` keeps features as whole numbers, exactly, for a model of your own
            that looks them up, such as one that begins with ``nn.Embedding``, or for a frozen
            backbone; built-in models refuse them. ``str`` keeps a list of strings as texts, for a
            frozen backbone that reads them (``uk.Frozen``).
        groups: the group that each row belongs to, such as the person who can ask for its removal:
            one name or number per row, or, if parts are given separately, a mapping
            ``{"train": ..., "test": ...}`` with those of each. Groups are no features. They stay
            whole: each is in one part only, and in one shard and slice where it is small enough;
            the split then depends on which rows share a group as well. All rows of a group are
            revoked by ``session.revoke(group=...)``.
        propensity: how likely each row is to be revoked, as relative rates of 0 or more: one per
            row of ``features``, or a mapping from the name of each group to its rate. Rates are no
            features, and shape only the partition: those who are likely to leave are put into the
            last slices of few shards, where forgetting them is cheap, and expected costs count them
            in (see :func:`~unlearnkit.training.partition.make_partition`, also for what it may
            cost in accuracy). Whoever can read a store can read from the partition who was held
            likely to leave.

    Raises:
        KeyError: constants are given for a column that does not exist, or a propensity for a group
            that does not, or not for all groups.
        TypeError: features or labels have an unsupported type (text, complex numbers, objects), or
            constants or propensities are not numbers.
        ValueError: lengths differ, there are no examples or fewer than two classes, labels are
            outside 0..C-1 or ambiguous, values are not finite, a part would be empty, constants
            are given that do not suit the task, groups are missing or in two given parts, or
            propensities are missing, negative, all 0 or unequal within a group.

    >>> data = from_arrays(torch.eye(20), torch.arange(20) % 2, num_classes=2)
    >>> data
    Dataset('arrays': 14 train, 2 probe, 4 test; 2 classes; inputs (20,))
    >>> ids = [5, 3]
    >>> data.examples(ids)[0].argmax(1)
    tensor([5, 3])
    >>> data = from_arrays(torch.eye(20), torch.arange(20) + 0.5, target_offset=10, target_scale=5)
    >>> data
    Dataset('arrays': 14 train, 2 probe, 4 test; 1 target; inputs (20,))
    >>> data.examples(ids)[1]
    tensor([[-0.9000],
            [-1.3000]])
    """
    pairs = {FEATURES: (features, labels), "test": test, "probe": probe}
    convert = None
    check_dtype(dtype)
    _check_columns(features, {"test": test, "probe": probe})
    if isinstance(target_names, str):
        raise TypeError(f"target_names={target_names!r} is text; give a list of names")
    if dtype is not None and (by_column(offset) or by_column(scale) or (offset, scale) != (0, 1)):
        raise ValueError(
            f"offset and scale do not apply to features of type {dtype}, which stay as they are; "
            "leave out the constants, or dtype="
        )
    if by_column(offset) or by_column(scale):
        convert = partial(scaled, offset=offset, scale=scale, names=_names_of(features))
        offset, scale = 0.0, 1.0
    offset, scale = one_constant("offset", offset), one_constant("scale", scale)
    given = {
        what: as_pair(pair, what, convert, dtype)
        for what, pair in pairs.items()
        if pair is not None
    }
    own = given[FEATURES][0]
    for what, (rows, _) in given.items():
        if rows.shape[1:] != own.shape[1:] or rows.dtype != own.dtype:
            raise ValueError(
                f"{what} has rows of shape {tuple(rows.shape[1:])} and type {rows.dtype}, but the "
                f"features have {tuple(own.shape[1:])} and {own.dtype}; give both the same"
            )
    named = num_classes is not None or class_names is not None
    raw = [labels for _, labels in given.values()]
    names: tuple[str, ...] = ()
    offsets: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    if (
        task_of_labels({what: part for what, (_, part) in given.items()}, task, named)
        == "regression"
    ):
        if named:
            raise ValueError(
                "num_classes= and class_names= do not apply to a regression; leave them out"
            )
        width = raw[0].shape[1] if raw[0].ndim == 2 else 1
        offsets = constants_of("target_offset", target_offset, width)
        scales = constants_of("target_scale", target_scale, width)
        given = {
            what: (rows, targets_of(what, labels, offsets, scales))
            for what, (rows, labels) in given.items()
        }
        if bool((given[FEATURES][1] == given[FEATURES][1][0]).all()):
            raise ValueError(
                "all targets are equal, so there is nothing to learn; give targets that vary"
            )
    else:
        if target_offset != 0 or target_scale != 1 or len(target_names):
            raise ValueError(
                "target_offset, target_scale and target_names apply to a regression only, but the "
                "labels are class numbers; give task='regression', or leave them out"
            )
        given = {what: (rows, class_labels(what, labels)) for what, (rows, labels) in given.items()}
        names = names_of_classes([labels for _, labels in given.values()], num_classes, class_names)
    for what, (rows, labels) in given.items():
        check_contents(what, rows, labels, len(names))
    shares = {
        "test": test_share if test is None else None,
        "probe": probe_share if probe is None else None,
    }
    lengths = {NAMES.get(what, what): len(rows) for what, (rows, _) in given.items()}
    numbers, grouping = (None, None) if groups is None else numbers_of_groups(groups, lengths)
    rates = None
    if propensity is not None:
        held = None if numbers is None else numbers[: len(own)]
        rates = propensities_of(propensity, len(own), held, grouping)
    parts = _split_rows(len(own), shares, seed, None if numbers is None else numbers[: len(own)])
    for part in ("test", "probe"):
        if part in given:
            end = sum(len(ids) for ids in parts.values())
            parts[part] = np.arange(end, end + len(given[part][0]))
    return split(
        name,
        _joined([rows for rows, _ in given.values()]),
        torch.cat([labels for _, labels in given.values()]),
        parts,
        class_names=names,
        offset=offset,
        scale=scale,
        target_names=tuple(target_names),
        target_offset=offsets,
        target_scale=scales,
        groups=numbers,
        grouping=grouping,
        propensity=rates,
    )


def _joined(parts: list[Any]) -> Any:
    """Return the features of all parts, tensors or texts, one after another."""
    first, *others = parts
    return first.joined(others) if isinstance(first, Texts) else torch.cat(parts)


def _check_columns(features: Array, parts: Mapping[str, tuple[Array, Array] | None]) -> None:
    """Refuse a table of a part whose columns are others than those of the features."""
    own = _names_of(features)
    for what, pair in parts.items():
        if own is None or not isinstance(pair, tuple | list) or len(pair) != 2:
            continue
        names = _names_of(pair[0])
        if names is not None and len(names) == len(own) and names != own:
            raise ValueError(
                f"{what}: the columns {listed(names)} are not those of the features in their order "
                f"({listed(own)}), but columns are matched by position; give the same columns, as "
                f"{what}_features[list(features.columns)]"
            )


def _names_of(features: Array) -> list[Hashable] | None:
    # pyarrow's tables have their data in .columns.
    columns = getattr(features, "column_names", getattr(features, "columns", None))
    return None if columns is None else list(columns)


def keyed_permutation(n: int, *, seed: int) -> Int64[np.ndarray, " n"]:
    """Return a permutation of n rows that is the same in every version of numpy.

    It sorts raw PCG64 output, which numpy keeps stable (NEP 19). The output of
    ``Generator.permutation`` may change between versions.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable").astype(np.int64)


def first_of(order: Int64[np.ndarray, " n"], num_examples: int | None) -> Int64[np.ndarray, " k"]:
    """Return the first rows of an order, so that a smaller part is nested in any larger one.

    Raises:
        ValueError: ``num_examples`` is below 1 or exceeds the number of rows.
    """
    if num_examples is not None and not 1 <= num_examples <= len(order):
        raise ValueError(
            f"num_examples={num_examples}, but the training part has {len(order)} examples; "
            f"give 1 to {len(order)}, or None for all"
        )
    return order[:num_examples]


def _split_rows(
    n: int,
    shares: Mapping[str, float | None],
    seed: int,
    groups: Int64[np.ndarray, " n"] | None = None,
) -> dict[str, Int64[np.ndarray, " k"]]:
    """Return the row numbers of each part whose share is not None, and of the training part.

    With groups, whose numbers are in order of first appearance, all rows of one are in one part.
    """
    for part, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ValueError(
                f"{part}_share={share} is not between 0 and 1; give a share such as 0.2, "
                f"or give {part} examples as {part}="
            )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed={seed!r} is not a whole number; give an integer such as 0")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative; give 0 or more")
    sizes = {part: round(n * share) for part, share in shares.items() if share is not None}
    sizes = {"train": n - sum(sizes.values()), **sizes}
    if min(sizes.values()) < 1:
        raise ValueError(
            f"{n} examples split into {sizes} leave a part empty; give more examples, other "
            "shares (test_share, probe_share), or separate parts (test=, probe=)"
        )
    if groups is not None and has_shared_groups(groups):
        return rows_of_parts(groups, sizes, keyed_permutation(int(groups.max()) + 1, seed=seed))
    order = keyed_permutation(n, seed=seed)
    ends = np.cumsum(list(sizes.values()))
    return {
        part: order[end - size : end] for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def split(
    name: str,
    features: Any,
    labels: Shaped[Tensor, " n *target"],
    parts: Mapping[str, Int64[np.ndarray, " k"]],
    *,
    class_names: tuple[str, ...],
    offset: float,
    scale: float,
    target_names: tuple[str, ...] = (),
    target_offset: tuple[float, ...] = (),
    target_scale: tuple[float, ...] = (),
    groups: Int64[np.ndarray, " n"] | None = None,
    grouping: Grouping | None = None,
    propensity: Float64[np.ndarray, " first"] | None = None,
) -> Dataset:
    """Make a dataset of rows; each part is given by its row numbers, which become the ids.

    Propensities are those of the first rows, among which all rows of the training part are.
    """
    examples = {}
    for part, chosen in parts.items():
        ids = np.sort(chosen)
        rows = torch.from_numpy(ids)
        # Indexing copies, so that later changes to the caller's arrays do not affect the dataset.
        own = None if groups is None else groups[ids]
        examples[part] = Examples(ids, features[rows], labels[rows], offset, scale, own)
        if propensity is not None and part == "train":
            examples[part] = replace(examples[part], propensity=propensity[ids])
    train, probe, test = (examples[part] for part in PARTS)
    return Dataset(
        name,
        train,
        probe,
        test,
        len(class_names),
        class_names,
        target_names=target_names,
        target_offset=target_offset,
        target_scale=target_scale,
        grouping=grouping,
    )
