"""Readers of published datasets, from folders on this machine or else from a download.

The readers return arrays and tables as published; `named_images` and `named_tables` choose ids,
parts and preprocessing. Files are verified by their published checksum. If no checksum of the
decompressed bytes is published, the shape, the values and the number of examples per class are
compared with the authors' description.
"""

from unlearnkit.data.sources.adult import ADULT_NUMBERS, ADULT_TARGET, ADULT_VALUES, adult_tables
from unlearnkit.data.sources.cifar import CIFAR_10_CLASSES, cifar_10_arrays
from unlearnkit.data.sources.covertype import covertype_arrays
from unlearnkit.data.sources.idx import fashion_mnist_arrays, mnist_arrays, read_idx

__all__ = [
    "ADULT_NUMBERS",
    "ADULT_TARGET",
    "ADULT_VALUES",
    "CIFAR_10_CLASSES",
    "adult_tables",
    "cifar_10_arrays",
    "covertype_arrays",
    "fashion_mnist_arrays",
    "mnist_arrays",
    "read_idx",
]
