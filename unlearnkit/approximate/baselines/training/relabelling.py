"""Relabelling: continue training with random wrong labels on the forget set.

Graves, Nagisetty and Ganesh 2021, Amnesiac Machine Learning, section "Unlearning": the labels of
the forget set are replaced by random other labels, and the model is trained for some more
iterations on the modified data. Their other method, "Amnesiac Unlearning", subtracts the updates of
all batches that held a forgotten example. It requires storing the update of every batch, which
takes about a hundred times the size of the checkpoints and depends on the examples to be forgotten.
Only the first method is implemented here.

Deviations from the source: each stored state is trained separately, on the slices up to its stage,
with the training optimizer; each step takes a keyed batch of retained examples and a batch of
relabelled ones, so that one pass covers both sets.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearnkit.approximate.optimise import Optimisation, mixed_batches, no_steps
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class Relabelling:
    """Continue training with random wrong labels on the forget set.

    Attributes:
        passes: passes over both sets, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    passes: int = 1
    rate: float = 0.1

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan, generator = given.state.plan, given.generator
        loss, run = plan.spec.loss, Optimisation(given, stored, self.rate)
        gone = np.searchsorted(run.rows, stored.forget.rows)
        classes = plan.architecture.num_outputs
        run.targets[gone] = wrong_labels(run.targets[gone], classes, generator)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return loss.output_gradient(outputs, targets) / len(places)

        for rows in mixed_batches(given, stored, self.passes):
            run.step(rows, slope)
        return run.state, run.visits

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count steps and example gradients of all passes over both sets."""
        return self.passes * size.steps, self.passes * (size.retain + size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Refuse regressions, single outputs, and modules that no step can be taken with."""
        return no_other_label(plan) or refusal(
            "relabelling trains in evaluation mode", no_steps(plan)
        )


def wrong_labels(labels: Tensor, num_classes: int, generator: np.random.Generator) -> Tensor:
    """Replace each label by another one, drawn uniformly from the other classes.

    >>> wrong_labels(torch.tensor([0, 1, 1]), 2, np.random.default_rng(0))
    tensor([1, 0, 0])
    """
    shift = torch.from_numpy(generator.integers(1, num_classes, len(labels)))
    return (labels + shift) % num_classes


def no_other_label(plan: Plan) -> str:
    """Return a sentence that refuses plans whose examples have no other label, or ""."""
    if plan.examples.labels.is_floating_point():
        return "random labels need classes, and this is a regression, so it is retrained"
    if plan.architecture.num_outputs == 1:
        return "with one output there is no other label to give, so it is retrained"
    return ""
