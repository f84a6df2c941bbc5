"""Where the files of published datasets come from: folders on this machine first, then a download.

Arrays and tables as published leave this package; ids, parts and preprocessing are the business of
`named_images` and `named_tables`. A file is what it says only if its checksum is the published
one; where no checksum of the decompressed bytes is published, its shape, its values and its number
of examples per class are held against what its authors say.
"""

from unlearnkit.data.sources.adult import ADULT_NUMBERS, ADULT_TARGET, ADULT_VALUES, adult_tables
from unlearnkit.data.sources.cifar import CIFAR_10_CLASSES, cifar_10_arrays
from unlearnkit.data.sources.covertype import covertype_arrays
from unlearnkit.data.sources.idx import fashion_mnist_arrays, mnist_arrays, read_idx
from unlearnkit.data.sources.purchase import purchase_100_arrays

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
    "purchase_100_arrays",
    "read_idx",
]
