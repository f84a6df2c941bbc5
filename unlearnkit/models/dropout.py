"""Dropout whose masks are keyed by seed, shard, stage, epoch and step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearnkit.seeding import derive


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
        self.p, self.shared_dims, self.context = rate, shared_dims, context

    @property
    def rate(self) -> float:
        """The probability of dropping; the attribute ``p`` of torch's dropout layers."""
        return float(self.p)

    def extra_repr(self) -> str:
        """Show the rate in the module's repr."""
        return f"p={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale in training mode; return the input unchanged otherwise.

        Raises:
            ValueError: the first dimension of ``x`` is not the batch.
        """
        rate = self.rate
        if not self.training or rate == 0:
            return x
        slots = self.context.slots
        if slots is None or len(slots) != len(x):
            raise ValueError(
                f"dropout met a tensor of shape {tuple(x.shape)} whose first dimension is not the "
                "batch; keep the batch first so that masks can follow the examples."
            )
        inner = x.shape[1 : x.ndim - self.shared_dims] + (1,) * self.shared_dims
        noise = torch.rand((self.context.num_slots, *inner), generator=self.context.generator)
        kept = (noise >= rate).to(x.dtype)[slots].to(x.device)
        return x * kept / (1 - rate) if rate < 1 else x * kept


DROPOUTS: dict[type[nn.Module], int] = {
    nn.Dropout: 0,
    nn.Dropout1d: 1,
    nn.Dropout2d: 2,
    nn.Dropout3d: 3,
}


# What a subclass may define and still compute what its base class computes.
HARMLESS = {"__init__", "__repr__", "extra_repr"}


def key_dropout(module: nn.Module) -> None:
    """Turn the dropout layers of a module into keyed dropout layers that share one context.

    The layers stay the same objects, with their hooks, because a module may refer to a layer from
    several places. A subclass that computes something else is left as it is.
    """
    context = StepContext()
    for layer in module.modules():
        kind = next((kind for kind in DROPOUTS if _computes_as(layer, kind)), None)
        if kind is not None:
            layer.__class__ = KeyedDropout
            vars(layer).update(shared_dims=DROPOUTS[kind], context=context)


def _computes_as(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer is of this kind, and no subclass or attribute replaces its methods."""
    if not isinstance(layer, kind):
        return False
    own = type(layer).__mro__[: type(layer).__mro__.index(kind)]
    members = [item for each in own for item in vars(each).items()]
    methods = {name for name, value in members if callable(value) or hasattr(value, "__get__")}
    return methods <= HARMLESS and not any(hasattr(kind, name) for name in vars(layer))


def step_context(module: nn.Module) -> StepContext | None:
    """Return the context that the module's keyed dropout layers share; None without dropout."""
    for layer in module.modules():
        if isinstance(layer, KeyedDropout):
            return layer.context
    return None
