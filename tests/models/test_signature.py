"""Signatures: what a saved ensemble says of its inputs and outputs."""

import numpy as np
import pytest
import torch

from unlearnkit import from_arrays
from unlearnkit.models.signature import Signature

FEATURES, CLASSES = np.arange(80).reshape(20, 4), np.arange(20) % 2


@pytest.mark.parametrize("dtype", [None, torch.int64])
def test_a_signature_of_a_dataset_comes_back_from_its_values(dtype) -> None:
    data = from_arrays(FEATURES, CLASSES, class_names=["cat", "dog"], dtype=dtype)
    signature = Signature.of(data)
    assert signature.class_names == ("cat", "dog")
    assert getattr(torch, signature.dtype) == data.train.inputs().dtype
    values = signature.to_dict()
    assert Signature.from_dict(values) == signature
    assert values["inputs"]["dtype"] == ("float32" if dtype is None else "int64")


def test_targets_keep_their_units() -> None:
    data = from_arrays(FEATURES, CLASSES + 0.5, target_offset=3, target_scale=2)
    again = Signature.from_dict(Signature.of(data).to_dict())
    assert (again.target_offset, again.target_scale) == ((3.0,), (2.0,))


def test_values_that_are_no_signature_are_refused() -> None:
    values = Signature().to_dict()
    without = {**values, "inputs": {k: v for k, v in values["inputs"].items() if k != "dtype"}}
    assert Signature.from_dict(without) == Signature()  # as an earlier version saved it
    for dtype in ("load", "complex64", ["int64"]):
        with pytest.raises(ValueError, match="float32 or int64 was expected"):
            Signature.from_dict({**values, "inputs": {**values["inputs"], "dtype": dtype}})
    with pytest.raises(KeyError):
        Signature.from_dict({"inputs": {}})
