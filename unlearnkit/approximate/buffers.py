"""Recomputing the running batch statistics of a module at corrected parameters."""

import torch
from jaxtyping import Num
from torch import Tensor, nn

from unlearnkit.models.state import batch_statistics_layers, get_state
from unlearnkit.store.checkpoint import State


def recompute_buffers(
    module: nn.Module, state: State, inputs: Num[Tensor, "member ..."], chunk: int = 256
) -> State:
    """Return the state with its running statistics averaged over batches of these inputs alone.

    Running statistics from training with the forget set would depend on it.
    """
    module.load_state_dict(state)
    layers = batch_statistics_layers(module)
    momenta = [layer.momentum for layer in layers]
    module.eval()
    for layer in layers:
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]  # None: the plain average of all batches
        layer.train()
    with torch.no_grad():
        for part in inputs.split(chunk):
            if len(part) > 1:
                module(part)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    module.eval()
    return get_state(module)
