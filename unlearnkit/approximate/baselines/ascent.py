"""Gradient ascent on the forget set, alone or beside descent on the retained one.

Both move by the optimizer of training from every stored state (see
:mod:`unlearnkit.approximate.optimise`); that, and the restriction to the slices until its stage, is
how they deviate from their sources.
"""

from dataclasses import dataclass
from itertools import chain, cycle, islice

import numpy as np
import torch
from torch import Tensor

from unlearnkit.approximate.optimise import Optimisation, batches_of, endless, retained_batches
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class GradientAscent:
    """Climb the loss of the forget set: descend on -(1/k) sum_forget loss.

    NegGrad of Golatkar et al. 2020 (Eternal Sunshine of the Spotless Net), there a baseline. The
    loss has no upper bound, so it is stopped after so many steps and not at a target.

    Attributes:
        steps: of the optimizer, of one batch of the forget set each.
        rate: learning rate, in units of training's.
    """

    steps: int = 5
    rate: float = 0.1

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        spec = given.state.plan.spec
        run = Optimisation(given, stored, self.rate)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return -spec.loss.output_gradient(outputs, targets) / len(targets)

        batches = endless(stored.forget, spec.batch_size, given.generator)
        for rows in islice(batches, self.steps):
            run.step(rows, slope)
        return run.state, run.visits

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Batches of the forget set."""
        return self.steps, self.steps * min(plan.spec.batch_size, size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Nothing is."""
        return ""


@dataclass(frozen=True)
class NegGradPlus:
    """Descend on the retained and climb on the forget set at once.

    The objective of NegGrad+ in Kurmanji et al. 2023 (Towards Unbounded Machine Unlearning):

        beta (1/|retain|) sum_retain loss - (1 - beta) (1/|forget|) sum_forget loss,

    with beta = 1 - forget_weight. A step takes a keyed batch of the retained examples, as training
    would, and one of the forget set. With no weight on the forget set this is fine-tuning.

    Attributes:
        forget_weight: 1 - beta, from 0 to 1.
        passes: over the retained examples, at most the epochs of the stage.
        rate: learning rate, in units of training's.
    """

    forget_weight: float = 0.1
    passes: int = 1
    rate: float = 0.3

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, size = plan.spec.loss, plan.spec.batch_size
        run = Optimisation(given, stored, self.rate)
        forget = batches_of(stored.forget, size, given.generator)
        retained = retained_batches(plan, given.state.shard, stored.stage, self.passes)
        for keep, drop in zip(chain(*retained), cycle(forget), strict=False):
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
        """Batches of both sets, as many as it takes to pass over the retained one."""
        steps = self.passes * size.steps
        return steps, self.passes * size.retain + steps * min(plan.spec.batch_size, size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Nothing is."""
        return ""
