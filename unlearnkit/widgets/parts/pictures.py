"""Small pictures of the examples of image data."""

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.figures.still.png import data_url
from unlearnkit.widgets.parts.html import picture


def are_images(dataset: Dataset) -> bool:
    """Return whether the examples are images."""
    shape = dataset.feature_shape
    return len(shape) in (2, 3) and min(shape[-2:]) >= 4


def sources(dataset: Dataset, ids: Int[np.ndarray, " example"]) -> list[str]:
    """Return a data URL for each image, on one common grey scale; empty for other data."""
    if not are_images(dataset) or not len(ids):
        return []
    inputs = dataset.raw(ids)
    images = inputs.mean(1) if inputs.ndim == 4 else inputs
    low, high = images.amin(), images.amax()
    pixels = ((images - low) / (high - low).clamp_min(1e-12) * 255).byte().numpy()
    return [data_url(image) for image in pixels]


def pictures(dataset: Dataset, ids: Int[np.ndarray, " example"]) -> list[str]:
    """Return an ``<img>`` element for each example; empty unless the data are images."""
    found = sources(dataset, ids)
    if not found:
        return []
    labels = dataset.labels(ids)
    return [
        picture(source, f"example {i}, {dataset.label_kind} {label}")
        for source, i, label in zip(found, ids, dataset.label_texts(labels), strict=True)
    ]
