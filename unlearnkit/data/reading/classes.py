"""Classes of parts that number them otherwise, matched by their names."""

from collections.abc import Mapping, Sequence

import numpy as np


def match_classes(
    labels: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Number the classes of all parts as the first part does, by their names.

    A folder of images that lacks a class numbers the later ones otherwise than a folder that has
    it. Classes that only occur in a later part follow those of the first.

    Args:
        labels: whole numbers by part, the training part first.
        names: the names of each part's own class numbers.

    Returns:
        The labels, renumbered where the names differ, and the names of all classes.

    Raises:
        ValueError: a label has no name in its own part.

    >>> labels = {"train": np.array([0, 1, 2]), "test": np.array([1, 0])}
    >>> names = {"train": ["ant", "bee", "cat"], "test": ["ant", "cat"]}
    >>> match_classes(labels, names)
    ({'train': array([0, 1, 2]), 'test': array([2, 0])}, ['ant', 'bee', 'cat'])
    """
    first = next(iter(labels))
    found, common = {first: labels[first]}, list(names[first])
    for what, numbers in labels.items():
        own = list(names[what])
        if what == first or own == list(names[first]):
            found[what] = numbers
            continue
        outside = (numbers < 0) | (numbers >= len(own))
        if outside.any():
            raise ValueError(
                f"{what}: the label {numbers[outside][0]} is none of its classes 0..{len(own) - 1} "
                f"({', '.join(own[:5])}); give it the classes of the training part, or leave out "
                "rows without a class"
            )
        common += [own[n] for n in np.unique(numbers) if own[n] not in common]
        places = {name: place for place, name in enumerate(common)}
        # A class without a row may have no place.
        found[what] = np.array([places.get(name, -1) for name in own])[numbers]
    return found, common
