"""The features of a data set: computed once for each example, kept, and destroyed with it.

They are kept in memory, or in a file of the store that is mapped into memory. A fork reads the same
memory or the same file. Features of an example that is forgotten are overwritten at once, but not
those of a fork, which forgets for itself. If they are needed once more, as for a comparison on
forgotten examples, they are computed again, to the same bits, and not kept.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from unlearnkit.data.column_constants import warn_of_features
from unlearnkit.data.conversion import listed
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.reading.texts import TEXT, Texts
from unlearnkit.interrupts import check
from unlearnkit.models.frozen.backbone import Backbone, Frozen, RowKind, Rows
from unlearnkit.models.frozen.trial import TRIED, same_bytes, try_backbone
from unlearnkit.seeding import digest
from unlearnkit.store.disk import DiskStore
from unlearnkit.store.feature_file import FeatureFile

OnRows = Callable[[int, int], None]  # called with the numbers of examples done and in all


def with_features(dataset: Dataset, model: Any, num_threads: int = 1) -> Dataset:
    """Return a data set whose inputs a frozen backbone computes; others stay as they are.

    Args:
        dataset: the data.
        model: the model of a session; a data set is changed for a :class:`Frozen` one.
        num_threads: compute threads of torch while features are computed.

    Raises:
        TypeError, ValueError: the backbone cannot be used; see
            :class:`~unlearnkit.models.frozen.backbone.Backbone`.
    """
    if not isinstance(model, Frozen):
        return dataset.with_computed(None)
    known = dataset.train.computed
    if isinstance(known, Features) and known.is_of(model, num_threads):
        features = known.fork(forgotten=False)
    else:
        parts = dataset.with_computed(None).parts
        features = Features(Backbone(model, _kind_of(dataset), num_threads), parts)
    return dataset.with_computed(features)


def features_of(examples: Examples) -> "Features | None":
    """Return the features that a frozen backbone computes for examples; None without one."""
    found = examples.computed
    return found if isinstance(found, Features) else None


def backbone_of(examples: Examples) -> Backbone:
    """Return the backbone that computes the inputs of examples.

    Raises:
        TypeError: there is none.
    """
    found = features_of(examples)
    if found is None:
        raise TypeError(
            "the model is a uk.Frozen, but the data have no features yet; give it to a session or "
            "an estimator, or make the data with_features(dataset, model)"
        )
    return found.backbone


def origin_of(backbone: str, environment: str) -> str:
    """Return what the features of a run have in common, from the digests of both."""
    return digest(backbone, environment)


def origins(
    origin: str, contents: UInt8[np.ndarray, "k 16"], places: Int64[np.ndarray, " k"]
) -> list[bytes]:
    """Return for each example what identifies its features: run, content and place in a batch."""
    begin, slots = origin.encode(), places.astype("<i8")
    return [
        begin + content.tobytes() + slot.tobytes()
        for content, slot in zip(contents, slots, strict=True)
    ]


def _kind_of(dataset: Dataset) -> RowKind:
    if isinstance(dataset.train.features, Texts):
        return RowKind((), TEXT)
    whole = dataset.train.features.dtype == torch.int64
    return RowKind(dataset.feature_shape, "int64" if whole else "float32")


class Features:
    """The features of all examples of a data set, found by id.

    It is what :class:`~unlearnkit.data.examples.Examples` holds as ``computed``. Features are
    computed when they are first needed.

    Attributes:
        backbone: the backbone.
    """

    def __init__(self, backbone: Backbone, parts: Mapping[str, Examples]) -> None:
        """Start without any features.

        Args:
            backbone: computes the features.
            parts: the raw examples of each part.
        """
        self.backbone, self._parts = backbone, dict(parts)
        self._bounds = np.cumsum([0, *map(len, self._parts.values())])
        self._ids = np.concatenate([part.ids for part in self._parts.values()])
        self._order = np.argsort(self._ids, kind="stable")
        self._sorted = self._ids[self._order]
        count = len(self._ids)
        self._present = np.zeros(count, bool)
        self._claimed = np.zeros(count, bool)  # marked in the file, and not verified yet
        self._forgotten = np.zeros(count, bool)
        self._values: Tensor | None = None
        self._file: FeatureFile | None = None
        self._origin = ""
        self._shared = False  # whether another object may read the same values
        self._base: FeatureFile | None = None  # of a fork: the file that its values are a map of
        self._own = np.zeros(count, bool)  # rows of a fork that no longer follow the file
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        kept, count = int((self._present | self._claimed).sum()), len(self._ids)
        return f"Features({self.backbone.name}, {kept:,} of {count:,} examples kept)"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the file and the lock, so that an estimator can be pickled."""
        with self._lock:
            state = dict(self.__dict__)
            if self._file is not None or self._base is not None:
                state["_values"] = self._tensor().clone()
        state |= {"_file": None, "_base": None, "_shared": False}
        state |= {"_claimed": np.zeros_like(self._claimed), "_own": np.zeros_like(self._own)}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`__getstate__` returned."""
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example's features."""
        return self.backbone.features_shape

    @property
    def width(self) -> int:
        """Number of values of one example's features."""
        return torch.Size(self.shape).numel()

    @property
    def kept(self) -> Int64[np.ndarray, " id"]:
        """The ids whose features are kept, ascending."""
        return np.sort(self._ids[self._present | self._claimed])

    def is_of(self, frozen: Frozen, num_threads: int) -> bool:
        """Whether these are features of the same backbone object, computed in the same way."""
        own = self.backbone
        return own.frozen is frozen and own.num_threads == num_threads

    def digests(self, ids: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k 16"]:
        """Return the digests of the raw contents of these ids."""
        places = self._places(ids)
        found = np.empty((len(places), 16), np.uint8)
        for part, own, at in self._by_part(places):
            found[own] = part.digests[at]
        return found

    def fork(self, *, forgotten: bool = True) -> Self:
        """Return a copy that computes, keeps and forgets for itself.

        It shares memory with these features until either forgets. Of features in a file the copy is
        a private map, which takes memory only for the rows that it computes or forgets, or that the
        session with the file forgets.

        Args:
            forgotten: whether the copy has forgotten the same examples; otherwise none.
        """
        with self._lock:
            other = copy.copy(self)
            other._lock = threading.RLock()
            other._parts = dict(self._parts)
            other._present, other._claimed = self._present.copy(), self._claimed.copy()
            other._forgotten, other._own = self._forgotten.copy(), self._own.copy()
            if not forgotten:
                other._forgotten[:] = False
            file = self._file or self._base
            if file is None:
                self._shared = other._shared = self._values is not None
                return other
            other._file, other._base = None, file
            other._values = file.private(other).view(-1, *self.shape)
            own = torch.from_numpy(np.flatnonzero(self._own))
            other._values[own] = self._tensor()[own]
            return other

    def take(self, places: Int64[np.ndarray, " k"]) -> None:
        """Keep rows of a private map in memory, because the file is about to lose them.

        What this fork has not verified yet it computes again when it is needed.
        """
        with self._lock:
            self._claimed[places] = False
            wanted = places[self._present[places] & ~self._own[places]]
            rows = torch.from_numpy(wanted)
            self._tensor()[rows] = self._tensor()[rows]
            self._own[wanted] = True

    # Keeping

    def keep_in(self, store: Any, environment: str) -> None:
        """Keep the features in a store, if it is one on disk that can be written.

        Features of this data set, backbone and environment that are there already are used.

        Args:
            store: the store of the session.
            environment: digest of the environment.

        Raises:
            StoreIOError: there is not enough space.
        """
        if not isinstance(store, DiskStore) or store.read_only:
            return
        with self._lock:
            kept = np.flatnonzero(self._present)
            before = None if not len(kept) else self._tensor()[torch.from_numpy(kept)]
            self._origin = origin_of(self.backbone.digest, environment)
            self._file = FeatureFile(store, len(self._ids), self.width)
            self._values = self._file.values.view(-1, *self.shape)
            self._base, self._own[:] = None, False
            self._claimed = self._file.filled.copy()
            self._present[:] = False
            if before is not None:
                self._keep(kept, before)

    def forget(self, ids: Int64[np.ndarray, " k"]) -> None:
        """Destroy the features of examples, and never keep them again.

        Args:
            ids: ids of forgotten examples; those of other data sets do not matter.

        Raises:
            StoreIOError: the file of features could not be written.
        """
        at = np.minimum(np.searchsorted(self._sorted, ids), max(0, len(self._ids) - 1))
        places = self._order[at[self._sorted[at] == ids]] if len(self._ids) else at[:0]
        with self._lock:
            held = places[self._present[places] | self._claimed[places]]
            self._forgotten[places] = True
            if not len(held):
                return
            held = np.sort(held)
            if self._file is not None and self._file.writable:
                self._file.erase(held)
            elif self._file is None:
                if self._shared:  # what a fork reads stays as it is
                    self._values, self._shared = self._tensor().clone(), False
                self._tensor()[torch.from_numpy(held)] = 0
                self._own[held] = True
            self._present[held] = self._claimed[held] = False

    def of_others(self, examples: Examples) -> Examples:
        """Return examples whose inputs the same backbone computes, beside these and in memory."""
        return replace(examples, computed=Features(self.backbone, {"train": examples}))

    def of_dataset(self, dataset: Dataset) -> Dataset:
        """Return a data set whose inputs the same backbone computes, beside these and in memory."""
        plain = dataset.with_computed(None)
        return plain.with_computed(Features(self.backbone, plain.parts))

    def release_contents(self, part: str, examples: Examples) -> None:
        """Replace the raw examples of a part, of which some contents were overwritten."""
        self._parts[part] = examples

    # Reading

    def rows(self, ids: Int64[np.ndarray, " k"]) -> Float32[Tensor, " k *input"]:
        """Return the features of these ids as a new tensor, computing those that are not kept.

        Raises:
            ValueError: a feature is not finite, or the backbone fails or has changed.
        """
        ids = np.asarray(ids, np.int64)
        places = self._places(ids)
        self.compute(ids)
        with self._lock:
            lacking = np.flatnonzero(~self._present[places])
            found = self._tensor().index_select(0, torch.from_numpy(places))
        if len(lacking):  # forgotten ones, which are not kept
            self.try_out(ids[lacking])
            self.backbone.check()
            some, back = np.unique(places[lacking], return_inverse=True)
            fresh = torch.empty(len(some), *self.shape)
            for batch, own in self._batches(some):
                fresh[torch.from_numpy(own)] = self._features_of(batch)
            found[torch.from_numpy(lacking)] = fresh[torch.from_numpy(back)]
        return found

    def stored(
        self, ids: Int64[np.ndarray, " k"]
    ) -> tuple[Float32[Tensor, " n *input"], Int64[np.ndarray, " k"]]:
        """Return the tensor that keeps all features, and the places of these ids in it.

        Raises:
            ValueError: as :meth:`rows`.
        """
        self.compute(ids)
        places = self._places(ids)
        if self._present[places].all():
            return self._tensor(), places
        return self.rows(ids), np.arange(len(ids))  # they cannot be kept, as in a closed store

    def compute(
        self,
        ids: Int64[np.ndarray, " k"],
        on_rows: OnRows | None = None,
    ) -> None:
        """Compute and keep the features of these ids that are neither kept nor forgotten.

        Args:
            ids: ids of examples.
            on_rows: called after each batch; it may raise an error to stop.

        Raises:
            ChangedBackboneError: the backbone has changed.
            ValueError: a feature is not finite, or the backbone fails.
        """
        places = self._places(ids)
        with self._lock:
            self._verify(places[self._claimed[places]])
            self._follow_file(places)
            wanted = places[~self._present[places] & ~self._forgotten[places]]
            if not len(wanted) or not self._can_keep:
                return
            self.try_out(self._ids[wanted])
            rest = np.unique(wanted[~self._present[wanted]])
            if not len(rest):
                return
            self.backbone.check()
            done, first = 0, None
            for batch, _ in self._batches(rest):
                check()
                features = self._features_of(batch)
                self._keep(batch, features)
                first = (batch, features) if first is None else first
                done += len(batch)
                if on_rows is not None:
                    on_rows(done, len(rest))
            assert first is not None
            self._repeat(*first, rest)

    def try_out(self, ids: Int64[np.ndarray, " k"]) -> None:
        """Try the backbone on some of these examples, unless it was tried before.

        Raises:
            ValueError: it is not deterministic, or rows of a batch influence each other.
        """
        with self._lock:
            if TRIED in self.backbone.trials or not len(ids):
                return
            some = np.sort(ids)[: self.backbone.batch_size]
            tried, features = try_backbone(self.backbone, some, self._raw(self._places(some)))
            places = self._places(tried)
            fresh = ~self._present[places] & ~self._forgotten[places]
            if self._can_keep:
                self._keep(places[fresh], features[torch.from_numpy(fresh)])

    def warn_of_magnitudes(self) -> None:
        """Warn if the features that are kept are far from 1; nothing is computed for it."""
        some = np.flatnonzero(self._present & ~self._forgotten)[: self.backbone.batch_size]
        if len(some):
            warn_of_features(self.backbone.name, self._tensor()[torch.from_numpy(some)].flatten(1))

    # Implementation

    @property
    def _can_keep(self) -> bool:
        return self._file is None or self._file.writable

    def _tensor(self) -> Float32[Tensor, " n *input"]:
        if self._values is None:
            self._values = torch.zeros(len(self._ids), *self.shape)
        return self._values

    def _places(self, ids: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
        """Return the places of ids in the tensor of all features.

        Raises:
            KeyError: an id is not known.
        """
        ids = np.asarray(ids, np.int64)
        if not len(self._ids):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, ids), len(self._ids) - 1)
        missing = self._sorted[at] != ids
        if missing.any():
            raise KeyError(f"unknown ids {listed(ids[missing])}")
        return self._order[at]

    def _by_part(
        self, places: Int64[np.ndarray, " k"]
    ) -> Iterator[tuple[Examples, Int64[np.ndarray, " j"], Int64[np.ndarray, " j"]]]:
        """Yield each part with the positions of its examples in ``places``, and in the part."""
        for number, part in enumerate(self._parts.values()):
            begin, end = self._bounds[number], self._bounds[number + 1]
            own = np.flatnonzero((places >= begin) & (places < end))
            if len(own):
                yield part, own, places[own] - begin

    def _raw(self, places: Int64[np.ndarray, " k"]) -> Rows:
        """Return the scaled rows at these places."""
        rows = self.backbone.kind.blank(len(places))
        for part, own, at in self._by_part(places):
            given = part.raw(part.ids[at])
            if isinstance(rows, Tensor):
                rows[torch.from_numpy(own)] = given
                continue
            for place, text in zip(own.tolist(), given, strict=True):
                rows[place] = text
        return rows

    def _batches(
        self, places: Int64[np.ndarray, " k"]
    ) -> Iterator[tuple[Int64[np.ndarray, " j"], Int64[np.ndarray, " j"]]]:
        """Yield the places of each batch, and their positions among the given ones.

        The rows of a batch are any whose ids demand different places in it: its other rows have no
        influence on a row. So few rows of widely spread ids need few batches.
        """
        slots = self.backbone.places(self._ids[places])
        order = np.argsort(slots, kind="stable")
        ranks = np.arange(len(order)) - np.searchsorted(slots[order], slots[order])
        order = order[np.argsort(ranks, kind="stable")]
        for own in np.split(order, np.flatnonzero(np.diff(np.sort(ranks))) + 1):
            if len(own):
                yield places[own], own

    def _features_of(self, places: Int64[np.ndarray, " k"]) -> Float32[Tensor, " k *input"]:
        """Compute the features of examples of one batch."""
        ids = self._ids[places]
        found = self.backbone.at_places(self._raw(places), self.backbone.places(ids))
        self.backbone.refuse_not_finite(found, ids, "examples")
        return found

    def _keep(self, places: Int64[np.ndarray, " k"], features: Tensor) -> None:
        if self._file is not None:
            order = np.argsort(places)
            places, features = places[order], features[torch.from_numpy(order)]
            self._file.write(places, features.flatten(1), self._origins(places))
        else:
            self._tensor()[torch.from_numpy(places)] = features
            self._own[places] = True
        self._present[places] = True
        self._claimed[places] = False

    def _drop(self, places: Int64[np.ndarray, " k"]) -> None:
        """Forget computed features, so that they are computed again when they are needed."""
        if self._file is not None and self._file.writable:
            self._file.erase(np.sort(places))
        self._present[places] = self._claimed[places] = False

    def _verify(self, places: Int64[np.ndarray, " k"]) -> None:
        """Use the rows of the file at these places whose mark fits."""
        file = self._file or self._base
        if file is None or not len(places):
            return
        places = np.unique(places)
        fits = file.fitting(places, self._origins(places))
        self._claimed[places] = False
        self._present[places[fits]] = True

    def _follow_file(self, places: Int64[np.ndarray, " k"]) -> None:
        """Keep rows of a private map in memory once the store may be another process's.

        That process may erase rows at any time and tells nobody, so what was read is verified.
        """
        if self._base is None or self._base.writable:
            return
        some = np.unique(places[self._present[places] & ~self._own[places]])
        self.take(some)
        rows = self._tensor()[torch.from_numpy(some)].flatten(1)
        fits = self._base.fitting(some, self._origins(some), rows.numpy())
        self._present[some[~fits]] = False

    def _origins(self, places: Int64[np.ndarray, " k"]) -> list[bytes]:
        """For each place, what its features are computed from: content, place, backbone, run."""
        ids = self._ids[places]
        return origins(self._origin, self.digests(ids), self.backbone.places(ids))

    def _repeat(
        self,
        places: Int64[np.ndarray, " k"],
        features: Tensor,
        everything: Int64[np.ndarray, " all"],
    ) -> None:
        """Compute the first batch of a pass again; if it differs, keep nothing of the pass."""
        try:
            self.backbone.check()
            again = self._features_of(places)
        except BaseException:
            self._drop(everything)
            raise
        if not same_bytes(again, features):
            self._drop(everything)
            raise ValueError(
                f"{self.backbone.name} gave other features for the first batch when it was "
                "repeated after the others, so no retraining is exact; remove what it draws, "
                "counts or keeps between calls"
            )
