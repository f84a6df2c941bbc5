"""Examples with stable ids, and datasets with a training, a probe and a test part.

An example keeps its id whatever is revoked. Preprocessing uses fixed constants (`offset`, `scale`),
never a statistic of the data: with a global mean every revoked example would keep an influence on
every model. Images are stored as bytes and converted to floats on access.
"""

import hashlib
import html
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, Shaped, UInt8
from torch import Tensor

from unlearnkit.data.conversion import listed
from unlearnkit.data.reading.groups import Grouping, in_order_of_appearance
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.data.reading.texts import Texts, text_hasher

if TYPE_CHECKING:
    import pandas as pd

Labels: TypeAlias = Int64[Tensor, " n"] | Float32[Tensor, "n target"]
Ids: TypeAlias = "Sequence[SupportsIndex] | np.ndarray | pd.Series | pd.Index | Tensor"

PARTS = ("train", "probe", "test")


class Computed(Protocol):
    """Inputs of models that a frozen backbone computes from the raw values of examples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example's inputs."""
        ...

    def rows(self, ids: Int64[np.ndarray, " k"]) -> Float32[Tensor, " k *input"]:
        """Return the inputs of these ids as a new tensor, computing those that are not kept."""
        ...

    def stored(
        self, ids: Int64[np.ndarray, " k"]
    ) -> tuple[Float32[Tensor, " n *input"], Int64[np.ndarray, " k"]]:
        """Return the tensor that keeps all inputs, and the places of these ids in it."""
        ...

    def digests(self, ids: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k 16"]:
        """Return the digests of the raw contents of these ids."""
        ...


MAX_SHIFT = 16.0  # largest |offset / scale| for which inputs are computed in a single pass
ROWS_AT_A_TIME = 512  # examples converted at a time, few enough to fit into the CPU's cache


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples, addressed by id.

    Only lengths and ids are checked here; :func:`from_arrays` and :func:`load` check the contents.

    Attributes:
        ids: stable ids, strictly ascending.
        features: raw values as given: uint8 or float32, or int64 for modules that take whole
            numbers, which get them as they are; or texts for a frozen backbone.
        labels: class numbers, or for a regression rows of scaled targets.
        offset: constant in ``inputs = (features - offset) / scale``.
        scale: constant in the same formula.
        groups: number of the group, such as a person, that each example belongs to; None without
            groups. Groups shape the partition, and are no part of the contents.
        propensity: how likely each example is to be revoked, as relative rates; None if nothing is
            known of it. They shape the partition, and are no part of the contents.
        computed: what gives the inputs if a frozen backbone computes them; None for the formula
            above. The features are then what the backbone is given.

    Raises:
        ValueError: lengths differ, ids do not ascend, or constants are given for int64 features.

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
    features: Any
    labels: Labels
    offset: float = 0.0
    scale: float = 1.0
    groups: Int64[np.ndarray, " n"] | None = None
    propensity: Float64[np.ndarray, " n"] | None = None
    computed: Computed | None = None

    def __post_init__(self) -> None:
        """Check lengths and ids, and normalise constants and memory layout.

        The constants become floats, so that 16 and 16.0 have the same digest. Features whose rows
        are not contiguous, as in a transposed array, are copied once; otherwise gathering each
        batch would copy all of them.
        """
        object.__setattr__(self, "features", self.features.contiguous())
        object.__setattr__(self, "offset", float(self.offset))
        object.__setattr__(self, "scale", float(self.scale))
        if self.features.dtype == torch.int64 and (self.offset, self.scale) != (0, 1):
            raise ValueError(
                f"offset={self.offset} and scale={self.scale} for features of type int64, which "
                "reach the module as they are; leave the constants out"
            )
        lengths = (len(self.ids), len(self.features), len(self.labels))
        if len(set(lengths)) != 1:
            raise ValueError(
                f"{lengths[0]} ids, {lengths[1]} features and {lengths[2]} labels; "
                "give one of each per example"
            )
        if self.ids.dtype != np.int64 or self.ids.ndim != 1 or np.any(np.diff(self.ids) <= 0):
            raise ValueError(
                f"ids of type {self.ids.dtype} and shape {self.ids.shape}; give a one-dimensional, "
                "strictly ascending int64 array"
            )
        if self.groups is not None and self.groups.shape != self.ids.shape:
            raise ValueError(
                f"{len(self.ids)} ids and groups of shape {self.groups.shape}; give the number of "
                "one group per example"
            )
        if self.propensity is not None and self.propensity.shape != self.ids.shape:
            raise ValueError(
                f"{len(self.ids)} ids and propensities of shape {self.propensity.shape}; give one "
                "rate per example"
            )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Number, shape and dtype of the examples."""
        kind = str(self.features.dtype).removeprefix("torch.")
        return f"Examples({len(self)} of shape {tuple(self.features.shape[1:])}, {kind})"

    def find(self, ids: Ids) -> tuple[Int64[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
        """Return the position of each id, and a mask of the ids that are present."""
        wanted = _as_ids(ids)
        if len(self) == 0:
            return np.zeros_like(wanted), np.zeros(len(wanted), bool)
        rows = np.minimum(np.searchsorted(self.ids, wanted), len(self) - 1)
        return rows, self.ids[rows] == wanted

    def rows(self, ids: Ids) -> Int64[np.ndarray, " k"]:
        """Return the positions of these ids, in the given order.

        Raises:
            KeyError: some ids are absent; the message lists the first of them.
        """
        rows, known = self.find(ids)
        if not known.all():
            raise _unknown_ids(_as_ids(ids)[~known], {"here": self})
        return rows

    def __getitem__(self, ids: Ids) -> tuple[Shaped[Tensor, " k *feature"], Tensor]:
        """Return inputs and labels of these ids, in the given order, as new tensors.

        Raises:
            KeyError: some ids are absent; the message lists the first of them.
        """
        rows = torch.from_numpy(self.rows(ids))
        if self.computed is not None:
            return self.computed.rows(_as_ids(ids)), self.labels[rows]
        self._need_numbers()
        return self._scaled(self.features[rows]), self.labels[rows]

    def _need_numbers(self) -> None:
        if isinstance(self.features, Texts):
            raise TypeError(
                "the features are texts, which models do not take; give a model that reads them: "
                "uk.Frozen(encoder, head=...)"
            )

    def raw(self, ids: Ids) -> Any:
        """Return the scaled features of these ids, whatever the inputs of models are.

        Without a frozen backbone they are the inputs. Texts are returned as a list of strings.

        Raises:
            KeyError: some ids are absent; the message lists the first of them.
        """
        found = self.features[torch.from_numpy(self.rows(ids))]
        return found.tolist() if isinstance(found, Texts) else self._scaled(found)

    def read(self, ids: Ids, into: Float32[Tensor, "k feature"]) -> Tensor:
        """Write the flattened inputs of these ids into a tensor, without an intermediate copy.

        If ``|offset / scale|`` is at most ``MAX_SHIFT``, inputs are computed in one pass and may
        then differ from those of ``self[ids]`` by rounding.

        Args:
            ids: ids of the examples.
            into: tensor that receives the inputs, one row per id.

        Returns:
            The labels of these ids.

        Raises:
            KeyError: some ids are absent; the message lists the first of them.
        """
        rows = torch.from_numpy(self.rows(ids))
        if self.computed is not None:
            for some, part in zip(_pieces(_as_ids(ids)), into.split(ROWS_AT_A_TIME), strict=True):
                part.copy_(self.computed.rows(some).flatten(1))
            return self.labels[rows]
        features, shift = self.features.flatten(1), torch.tensor(-self.offset / self.scale)
        for some, part in zip(rows.split(ROWS_AT_A_TIME), into.split(ROWS_AT_A_TIME), strict=True):
            part.copy_(features.index_select(0, some))  # features[some] is slower
            if self.offset and abs(shift) <= MAX_SHIFT:
                torch.add(shift, part, alpha=1 / self.scale, out=part)
            else:
                self.scale_(part)
        return self.labels[rows]

    def inputs(self) -> Shaped[Tensor, " n *feature"]:
        """Return all inputs as a new tensor of ``input_dtype``."""
        if self.computed is not None:
            return self.computed.rows(self.ids)
        self._need_numbers()
        return self._scaled(self.features.clone())

    @property
    def input_dtype(self) -> torch.dtype:
        """The type of inputs: float32, or int64 if the features are and no backbone takes them."""
        whole = self.features.dtype == torch.int64 and self.computed is None
        return torch.int64 if whole else torch.float32

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example's inputs."""
        return tuple(self.features.shape[1:]) if self.computed is None else self.computed.shape

    def _scaled(self, fresh: Shaped[Tensor, " k *feature"]) -> Shaped[Tensor, " k *feature"]:
        kind = torch.int64 if fresh.dtype == torch.int64 else torch.float32
        return self.scale_(fresh.to(kind).contiguous())

    def scale_(self, values: Shaped[Tensor, " k *feature"]) -> Shaped[Tensor, " k *feature"]:
        """Convert raw values to inputs, in place."""
        if self.offset:  # subtracting 0 would change nothing
            values.sub_(self.offset)
        return values if self.scale == 1 else values.div_(self.scale)

    @cached_property
    def digests(self) -> UInt8[np.ndarray, "n 16"]:
        """Digest of each example: SHA-256 of dtype, shape, preprocessing, label and raw bytes.

        The digest is truncated to 16 bytes. Examples with equal content have equal digests,
        whatever their ids. It is computed on first use. (SHA-256 is used because most processors
        have instructions for it.)
        """
        if self.computed is not None:
            return self.computed.digests(self.ids)
        kind = f"{self.features.dtype}|{tuple(self.features.shape[1:])}|{self.offset}|{self.scale}"
        if self.labels.is_floating_point():
            kind += f"|{self.labels.shape[1]} targets"
        if isinstance(self.features, Texts):
            kind = f"{self.labels.dtype}|{tuple(self.labels.shape[1:])}"
            rows = _bytes(self.labels.detach().cpu().unsqueeze(-1).flatten(1))
            texts = self.features.digests(text_hasher(kind), rows)
            return np.frombuffer(b"".join(texts), np.uint8).reshape(len(self), 16)
        start = hashlib.sha256(kind.encode())
        features = self.features.detach().cpu().flatten(1)
        label_bytes = _bytes(self.labels.detach().cpu().unsqueeze(-1).flatten(1))
        found: list[bytes] = []
        for begin in range(0, len(self), 1024):  # few enough to fit into the cache
            part = _bytes(features[begin : begin + 1024])
            rows = np.concatenate([label_bytes[begin : begin + 1024], part], axis=1)
            whole, width = memoryview(rows.tobytes()), rows.shape[1]
            for at in range(0, len(whole), width):
                state = start.copy()
                state.update(whole[at : at + width])
                found.append(state.digest()[:16])
        digests = np.frombuffer(b"".join(found), np.uint8)
        return digests.reshape(len(self), 16)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, probe and test examples whose ids are unique across the parts.

    Attributes:
        name: name for display; it is not part of the fingerprint.
        train: training examples; their ids can be revoked.
        probe: labelled examples that are never trained on and that check approximate unlearning;
            their ids can be revoked too.
        test: examples for evaluation only.
        num_classes: number of classes C, with labels 0..C-1; 0 for a regression, whose labels are
            rows of targets.
        class_names: one name per class; empty for a regression.
        feature_names: names of the columns of a table, if known, for display and queries; they are
            not part of the fingerprint.
        source: authors and place of publication of the data, for display.
        licence: licence of the data, for display.
        target_names: names of the targets of a regression, if known, for display.
        target_offset: constant per target that was subtracted from the given values.
        target_scale: constant per target that divided the difference.
        grouping: names of the groups that the examples belong to; None without groups. With groups
            the ids of the test part can be revoked as well.
        input_span: difference between the largest and the smallest value that an input can have,
            where it is known; the default, 2, is that of inputs from -1 to 1. Default learning
            rates fall with its square.

    Raises:
        ValueError: parts differ in shape, preprocessing or kind of labels, or share ids or groups;
            or the number of names or constants differs from that of classes, features, targets or
            groups.
    """

    name: str
    train: Examples
    probe: Examples
    test: Examples
    num_classes: int
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    target_names: tuple[str, ...] = ()
    target_offset: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    grouping: Grouping | None = None
    input_span: float = 2.0

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        kinds = {part: self._kind(examples) for part, examples in self.parts.items()}
        if len(set(kinds.values())) != 1:
            raise ValueError(
                f"parts differ in (feature shape, offset, scale): {kinds}; give all three parts "
                "the same shape and preprocessing"
            )
        ids = np.sort(np.concatenate([part.ids for part in self.parts.values()]))
        shared = np.unique(ids[1:][np.diff(ids) == 0])
        if len(shared):
            raise ValueError(
                f"{len(shared)} ids are in two parts ({listed(shared)}); "
                "give every example a unique id"
            )
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{len(self.class_names)} class names for {self.num_classes} classes; "
                "give one name per class"
            )
        widths = {part: self._targets(examples) for part, examples in self.parts.items()}
        if len(set(widths.values())) != 1 or bool(self.num_classes) == self.is_regression:
            raise ValueError(
                f"{self.num_classes} classes and {widths} targets; give all parts either class "
                "numbers, with num_classes, or the same number of targets, with num_classes=0"
            )
        count = self._targets(self.train)
        if self.is_regression and not self.target_scale:
            object.__setattr__(self, "target_offset", (0.0,) * count)
            object.__setattr__(self, "target_scale", (1.0,) * count)
        counts = len(self.target_offset), len(self.target_scale), len(self.target_names) or count
        if set(counts) != {count}:
            raise ValueError(
                f"{counts[0]} target offsets, {counts[1]} scales and {len(self.target_names)} "
                f"names for {count} targets; give one of each per target"
            )
        if self.feature_names and self.feature_shape != (len(self.feature_names),):
            raise ValueError(
                f"{len(self.feature_names)} feature names for features of shape "
                f"{self.feature_shape}; give one name per column of a table, or none"
            )
        self._check_groups()

    def _check_groups(self) -> None:
        held = {part: examples.groups for part, examples in self.parts.items()}
        grouped = self.grouping is not None
        lacking = [part for part, groups in held.items() if (groups is not None) is not grouped]
        if lacking:
            raise ValueError(
                f"grouping={self.grouping!r} does not fit the examples of {listed(lacking)}; give "
                "all three parts numbers of groups, and the dataset their names, or none of them"
            )
        if self.grouping is None:
            return
        found = {part: np.unique(groups) for part, groups in held.items() if groups is not None}
        numbers, parts = np.unique(np.concatenate(list(found.values())), return_counts=True)
        if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < len(self.grouping):
            raise ValueError(
                f"numbers of groups run from {numbers[0]} to {numbers[-1]}, but there are "
                f"{len(self.grouping)} names; give one name per group"
            )
        shared = numbers[parts > 1]
        if len(shared):
            where = [part for part, own in found.items() if np.isin(own, shared).any()]
            names = [repr(self.grouping.names[number]) for number in shared[:5]]
            raise ValueError(
                f"groups such as {listed(names)} have rows in several of the parts "
                f"{listed(where)}, so that models would be scored on groups that they were trained "
                "on; give each group to one part, or one table that is split here"
            )

    @staticmethod
    def _kind(examples: Examples) -> tuple[tuple[int, ...], float, float]:
        return tuple(examples.features.shape[1:]), examples.offset, examples.scale

    @staticmethod
    def _targets(examples: Examples) -> int:
        labels = examples.labels
        return int(labels.shape[1]) if labels.is_floating_point() else 0

    @property
    def is_regression(self) -> bool:
        """Whether labels are rows of targets rather than class numbers."""
        return self.train.labels.is_floating_point()

    @property
    def num_outputs(self) -> int:
        """Number of outputs of a model: one per class or one per target."""
        return self.num_classes or self._targets(self.train)

    def in_units(self, targets: Float[Tensor, "k target"]) -> Float[Tensor, "k target"]:
        """Convert targets or predictions of a regression to the units of the given values.

        >>> rows = torch.tensor([[0.5], [1.0]])
        >>> parts = [Examples(np.array([i]), torch.ones(1, 1), rows[:1]) for i in range(3)]
        >>> data = Dataset("years", *parts, 0, (), target_offset=(50.0,), target_scale=(20.0,))
        >>> data.in_units(rows).tolist()
        [[60.0], [70.0]]
        """
        return targets * targets.new_tensor(self.target_scale) + targets.new_tensor(
            self.target_offset
        )

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
        """Digest of ids, contents, parts, classes and preprocessing, as 32 hexadecimal digits.

        It covers what shapes the partition as well: who shares a group, and unequal propensities.
        """
        state = hashlib.blake2b(f"dataset|{self.num_classes}".encode(), digest_size=16)
        for part, examples in self.parts.items():
            kind = self._kind(examples)
            state.update(f"|{part}|{len(examples)}|{kind}|".encode())
            state.update(examples.ids.astype("<i8").tobytes())
            state.update(examples.digests.tobytes())
        if self.grouping is not None:  # which examples share a group, and no name
            shared = in_order_of_appearance(self._groups_by_id[1])
            state.update(b"|groups|" + shared.astype("<i8").tobytes())
        rates = self.train.propensity
        if rates is not None and has_unequal(rates):
            state.update(b"|propensity|" + rates.astype("<f8").tobytes())
        return state.hexdigest()

    @cached_property
    def _groups_by_id(self) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """All ids, ascending, and the number of the group of each; nothing without groups."""
        if self.grouping is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        parts = list(self.parts.values())
        ids = np.concatenate([examples.ids for examples in parts])
        numbers = np.concatenate([part.groups for part in parts if part.groups is not None])
        order = np.argsort(ids)
        return ids[order], numbers[order]

    def ids_of_groups(self, groups: Sequence[Hashable]) -> Int64[np.ndarray, " k"]:
        """Return the ids of all examples of these groups, in any part, ascending.

        Args:
            groups: names of groups.

        Raises:
            KeyError: a group is not known; the message lists the first of those that are.
            ValueError: the dataset has no groups.
        """
        wanted = self.named_grouping().numbers_of(groups)
        ids, numbers = self._groups_by_id
        return ids[np.isin(numbers, wanted)]

    def named_grouping(self) -> Grouping:
        """Return the grouping of the data.

        Raises:
            ValueError: the dataset has no groups.
        """
        if self.grouping is None:
            raise ValueError(
                f"{self.name} has no groups; say which rows belong together when the data are "
                "read, as from_frame(frame, target, groups='person')"
            )
        return self.grouping

    def without_test(self, ids: Ids) -> "Dataset":
        """Return the dataset without these examples of its test part; other ids do not matter."""
        rows, known = self.test.find(ids)
        if not known.any():
            return self
        kept = np.delete(np.arange(len(self.test)), rows[known])
        at, groups = torch.from_numpy(kept), self.test.groups
        test = replace(
            self.test,
            ids=self.test.ids[kept],
            features=self.test.features[at],
            labels=self.test.labels[at],
            groups=None if groups is None else groups[kept],
        )
        return replace(self, test=test)

    def with_labels(self, ids: Ids, labels: Any) -> "Dataset":
        """Return the dataset with other labels on some training examples, to study wrong labels.

        Args:
            ids: ids of training examples.
            labels: the class of each of them, or one class for all.

        Raises:
            KeyError: no training example has one of these ids.
            ValueError: the data are of a regression, or a class is not known.
        """
        if self.is_regression:
            raise ValueError("the targets of a regression are no classes; change the data instead")
        rows = torch.from_numpy(self.train.rows(ids))
        own = torch.as_tensor(labels, dtype=torch.int64)
        if own.numel() and not 0 <= int(own.min()) <= int(own.max()) < self.num_classes:
            raise ValueError(
                f"labels={labels!r}, but the classes are 0 to {self.num_classes - 1}; give their "
                "numbers"
            )
        changed = self.train.labels.clone()
        changed[rows] = own
        # Under its own name a script would load the data with the labels that they had.
        name = f"{self.name}, relabelled"
        return replace(self, name=name, train=replace(self.train, labels=changed))

    def with_computed(self, computed: Computed | None) -> "Dataset":
        """Return the dataset with inputs that a frozen backbone computes, or without."""
        if all(part.computed is computed for part in self.parts.values()):
            return self
        train, probe, test = (replace(part, computed=computed) for part in self.parts.values())
        return replace(self, train=train, probe=probe, test=test)

    def without_groups(self) -> "Dataset":
        """Return the dataset without its groups."""
        if self.grouping is None:
            return self
        train, probe, test = (replace(part, groups=None) for part in self.parts.values())
        return replace(self, grouping=None, train=train, probe=probe, test=test)

    def groups_of(self, ids: Ids) -> Int64[np.ndarray, " group"]:
        """Return the numbers of the groups of these ids, ascending; none without groups.

        Ids that no part contains are left out.
        """
        known, numbers = self._groups_by_id
        return np.unique(numbers[np.isin(known, _as_ids(ids))])

    def count_groups(self, ids: Ids) -> int | None:
        """Return the number of groups that these ids belong to; None without groups."""
        return None if self.grouping is None else len(self.groups_of(ids))

    def group_names(self, ids: Ids) -> tuple[Hashable, ...]:
        """Return the names of the groups that these ids belong to, in the order of the groups.

        They say whose rows are due or owed: ``data.group_names(session.due())``.

        Raises:
            ValueError: the dataset has no groups.
        """
        names = self.named_grouping().names
        return tuple(names[number] for number in self.groups_of(ids).tolist())

    def group_of_each(self, ids: Ids) -> dict[int, Hashable]:
        """Return the name of the group of each id that a part contains; nothing without groups."""
        if self.grouping is None:
            return {}
        known, numbers = self._groups_by_id
        found = np.isin(known, _as_ids(ids))
        names = self.grouping.names
        pairs = zip(known[found].tolist(), numbers[found].tolist(), strict=True)
        return {i: names[number] for i, number in pairs}

    def examples(self, ids: Ids) -> tuple[Shaped[Tensor, " k *feature"], Tensor]:
        """Return inputs and labels of these ids from any part, in the given order.

        Raises:
            KeyError: no part contains some of the ids; the message lists the first of them.
        """
        wanted = _as_ids(ids)
        inputs = torch.empty(len(wanted), *self.train.input_shape, dtype=self.train.input_dtype)
        labels = self.train.labels.new_empty(len(wanted), *self.train.labels.shape[1:])
        missing = np.ones(len(wanted), bool)
        for part in self.parts.values():
            _, known = part.find(wanted)
            places = torch.from_numpy(np.flatnonzero(known))
            inputs[places], labels[places] = part[wanted[known]]
            missing &= ~known
        if missing.any():
            raise _unknown_ids(wanted[missing], self.parts)
        return inputs, labels

    def labels(self, ids: Ids) -> Tensor:
        """Return the labels of these ids from any part, in the given order.

        Nothing is computed for it, while the inputs of :meth:`examples` may be.

        Raises:
            KeyError: no part contains some of the ids; the message lists the first of them.
        """
        wanted = _as_ids(ids)
        labels = self.train.labels.new_empty(len(wanted), *self.train.labels.shape[1:])
        missing = np.ones(len(wanted), bool)
        for part in self.parts.values():
            rows, known = part.find(wanted)
            at = torch.from_numpy(np.flatnonzero(known))
            labels[at] = part.labels[torch.from_numpy(rows[known])]
            missing &= ~known
        if missing.any():
            raise _unknown_ids(wanted[missing], self.parts)
        return labels

    def raw(self, ids: Ids) -> Any:
        """Return the scaled features of these ids from any part, in the given order.

        Without a frozen backbone they are the inputs of models. Texts are returned as a list.

        Raises:
            KeyError: no part contains some of the ids.
        """
        wanted = _as_ids(ids)
        found = [(part, *part.find(wanted)) for part in self.parts.values()]
        missing = ~np.any([known for _, _, known in found], axis=0)
        if missing.any():
            raise _unknown_ids(wanted[missing], self.parts)
        if isinstance(self.train.features, Texts):
            texts: dict[int, str] = {}
            for part, _, known in found:
                texts |= dict(zip(wanted[known].tolist(), part.raw(wanted[known]), strict=True))
            return [texts[one] for one in wanted.tolist()]
        rows = self.train.raw(wanted[:0]).new_empty(len(wanted), *self.feature_shape)
        for part, _, known in found:
            rows[torch.from_numpy(np.flatnonzero(known))] = part.raw(wanted[known])
        return rows

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per example: id, part, :meth:`label_columns`, and group."""
        import pandas as pd

        frames = [
            pd.DataFrame(
                {
                    "id": examples.ids,
                    "part": part,
                    **self.label_columns(examples.labels),
                    **self._group_column(examples),
                }
            )
            for part, examples in self.parts.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def _group_column(self, examples: Examples) -> dict[str, list[Hashable]]:
        if self.grouping is None or examples.groups is None:
            return {}
        names = self.grouping.names
        return {"group": [names[number] for number in examples.groups.tolist()]}

    def label_columns(self, labels: Tensor) -> dict[str, np.ndarray]:
        """Return table columns: label and class_name, or for a regression the targets.

        Targets are in the units of the given values; their columns are named ``target``, or
        ``target_0``, ``target_1``, ... if there are several.
        """
        if not self.is_regression:
            names = np.array(self.class_names, object)
            return {"label": labels.numpy(), "class_name": names[labels.numpy()]}
        values = self.in_units(labels).numpy()
        many = values.shape[1] > 1
        return {f"target_{i}" if many else "target": column for i, column in enumerate(values.T)}

    def label_values(self, labels: Tensor) -> Shaped[np.ndarray, " k"]:
        """Return one number per label: its class, or for a regression the first target."""
        values: np.ndarray = (self.in_units(labels)[:, 0] if self.is_regression else labels).numpy()
        return values

    def label_texts(self, labels: Tensor) -> list[str]:
        """Return a text per label: the class name, or for a regression the targets."""
        if not self.is_regression:
            return [self.class_names[label] for label in labels.tolist()]
        rows = self.in_units(labels).tolist()
        return [", ".join(f"{value:.4g}" for value in row) for row in rows]

    @property
    def label_kind(self) -> str:
        """What a label is: ``"class"`` or ``"target"``."""
        return "target" if self.is_regression else "class"

    def __repr__(self) -> str:
        """Name, sizes, classes and input shape."""
        sizes = ", ".join(f"{len(examples)} {part}" for part, examples in self.parts.items())
        groups = "" if self.grouping is None else f"; {len(self.grouping)} groups"
        rates = "" if self.train.propensity is None else "; with propensities"
        return (
            f"Dataset({self.name!r}: {sizes}; {self._outputs_text}; inputs {self.feature_shape}"
            f"{groups}{rates})"
        )

    @property
    def _outputs_text(self) -> str:
        count = self.num_outputs
        if self.is_regression:
            return f"{count} target" + ("s" if count > 1 else "")
        return f"{count} classes"

    @property
    def _shown_target_names(self) -> tuple[str, ...]:
        return self.target_names or tuple(f"target {i}" for i in range(self.num_outputs))

    def _repr_html_(self) -> str:
        sizes = {part: f"{len(examples)} examples" for part, examples in self.parts.items()}
        facts = {
            **sizes,
            "inputs": f"(features - {self.train.offset:g}) / {self.train.scale:g}, "
            f"shape {self.feature_shape}",
        }
        if self.is_regression:
            constants = zip(self.target_offset, self.target_scale, strict=True)
            facts["targets"] = listed(
                [
                    f"({name} - {offset:g}) / {scale:g}"
                    for name, (offset, scale) in zip(
                        self._shown_target_names, constants, strict=True
                    )
                ],
                10,
            )
        else:
            facts["classes"] = f"{self.num_classes}: {listed(self.class_names, 10)}"
        if self.grouping is not None:
            facts["groups"] = f"{len(self.grouping)}, by {self.grouping.column}"
        if self.train.propensity is not None:
            facts["propensities"] = "relative rates of revocation, of each training example"
        said = {"source": self.source, "licence": self.licence}
        facts |= {word: text for word, text in said.items() if text}
        rows = "".join(
            f"<tr><th style='text-align:left'>{key}</th>"
            f"<td style='text-align:left'>{html.escape(fact)}</td></tr>"
            for key, fact in facts.items()
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"


def _pieces(ids: Int64[np.ndarray, " k"]) -> list[Int64[np.ndarray, " some"]]:
    return [ids[begin : begin + ROWS_AT_A_TIME] for begin in range(0, len(ids), ROWS_AT_A_TIME)]


def _bytes(rows: Shaped[Tensor, "k column"]) -> UInt8[np.ndarray, "k byte"]:
    rows = rows.contiguous()
    if rows.stride(-1) != 1:  # torch calls a single column contiguous whatever its stride
        rows = rows.clone(memory_format=torch.contiguous_format)
    raw: np.ndarray = rows.view(torch.uint8).numpy()
    return raw


def _as_ids(ids: Ids) -> Int64[np.ndarray, " k"]:
    if np.ma.is_masked(ids):
        raise TypeError("ids have masked entries; give those that are meant, as ids.compressed()")
    array = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if array.ndim == 1 and len(array) == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"ids of type {array.dtype} and shape {array.shape}; give a list or a one-dimensional "
            "array of whole numbers (np.flatnonzero(mask) converts a mask to positions)"
        )
    return array.astype(np.int64, copy=False)


def _unknown_ids(ids: Int64[np.ndarray, " k"], parts: Mapping[str, Examples]) -> KeyError:
    held = ", ".join(
        f"{part}: {len(examples)} ids from {examples.ids[0]} to {examples.ids[-1]}"
        for part, examples in parts.items()
        if len(examples)
    )
    return KeyError(f"unknown ids {listed(ids)}; the known ones are {held or 'none'}")
