"""Checks of the features that a store keeps of a frozen backbone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8

from unlearnkit.data.examples import Dataset
from unlearnkit.models.frozen.features import features_of, origin_of, origins
from unlearnkit.records.same_bits import AuditError
from unlearnkit.store import DiskStore
from unlearnkit.store.feature_file import mark_of, read_features
from unlearnkit.training.environment import Environment
from unlearnkit.training.plan import Plan


def check_features(
    store: DiskStore, revoked: Int64[np.ndarray, " id"], data: Dataset | None
) -> Iterator[str]:
    """Check that the features in a store are of examples that are not revoked.

    Args:
        store: the store; it is only read.
        revoked: the ids of all requests.
        data: the data of the run; with them the mark of every row is checked as well.

    Yields:
        One sentence if the run has a frozen backbone.

    Raises:
        AuditError: a row of a revoked example is not empty, or a mark does not fit.
        StoreError: the file is not the store's.
    """
    found = _Stored.of(store)
    if found is None:
        return
    held = found.held
    for place in np.flatnonzero(np.isin(found.ids, revoked)).tolist():
        if held[place] or found.rows[place].view(np.uint8).any():
            raise AuditError(
                f"the features of the revoked example {found.ids[place]} are still in the folder"
            )
    text = f"features of {int(held.sum())} examples are kept, none of which is revoked"
    if data is not None:
        places = np.flatnonzero(held)
        expected, secret = found.expected(store, data, places), store.secret()
        for place, origin in zip(places.tolist(), expected, strict=True):
            mark = mark_of(secret, origin, found.rows[place])
            if mark != found.marks[place].tobytes():
                raise AuditError(
                    f"the features of example {found.ids[place]} were changed, or are not of the "
                    "run's data, backbone and environment; open the store in a session, which "
                    "computes them again"
                )
        text += "; their marks are those of the run's data, backbone and environment"
    yield text


def compare_features(store: DiskStore, plan: Plan) -> Iterator[str]:
    """Compare the features in a store with those that the backbone computes now.

    Args:
        store: the store; it is only read.
        plan: the plan of the current retain set, on the run's data.

    Yields:
        One sentence if the run has a frozen backbone.

    Raises:
        AuditError: features have other bits.
    """
    found, features = _Stored.of(store), features_of(plan.examples)
    if found is None or features is None:
        return
    held = found.held & np.isin(found.ids, plan.partition.ids[plan.retained])
    for begin in range(0, len(found.ids), 1024):
        places = begin + np.flatnonzero(held[begin : begin + 1024])
        fresh = features.rows(found.ids[places]).flatten(1)
        kept = torch.from_numpy(np.array(found.rows[places]))
        if fresh.numpy().tobytes() != kept.numpy().tobytes():
            wrong = np.flatnonzero((fresh != kept).any(1).numpy())[:1]
            raise AuditError(
                f"the features of example {found.ids[places[wrong]]} are not those that "
                f"{features.backbone.name} computes"
            )
    yield f"{int(held.sum())} features have the bits that the backbone computes"


class _Stored:
    """The features in a folder, with the ids of their rows."""

    def __init__(
        self, ids: Int64[np.ndarray, " row"], rows: Any, marks: UInt8[np.ndarray, "row 16"]
    ):
        self.ids, self.rows, self.marks = ids, rows, marks

    @property
    def held(self) -> Bool[np.ndarray, " row"]:
        """Which rows hold features."""
        held = self.marks.any(1)
        assert isinstance(held, np.ndarray)  # one for each row
        return held

    @classmethod
    def of(cls, store: DiskStore) -> "_Stored | None":
        """Return what a store holds; None without a frozen backbone, or before any feature."""
        told = (store.manifest or {}).get("backbone")
        if told is None:
            return None
        try:
            width = int(np.prod([int(n) for n in told["features"]]))
            arrays = store.arrays()
            ids = np.concatenate([arrays[part] for part in ("ids", "probe", "test")])
        except (KeyError, TypeError, ValueError) as error:
            raise AuditError(
                f"the run's backbone was not written by unlearnkit ({type(error).__name__}: "
                f"{error})"
            ) from error
        read = read_features(store.folder, len(ids), width)
        return None if read is None else cls(ids.astype(np.int64), *read)

    def expected(
        self, store: DiskStore, data: Dataset, places: Int64[np.ndarray, " k"]
    ) -> list[bytes]:
        """Return what the features at these places have to be computed from."""
        run = store.manifest or {}
        try:
            environment = Environment(**run["environment"]).digest
            origin = origin_of(str(run["backbone"]["digest"]), environment)
            slots = self.ids % int(run["backbone"]["batch size"])
        except (KeyError, TypeError, ValueError) as error:
            raise AuditError(
                f"the run does not tell its backbone and environment: {error}"
            ) from error
        contents = np.concatenate([part.digests for part in data.parts.values()])
        ids = np.concatenate([part.ids for part in data.parts.values()])
        order = np.argsort(ids)
        at = order[np.searchsorted(ids[order], self.ids[places])]
        return origins(origin, contents[at], slots[places])
