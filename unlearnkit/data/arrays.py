"""Datasets of arrays: split by their number of rows and a seed, never by their content."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from unlearnkit.data.coercion import (
    Array,
    as_pair,
    check_contents,
    class_labels,
    constants_of,
    names_of_classes,
    targets_of,
    task_of_labels,
)
from unlearnkit.data.examples import PARTS, Dataset, Examples


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
    offset: float = 0.0,
    scale: float = 1.0,
    seed: int = 0,
    name: str = "arrays",
    task: str | None = None,
    target_offset: float | Sequence[float] = 0.0,
    target_scale: float | Sequence[float] = 1.0,
    target_names: Sequence[str] = (),
) -> Dataset:
    """A dataset of your own tensors or arrays.

    Whole numbers as labels make a classification, fractions a regression. Models of a regression
    learn (target - target_offset) / target_scale, and every divergence and loss is in these units:
    choose the scale such that 1 is a difference that matters (as much as targets differ by, say).

    Args:
        features: one row per example, of any shape; uint8 stays bytes, all else becomes float32.
            An example's id is its row number here, whichever part it goes to.
        labels: class numbers 0..C-1, one per row; or targets, one per row or a row of several.
        test: features and labels of the test part; their ids follow the last row number.
            None splits the part off from ``features``.
        probe: the same for the probe part; its ids follow those of ``test``.
        num_classes: C. None takes the number of class names or else the largest label + 1. Give it
            where a revoked example might be the only one of the last class: C is fixed for good
            and may not be learned from an example.
        class_names: one per class; None writes the numbers.
        test_share: share of the rows split off where ``test`` is None, 0 to 1, exclusive.
        probe_share: the same for the probe part.
        offset: a fixed constant, such as 0, subtracted from the features. It must not be computed
            from the data: a mean of all rows still holds the revoked ones.
        scale: a fixed constant, such as 255, that divides the difference. Under the same rule.
        seed: of the split, which depends on it and the number of rows alone.
        name: for people.
        task: ``"classification"`` or ``"regression"``; needed where labels are floats that are all
            whole numbers.
        target_offset: a fixed constant, or one for each target, subtracted from targets. Under the
            same rule: no mean of the data.
        target_scale: a fixed constant, or one for each target, that divides the difference.
        target_names: of the targets, for people.

    Raises:
        TypeError: features or labels of a kind that cannot be used (text, complex, objects).
        ValueError: lengths that differ, no examples, fewer than two classes, labels outside
            0..C-1 or not whole, values that are not finite, shares that leave a part empty, labels
            that may be classes or targets, constants for targets of classes.

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
    pairs = {"features and labels": (features, labels), "test": test, "probe": probe}
    given = {what: as_pair(pair, what) for what, pair in pairs.items() if pair is not None}
    own = given["features and labels"][0]
    for what, (rows, _) in given.items():
        if rows.shape[1:] != own.shape[1:] or rows.dtype != own.dtype:
            raise ValueError(
                f"{what} has rows of shape {tuple(rows.shape[1:])} and kind {rows.dtype}, the "
                f"features {tuple(own.shape[1:])} and {own.dtype}; give both the same"
            )
    named = num_classes is not None or class_names is not None
    raw = [labels for _, labels in given.values()]
    names: tuple[str, ...] = ()
    offsets: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    if task_of_labels(raw, task, named) == "regression":
        if named:
            raise ValueError("num_classes= or class_names= was given for targets; leave them out")
        width = raw[0].shape[1] if raw[0].ndim == 2 else 1
        offsets = constants_of("target_offset", target_offset, width)
        scales = constants_of("target_scale", target_scale, width)
        given = {
            what: (rows, targets_of(what, labels, offsets, scales))
            for what, (rows, labels) in given.items()
        }
        if bool((given["features and labels"][1] == given["features and labels"][1][0]).all()):
            raise ValueError("all targets are equal, so there is nothing to learn; give others")
    else:
        if target_offset != 0 or target_scale != 1 or len(target_names):
            raise ValueError(
                "target_offset, target_scale and target_names are for targets, and the labels are "
                "class numbers; give task='regression', or leave them out"
            )
        given = {what: (rows, class_labels(what, labels)) for what, (rows, labels) in given.items()}
        names = names_of_classes([labels for _, labels in given.values()], num_classes, class_names)
    for what, (rows, labels) in given.items():
        check_contents(what, rows, labels, len(names))
    for word, constant in (("offset", offset), ("scale", scale)):
        if not math.isfinite(constant) or (word == "scale" and constant == 0):
            raise ValueError(f"{word}={constant}; give a finite constant, the scale not 0")

    shares = {
        "test": test_share if test is None else None,
        "probe": probe_share if probe is None else None,
    }
    parts = _split_rows(len(own), shares, seed)
    for part in ("test", "probe"):
        if part in given:
            end = sum(len(ids) for ids in parts.values())
            parts[part] = np.arange(end, end + len(given[part][0]))
    return split(
        name,
        torch.cat([rows for rows, _ in given.values()]),
        torch.cat([labels for _, labels in given.values()]),
        parts,
        class_names=names,
        offset=offset,
        scale=scale,
        target_names=tuple(target_names),
        target_offset=offsets,
        target_scale=scales,
    )


