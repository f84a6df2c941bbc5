"""The settings of the run in a store, which a session takes for whatever it is not given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from unlearnkit.data.datasets import DATASETS, load
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.builtin import MODELS, built_in
from unlearnkit.store import DiskStore, MemoryStore, StoreError
from unlearnkit.store.manifest import MANIFEST
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.spec import TrainSpec, spec_from

DEFAULT_DATA = "digits"


@dataclass(frozen=True, eq=False)
class StoredSettings:
    """Settings of a run; empty where there is no run, or where it does not tell.

    Attributes:
        folder: the folder of the store.
        data: name of the dataset.
        fingerprint: fingerprint of the dataset.
        model: the built-in model.
        own_model: name of a model of the user's own, which a store cannot rebuild.
        version: version that the built-in model was given.
        spec: values of the spec.
        own_loss: whether a loss of the user's own is missing in them.
        store: the store, for its partition.
    """

    folder: str = ""
    data: str | None = None
    fingerprint: str | None = None
    model: Any = None
    own_model: str | None = None
    version: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    own_loss: bool = False
    store: DiskStore | None = None

    def dataset(self) -> Dataset:
        """Load the run's dataset by its name; ``"digits"`` if there is no run.

        Raises:
            ValueError: the run's data are none of the named datasets.
        """
        if self.data is None or self.store is None:
            return load(DEFAULT_DATA)
        if self.data not in DATASETS:
            raise ValueError(
                f"the run in {self.folder} was trained on {self.data!r}, which is not in DATASETS; "
                "give the session the same data again"
            )
        return load(self.data, num_examples=len(self.store.arrays()["ids"]))

    def of(self, dataset: Dataset) -> "StoredSettings":
        """Return these settings, or none if the run's data are others."""
        same = self.fingerprint is None or self.fingerprint == dataset.fingerprint
        return self if same else StoredSettings()

    def chosen_model(self, model: Any, hidden: object) -> Any:
        """Return the model of a session that was given ``model``, or None.

        Raises:
            ValueError: no model was given, and the run's is the user's own.
        """
        if model is not None or hidden is not None:
            return model
        if self.own_model in MODELS:  # registered again by the user
            return self.own_model
        if self.own_model is not None:
            raise ValueError(
                f"the run in {self.folder} trained {self.own_model!r}, a model of your own that a "
                "store cannot rebuild; give it as model="
            )
        return self.model

    def chosen_spec(self, given: Mapping[str, Any]) -> TrainSpec | None:
        """Return the run's spec for a session that was given some fields; None without a run.

        Raises:
            ValueError: the run used a loss of the user's own, and none is given.
        """
        if not self.spec:
            return None
        if self.own_loss and given.get("loss") is None:
            raise ValueError(
                f"the run in {self.folder} was trained with a loss of your own that a store cannot "
                "rebuild; give it as loss="
            )
        return spec_from(dict(self.spec))

    def partition(self, examples: Examples, spec: TrainSpec) -> Partition:
        """Return the partition that the spec makes, or the run's if it was given another one.

        Raises:
            StoreError: the file of the run's partition is damaged.
            ValueError: there are too few examples for the spec.
        """
        made = make_partition(examples, spec)
        wanted = None if self.store is None else (self.store.manifest or {}).get("partition")
        if self.store is None or wanted in (None, made.digest):
            return made
        arrays = self.store.arrays()
        if not {"ids", "shard", "slice"} <= arrays.keys():
            return made
        ids, shard, slice_ = (arrays[name] for name in ("ids", "shard", "slice"))
        if not np.array_equal(ids, examples.ids) or not len(ids) == len(shard) == len(slice_):
            return made
        kept = Partition(np.asarray(examples.ids), shard, slice_, examples.digests)
        # With other numbers the store belongs to another run, as is said when it is opened.
        fits = (kept.num_shards, kept.num_slices) == (spec.num_shards, spec.num_slices)
        return kept if fits and kept.digest == wanted else made


def stored_settings(
    store: str | os.PathLike[str] | MemoryStore | DiskStore | None,
) -> StoredSettings:
    """Return the settings of the run in a store; empty if there is none, or none that are told.

    The store is only read here, without a lock. What is wrong with it is reported when the session
    opens it.
    """
    if isinstance(store, str | os.PathLike):
        try:
            if not (Path(store).expanduser() / MANIFEST).is_file():
                return StoredSettings()
            store = DiskStore(store, read_only=True)
        except (StoreError, OSError, ValueError):
            return StoredSettings()
    run = store.manifest if isinstance(store, DiskStore) else None
    if not isinstance(store, DiskStore) or not run:
        return StoredSettings()
    try:
        said = run["rebuild"]
        built, version = said["model"]["built-in"], said["model"]["version"]
        spec = dict(said["spec"])
        known = {*(f.name for f in fields(TrainSpec)), "kfac_examples"}
        if not spec.keys() <= known:
            return StoredSettings()
        own_loss = "loss" not in spec
        spec_from(spec)  # checks the values
        name = str(run["model"]["name"])
        return StoredSettings(
            str(store.folder),
            run["dataset"]["name"],
            run["dataset"]["fingerprint"],
            None if built is None else built_in(built),
            name if built is None else None,
            version if built is not None else None,
            spec,
            own_loss,
            store,
        )
    except (KeyError, TypeError, ValueError, AttributeError):  # an earlier version, or damaged
        return StoredSettings()
