"""How the parameters of a stack lie in one flat, aligned row."""

from collections.abc import Iterator
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from unlearnkit.models.stack import Stack
from unlearnkit.store.checkpoint import State

UNIT = 16  # floats in 64 bytes
NARROW = 4  # outputs of at most so many classes are padded to it


class Layout:
    """Where weights and biases of several lanes sit: [W1 of each | b1 of each | W2 ...].

    A piece of all lanes is one contiguous block, which batched products want. A W is kept as
    (in, out), but where few outputs follow on many inputs as (out, in), as torch has it. Measured
    on the products of 20 lanes, 600 inputs and 2 classes, forward and for the gradient: 176 and 197
    us as (in, 16), 442 and 429 as (in, 2), 98 and 93 as (4, in).
    """

    def __init__(self, stack: Stack) -> None:
        """Lay out a stack of linear layers."""
        self.stack = stack
        *inner, classes = stack.widths
        self.widths = (*map(padded, inner), NARROW if classes <= NARROW else padded(classes))
        self.flipped = [outer == NARROW for outer in self.widths[1:]]
        self.shapes: list[tuple[int, int]] = []
        for (rows, columns), flip in zip(pairwise(self.widths), self.flipped, strict=True):
            self.shapes += [(columns, rows) if flip else (rows, columns), (1, columns)]
        self.sizes = [rows * columns for rows, columns in self.shapes]
        self.size = sum(padded(size) for size in self.sizes)

    def pieces(self, flat: Float[Tensor, " float"], lanes: int) -> list[Tensor]:
        """Views (lane, in, out), or (lane, out, in), and (lane, 1, out) of so many lanes."""
        pieces, start = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            strides = (padded(size), shape[1], 1)
            pieces.append(flat.as_strided((lanes, *shape), strides, flat.storage_offset() + start))
            start += lanes * padded(size)
        return pieces

    def views(self, pieces: list[Tensor], lane: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, weight as torch has it and bias of every layer of a lane, without padding."""
        for i, name in enumerate(self.stack.linears):
            inner, outer = self.stack.widths[i : i + 2]
            weight, bias = pieces[2 * i][lane], pieces[2 * i + 1][lane, 0]
            yield name, (weight if self.flipped[i] else weight.T)[:outer, :inner], bias[:outer]

    def write(self, state: State, pieces: list[Tensor], lane: int) -> None:
        """Put a state into a lane that holds zeros."""
        for name, weight, bias in self.views(pieces, lane):
            weight.copy_(state[f"{name}.weight"])
            bias.copy_(state[f"{name}.bias"])


def padded(size: int) -> int:
    """A width as it is kept."""
    return -(-size // UNIT) * UNIT
