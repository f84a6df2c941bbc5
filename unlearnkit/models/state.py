"""Reading a module's state, and finding the layers that keep batch statistics."""

import torch
from torch import nn

from unlearnkit.store.checkpoint import State


def batch_statistics_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers that normalise by batch statistics."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def get_state(module: nn.Module) -> State:
    """Return a contiguous copy of all parameters and buffers, by name."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
