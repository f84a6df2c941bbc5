"""Keyed dropout: whose masks they are, and what they depend on."""

import pytest
import torch
from torch import nn

from unlearnkit.models.dropout import KeyedDropout, StepContext, key_dropout, step_context


@pytest.mark.parametrize("shared_dims", [0, 2])
def test_masks_of_survivors_stay_when_another_is_revoked(shared_dims: int) -> None:
    context = StepContext()
    dropout = KeyedDropout(0.5, shared_dims, context)
    x = torch.ones(6, 4, 3, 3)

    def masks(slots: list[int]) -> torch.Tensor:
        context.begin_step(torch.tensor(slots), 6, "key")
        return dropout(x[slots])

    everyone = masks([0, 1, 2, 3, 4, 5])
    assert set(everyone.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(masks([0, 2, 3, 5]), everyone[[0, 2, 3, 5]])
    assert torch.equal(masks([4]), everyone[[4]])
    if shared_dims:  # nn.Dropout2d drops whole channels
        assert (everyone.amin((2, 3)) == everyone.amax((2, 3))).all()


def test_masks_keep_the_mean_and_depend_on_the_key() -> None:
    context = StepContext()
    dropout = KeyedDropout(0.3, 0, context)
    x, seen = torch.ones(200, 50), []
    for step in range(2):
        context.begin_step(torch.arange(200), 200, step)
        seen.append(dropout(x))
    # 10,000 draws of variance .3/.7: five standard errors.
    assert all(abs(y.mean().item() - 1) < 5 * (0.3 / 0.7 / 10_000) ** 0.5 for y in seen)
    assert not torch.equal(*seen)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_over_another_dimension_than_the_batch_is_refused() -> None:
    context = StepContext()
    context.begin_step(torch.arange(3), 3, "key")
    with pytest.raises(ValueError, match=r"shape \(4, 3\) whose first dimension is not the batch"):
        KeyedDropout(0.5, 0, context)(torch.ones(4, 3))


class Renamed(nn.Dropout):
    """Computes what nn.Dropout computes."""

    def __init__(self) -> None:
        super().__init__(0.25)


class Halved(nn.Dropout):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 2


def test_one_layer_is_keyed_at_each_of_its_places() -> None:
    drop, elsewhere = nn.Dropout(0.5), nn.Module()
    elsewhere.layers = [drop]  # a plain list, which torch does not look into
    module = nn.Sequential(drop, nn.Linear(2, 2), drop, nn.Sequential(drop), elsewhere)
    key_dropout(module)
    assert {type(each) for each in (module[0], module[2], module[3][0], elsewhere.layers[0])} == {
        KeyedDropout
    }
    assert drop.context is step_context(module) and repr(drop) == "KeyedDropout(p=0.5)"


def test_hooks_and_a_changed_rate_stay_in_force() -> None:
    drop = nn.Dropout(0.5)
    drop.register_forward_hook(lambda layer, given, outputs: outputs + 7)
    module = nn.Sequential(drop)
    key_dropout(module)
    drop.context.begin_step(torch.arange(4), 4, "key")
    drop.p = 1.0
    assert (module(torch.ones(4, 2)) == 7).all()  # all dropped, as by nn.Dropout(1)


def test_subclasses_are_keyed_if_they_compute_the_same() -> None:
    plain = nn.Dropout()
    plain.forward = lambda x: x
    module = nn.Sequential(Renamed(), Halved(), nn.AlphaDropout(), nn.Dropout2d(0.1), plain)
    key_dropout(module)
    kinds = [KeyedDropout, Halved, nn.AlphaDropout, KeyedDropout, nn.Dropout]
    assert [type(layer) for layer in module] == kinds
    assert module[0].rate == 0.25 and module[3].shared_dims == 2
