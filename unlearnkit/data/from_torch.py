"""Datasets of torch: map-style, with items that are pairs of an input and a label.

Neither torchvision nor PIL is imported: images are known by what they can do. Everything is read
once, in order, and is then the toolkit's own copy.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.examples import Dataset

READ_TWICE = 256  # items that are read a second time, to find transforms that draw random numbers
# Images have 8 bits a pixel whatever they show, so this is no statistic: to -1..1.
IMAGE_OFFSET = IMAGE_SCALE = 127.5

Pair = tuple[Shaped[Tensor, "n *feature"], Any]


def from_torch(
    dataset: "TorchDataset[Any]",
    *,
    test: "TorchDataset[Any] | None" = None,
    probe: "TorchDataset[Any] | None" = None,
    **options: Any,
) -> Dataset:
    """A dataset of a torch map-style ``Dataset`` whose items are pairs (input, label).

    Labels are class numbers, or floats: targets, as in :func:`~unlearnkit.data.arrays.from_arrays`.

    It is read through a ``DataLoader`` without shuffling; an example's id is its index. Images of
    PIL become bytes of shape (channels, height, width), scaled by constants to -1..1. Class names
    are its ``classes``, where it has any.

    Args:
        dataset: of the training part, and of the others where they are None.
        test: of the test part; None splits it off.
        probe: the same for the probe part.
        options: as for :func:`~unlearnkit.data.arrays.from_arrays`, such as ``offset`` and
            ``scale``.

    Raises:
        TypeError: a dataset that has no indices, items that are no pairs, images that are neither
            grey nor RGB.
        ValueError: an item that differs between two reads, or differs in shape from the first; and
            all that :func:`~unlearnkit.data.arrays.from_arrays` raises.

    >>> data = torch.utils.data.TensorDataset(torch.eye(20), torch.arange(20) % 2)
    >>> from_torch(data)
    Dataset('TensorDataset': 14 train, 2 probe, 4 test; 2 classes; inputs (20,))
    """
    given = {"dataset": dataset, "test": test, "probe": probe}
    pairs: dict[str, Any] = {}
    for what, part in given.items():
        if part is not None:
            pairs[what] = _read(what, part)
    if is_image(dataset[0][0]):
        options = {"offset": IMAGE_OFFSET, "scale": IMAGE_SCALE, **options}
    classes = getattr(dataset, "classes", None)
    if "num_classes" not in options and _are_words(classes):
        options = {"class_names": list(classes), **options}
    return from_arrays(
        *pairs["dataset"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        **{"name": type(dataset).__name__, **options},
    )


def _read(what: str, dataset: "TorchDataset[Any]") -> Pair:
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{what}: a {type(dataset).__name__} has no indices or no length, and ids need them; "
            "put its items into a list, or into torch.utils.data.TensorDataset"
        )
    # A generator of its own, since a loader draws a seed from the global one.
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=256, shuffle=False, collate_fn=list, generator=torch.Generator()
    )
    inputs: list[Tensor] = []
    labels: list[Any] = []
    for item in (item for batch in loader for item in batch):
        one, label = _split_item(what, len(inputs), item)
        inputs.append(one)
        labels.append(label)
    stacked = stack(what, inputs)
    for index in np.unique(np.linspace(0, len(inputs) - 1, READ_TWICE, dtype=int)).tolist():
        again, label = _split_item(what, index, dataset[index])
        if not _same(again, inputs[index]) or label != labels[index]:
            raise ValueError(
                f"{what}: item {index} differs between two reads, as a random transform makes it; "
                "an example has to be the same whenever it is trained on, or it could not be left "
                "out to the bit. Give the dataset a transform without randomness (such as "
                "ToTensor), or none"
            )
    return stacked, labels


def _split_item(what: str, index: int, item: Any) -> tuple[Tensor, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(
            f"{what}: item {index} is a {type(item).__name__}; give a dataset whose items are "
            "pairs (input, label)"
        )
    value, label = item
    if isinstance(label, Tensor | np.ndarray | np.generic):
        array = np.asarray(label)
        label = array.item() if array.size == 1 else array.tolist()  # several targets
    return as_input(f"{what}: item {index}", value), label


def as_input(place: str, value: Any) -> Tensor:
    """One input as a tensor of its own; images with their channels first.

    Raises:
        TypeError: it is neither numbers nor a grey or RGB image.
    """
    if is_image(value):
        return torch.from_numpy(_pixels(place, value))
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()  # a dataset may hand out the same memory again
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{place} has an input of kind {type(value).__name__}; give tensors, arrays or images "
            "of numbers, by a transform that makes them"
        )
    return torch.from_numpy(array)


def is_image(value: Any) -> bool:
    """Whether this is an image of PIL's, as far as it can be told without PIL."""
    return all(hasattr(value, name) for name in ("mode", "getbands", "convert", "size"))


def _pixels(place: str, image: Any) -> UInt8[np.ndarray, "channel height width"]:
    """A grey or RGB image with its channels first."""
    if image.mode not in ("L", "RGB"):
        raise TypeError(
            f"{place} is an image of mode {image.mode}; convert images to 'RGB' or 'L' by a "
            "transform, such as lambda image: image.convert('RGB')"
        )
    pixels = np.array(image)
    return (
        pixels[np.newaxis] if image.mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    )


def stack(what: str, inputs: list[Tensor]) -> Shaped[Tensor, "n *feature"]:
    """All inputs as one tensor.

    Raises:
        ValueError: there are none, or they differ in shape or kind.
    """
    if not inputs:
        raise ValueError(f"{what}: no examples; give at least one")
    kinds = [(tuple(one.shape), str(one.dtype).removeprefix("torch.")) for one in inputs]
    odd = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        raise ValueError(
            f"{what}: item {odd} has shape and kind {kinds[odd]}, item 0 {kinds[0]}; make all of "
            "one size, such as by a Resize((height, width))"
        )
    return torch.stack(inputs)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def _are_words(words: Any) -> TypeGuard[Sequence[str]]:
    return (
        isinstance(words, list | tuple) and bool(words) and all(isinstance(w, str) for w in words)
    )
