"""Chunks: how many rows pass through a module together follows the tensors that it makes."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from unlearnkit.models import chunks
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.chunks import CHUNK, CHUNK_BYTES, rows_together
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.training.ensemble import state_probabilities


def convolutional(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, outputs),
    )  # fmt: skip


def together(architecture: Architecture, inputs: Tensor) -> int:
    return rows_together(architecture, inputs)


class Largest(TorchDispatchMode):
    """Keeps the bytes of the largest tensor that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.size = max(self.size, made.nbytes)
        return made


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn"])
def test_built_in_models_keep_the_whole_chunk(model: str) -> None:
    assert together(as_architecture(model, (3, 32, 32), 10), torch.zeros(4, 3, 32, 32)) == CHUNK


def test_images_pass_through_a_convolution_in_chunks_that_fit() -> None:
    # The convolution makes 32 x 28 x 28 numbers of 4 bytes: 411 MB from 4,096 images.
    architecture = as_architecture(convolutional, (1, 28, 28), 10)
    rows = together(architecture, torch.randn(5, 1, 28, 28))
    assert rows == 512
    assert rows * 32 * 28 * 28 * 4 <= CHUNK_BYTES < 2 * rows * 32 * 28 * 28 * 4


def test_predictions_make_no_tensor_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300_000)
    architecture = as_architecture(convolutional, (1, 8, 8), 3)
    state, inputs = architecture.initial(0, 0), torch.randn(90, 1, 8, 8)
    with Largest() as seen:
        found = state_probabilities(architecture, CrossEntropy(), state, inputs)
    assert 150_000 < seen.size <= 300_000
    whole = architecture.module(state)(inputs).softmax(1)
    torch.testing.assert_close(found, whole)


def test_tensors_that_do_not_grow_with_the_rows_do_not_count() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(400, 300), nn.Linear(300, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.outer(nn.functional.linear(x, 2 * self.inner.weight).tanh())

    architecture = as_architecture(Tied, (400,), 2)
    together(architecture, torch.randn(4, 400))
    assert 300 * 4 in architecture.trials.values()


def test_few_rows_are_not_tried() -> None:
    architecture = as_architecture(convolutional, (1, 28, 28), 10)
    assert together(architecture, torch.randn(3, 1, 28, 28)) == CHUNK
    assert not architecture.trials
