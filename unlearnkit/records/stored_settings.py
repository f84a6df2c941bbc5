"""The settings of the run in a store, which a session takes for whatever it is not given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from unlearnkit.data.datasets import DATASETS, load
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.builtin import MODELS
from unlearnkit.records.stored_run import stored_model, stored_partition
from unlearnkit.store import DiskStore, MemoryStore, StoreError
from unlearnkit.store.manifest import MANIFEST
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.plan import check_schedule
from unlearnkit.training.spec import TrainSpec, spec_from

DEFAULT_DATA = "digits"
DATASET = ("name", "fingerprint")
MOST_SHOWN = 100  # characters of a stored value in an error
NUMBERS = ("num_shards", "num_slices", "epochs", "batch_size")  # that decide about sizes


@dataclass(frozen=True, eq=False)
class StoredSettings:
    """Settings of a run; empty where there is no run, or where it does not tell.

    Attributes:
        folder: the folder of the store.
        data: name of the dataset.
        fingerprint: fingerprint of the dataset.
        described: plain values that describe the built-in model.
        own_model: name of a model of the user's own, which a store cannot rebuild.
        version: version that the built-in model was given.
        spec: values of the spec.
        own_loss: whether a loss of the user's own is missing in them.
        store: the store, for its partition.
    """

    folder: str = ""
    data: str | None = None
    fingerprint: str | None = None
    described: Mapping[str, Any] | None = None
    own_model: str | None = None
    version: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    own_loss: bool = False
    store: DiskStore | None = None

    def dataset(self) -> Dataset:
        """Load the run's dataset by its name; ``"digits"`` if there is no run.

        Raises:
            StoreError: the named dataset has no part of the run's size, or its files are damaged.
            ValueError: the run's data are none of the named datasets.
        """
        if self.data is None or self.store is None:
            return load(DEFAULT_DATA)
        if self.data not in DATASETS:
            raise ValueError(
                f"the run in {self.folder} was trained on {self.data!r}, which is not in DATASETS; "
                "give the session the same data again"
            )
        count = self.store.arrays().get("ids", np.empty(0)).size
        try:
            dataset = load(self.data, num_examples=count)
        except ValueError as error:
            raise StoreError(
                f"the {count:,} examples of {self.data!r} in {self.folder} cannot be loaded "
                f"({error}); restore the folder from a copy, or give the session the same data "
                "again"
            ) from error
        if dataset.fingerprint != self.fingerprint:
            raise StoreError(
                f"{self.folder} belongs to another run. Its data: {self.data!r} with fingerprint "
                f"{str(self.fingerprint)[:MOST_SHOWN]}. The {count:,} examples of this name have "
                f"fingerprint {dataset.fingerprint}; give the session the data of the run"
            )
        return dataset

    def of(self, dataset: Dataset) -> "StoredSettings":
        """Return these settings, or none if the run's data are others."""
        same = self.fingerprint is None or self.fingerprint == dataset.fingerprint
        return self if same else StoredSettings()

    def chosen_model(self, model: Any, hidden: object, dataset: Dataset) -> Any:
        """Return the model of a session that was given ``model``, or None.

        Args:
            model: the model that the session was given.
            hidden: widths of hidden layers that it was given.
            dataset: the data of the session.

        Raises:
            StoreError: no model was given, and the run's does not fit the data or the checkpoints.
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
        if self.described is None or self.store is None:
            return None
        try:
            return stored_model(self.described, dataset, self.store)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as e:
            if isinstance(e, StoreError):
                raise
            raise StoreError(
                f"the model that the run in {self.folder} describes cannot be built "
                f"({type(e).__name__}: {e}); restore the folder from a copy, or give model="
            ) from e

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
            StoreError: the file of the run's partition is damaged, or holds none of these examples;
                or the run that the store describes is not possible.
            ValueError: there are too few examples for the spec.
        """
        try:
            partition = self._partition(examples, spec)
            if self.store is not None:
                check_schedule(partition, examples, spec)
        except ValueError as error:
            told = all(self.spec.get(name) == getattr(spec, name) for name in NUMBERS)
            if isinstance(error, StoreError) or not told:
                raise
            raise StoreError(
                f"the run that the store in {self.folder} describes is not possible ({error}); "
                "restore the folder from a copy, or use another one"
            ) from error
        return partition

    def _partition(self, examples: Examples, spec: TrainSpec) -> Partition:
        made = make_partition(examples, spec)
        wanted = None if self.store is None else (self.store.manifest or {}).get("partition")
        if self.store is None or wanted in (None, made.digest):
            return made
        kept = stored_partition(self.store, examples)
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
        name, data, fingerprint = run["model"]["name"], *map(run["dataset"].get, DATASET)
        if not all(isinstance(text, str) for text in (name, data, fingerprint, version or "")):
            return StoredSettings()
        return StoredSettings(
            str(store.folder),
            data,
            fingerprint,
            None if built is None else dict(built),
            name if built is None else None,
            version if built is not None else None,
            spec,
            own_loss,
            store,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        # An earlier version has written it, or it is damaged.
        return StoredSettings()
