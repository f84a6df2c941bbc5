"""Selective synaptic dampening: shrink the parameters that matter more to the forget set.

Foster, Schoepf and Brintrup 2024, Fast Machine Unlearning Without Retraining Through Selective
Synaptic Dampening. The importance of a parameter for a set is the diagonal of the Fisher
information, the mean squared gradient of single examples' losses. A parameter that is more
important to the forget set, by a factor alpha, than to the training set is multiplied by

    beta = min(lambda importance_training / importance_forget, 1).

How it deviates: the importance for the training set is taken on a sample of the shard's slices
until the stage; each stored state is dampened by itself. Their code squares gradients of batches;
here, as in their text, they are of single examples. Nothing is trained.

The forget set is part of the training set, so of n examples with k to forget no ratio exceeds n/k:
alpha = 10, a value of theirs and the default here, does next to nothing where a tenth or more of a
shard goes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.protocol import Members, ShardRound
from unlearnkit.approximate.stored_states import Size, StoredState, pool_of
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan

CHUNK_BYTES = 2**26  # of single gradients at a time


@dataclass(frozen=True)
class Dampening:
    """Dampen what the forget set needs and the rest does not.

    Attributes:
        alpha: from which ratio of importances on.
        lambda_: by how much; see the formula.
        examples: for the importance of the training set, at most.
    """

    alpha: float = 10.0
    lambda_: float = 1.0
    examples: int = 512

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        names = given.state.plan.architecture.trainable_names
        sample = pool_of(stored).sample(self.examples, given.generator)
        w = flatten(stored.state, names)
        factors = self.factors(
            importance(given, stored, stored.forget), importance(given, stored, sample)
        )
        state = {**stored.state, **unflatten(w * factors, stored.state, names)}
        return state, len(stored.forget) + len(sample)

    def factors(
        self, forget: Float[Tensor, " parameter"], training: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " parameter"]:
        """What each parameter is multiplied by.

        >>> Dampening(alpha=2.0).factors(torch.tensor([1.0, 4.0, 0.0]), torch.ones(3))
        tensor([1.0000, 0.2500, 1.0000])
        """
        shrunk = (self.lambda_ * training / forget).clamp(max=1.0)
        return torch.where(forget > self.alpha * training, shrunk, 1.0)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Gradients of single examples."""
        sample = min(self.examples, size.retain + size.forget)
        return 2, size.forget + sample

    def unsuitable(self, plan: Plan) -> str:
        """Nothing is."""
        return ""


def importance(
    given: ShardRound, stored: StoredState, members: Members
) -> Float[Tensor, " parameter"]:
    """The mean squared gradient of the loss of single examples, parameter by parameter."""
    plan = given.state.plan
    module, loss = plan.architecture.module(stored.state), plan.spec.loss
    inputs, targets = given.state.data(members)
    parameters = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
    chunk = max(1, CHUNK_BYTES // (4 * plan.architecture.num_parameters))
    total = torch.zeros(sum(p.numel() for p in parameters.values()))

    def value(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs = torch.func.functional_call(module, values, (x.unsqueeze(0),))
        return loss.value(outputs, y.unsqueeze(0)).sum()

    gradients = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0, 0))
    for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
        found = gradients(parameters, x, y)
        total += torch.cat([found[n].square().sum(0).flatten() for n in parameters])
    return total / len(members)
