"""The built-in models: their fields, and the plain values that describe them."""

import json
from collections.abc import Callable

import pytest

from unlearnkit import CNN, MLP, TrainSpec
from unlearnkit.models.builtin import built_in, describe


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MLP(()), ValueError, "at least one width"),
        (lambda: MLP((0,)), ValueError, "at least one width"),
        (lambda: MLP((2.5,)), TypeError, "give whole numbers"),
        (lambda: MLP(8), TypeError, r"a width for each layer, \(8,\)"),
        (lambda: MLP((True,)), TypeError, "give whole numbers"),
        (lambda: CNN((8, 0)), ValueError, "give two numbers, each 1 or more"),
        (lambda: CNN((8, 1.5)), TypeError, "give whole numbers"),
        (lambda: MLP((3,), "sigmoid"), KeyError, "relu, gelu, tanh"),
        (lambda: MLP((3,), dropout=1.0), ValueError, "dropout=1.0 is out of range"),
    ],
)
def test_bad_fields_are_refused(
    make: Callable[[], object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        make()


def test_plain_values_say_all_of_a_built_in_model() -> None:
    model = MLP((4, 3), activation="tanh", dropout=0.5)
    assert built_in(json.loads(json.dumps(describe(model)))) == model
    assert describe("mlp") == describe(MLP()) and describe(lambda: None) is None
    spec = TrainSpec(loss="squared-error", seed=5)
    assert TrainSpec(**json.loads(json.dumps(spec.to_dict()))) == spec
