"""Batch statistics, measured again at corrected parameters."""

import torch
from torch import nn

from unlearnkit.approximate.buffers import recompute_buffers
from unlearnkit.models.state import get_state


def test_running_statistics_are_those_of_the_retained_examples():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    inputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4 + 7
    state = recompute_buffers(module, get_state(module), inputs, chunk=50)
    assert torch.allclose(state["0.running_mean"], inputs.mean(0))
    assert torch.allclose(state["0.running_var"], inputs.var(0))
    assert module[0].momentum == 0.1
