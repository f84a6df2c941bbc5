"""Keyed dropout: whose masks they are, and what they depend on."""

import pytest
import torch

from unlearnkit.models.dropout import KeyedDropout, StepContext


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
