"""Small pictures of examples, where the data are images."""

import numpy as np
from jaxtyping import Int

from unlearnkit.datasets import Dataset
from unlearnkit.widgets.prose import picture


def pictures(dataset: Dataset, ids: Int[np.ndarray, " example"]) -> list[str]:
    """An ``<img>`` for each example, all in one scale of greys; none where they are no images."""
    shape = dataset.feature_shape
    if len(shape) not in (2, 3) or min(shape[-2:]) < 4 or not len(ids):
        return []
    inputs, labels = dataset.examples(ids)
    images = inputs.mean(1) if len(shape) == 3 else inputs
    low, high = images.amin(), images.amax()
    pixels = ((images - low) / (high - low).clamp_min(1e-12) * 255).byte().numpy()
    return [
        picture(image, f"example {i}, class {dataset.class_names[label]}")
        for image, i, label in zip(pixels, ids, labels.tolist(), strict=True)
    ]
