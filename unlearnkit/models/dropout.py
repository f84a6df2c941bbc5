"""Dropout whose masks are keyed by seed, shard, stage, epoch and step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearnkit.seeding import (
    derive,
)


@dataclass
class StepContext:
    """Where training is: what a keyed dropout needs to draw its masks."""

    generator: torch.Generator = field(default_factory=torch.Generator)
    slots: Tensor | None = None
    num_slots: int = 0

    def begin_step(self, slots: Tensor, num_slots: int, *key: int | str) -> None:
        """Enter a step: the survivors sit in ``slots`` of ``num_slots``."""
        self.generator.manual_seed(derive(*key))
        self.slots, self.num_slots = slots, num_slots


class KeyedDropout(nn.Module):
    """Dropout whose masks are a function of (seed, shard, stage, epoch, step) and the slot.

    The mask is drawn for the full slot shape and read at the survivors' slots, so revoking one
    example leaves the masks of all others as they were.
    """

    def __init__(self, rate: float, shared_dims: int, context: StepContext) -> None:
        """Drop with this rate; the last ``shared_dims`` dimensions share one mask value."""
        super().__init__()
        self.rate, self.shared_dims, self.context = rate, shared_dims, context

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale while training; pass through otherwise."""
        if not self.training or self.rate == 0:
            return x
        slots = self.context.slots
        if slots is None or len(slots) != len(x):
            raise ValueError(
                f"dropout met a tensor of shape {tuple(x.shape)} whose first dimension is not the "
                "batch; keep the batch first so that masks can follow the examples."
            )
        inner = x.shape[1 : x.ndim - self.shared_dims] + (1,) * self.shared_dims
        noise = torch.rand((self.context.num_slots, *inner), generator=self.context.generator)
        kept = (noise >= self.rate).to(x.dtype)[slots].to(x.device)
        return x * kept / (1 - self.rate)


DROPOUTS: dict[type[nn.Module], int] = {
    nn.Dropout: 0,
    nn.Dropout1d: 1,
    nn.Dropout2d: 2,
    nn.Dropout3d: 3,
}


def step_context(module: nn.Module) -> StepContext | None:
    """The context that the module's keyed dropouts share, if it has any."""
    for layer in module.modules():
        if isinstance(layer, KeyedDropout):
            return layer.context
    return None
