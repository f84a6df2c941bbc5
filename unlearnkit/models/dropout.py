"""Dropout whose masks are keyed by seed, shard, stage, epoch and step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearnkit.seeding import (
    derive,
)


@dataclass
class StepContext:
    """The current training step, from which keyed dropout layers draw their masks.

    Attributes:
        generator: generator of the masks, seeded at every step.
        slots: slot of each surviving example of the batch; None before the first step.
        num_slots: slots of the batch, empty ones included.
    """

    generator: torch.Generator = field(default_factory=torch.Generator)
    slots: Tensor | None = None
    num_slots: int = 0

    def begin_step(self, slots: Tensor, num_slots: int, *key: int | str) -> None:
        """Begin a step: seed the generator by the key and set the survivors' slots."""
        self.generator.manual_seed(derive(*key))
        self.slots, self.num_slots = slots, num_slots


class KeyedDropout(nn.Module):
    """Dropout whose mask depends on (seed, shard, stage, epoch, step) and the example's slot only.

    The mask is drawn for all slots of the batch and read at the survivors' slots, so revoking one
    example does not change the masks of the others.
    """

    def __init__(self, rate: float, shared_dims: int, context: StepContext) -> None:
        """Drop with probability ``rate``; the last ``shared_dims`` dimensions share a value."""
        super().__init__()
        self.rate, self.shared_dims, self.context = rate, shared_dims, context

    def extra_repr(self) -> str:
        """Show the rate in the module's repr."""
        return f"p={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale in training mode; return the input unchanged otherwise.

        Raises:
            ValueError: the first dimension of ``x`` is not the batch.
        """
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
    """Return the context that the module's keyed dropout layers share; None without dropout."""
    for layer in module.modules():
        if isinstance(layer, KeyedDropout):
            return layer.context
    return None
