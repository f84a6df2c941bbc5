"""Chunks: how many examples pass through a module at a time in evaluation mode.

A convolutional network makes several hundred kilobytes of activations from one image, a perceptron
one kilobyte from a row. The number of examples in a forward pass therefore follows the module.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Num
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from unlearnkit.interrupts import check
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.state import memory_of

CHUNK = 4096  # the most examples in a forward pass
CHUNK_BYTES = 64 << 20  # upper limit of bytes of the largest tensor that a forward pass makes
FEW = 3  # examples on which a module is observed


def rows_together(
    architecture: Architecture,
    inputs: Num[Tensor, "row ..."],
    most: int = CHUNK,
) -> int:
    """Return how many rows may pass through a module at a time.

    The number is ``most``, halved until no operation makes more than ``CHUNK_BYTES`` of output. The
    module is observed once for each shape of its inputs, on the first rows, as a new one, since it
    may remember what it is given.

    Args:
        architecture: architecture of the module; it keeps what was observed.
        inputs: its inputs.
        most: the most rows.
    """
    if len(inputs) <= FEW:
        return most
    if architecture.stack is not None:
        size = max(architecture.stack.widths[1:]) * inputs.element_size()
    else:
        key = f"bytes of a row of {tuple(inputs.shape[1:])} {inputs.dtype}"
        if key not in architecture.trials:
            module = architecture.module().to(inputs.device)
            if inputs.is_floating_point() and inputs.dtype != torch.float32:
                module = module.to(inputs.dtype)
            architecture.trials[key] = _bytes_of_row(module, inputs[:FEW])
        size = architecture.trials[key]
    rows = most
    while rows > 1 and rows * size > CHUNK_BYTES:
        rows //= 2
    return rows


def chunks(
    architecture: Architecture,
    inputs: Num[Tensor, "row ..."],
    most: int = CHUNK,
) -> Iterator[Num[Tensor, "some ..."]]:
    """Split inputs into chunks of :func:`rows_together` rows; the last may have fewer.

    The module is observed by this call, before the first chunk is taken. Between two chunks the
    work can be stopped.
    """
    return _stoppable(inputs.split(rows_together(architecture, inputs, most)))


def _stoppable(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    for part in parts:
        check()
        yield part


def _bytes_of_row(module: nn.Module, rows: Num[Tensor, "row ..."]) -> int:
    """Return the bytes by which the largest output of an operation grows with each row.

    Outputs that do not grow with the rows, such as weights that are computed from others, do not
    count if both passes run the same operations.
    """
    passes = []
    for count in (1, len(rows)):
        some = rows[:count].clone()
        with torch.no_grad(), _Sizes(memory_of(some)) as seen:
            module(some)
        passes.append(seen.sizes)
    one, many = passes
    if len(one) != len(many):
        return -(-max(many, default=0) // len(rows))
    growth = max((b - a for a, b in zip(one, many, strict=True)), default=0)
    return max(0, growth) // (len(rows) - 1)


class _Sizes(TorchDispatchMode):
    """Records the bytes of memory behind every tensor that an operation returns, but the inputs.

    Attributes:
        given: the memory of the inputs, as ``memory_of`` returns it.
        sizes: bytes of each tensor; 0 for a view of the inputs.
    """

    def __init__(self, given: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given, self.sizes = given, list[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):
                strided = each.layout is torch.strided
                size = each.untyped_storage().nbytes() if strided else each.nbytes
                self.sizes.append(0 if memory_of(each) == self.given else size)
        return made
