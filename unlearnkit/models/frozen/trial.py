"""The trial of a backbone: whether a row's features depend on nothing but the row and its place.

A batch is computed once as it is, and twice with half of its rows replaced: real numbers by NaN,
which nothing that reads them can hide, other rows by each other. The rows that stay have to have
the same bits each time. So both a draw of random numbers and an influence of other rows are found.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from unlearnkit.models.frozen.backbone import Backbone, Rows, is_module
from unlearnkit.seeding import GlobalRandomnessError, RefuseGlobalRandomness

TRIED = "rows are independent"


def try_backbone(
    backbone: Backbone, ids: Int64[np.ndarray, " k"], rows: Rows
) -> tuple[Int64[np.ndarray, " placed"], Tensor]:
    """Try a backbone on some rows.

    Args:
        backbone: the backbone.
        ids: ids of examples.
        rows: their rows. Of several ids with the same place only the first is tried.

    Returns:
        The ids that were tried, and their features.

    Raises:
        ChangedBackboneError: the backbone changes itself when it is called.
        ValueError: features are not finite, differ between two calls, or depend on other rows; or
            the backbone draws from torch's global generator.
    """
    _, first = np.unique(backbone.places(ids), return_index=True)
    chosen = np.sort(first)
    ids, places = ids[chosen], backbone.places(ids[chosen])
    some: Any = [rows[i] for i in chosen.tolist()] if isinstance(rows, list) else rows[chosen]
    features = _without_global_randomness(backbone, some, places)
    backbone.refuse_not_finite(features, ids, "examples")
    for kept in _halves(len(ids)):
        again = _replaced(backbone, some, places, kept)
        if again is None or same_bytes(again[kept], features[kept]):
            continue
        if not same_bytes(backbone.at_places(some, places), features):
            raise ValueError(
                f"{backbone.name} gives other features when it is called again with the same rows, "
                "so no retraining is exact. Features are computed once, so it must not draw random "
                "numbers, as augmentation and dropout do, nor keep anything between calls; a "
                "module has to be in evaluation mode."
            )
        raise ValueError(
            f"the rows of a batch influence each other's features in {backbone.name}, so that what "
            "one example contributes to others could not be forgotten. Normalise by fixed "
            "constants or running statistics instead of those of the batch, and pad texts and "
            "sequences to a fixed length rather than to the longest of the batch "
            "(padding='max_length'); or give uk.Frozen(..., batch_size=1), which computes each "
            "example alone."
        )
    backbone.check()
    backbone.trials[TRIED] = True
    return ids, features


def _without_global_randomness(
    backbone: Backbone, rows: Rows, places: Int64[np.ndarray, " k"]
) -> Tensor:
    """Compute a batch and name what draws from torch's global generator."""
    try:
        with RefuseGlobalRandomness(lambda: backbone.name):
            return backbone.at_places(rows, places)
    except GlobalRandomnessError as error:
        raise ValueError(
            f"{backbone.name} draws random numbers ({str(error).partition(', so ')[0]}); features "
            "are computed once, so leave augmentation and dropout out of it"
            + (" (call .eval() on the module)" if is_module(backbone) else "")
        ) from error


def _halves(count: int) -> Iterator[Bool[np.ndarray, " k"]]:
    """Yield every second row, and then the others."""
    even = np.arange(count) % 2 == 0
    yield even
    if count > 1:
        yield ~even


def _replaced(
    backbone: Backbone,
    rows: Rows,
    places: Int64[np.ndarray, " k"],
    kept: Bool[np.ndarray, " k"],
) -> Tensor | None:
    """Return the features where all rows but some are replaced; None if NaN is not accepted."""
    if isinstance(rows, list):
        long = " ".join(text for text in rows if text)
        others = [long if place % 3 == 1 else rows[-1 - place] for place in range(len(rows))]
        return backbone.at_places(
            [
                text if stays else other
                for text, other, stays in zip(rows, others, kept.tolist(), strict=True)
            ],
            places,
        )
    mixed = rows.clone()
    gone = torch.from_numpy(~kept)
    if not rows.is_floating_point():
        mixed[gone] = rows.flip(0)[gone]
        return backbone.at_places(mixed, places)
    mixed[gone] = torch.nan
    batch = backbone.kind.blank(backbone.batch_size)
    assert isinstance(batch, Tensor)
    batch[:] = torch.nan  # the places without an example, too
    batch[torch.from_numpy(places)] = mixed
    try:
        found = backbone.compute(batch)
    except (TypeError, ValueError):  # it checks its inputs; other rows tell almost as much
        mixed[gone] = -rows.flip(0)[gone]
        return backbone.at_places(mixed, places)
    found = found[torch.from_numpy(places)]
    return found.unsqueeze(1) if backbone.unsqueezed else found


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bytes; NaN equals itself."""
    a, b = (each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(a, b)
