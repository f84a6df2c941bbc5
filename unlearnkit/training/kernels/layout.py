"""The memory layout of the parameters of several lanes in one flat, aligned buffer."""

from collections.abc import Iterator
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from unlearnkit.models.stack import Stack
from unlearnkit.store.checkpoint import State

UNIT = 16  # number of float32 values in 64 bytes; widths are padded to multiples of it
NARROW = 4  # outputs of at most NARROW classes are padded to NARROW instead


class Layout:
    """Positions of weights and biases of several lanes: [W1 of each | b1 of each | W2 ...].

    Each piece of all lanes is one contiguous block, as batched products require. Weights are stored
    as (in, out), except for narrow outputs, where products are faster with (out, in), torch's own
    order.

    Attributes:
        widths: padded widths of the input, the hidden layers and the output.
        flipped: whether each layer's weights are stored as (out, in).
        shapes: shape of each piece of a lane.
        sizes: number of values of each piece of a lane.
        size: number of values of a lane, padding included.
    """

    def __init__(self, stack: Stack) -> None:
        """Compute the layout of a stack of linear layers."""
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
        """Return views of a buffer: (lane, in, out) or (lane, out, in), and (lane, 1, out)."""
        pieces, start = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            strides = (padded(size), shape[1], 1)
            pieces.append(flat.as_strided((lanes, *shape), strides, flat.storage_offset() + start))
            start += lanes * padded(size)
        return pieces

    def views(self, pieces: list[Tensor], lane: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield name, weight (out, in) and bias of every layer of a lane, without padding."""
        for i, name in enumerate(self.stack.linears):
            inner, outer = self.stack.widths[i : i + 2]
            weight, bias = pieces[2 * i][lane], pieces[2 * i + 1][lane, 0]
            yield name, (weight if self.flipped[i] else weight.T)[:outer, :inner], bias[:outer]

    def write(self, state: State, pieces: list[Tensor], lane: int) -> None:
        """Copy a state into a lane that is zero, so that its padding stays zero."""
        for name, weight, bias in self.views(pieces, lane):
            weight.copy_(state[f"{name}.weight"])
            bias.copy_(state[f"{name}.bias"])


def padded(size: int) -> int:
    """Round a width up to a multiple of UNIT."""
    return -(-size // UNIT) * UNIT
