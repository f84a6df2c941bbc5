"""A module's state: reading it, and the layers that keep batch statistics."""

import torch
from torch import nn

from unlearnkit.store.checkpoint import State


def batch_statistics_layers(module: nn.Module) -> list[nn.Module]:
    """Layers that normalise by statistics of the batch."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def get_state(module: nn.Module) -> State:
    """A copy of parameters and buffers, by name."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
