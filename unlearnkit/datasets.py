"""Datasets: examples with stable ids, in a training, a probe and a test part.

Three rules shape this module. An example keeps its id for ever, whatever is revoked. Preprocessing
is a fixed constant (`offset`, `scale`), never a statistic of the data: a global mean would carry
every revoked example into every model (DESIGN.md, section 2). Images stay bytes; floats are made
for the rows that are asked for.
"""

import hashlib
import html
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from torch import Tensor

from unlearnkit.intake import (
    Array,
    as_pair,
    check_columns,
    check_contents,
    class_numbers,
    feature_array,
    listed,
    names_of_classes,
    vocabulary_of,
)
from unlearnkit.sources import fashion_mnist_arrays

if TYPE_CHECKING:
    import pandas as pd

Ids: TypeAlias = "Sequence[SupportsIndex] | np.ndarray | pd.Series | pd.Index | Tensor"

PARTS = ("train", "probe", "test")

# Inputs are (pixels - offset) / scale: the pixels' published range, mapped to -1..1.
DIGITS_OFFSET, DIGITS_SCALE = 8.0, 8.0
FASHION_MNIST_OFFSET, FASHION_MNIST_SCALE = 127.5, 127.5

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples, addressed by id.

    Contents are not judged here, only lengths and ids: :func:`from_arrays` and :func:`load` do
    that, and the exactness tests rely on examples whose content is poisoned.

    Attributes:
        ids: stable, strictly ascending.
        features: raw values, uint8 or float32, as they came.
        labels: class numbers.
        offset: subtracted from raw features.
        scale: divides what is left: ``inputs = (features - offset) / scale``.

    Raises:
        ValueError: lengths differ, or ids do not ascend.

    >>> digits = Examples(
    ...     ids=np.array([3, 7]),
    ...     features=torch.tensor([[0, 8], [16, 4]], dtype=torch.uint8),
    ...     labels=torch.tensor([1, 0]),
    ...     scale=16.0,
    ... )
    >>> digits[[7, 3]]
    (tensor([[1.0000, 0.2500],
            [0.0000, 0.5000]]), tensor([0, 1]))
    """

    ids: Int64[np.ndarray, " n"]
    features: Shaped[Tensor, " n *feature"]
    labels: Int64[Tensor, " n"]
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check lengths and ids; make the constants floats, so that 16 and 16.0 digest alike."""
        object.__setattr__(self, "offset", float(self.offset))
        object.__setattr__(self, "scale", float(self.scale))
        lengths = (len(self.ids), len(self.features), len(self.labels))
        if len(set(lengths)) != 1:
            raise ValueError(
                f"{lengths[0]} ids, {lengths[1]} features and {lengths[2]} labels; "
                "give one of each per example"
            )
        if self.ids.dtype != np.int64 or self.ids.ndim != 1 or np.any(np.diff(self.ids) <= 0):
            raise ValueError(
                f"ids of kind {self.ids.dtype} and shape {self.ids.shape}; give a one-dimensional "
                "int64 array that ascends strictly"
            )

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Number, shape and kind, without contents."""
        kind = str(self.features.dtype).removeprefix("torch.")
        return f"Examples({len(self)} of shape {tuple(self.features.shape[1:])}, {kind})"

    def find(self, ids: Ids) -> tuple[Int64[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
        """Positions of these ids, and whether each is here (its position is moot if not)."""
        wanted = _as_ids(ids)
        if len(self) == 0:
            return np.zeros_like(wanted), np.zeros(len(wanted), bool)
        rows = np.minimum(np.searchsorted(self.ids, wanted), len(self) - 1)
        return rows, self.ids[rows] == wanted

    def rows(self, ids: Ids) -> Int64[np.ndarray, " k"]:
        """Positions of these ids, in the order asked for.

        Raises:
            KeyError: naming the first ids that are not here.
        """
        rows, known = self.find(ids)
        if not known.all():
            raise _unknown_ids(_as_ids(ids)[~known], {"here": self})
        return rows

    def __getitem__(self, ids: Ids) -> tuple[Float32[Tensor, " k *feature"], Int64[Tensor, " k"]]:
        """Inputs and labels of these ids, in the order asked for, as fresh tensors.

        Raises:
            KeyError: naming the first ids that are not here.
        """
        rows = torch.from_numpy(self.rows(ids))
        return self._scaled(self.features[rows]), self.labels[rows]

    def inputs(self) -> Float32[Tensor, " n *feature"]:
        """All inputs, as a fresh tensor: four times the memory of images kept as bytes."""
        return self._scaled(self.features.clone())

    def _scaled(self, fresh: Shaped[Tensor, " k *feature"]) -> Float32[Tensor, " k *feature"]:
        return fresh.to(torch.float32).contiguous().sub_(self.offset).div_(self.scale)

    @cached_property
    def digests(self) -> UInt8[np.ndarray, "n 16"]:
        """SHA-256 of each example's kind, shape, preprocessing, label and raw bytes, cut to 16.

        Equal content has equal digests, under any id. Read-only; computed at first use. (SHA-256
        because processors do it: 20,000 rows of 2,400 bytes took 51 ms, by BLAKE2b 87.)
        """
        kind = f"{self.features.dtype}|{tuple(self.features.shape[1:])}|{self.offset}|{self.scale}"
        start = hashlib.sha256(kind.encode())
        features = self.features.detach().cpu().flatten(1)
        labels = self.labels.detach().cpu().reshape(-1, 1).contiguous().view(torch.uint8).numpy()
        found: list[bytes] = []
        for begin in range(0, len(self), 1024):  # parts that stay in the cache
            part = features[begin : begin + 1024].contiguous().view(torch.uint8).numpy()
            rows = np.concatenate([labels[begin : begin + 1024], part], axis=1)
            whole, width = memoryview(rows.tobytes()), rows.shape[1]
            for at in range(0, len(whole), width):
                state = start.copy()
                state.update(whole[at : at + width])
                found.append(state.digest()[:16])
        digests = np.frombuffer(b"".join(found), np.uint8)
        return digests.reshape(len(self), 16)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, probe and test examples under one numbering of ids.

    Attributes:
        name: for people; the fingerprint leaves it out.
        train: what models learn from; these ids can be revoked.
        probe: labelled examples that are never trained on, on which approximate unlearning is
            guarded; they can be revoked too.
        test: for judging alone.
        num_classes: C; labels are 0..C-1.
        class_names: one for each label.

    Raises:
        ValueError: parts that differ in shape or preprocessing or share ids, or a number of class
            names other than C.
    """

    name: str
    train: Examples
    probe: Examples
    test: Examples
    num_classes: int
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        kinds = {part: self._kind(examples) for part, examples in self.parts.items()}
        if len(set(kinds.values())) != 1:
            raise ValueError(
                f"parts differ in (feature shape, offset, scale): {kinds}; give one shape and one "
                "preprocessing to all three"
            )
        ids = np.sort(np.concatenate([part.ids for part in self.parts.values()]))
        shared = np.unique(ids[1:][np.diff(ids) == 0])
        if len(shared):
            raise ValueError(
                f"{len(shared)} ids are in two parts ({listed(shared)}); "
                "give every example an id of its own"
            )
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{len(self.class_names)} class names for {self.num_classes} classes; "
                "give one name per class"
            )

    @staticmethod
    def _kind(examples: Examples) -> tuple[tuple[int, ...], float, float]:
        return tuple(examples.features.shape[1:]), examples.offset, examples.scale

    @property
    def parts(self) -> dict[str, Examples]:
        """The three parts by name."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one example, such as (1, 28, 28) for images and (d,) for tables."""
        return tuple(self.train.features.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over ids, contents, parts, classes and preprocessing."""
        state = hashlib.blake2b(f"dataset|{self.num_classes}".encode(), digest_size=16)
        for part, examples in self.parts.items():
            kind = self._kind(examples)
            state.update(f"|{part}|{len(examples)}|{kind}|".encode())
            state.update(examples.ids.astype("<i8").tobytes())
            state.update(examples.digests.tobytes())
        return state.hexdigest()

    def examples(self, ids: Ids) -> tuple[Float32[Tensor, " k *feature"], Int64[Tensor, " k"]]:
        """Inputs and labels of these ids, from whichever part holds each, in the order asked for.

        Raises:
            KeyError: naming the first ids that no part holds.
        """
        wanted = _as_ids(ids)
        inputs = torch.empty(len(wanted), *self.feature_shape)
        labels = torch.empty(len(wanted), dtype=torch.int64)
        missing = np.ones(len(wanted), bool)
        for part in self.parts.values():
            _, known = part.find(wanted)
            places = torch.from_numpy(np.flatnonzero(known))
            inputs[places], labels[places] = part[wanted[known]]
            missing &= ~known
        if missing.any():
            raise _unknown_ids(wanted[missing], self.parts)
        return inputs, labels

    def to_frame(self) -> "pd.DataFrame":
        """One row per example: id, part, label and class name, without features."""
        import pandas as pd

        names = dict(enumerate(self.class_names))
        frames = [
            pd.DataFrame({"id": examples.ids, "part": part, "label": examples.labels.numpy()})
            for part, examples in self.parts.items()
        ]
        frame = pd.concat(frames, ignore_index=True)
        return frame.assign(class_name=frame["label"].map(names))

    def __repr__(self) -> str:
        """Name, sizes, classes and input shape."""
        sizes = ", ".join(f"{len(examples)} {part}" for part, examples in self.parts.items())
        return (
            f"Dataset({self.name!r}: {sizes}; {self.num_classes} classes; "
            f"inputs {self.feature_shape})"
        )

    def _repr_html_(self) -> str:
        sizes = {part: f"{len(examples)} examples" for part, examples in self.parts.items()}
        facts = {
            **sizes,
            "inputs": f"(features - {self.train.offset:g}) / {self.train.scale:g}, "
            f"shape {self.feature_shape}",
            "classes": f"{self.num_classes}: {listed(self.class_names, 10)}",
        }
        rows = "".join(
            f"<tr><th style='text-align:left'>{key}</th>"
            f"<td style='text-align:left'>{html.escape(fact)}</td></tr>"
            for key, fact in facts.items()
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"


class DatasetSource(Protocol):
    """A way to get a dataset by name, to be entered in ``DATASETS``."""

    def __call__(self, *, path: str | Path | None, num_examples: int | None) -> Dataset:
        """The dataset.

        Args:
            path: folder of its files; None for the usual places.
            num_examples: size of the training part; None for all of it. A smaller part is the
                beginning of a fixed shuffle, so that it holds all classes and is nested in any
                larger one.

        Raises:
            ValueError: ``num_examples`` out of range, or damaged files.
            FileNotFoundError: no files; the message names the ways out.
        """
        ...


def _load_digits(*, path: str | Path | None, num_examples: int | None) -> Dataset:
    """1,797 handwritten digits, 8 x 8 pixels of 0..16 (scikit-learn ships them).

    They come sorted by writer, so they are shuffled once and for all; ids number the shuffled
    examples: training 0..1296, probe 1297..1496, test 1497..1796.
    """
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    if path is not None:
        raise ValueError(f"path={str(path)!r}, but digits ships with scikit-learn; leave path= out")
    order = _keyed_permutation(1797, seed=0)
    train = _first_of(np.arange(1297), num_examples)
    images, labels = load_digits(return_X_y=True)
    images, labels = images[order], labels[order]
    features = torch.from_numpy(images.astype(np.uint8)).reshape(-1, 1, 8, 8)
    return _split(
        "digits",
        features,
        torch.from_numpy(labels.astype(np.int64)),
        {"train": train, "probe": np.arange(1297, 1497), "test": np.arange(1497, 1797)},
        class_names=tuple(str(digit) for digit in range(10)),
        offset=DIGITS_OFFSET,
        scale=DIGITS_SCALE,
    )


def _load_fashion_mnist(*, path: str | Path | None, num_examples: int | None) -> Dataset:
    """70,000 images of clothing, 28 x 28 bytes (Xiao et al. 2017).

    Ids 0..59999 are the published training set in its order, 60000..69999 its test set, of which a
    fixed choice of 2,000 is the probe.
    """
    train = _first_of(_keyed_permutation(60_000, seed=0), num_examples)
    held_out = 60_000 + _keyed_permutation(10_000, seed=0)
    train_images, train_labels, test_images, test_labels = fashion_mnist_arrays(path)
    features = torch.from_numpy(np.concatenate([train_images, test_images])).unsqueeze(1)
    labels = torch.from_numpy(np.concatenate([train_labels, test_labels]).astype(np.int64))
    return _split(
        "fashion-mnist",
        features,
        labels,
        {"train": train, "probe": held_out[:2000], "test": held_out[2000:]},
        class_names=FASHION_MNIST_CLASSES,
        offset=FASHION_MNIST_OFFSET,
        scale=FASHION_MNIST_SCALE,
    )


DATASETS: dict[str, DatasetSource] = {
    "digits": _load_digits,
    "fashion-mnist": _load_fashion_mnist,
}


def load(name: str, *, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """A dataset by its name in ``DATASETS``.

    Args:
        name: ``"digits"`` (at once, offline) or ``"fashion-mnist"`` (see
            :func:`unlearnkit.sources.fashion_mnist_arrays` for where it is looked for).
        path: folder of its files; None for the usual places.
        num_examples: size of the training part; None for all of it.

    Raises:
        KeyError: an unknown name; the message lists the known ones.
        ValueError: ``num_examples`` out of range, or damaged files.
        FileNotFoundError: no files; the message names the ways out.

    >>> load("digits", num_examples=400)
    Dataset('digits': 400 train, 200 probe, 300 test; 10 classes; inputs (1, 8, 8))
    """
    if name not in DATASETS:
        raise KeyError(
            f"unknown dataset {name!r}; known are {', '.join(DATASETS)}. Own data: from_arrays, "
            "from_frame"
        )
    if num_examples is not None and (
        isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer)
    ):
        raise TypeError(
            f"num_examples={num_examples!r} is a {type(num_examples).__name__}; "
            "give a whole number, or None for all"
        )
    return DATASETS[name](path=path, num_examples=num_examples)


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
) -> Dataset:
    """A dataset of your own tensors or arrays.

    Args:
        features: one row per example, of any shape; uint8 stays bytes, all else becomes float32.
            An example's id is its row number here, whichever part it goes to.
        labels: class numbers 0..C-1, one per row.
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

    Raises:
        TypeError: features or labels of a kind that cannot be used (text, complex, objects).
        ValueError: lengths that differ, no examples, fewer than two classes, labels outside
            0..C-1 or not whole, values that are not finite, shares that leave a part empty.

    >>> data = from_arrays(torch.eye(20), torch.arange(20) % 2, num_classes=2)
    >>> data
    Dataset('arrays': 14 train, 2 probe, 4 test; 2 classes; inputs (20,))
    >>> ids = [5, 3]
    >>> data.examples(ids)[0].argmax(1)
    tensor([5, 3])
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
    names = names_of_classes([classes for _, classes in given.values()], num_classes, class_names)
    for what, (rows, classes) in given.items():
        check_contents(what, rows, classes, len(names))
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
    return _split(
        name,
        torch.cat([rows for rows, _ in given.values()]),
        torch.cat([classes for _, classes in given.values()]),
        parts,
        class_names=names,
        offset=offset,
        scale=scale,
    )


def from_frame(
    frame: "pd.DataFrame",
    target: Hashable,
    *,
    features: Sequence[Hashable] | None = None,
    test: "pd.DataFrame | None" = None,
    probe: "pd.DataFrame | None" = None,
    num_classes: int | None = None,
    class_names: Sequence[Hashable] | None = None,
    test_share: float = 0.2,
    probe_share: float = 0.1,
    offset: float = 0.0,
    scale: float = 1.0,
    seed: int = 0,
    name: str = "frame",
) -> Dataset:
    """A dataset of a pandas DataFrame.

    Numbers in the target column are class numbers 0..C-1 as they stand. Any other value is
    replaced by its place in ``class_names``, else in the categories of a categorical column, else
    among the sorted values that occur. **The class names are a fixed vocabulary**: what they are
    may not depend on one example, so give ``class_names`` where a class may lose its last one.

    Args:
        frame: one row per example; an example's id is its row number (position), not its index.
        target: the column with the classes.
        features: the columns to learn from, numbers or booleans; None takes all but the target.
        test: rows of the test part with the same columns; None splits it off from ``frame``.
        probe: the same for the probe part.
        num_classes: as in :func:`from_arrays`.
        class_names: names of the classes, or the values that the target column holds for them.
        test_share: as in :func:`from_arrays`.
        probe_share: as in :func:`from_arrays`.
        offset: as in :func:`from_arrays`: a fixed constant for all columns.
        scale: as in :func:`from_arrays`: a fixed constant for all columns.
        seed: of the split.
        name: for people.

    Raises:
        KeyError: a column that the frame lacks; the message lists those it has.
        TypeError: feature columns that hold neither numbers nor booleans.
        ValueError: a missing target value or one that no class name matches; and all that
            :func:`from_arrays` raises.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": range(20), "kind": ["cat", "dog"] * 10})
    >>> data = from_frame(frame, "kind", class_names=["cat", "dog"])
    >>> data.examples([5, 6])
    (tensor([[5.],
            [6.]]), tensor([1, 0]))
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    columns: list[Hashable] = list(frame.columns if features is None else features)
    if features is None:
        columns = [column for column in columns if column != target]
    frames = {"frame": frame, "test": test, "probe": probe}
    given = {what: table for what, table in frames.items() if table is not None}
    for what, table in given.items():
        check_columns(what, table, target, columns)
    targets = {what: table[target] for what, table in given.items()}
    vocabulary = vocabulary_of(targets, class_names)
    names: Sequence[Hashable] | None = class_names if vocabulary is None else vocabulary
    pairs = {
        what: (feature_array(table[columns]), class_numbers(what, targets[what], vocabulary))
        for what, table in given.items()
    }
    return from_arrays(
        *pairs["frame"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        num_classes=num_classes,
        class_names=None if names is None else [str(value) for value in names],
        test_share=test_share,
        probe_share=probe_share,
        offset=offset,
        scale=scale,
        seed=seed,
        name=name,
    )


def as_dataset(data: object, **options: Any) -> Dataset:
    """A dataset from whatever a caller may hold.

    Args:
        data: a Dataset (returned as it is), a name for :func:`load`, a pair of features and labels
            for :func:`from_arrays`, or a pair of a DataFrame and its target column's name for
            :func:`from_frame`.
        options: keyword arguments of that function.

    Raises:
        TypeError: anything else, or options for a Dataset.
    """
    if isinstance(data, Dataset):
        if options:
            raise TypeError(
                f"options {', '.join(options)} with a finished Dataset; give them to the function "
                "that makes it"
            )
        return data
    if isinstance(data, str):
        return load(data, **options)
    if isinstance(data, tuple | list) and len(data) == 2:
        first, second = data
        if isinstance(second, str | int):
            import pandas as pd

            if isinstance(first, pd.DataFrame):
                return from_frame(first, second, **options)
        return from_arrays(first, second, **options)
    raise TypeError(
        f"a {type(data).__name__} is no dataset; give a name ({', '.join(DATASETS)}), a Dataset, "
        "a pair (features, labels) of tensors or arrays, or a pair (DataFrame, target column)"
    )


# Splitting. Raw PCG64 output, because numpy keeps it stable over versions (NEP 19); the order of
# Generator.permutation is not promised.
def _keyed_permutation(n: int, *, seed: int) -> Int64[np.ndarray, " n"]:
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable").astype(np.int64)


def _first_of(order: Int64[np.ndarray, " n"], num_examples: int | None) -> Int64[np.ndarray, " k"]:
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
    order = _keyed_permutation(n, seed=seed)
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


def _split(
    name: str,
    features: Shaped[Tensor, " n *feature"],
    labels: Int64[Tensor, " n"],
    parts: Mapping[str, Int64[np.ndarray, " k"]],
    *,
    class_names: tuple[str, ...],
    offset: float,
    scale: float,
) -> Dataset:
    """A dataset of rows, each part given by its row numbers, which become the ids."""
    examples = {}
    for part, chosen in parts.items():
        ids = np.sort(chosen)
        rows = torch.from_numpy(ids)
        # Indexing copies, so that later changes to the caller's arrays cannot reach the dataset.
        examples[part] = Examples(ids, features[rows], labels[rows], offset, scale)
    return Dataset(name, **examples, num_classes=len(class_names), class_names=class_names)


def _as_ids(ids: Ids) -> Int64[np.ndarray, " k"]:
    array = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if array.ndim == 1 and len(array) == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"ids of kind {array.dtype} and shape {array.shape}; give a list or a one-dimensional "
            "array of whole numbers (of a mask, np.flatnonzero(mask) gives positions)"
        )
    return array.astype(np.int64, copy=False)


def _unknown_ids(ids: Int64[np.ndarray, " k"], parts: Mapping[str, Examples]) -> KeyError:
    held = ", ".join(
        f"{part}: {len(examples)} ids from {examples.ids[0]} to {examples.ids[-1]}"
        for part, examples in parts.items()
        if len(examples)
    )
    return KeyError(f"unknown ids {listed(ids)}; known are {held or 'none'}")
