"""Checks of what a store says of its run, before memory is taken up for it.

A folder may come from a stranger, who may have written any model, spec and partition into it.
"""

from typing import Any

import numpy as np
import torch

from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.models.builtin import built_in
from unlearnkit.store import DiskStore, State, StoreError
from unlearnkit.training.partition import Partition

# Limits for a built-in model of which the store holds no checkpoint.
MOST_NUMBERS, MOST_LAYERS = 2**26, 1000
MOST_SLICES = 16  # slices of all shards together, for each example


def stored_model(described: Any, dataset: Dataset, store: DiskStore) -> Any:
    """Return the built-in model that a store describes, if its size is that of the checkpoints.

    If the store holds no checkpoint, only small models are returned. Neither takes up memory.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError: the values
            do not describe a built-in model for this data, or one of another size.
    """
    state = _any_state(store)
    most = MOST_LAYERS if state is None else len(state)
    if any(isinstance(value, list) and len(value) > most for value in described.values()):
        raise ValueError(f"the model has more than {most} layers")
    model = built_in(described)
    with torch.device("meta"):
        module = model(dataset.feature_shape, dataset.num_outputs)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    count = sum(shape.numel() for shape in shapes.values())
    if state is None and count > MOST_NUMBERS:
        raise ValueError(
            f"the model has {count:,} numbers, and the store holds no checkpoint of this size; if "
            "they are right, give the model"
        )
    if state is not None and {name: tensor.shape for name, tensor in state.items()} != shapes:
        raise ValueError("the model's parameters do not match the checkpoints")
    return model


def _any_state(store: DiskStore) -> State | None:
    """Return the state of any checkpoint in a store; None if there is none."""
    for key in sorted(store.keys):
        return store.get(key).state
    for base in sorted(store.bases):
        approximation = store.approximation(base)
        for checkpoint in () if approximation is None else approximation.checkpoints.values():
            return checkpoint.state
    return None


def stored_partition(store: DiskStore, examples: Examples) -> Partition:
    """Return the partition in a store, of these examples.

    Raises:
        StoreError: its arrays are damaged, or are not a partition of these examples.
    """
    arrays, count = store.arrays(), len(examples)
    found = [arrays.get(name) for name in ("ids", "shard", "slice")]
    if any(a is None or a.shape != (count,) or a.dtype.kind != "i" for a in found):
        raise _not_a_partition(store, "it has no three arrays of one whole number per example")
    ids, shard, slice_ = (np.asarray(array) for array in found)
    if not np.array_equal(ids, examples.ids):
        raise _not_a_partition(store, "its ids are others")
    if shard.min() < 0 or slice_.min() < 1:
        raise _not_a_partition(store, "it has shards below 0 or slices below 1")
    if (int(shard.max()) + 1) * int(slice_.max()) > MOST_SLICES * count:
        raise _not_a_partition(
            store, f"it has {int(shard.max()) + 1} shards of {slice_.max()} slices"
        )
    return Partition(np.asarray(examples.ids), shard, slice_, examples.digests)


def _not_a_partition(store: DiskStore, why: str) -> StoreError:
    return StoreError(
        f"the partition stored in {store.folder} is not one of the run's examples ({why}); restore "
        "it from a copy, or use another folder"
    )
