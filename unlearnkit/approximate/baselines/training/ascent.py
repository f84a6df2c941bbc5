"""Gradient ascent on the forget set, alone or combined with descent on the retain set.

Both methods deviate from their sources in two respects: they are applied to every stored state
separately, on the slices up to its stage, and they use the training optimizer (see
:mod:`unlearnkit.approximate.optimise`).
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from unlearnkit.approximate.optimise import (
    Optimisation,
    endless_batches,
    no_steps,
    paired_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class GradientAscent:
    """Increase the loss on the forget set: minimise -(1/k) sum_forget loss.

    This is the baseline NegGrad of Golatkar et al. 2020 (Eternal Sunshine of the Spotless Net). The
    loss has no upper bound, so the number of steps is fixed.

    Attributes:
        steps: optimizer steps, each on one batch of the forget set.
        rate: multiple of the training's learning rate.
    """

    steps: int = 5
    rate: float = 0.1

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        spec = given.state.plan.spec
        run = Optimisation(given, stored, self.rate)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return -spec.loss.output_gradient(outputs, targets) / len(targets)

        batches = endless_batches(stored.forget, spec.batch_size, given.generator)
        for rows in islice(batches, self.steps):
            run.step(rows, slope)
        return run.state, run.visits

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count batches of the forget set."""
        return self.steps, self.steps * min(plan.spec.batch_size, size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Refuse modules that cannot be trained in evaluation mode."""
        return refusal("gradient ascent trains in evaluation mode", no_steps(plan))


@dataclass(frozen=True)
class NegGradPlus:
    """Decrease the loss on the retain set and increase it on the forget set at the same time.

    The objective is that of NegGrad+ in Kurmanji et al. 2023, Towards Unbounded Machine Unlearning:

        beta (1/|retain|) sum_retain loss - (1 - beta) (1/|forget|) sum_forget loss,

    with beta = 1 - forget_weight. Each step takes a keyed batch of retained examples, as in
    training, and a batch of the forget set. With forget_weight = 0 this is fine-tuning.

    Attributes:
        forget_weight: 1 - beta, from 0 to 1.
        passes: passes over the retained examples, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    forget_weight: float = 0.1
    passes: int = 1
    rate: float = 0.3

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss = plan.spec.loss
        run = Optimisation(given, stored, self.rate)
        for keep, drop in paired_batches(given, stored, self.passes):
            weights = torch.cat(
                [
                    torch.full((len(keep),), (1 - self.forget_weight) / len(keep)),
                    torch.full((len(drop),), -self.forget_weight / len(drop)),
                ]
            ).unsqueeze(1)

            def slope(
                outputs: Tensor, targets: Tensor, places: Tensor, weights: Tensor = weights
            ) -> Tensor:
                return loss.output_gradient(outputs, targets) * weights

            run.step(np.concatenate([keep, drop]), slope)
        return run.state, run.visits

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the steps of all passes over the retain set, with batches of both sets."""
        steps = self.passes * size.steps
        return steps, self.passes * size.retain + steps * min(plan.spec.batch_size, size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Refuse modules that cannot be trained in evaluation mode."""
        return refusal("gradient ascent trains in evaluation mode", no_steps(plan))
