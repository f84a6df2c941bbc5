"""The layout of lanes: where each weight lies, and that padding stays zero."""

from itertools import pairwise

import pytest
import torch

from unlearnkit.models.stack import Stack
from unlearnkit.training.kernels.layout import UNIT, Layout, padded


def stack_of(*widths: int) -> Stack:
    inner = len(widths) - 2
    names = tuple(str(layer) for layer in range(inner + 1))
    return Stack(names, widths, ("relu",) * inner, (0.0,) * inner)


@pytest.mark.parametrize("widths", [(5, 3), (5, 17, 3), (16, 16, 20), (1, 33, 2, 4)])
def test_what_is_written_is_read_and_the_rest_stays_zero(widths: tuple[int, ...]) -> None:
    layout, lanes = Layout(stack_of(*widths)), 3
    flat = torch.zeros(lanes * layout.size)
    pieces, numbers = layout.pieces(flat, lanes), torch.arange(1.0, 10_000.0)
    states = []
    for lane in range(lanes):
        state = {}
        for layer, (inner, outer) in enumerate(pairwise(widths)):
            for name, shape in (("weight", (outer, inner)), ("bias", (outer,))):
                size = torch.Size(shape).numel()
                state[f"{layer}.{name}"] = numbers[:size].reshape(shape)
                numbers = numbers[size:]
        layout.write(state, pieces, lane)
        states.append(state)
    for lane, state in enumerate(states):
        for name, weight, bias in layout.views(pieces, lane):
            assert torch.equal(weight, state[f"{name}.weight"])
            assert torch.equal(bias, state[f"{name}.bias"])
    written = torch.cat([value.flatten() for state in states for value in state.values()])
    # Every number lies in the buffer once, so that no two views overlap.
    assert torch.equal(flat[flat != 0].sort().values, written.sort().values)


def test_pieces_are_aligned_and_narrow_outputs_lie_the_other_way() -> None:
    assert [padded(width) for width in (1, 16, 17)] == [UNIT, UNIT, 2 * UNIT]
    layout = Layout(stack_of(5, 17, 3))
    assert layout.widths == (16, 32, 4) and layout.flipped == [False, True]
    assert layout.shapes == [(16, 32), (1, 32), (4, 32), (1, 4)]
    flat = torch.zeros(2 * layout.size)
    starts = [piece.storage_offset() for piece in layout.pieces(flat, 2)]
    assert all(start % UNIT == 0 for start in starts) and layout.size % UNIT == 0
