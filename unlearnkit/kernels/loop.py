"""The per-lane kernel: one constituent at a time, any ``nn.Module``, no DataLoader.

A batch is given by the rows of its survivors and the slots they sit in. Only survivors reach the
module; a batch without survivors is no step.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from unlearnkit.losses import Loss
from unlearnkit.models import StepContext, batch_statistics_layers, step_context
from unlearnkit.progress import check_cancelled
from unlearnkit.spec import TrainSpec


@dataclass(frozen=True, eq=False)
class Batch:
    """One optimizer step.

    Attributes:
        rows: of the survivors, in the kernel's data.
        slots: of the survivors within the batch.
        num_slots: slots of the batch, empty ones included.
        step: position within the epoch; empty batches count.
    """

    rows: Int[np.ndarray, " survivor"]
    slots: Int[np.ndarray, " survivor"]
    num_slots: int
    step: int


@dataclass(frozen=True, eq=False)
class Epoch:
    """One pass over the living examples of a pool: number ``index`` of its stage."""

    stage: int
    index: int
    batches: tuple[Batch, ...]


class Lane:
    """A module in training, with its data; the optimizer is made anew by :meth:`reset`."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Float[Tensor, "row ..."],
        targets: Shaped[Tensor, "row ..."],
        spec: TrainSpec,
        key: tuple[int | str, ...],
    ) -> None:
        """Train ``module`` in place on these rows; ``key`` names the lane in dropout's keys."""
        self.module, self.inputs, self.targets = module.train(), inputs, targets
        self.spec, self.key = spec, key
        self._context: StepContext | None = step_context(module)
        self._normalising = batch_statistics_layers(module)
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self.reset()

    def reset(self) -> None:
        """Forget the optimizer's state: momentum and counters."""
        self._optimizer = make_optimizer(self._parameters, self.spec)

    def run(self, epoch: Epoch, cancel: threading.Event | None = None) -> float:
        """Train one epoch; the mean loss over its examples, measured as it went.

        Raises:
            Cancelled: ``cancel`` was set; the module is then of no use.
        """
        total, count = 0.0, 0
        for batch in epoch.batches:
            check_cancelled(cancel)
            if len(batch.rows):
                total += self._step(batch, epoch, self.spec.loss)
                count += len(batch.rows)
        return total / count if count else 0.0

    def _step(self, batch: Batch, epoch: Epoch, loss: Loss) -> float:
        rows = torch.from_numpy(batch.rows)
        if self._context is not None:
            slots = torch.from_numpy(batch.slots)
            key = (*self.key, epoch.stage, epoch.index, batch.step)
            self._context.begin_step(slots, batch.num_slots, *key)
        alone = len(rows) == 1
        if alone:  # one example has no batch statistics: use the running ones
            for layer in self._normalising:
                layer.eval()
        inputs, targets = self.inputs[rows], self.targets[rows]
        outputs = self.module(inputs)
        fixed = outputs.detach()
        self._optimizer.zero_grad(set_to_none=True)
        outputs.backward(loss.output_gradient(fixed, targets) / len(rows))
        self._optimizer.step()
        if alone:
            for layer in self._normalising:
                layer.train()
        return float(loss.value(fixed, targets).sum())


def make_optimizer(parameters: list[nn.Parameter], spec: TrainSpec) -> torch.optim.Optimizer:
    """The optimizer of a spec, with no state; ``foreach`` gives the bits of the plain loop."""
    rate, decay = spec.learning_rate, spec.weight_decay
    if spec.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, rate, momentum=spec.momentum, weight_decay=decay, foreach=True
        )
    kind = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, rate, weight_decay=decay, foreach=True)


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Compute with so many threads of torch inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
