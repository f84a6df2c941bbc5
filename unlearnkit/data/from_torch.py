"""Datasets from torch map-style datasets whose items are pairs (input, label).

All items are read once, in order, and copied. Neither torchvision nor PIL is imported; images are
recognised by their methods.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.conversion import as_tensor, listed, numbers_of
from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.classes import match_classes
from unlearnkit.torch_settings import own_settings

READ_TWICE = 256  # items that are read a second time to detect random transforms
# Maps 8-bit pixels to -1..1; a constant of the format, not a statistic of the data.
IMAGE_OFFSET = IMAGE_SCALE = 127.5

Pair = tuple[Shaped[Tensor, "n *feature"], Any]


@own_settings()
def from_torch(
    dataset: "TorchDataset[Any]",
    *,
    test: "TorchDataset[Any] | None" = None,
    probe: "TorchDataset[Any] | None" = None,
    **options: Any,
) -> Dataset:
    """Make a dataset from a torch map-style ``Dataset`` whose items are pairs (input, label).

    Labels are class numbers or, as floats, targets (see
    :func:`~unlearnkit.data.arrays.from_arrays`). The id of an example is its index. PIL images
    become bytes of shape (channels, height, width), scaled by constants to -1..1. Class names are
    taken from the attribute ``classes`` if there is one; parts whose ``classes``, or else
    ``class_to_idx``, differ from those of the training part are matched to it by these names.

    Args:
        dataset: the training part; the other parts are split off from it if they are None.
        test: the test part; None splits it off.
        probe: the probe part; None splits it off.
        options: further arguments of :func:`~unlearnkit.data.arrays.from_arrays`, such as
            ``offset`` and ``scale``, or ``groups`` and ``propensity``, which have one entry per
            index.

    Raises:
        TypeError: the dataset has no indices, an item is not a pair, or an image is neither grey
            nor RGB.
        ValueError: an item differs between two reads, or items differ in shape; also as in
            :func:`~unlearnkit.data.arrays.from_arrays`.

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
    own = [classes_of(what, part) for what, part in given.items() if part is not None]
    if not _are_strings(classes) and any(each != own[0] for each in own if each is not None):
        classes = own[0]  # only if parts differ: a wrapped data set keeps its class numbers
    if _are_strings(classes):
        parts = {what: part for what, part in given.items() if part is not None}
        pairs, classes = _with_common_classes(parts, pairs)
        if "num_classes" not in options and options.get("task") != "regression":
            options = {"class_names": classes, **options}
    return from_arrays(
        *pairs["dataset"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        **{"name": type(dataset).__name__, **options},
    )


def classes_of(what: str, dataset: Any) -> list[Any] | None:
    """Return the class names of a dataset, also of one that a Subset or ConcatDataset wraps.

    Raises:
        ValueError: the datasets that are joined number their classes in different ways.
    """
    classes = getattr(dataset, "classes", None)
    if classes is not None:
        return list(classes)
    numbers = getattr(dataset, "class_to_idx", None)
    if isinstance(numbers, Mapping) and set(numbers.values()) == set(range(len(numbers))):
        return sorted(numbers, key=numbers.__getitem__)
    if isinstance(dataset, Subset):
        return classes_of(what, dataset.dataset)
    if not isinstance(dataset, ConcatDataset):
        return None
    found = [classes_of(what, part) for part in dataset.datasets]
    named = [names for names in found if names is not None]
    if any(names != named[0] for names in named):
        odd = next(names for names in named if names != named[0])
        raise ValueError(
            f"{what}: a ConcatDataset joins datasets with the classes {listed(named[0])} and "
            f"{listed(odd)}, so the same number means different classes; number the classes of "
            "all of them in one way (with target_transform)"
        )
    return named[0] if named else None


def _with_common_classes(
    parts: Mapping[str, Any], pairs: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the parts with the classes of the first, matched by name, and the classes."""
    first = classes_of(*next(iter(parts.items()))) or []
    names = {what: classes_of(what, part) or first for what, part in parts.items()}
    labels = {what: np.asarray(pairs[what][1]) for what in parts}
    differ = any(own != first for own in names.values())
    named = all(_are_strings(own) for own in names.values())
    if not (differ and named and all(one.dtype.kind in "iu" for one in labels.values())):
        return pairs, first
    found, common = match_classes(labels, names)
    return {what: (rows, found[what].tolist()) for what, (rows, _) in pairs.items()}, common


def _read(what: str, dataset: "TorchDataset[Any]") -> Pair:
    if isinstance(dataset, DataLoader):
        raise TypeError(f"{what}: a DataLoader is read in batches; give its dataset (.dataset)")
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{what}: a {type(dataset).__name__} has no indices or no length, so its items cannot "
            "have ids; put its items into a list or a torch.utils.data.TensorDataset"
        )
    # A separate generator, because a loader would draw a seed from the global one. Items are copied
    # one by one, since a dataset may return the same memory again and again.
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=None, shuffle=False, collate_fn=_as_it_is, generator=torch.Generator()
    )
    inputs: list[Tensor] = []
    labels: list[Any] = []
    for item in loader:
        one, label = _split_item(what, len(inputs), item)
        inputs.append(one)
        labels.append(label)
    stacked = stack(what, inputs)
    for index in np.unique(np.linspace(0, len(inputs) - 1, READ_TWICE, dtype=int)).tolist():
        again, label = _split_item(what, index, dataset[index])
        if not _same(again, inputs[index]) or not _same_label(label, labels[index]):
            raise ValueError(
                f"{what}: item {index} differs between two reads, as after a random transform, but "
                "exact unlearning needs examples that never change; give the dataset a transform "
                "without randomness (such as ToTensor), or none"
            )
    return stacked, labels


def _split_item(what: str, index: int, item: Any) -> tuple[Tensor, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(
            f"{what}: item {index} is a {type(item).__name__}{_length(item)}; give a dataset whose "
            "items are pairs (input, label)"
        )
    value, label = item
    if label is None:
        raise ValueError(f"{what}: item {index} has no label (None); leave it out")
    if hasattr(label, "__array__") and not isinstance(label, Tensor | np.ndarray | np.generic):
        label = np.asanyarray(label)
    if np.ma.isMaskedArray(label) and np.ma.is_masked(label):
        raise ValueError(f"{what}: item {index} has a masked label; leave it out")
    if isinstance(label, Tensor | np.ndarray | np.generic):
        array = np.asarray(label)
        label = array.item() if array.size == 1 else array.tolist()  # several targets
    elif isinstance(label, list | tuple):
        label = [one.tolist() if hasattr(one, "tolist") else one for one in label]
    return as_input(f"{what}: item {index}", value), label


def _length(item: Any) -> str:
    return f" of {len(item)}" if isinstance(item, tuple | list) else ""


def as_input(place: str, value: Any) -> Tensor:
    """Convert one input to a new tensor; images get their channels first.

    Args:
        place: where the input is from, for error messages.
        value: tensor, array, number or image.

    Raises:
        TypeError: the value is neither numbers nor a grey or RGB image.
        ValueError: the value is None, or an array with masked entries.
    """
    if is_image(value):
        return torch.from_numpy(_pixels(place, value))
    if isinstance(value, Tensor):
        return as_tensor(value, place, "features").clone()  # a dataset may reuse the memory
    if value is None:
        raise ValueError(f"{place} has no input (None); leave it out")
    if np.ma.is_masked(value):
        raise ValueError(
            f"{place} has masked entries; leave the item out, or fill them with a fixed constant "
            "(not with a statistic of the data)"
        )
    try:
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{place} has an input that cannot be read as an array ({error}); give one tensor or "
            "array per item"
        ) from error
    if array.dtype == object:
        found = numbers_of(array)
        array = array if found is None else found
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{place} has an input of kind {type(value).__name__}; use a transform that returns "
            "tensors, arrays or images"
        )
    return torch.from_numpy(array)


def is_image(value: Any) -> bool:
    """Whether a value looks like a PIL image; PIL is not imported for it."""
    return all(hasattr(value, name) for name in ("mode", "getbands", "convert", "size"))


def _pixels(place: str, image: Any) -> UInt8[np.ndarray, "channel height width"]:
    """Return the pixels of a grey or RGB image, channels first."""
    if image.mode not in ("L", "RGB"):
        raise TypeError(
            f"{place} is an image of mode {image.mode}; convert images to 'RGB' or 'L' with a "
            "transform, such as lambda image: image.convert('RGB')"
        )
    pixels = np.array(image)
    return (
        pixels[np.newaxis] if image.mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    )


def stack(what: str, inputs: list[Tensor]) -> Shaped[Tensor, "n *feature"]:
    """Stack all inputs into one tensor.

    Raises:
        ValueError: there are no inputs, or they differ in shape or dtype.
    """
    if not inputs:
        raise ValueError(f"{what}: no examples; give at least one")
    kinds = [(tuple(one.shape), str(one.dtype).removeprefix("torch.")) for one in inputs]
    odd = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        raise ValueError(
            f"{what}: item {odd} has shape and kind {kinds[odd]}, but item 0 has {kinds[0]}; give "
            "all the same size, for example with Resize((height, width))"
        )
    return torch.stack(inputs)


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    one, two = (each.contiguous().reshape(-1).view(torch.uint8) for each in (a, b))
    return torch.equal(one, two)  # bytes, so that NaN equals itself


def _same_label(a: Any, b: Any) -> bool:
    """Whether two labels are equal, also if both are NaN, which is reported later as missing."""
    return bool(a == b) or repr(a) == repr(b)


def _as_it_is(item: Any) -> Any:
    return item


def _are_strings(words: Any) -> TypeGuard[Sequence[str]]:
    return (
        isinstance(words, list | tuple) and bool(words) and all(isinstance(w, str) for w in words)
    )
