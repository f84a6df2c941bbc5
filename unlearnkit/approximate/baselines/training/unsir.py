"""UNSIR: impair the model by noise that maximises its error, then repair it on the retain set.

Tarun et al. 2023, Fast Yet Effective Machine Unlearning (arXiv 2111.08947). For a class y to be
forgotten, inputs N are learned from standard normal noise by Adam, at fixed parameters, to minimise

    E[-loss(N, y) + lambda |N|^2].

The model is impaired by training on the noise, labelled y, together with retained examples, and
repaired by training on retained examples alone. The forgotten inputs themselves are never read.

UNSIR forgets classes. Requests of other kinds are treated alike here: every forgotten example is
replaced by a noisy input of its own, with its label. For a request of whole classes this is the
source's method, with one noisy input for each forgotten example; for other requests the noise
impairs classes that the retained examples also have, and the repair has to undo more.

Deviations from the source, whose code is vikram2000b/Fast-Machine-Unlearning: the training
optimizer in evaluation mode takes the place of Adam in impairing and repairing, on keyed batches of
all retained examples instead of a part of them, and each stored state is impaired and repaired
separately, on the slices up to its stage.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from unlearnkit.approximate.baselines.training.relabelling import no_other_label
from unlearnkit.approximate.optimise import (
    Optimisation,
    check_setting,
    mixed_batches,
    no_steps,
    retained_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import inputs_of, refusal, tried
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.models.chunks import chunks
from unlearnkit.models.losses import Loss
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class Unsir:
    """Train on error-maximising noise with the labels of the forget set, then on retained examples.

    Attributes:
        noise_steps: steps of Adam in which the noise is learned, 0 or more.
        noise_rate: Adam's learning rate for the noise.
        penalty: lambda, the weight of the noise's squared norm, 0 or more.
        impair_rate: multiple of the training's learning rate for the pass that impairs.
        repair_rate: multiple of the training's learning rate for the passes that repair.
        repair_passes: number of passes that repair, limited to the epochs of the stage.
    """

    noise_steps: int = 40
    noise_rate: float = 0.1
    penalty: float = 0.1
    impair_rate: float = 0.1
    repair_rate: float = 0.1
    repair_passes: int = 1

    def __post_init__(self) -> None:
        """Check the settings."""
        check_setting("noise_steps", self.noise_steps, 0, whole=True)
        check_setting("noise_rate", self.noise_rate, 1e-12)
        check_setting("penalty", self.penalty, 0)
        check_setting("impair_rate", self.impair_rate, 1e-12)
        check_setting("repair_rate", self.repair_rate, 1e-12)
        check_setting("repair_passes", self.repair_passes, 1, whole=True)

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, run = plan.spec.loss, Optimisation(given, stored, self.impair_rate)
        gone = np.searchsorted(run.rows, stored.forget.rows)
        shape = (len(gone), *run.inputs.shape[1:])
        noise = torch.from_numpy(given.generator.standard_normal(shape, dtype=np.float32))
        learned, begin = [], 0
        for part in chunks(plan.architecture, noise):
            targets = run.targets[gone[begin : begin + len(part)]]
            learned.append(self.noise(run.module, part, targets, loss))
            begin += len(part)
        run.inputs[gone] = torch.cat(learned)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return loss.output_gradient(outputs, targets) / len(places)

        for rows in mixed_batches(given, stored, 1):
            run.step(rows, slope)
        for group in run.optimizer.param_groups:
            group["lr"] = self.repair_rate * plan.spec.learning_rate
        run.optimizer.state.clear()
        for batches in retained_batches(plan, given.state.shard, stored.stage, self.repair_passes):
            for rows in batches:
                run.step(rows, slope)
        return run.state, run.visits + self.noise_steps * len(gone)

    def noise(
        self, module: nn.Module, start: Shaped[Tensor, "row ..."], targets: Tensor, loss: Loss
    ) -> Shaped[Tensor, "row ..."]:
        """Return inputs that maximise the loss of these targets, less the penalty on their norm."""
        noise = start.clone().requires_grad_(True)
        adam = torch.optim.Adam([noise], lr=self.noise_rate)
        for _ in range(self.noise_steps):
            outputs = module(noise)
            slope = loss.output_gradient(outputs.detach(), targets)
            (found,) = torch.autograd.grad(outputs, noise, -slope)
            noise.grad = found + 2 * self.penalty * noise.detach()
            adam.step()
        return noise.detach()

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the steps on the noise, one pass over both sets, and those that repair."""
        steps = self.noise_steps + (1 + self.repair_passes) * size.steps
        visits = (self.noise_steps + 1) * size.forget + (1 + self.repair_passes) * size.retain
        return steps, visits

    def unsuitable(self, plan: Plan) -> str:
        """Refuse regressions, single outputs, whole-number inputs, and modules without steps."""

        def attempt(inputs: Tensor, targets: Tensor) -> str:
            self.noise(plan.architecture.module(), inputs, targets, plan.spec.loss)
            return ""

        if cause := no_other_label(plan):
            return cause
        if plan.retained.any() and not inputs_of(plan, 1).is_floating_point():
            return "UNSIR learns noisy inputs, but the inputs are whole numbers, so it is retrained"
        cause = no_steps(plan) or tried(plan, "gradients at inputs", attempt)
        return refusal("UNSIR learns inputs and trains in evaluation mode", cause)
