"""Checks of modules: what is refused, by the name of the layer or parameter."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.checks import check_module, describe_dtypes


def expanded() -> nn.Module:
    module = nn.Linear(4, 3)
    module.weight = nn.Parameter(torch.zeros(1, 4).expand(3, 4))
    return module


def infinite() -> nn.Module:
    module = nn.Linear(4, 3)
    nn.init.constant_(module.bias, torch.inf)
    return module


def buffered() -> nn.Module:
    module = nn.Linear(4, 3)
    module.register_buffer("places", torch.empty(2, device="meta"))
    return module


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.DataParallel(nn.Linear(4, 3)), TypeError, "DataParallel splits batches"),
        (lambda: nn.LazyLinear(3), ValueError, "'1.weight' of the LazyLinear layer '1' .* lazy"),
        (lambda: nn.Linear(4, 3, device="meta"), ValueError, "'1.weight' .* meta device"),
        (buffered, ValueError, "buffer '1.places' of the Linear layer '1' is on the meta device"),
        (expanded, ValueError, r"'1.weight' .* was expanded.*tensor.clone\(\)"),
        (infinite, ValueError, "parameter '1.bias' of the Linear layer '1' has NaN or infinite"),
        (lambda: nn.Embedding(5, 2, sparse=True), ValueError, r"'1' \(Embedding\).*sparse=False"),
        (lambda: nn.Embedding(5, 2, max_norm=1.0), ValueError, "without max_norm"),
        (lambda: nn.EmbeddingBag(5, 2, sparse=True), ValueError, r"\(EmbeddingBag\).*sparse=False"),
        (
            lambda: nn.BatchNorm1d(3, track_running_stats=False),
            ValueError,
            r"'1' \(BatchNorm1d\) keeps no running statistics.*other examples of its batch",
        ),
        (lambda: nn.SyncBatchNorm(3), ValueError, "between processes; use BatchNorm"),
    ],
)
def test_layers_and_parameters_are_refused_by_name(
    make: Callable[[], nn.Module], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=rf"net.*{match}"):
        check_module(nn.Sequential(nn.Tanh(), make()), "net")


@pytest.mark.slow  # importing torch's compiler takes seconds
def test_compiled_modules_are_refused_and_uncompiled_ones_are_not() -> None:
    def forward(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, layer.weight)

    kind, plain = (
        type("Kind", (nn.Linear,), {"forward": each(forward)})
        for each in (torch.compile, torch.compiler.disable)
    )
    in_place, replaced = nn.Linear(4, 3), nn.Linear(4, 3)
    in_place.compile()
    replaced.forward = torch.compile(replaced.forward)
    for module in (torch.compile(nn.Linear(4, 3)), in_place, replaced, kind(4, 3)):
        with pytest.raises(TypeError, match=r"layer '0' .* by the calls before.*module inside it"):
            check_module(nn.Sequential(module), "net")
    check_module(nn.Sequential(plain(4, 3)), "net")
    with pytest.raises(TypeError, match=r"forward is compiled by torch\.compile"):
        as_architecture(torch.compile(forward), (4,), 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_and_quantised_modules_are_refused() -> None:
    linear = nn.Sequential(nn.Linear(4, 3))
    for module in (torch.jit.script(linear), torch.jit.trace(linear, torch.ones(1, 4))):
        with pytest.raises(TypeError, match="TorchScript chooses its kernels by the calls before"):
            check_module(module, "net")
    class_ = type("Quantised", (nn.Module,), {"__module__": "torch.ao.nn.quantized.modules"})
    with pytest.raises(TypeError, match=r"layer '0' \(Quantised\) is quantised"):
        check_module(nn.Sequential(class_(), nn.Linear(4, 3)), "net")


def test_a_module_without_anything_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="it has no parameters"):
        check_module(nn.Flatten(), "net")
    with pytest.raises(ValueError, match="all its 2 parameters are frozen"):
        check_module(nn.Linear(4, 3).requires_grad_(False), "net")


def test_unusual_modules_that_can_be_trained_pass() -> None:
    mask = nn.Linear(4, 3)
    mask.register_buffer("mask", torch.full((2, 2), -torch.inf))
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    normed = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=None), nn.InstanceNorm1d(3))
    for module in (mask, tied, normed, nn.Linear(4, 3).double()):
        check_module(module, "net")


def test_another_dtype_is_named() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3).half())
    assert "parameter '1.weight' of the Linear layer '1' is torch.float16" in describe_dtypes(
        module
    )
    assert describe_dtypes(nn.Linear(4, 3)) == ""
