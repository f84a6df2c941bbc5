"""Solves with linearised stacks, in parameters and in outputs."""

import torch

from unlearnkit.approximate.linearised import Linearised, solve_dual, stack_parameters
from unlearnkit.models.losses import SquaredError
from unlearnkit.models.stack import Stack


def test_solving_by_outputs_stops_where_they_are_right():
    """Inputs of widely different size: what the right side does to the outputs tells little."""
    generator = torch.Generator().manual_seed(2)
    stack, loss = Stack(("head",), (60, 3), (), ()), SquaredError()
    inputs = 4 * torch.randn(200, 60, generator=generator) / torch.arange(1, 61) ** 2
    right = {
        "head.weight": torch.randn(3, 60, generator=generator),
        "head.bias": torch.randn(3, generator=generator),
    }
    state = {name: torch.zeros_like(part) for name, part in right.items()}
    design = torch.cat([inputs, torch.ones(200, 1)], 1)
    flat = torch.cat([right["head.weight"], right["head.bias"].unsqueeze(1)], 1)
    for damping in (0.01, 0.1, 1.0):
        system = design.T @ design / 200 + damping * torch.eye(61)
        expected = design @ torch.linalg.solve(system.double(), flat.T.double()).float()
        for tolerance in (0.1, 0.01):
            found = solve_dual(
                Linearised(
                    stack, loss, stack_parameters(stack, [state], loss), inputs.unsqueeze(0)
                ),
                torch.full((1, 200), 1 / 200),
                torch.tensor([damping]),
                [piece.clone() for piece in stack_parameters(stack, [right], loss)],
                iterations=50,
                tolerance=tolerance,
            )
            weight, bias = (piece[0] for piece in found.pieces)
            off = (inputs @ weight.T + bias - expected).norm() / expected.norm()
            assert off < tolerance and int(found.iterations) < 20
        seen = design @ flat.T / damping
        assert seen.norm() > 4 * expected.norm()  # a part of which is no part of the outputs
