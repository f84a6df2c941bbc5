"""Selective synaptic dampening (SSD): shrink parameters that are specific to the forget set.

Foster, Schoepf and Brintrup 2024, Fast Machine Unlearning Without Retraining Through Selective
Synaptic Dampening. The importance of a parameter for a set of examples is the diagonal of the
Fisher information, the mean squared gradient of single examples' losses. A parameter whose
importance for the forget set exceeds alpha times its importance for the training set is multiplied
by

    beta = min(lambda importance_training / importance_forget, 1).

Deviations from the source: the importance for the training set is computed on a sample of the
shard's slices up to the stage, and each stored state is dampened separately. Gradients are squared
for single examples, as in their text, while their code squares gradients of batches. Nothing is
trained.

The forget set is part of the training set, so with k of n examples to forget the ratio of
importances cannot exceed n/k. With alpha = 10, one of their values and the default here, the method
therefore changes almost nothing if a tenth of a shard or more is forgotten.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.decompositions import Differentiable
from unlearnkit.approximate.protocol import Members, ShardRound
from unlearnkit.approximate.routes import Routes, refusal, tried
from unlearnkit.approximate.stored_states import Size, StoredState, pool_of
from unlearnkit.models.losses import Loss
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan

CHUNK_BYTES = 2**26  # upper limit of memory for the gradients of single examples


@dataclass(frozen=True)
class Dampening:
    """Dampen parameters that are important for the forget set and unimportant for the rest.

    Attributes:
        alpha: ratio of importances above which a parameter is dampened.
        lambda_: lambda in the formula for beta; smaller values dampen more.
        examples: upper limit of examples for the importance for the training set.
    """

    alpha: float = 10.0
    lambda_: float = 1.0
    examples: int = 512

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        architecture = given.state.plan.architecture
        names = architecture.trainable_names
        sample = pool_of(stored).sample(self.examples, given.generator)
        w = flatten(stored.state, names)
        factors = self.factors(
            importance(given, stored, stored.forget), importance(given, stored, sample)
        )
        state = architecture.moved(stored.state, unflatten(w * factors, stored.state, names))
        return state, len(stored.forget) + len(sample)

    def factors(
        self, forget: Float[Tensor, " parameter"], training: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " parameter"]:
        """Return the factor by which each parameter is multiplied.

        >>> Dampening(alpha=2.0).factors(torch.tensor([1.0, 4.0, 0.0]), torch.ones(3))
        tensor([1.0000, 0.2500, 1.0000])
        """
        shrunk = (self.lambda_ * training / forget).clamp(max=1.0)
        return torch.where(forget > self.alpha * training, shrunk, 1.0)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count gradients of single examples, in one batch for each set."""
        sample = min(self.examples, size.retain + size.forget)
        return 2, size.forget + sample

    def unsuitable(self, plan: Plan) -> str:
        """Refuse modules whose gradients of single examples torch cannot compute."""

        def attempt(inputs: Tensor, targets: Tensor) -> str:
            module, loss = plan.architecture.module(), plan.spec.loss
            try:
                single = gradients_of_each(module, loss, inputs, targets)
            except Exception:  # torch's messages name its transforms, which users do not know
                return "torch cannot vectorise one of its operations over examples"
            mean = mean_gradient(module, get_state(module), tuple(single), inputs, targets, loss)
            found = torch.cat([each.mean(0).flatten() for each in single.values()])
            if not torch.allclose(found, mean, rtol=0.01, atol=0.01 * float(mean.norm())):
                return "they are not the parts of the gradient of a batch"
            return ""

        cause = Routes(plan).gradients or tried(plan, "gradients of single examples", attempt)
        return refusal("SSD needs the gradients of single examples", cause)


def importance(
    given: ShardRound, stored: StoredState, members: Members
) -> Float[Tensor, " parameter"]:
    """Return the mean squared gradient of single examples' losses for each parameter."""
    plan = given.state.plan
    module, loss = plan.architecture.module(stored.state), plan.spec.loss
    inputs, targets = given.state.data(members)
    chunk = max(1, CHUNK_BYTES // (4 * plan.architecture.num_parameters))
    total = torch.zeros(plan.architecture.num_parameters)
    for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
        found = gradients_of_each(module, loss, x, y).values()
        total += torch.cat([each.square().sum(0).flatten() for each in found])
    return total / len(members)


def gradients_of_each(
    module: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor
) -> dict[str, Shaped[Tensor, "row ..."]]:
    """Return for each trainable parameter its gradients of every example's loss."""
    parameters = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}

    def value(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs = torch.func.functional_call(module, values, (x.unsqueeze(0),))
        return loss.value(outputs, y.unsqueeze(0)).sum()

    gradients = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0, 0))
    with Differentiable():
        found: dict[str, Tensor] = gradients(parameters, inputs, targets)
    return found