def keyed_permutation(n: int, *, seed: int) -> Int64[np.ndarray, " n"]:
    """A permutation of n rows that no version of numpy changes.

    Raw PCG64 output, which numpy keeps stable (NEP 19); the order of Generator.permutation is not
    promised.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable").astype(np.int64)


def first_of(order: Int64[np.ndarray, " n"], num_examples: int | None) -> Int64[np.ndarray, " k"]:
    """The first so many rows of an order, so that a smaller part is nested in any larger one.

    Raises:
        ValueError: there are not so many, or it is below 1.
    """
    if num_examples is not None and not 1 <= num_examples <= len(order):
        raise ValueError(
            f"num_examples={num_examples}, but the training part has {len(order)} examples; "
            f"give 1 to {len(order)}, or None for all"
        )
    return order[:num_examples]


def _split_rows(
    n: int, shares: Mapping[str, float | None], seed: int
) -> dict[str, Int64[np.ndarray, " k"]]:
    """Row numbers of each part that is split off (its share is not None), and of the rest."""
    for part, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ValueError(
                f"{part}_share={share} is not between 0 and 1; give a share such as 0.2, "
                f"or your own {part} examples as {part}="
            )
    order = keyed_permutation(n, seed=seed)
    sizes = {part: round(n * share) for part, share in shares.items() if share is not None}
    sizes = {"train": n - sum(sizes.values()), **sizes}
    if min(sizes.values()) < 1:
        raise ValueError(
            f"{n} examples split into {sizes} leave a part empty; give more examples, other "
            "shares (test_share, probe_share), or parts of your own (test=, probe=)"
        )
    ends = np.cumsum(list(sizes.values()))
    return {
        part: order[end - size : end] for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def split(
    name: str,
    features: Shaped[Tensor, " n *feature"],
    labels: Shaped[Tensor, " n *target"],
    parts: Mapping[str, Int64[np.ndarray, " k"]],
    *,
    class_names: tuple[str, ...],
    offset: float,
    scale: float,
    target_names: tuple[str, ...] = (),
    target_offset: tuple[float, ...] = (),
    target_scale: tuple[float, ...] = (),
) -> Dataset:
    """A dataset of rows, each part given by its row numbers, which become the ids."""
    examples = {}
    for part, chosen in parts.items():
        ids = np.sort(chosen)
        rows = torch.from_numpy(ids)
        # Indexing copies, so that later changes to the caller's arrays cannot reach the dataset.
        examples[part] = Examples(ids, features[rows], labels[rows], offset, scale)
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
    )
