"""Factories: which models are accepted, what is said of others, and that modules share nothing."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.seeding import state_bytes


class Maker:
    def small(self) -> nn.Module:
        return nn.Linear(4, 3)

    def sized(self, shape: tuple[int, ...], width: int) -> nn.Module:
        return nn.Linear(shape[0], width)

    def __call__(self) -> nn.Module:
        return self.small()


def optional(width: int = 3, *, bias: bool = True) -> nn.Module:
    return nn.Linear(4, width, bias)


def keyword(*, width: int) -> nn.Module:
    return nn.Linear(4, width)


def broken() -> nn.Module:
    raise RuntimeError("no such file.")


def forgetful() -> None:
    nn.Linear(4, 3)


@pytest.mark.parametrize(
    "model",
    [
        Maker().small,
        Maker().sized,
        Maker(),
        functools.partial(nn.Linear, 4, 3),
        lambda *args, **options: nn.Linear(4, 3),
        optional,
    ],
)
def test_callables_of_many_kinds_are_accepted(model: Callable[..., nn.Module]) -> None:
    assert as_architecture(model, (4,), 3).num_parameters == 15


@pytest.mark.parametrize(("kind", "model"), [(Logistic, Logistic()), (uk.MLP, uk.MLP())])
def test_the_class_of_a_built_in_model_stands_for_its_defaults(kind: type, model: object) -> None:
    one, two = as_architecture(kind, (4,), 3), as_architecture(model, (4,), 3)
    assert (one.name, one.digest, one.described) == (two.name, two.digest, two.described)


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (lambda a: nn.Linear(4, 3), TypeError, r"needs 1 argument \(a\).*lambda: Net\("),
        (keyword, TypeError, r"keyword needs 1 argument \(width=\).*lambda: keyword\("),
        (functools.partial(Maker().sized, (4,)), TypeError, r"needs 1 argument \(width\)"),
        (nn.Linear, TypeError, r"\(4,\) as 'in_features' and .* 3 as 'out_features'.*lambda: Line"),
        (dict, TypeError, "arguments of dict cannot be determined"),
        (broken, ValueError, "broken raised RuntimeError: no such file. It was called without"),
        (forgetful, TypeError, "forgetful returned a NoneType.*'return module'"),
        (lambda: (nn.Linear(4, 3), 1), TypeError, "returned a tuple.*return the module alone"),
        (lambda: nn.Linear, TypeError, "returned the class Linear.*return an instance"),
        (lambda: Maker(), TypeError, "returned a Maker.*return an instance"),
        (nn.DataParallel(nn.Linear(4, 3)), TypeError, "Return the module inside it: DataParallel"),
        (None, TypeError, "model is a NoneType; give a name"),
    ],
)
def test_other_models_are_refused_in_words(
    model: object, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        as_architecture(model, (4,), 3)


def test_an_architecture_for_other_data_is_refused() -> None:
    architecture = as_architecture("logistic", (4,), 3)
    assert as_architecture(architecture, (4,), 3) is architecture
    with pytest.raises(ValueError, match=r"made for features of shape \(4,\) and 3 outputs"):
        as_architecture(architecture, (5,), 3)


def test_a_module_that_is_returned_each_time_is_copied_at_once() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3))
    before = state_bytes(module.state_dict())
    architecture = as_architecture(lambda: module, (4,), 3)
    assert architecture.digest == as_architecture(lambda: module, (4,), 3).digest
    assert type(module[1]) is nn.Dropout  # the user's module is left alone
    with torch.no_grad():
        module[0].weight.zero_()
    assert state_bytes(architecture.initial(7, 1)) == before


def test_layers_in_common_are_copied_and_may_not_change() -> None:
    body, drop = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)), nn.Dropout(0.5)
    body.requires_grad_(False)
    before = state_bytes(body.state_dict())
    architecture = as_architecture(lambda: nn.Sequential(body, drop, nn.Linear(5, 3)), (4,), 3)
    assert state_bytes(body.state_dict()) == before and type(drop) is nn.Dropout
    heads = [architecture.initial(seed, 0)["2.weight"] for seed in (0, 1)]
    assert not torch.equal(*heads)
    with torch.no_grad():
        body[0].weight.zero_()
    with pytest.raises(ValueError, match=r"share '0.0.weight', .* its values have changed"):
        architecture.initial(0, 1)


def test_dropout_in_common_has_a_context_for_each_module() -> None:
    drop = nn.Dropout(0.5)
    architecture = as_architecture(lambda: nn.Sequential(nn.Linear(4, 3), drop), (4,), 3)
    one, other = (architecture.module()[1].context for _ in range(2))
    assert one is not other and type(drop) is nn.Dropout


def test_a_module_in_common_that_cannot_be_copied_is_refused() -> None:
    module = nn.Linear(4, 3)
    module.source = (row for row in [])
    with pytest.raises(ValueError, match="is the same each time, and it cannot be copied"):
        as_architecture(lambda: module, (4,), 3)
