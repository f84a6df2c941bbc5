"""Vectors of parameters: their order, and the way there and back."""

import pytest
import torch
from torch import nn

from unlearnkit.models.vector import flatten, head_names, trainable_names, unflatten


def test_a_vector_has_the_parameters_in_the_order_of_the_names() -> None:
    state = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor(5.0)}
    assert flatten(state, ("b", "a")).tolist() == [5, 1, 2, 3, 4]
    assert flatten(state, ("a",)).tolist() == [1, 2, 3, 4]
    back = unflatten(torch.arange(5.0), state, ("b", "a"))
    assert back["b"].shape == () and back["a"].tolist() == [[1, 2], [3, 4]]


def test_going_there_and_back_changes_no_bit_and_shares_nothing_with_the_state() -> None:
    state = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).state_dict()
    names = tuple(name for name in state if "num_batches" not in name)
    vector = flatten(state, names)
    for name, value in unflatten(vector, state, names).items():
        assert torch.equal(value, state[name])
        assert value.untyped_storage().data_ptr() == vector.untyped_storage().data_ptr()
    vector.zero_()
    assert state["0.weight"].abs().sum() > 0


def test_names_are_those_of_trainable_parameters_and_of_the_last_linear_layer() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    module[0].weight.requires_grad_(False)
    assert trainable_names(module) == ("0.bias", "1.weight", "1.bias", "2.weight")
    assert head_names(module) == ("2.weight",)
    with pytest.raises(ValueError, match=r"has no nn\.Linear"):
        head_names(nn.BatchNorm1d(4))


def test_wrong_names_and_lengths_are_refused() -> None:
    state = {"a": torch.zeros(2), "b": torch.zeros(3)}
    with pytest.raises(KeyError, match="the state has no parameter c; choose from a, b"):
        flatten(state, ("a", "c"))
    with pytest.raises(ValueError, match="no parameter names given"):
        flatten(state, ())
    with pytest.raises(ValueError, match="a vector of 4 numbers does not fit 5 parameters"):
        unflatten(torch.zeros(4), state, ("a", "b"))
