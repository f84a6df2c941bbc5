"""The models of an ensemble as one torch module, for use outside unlearnkit."""

from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor, nn

from unlearnkit.models.losses import Loss


class EnsembleModule(nn.Module):
    """Several models as one frozen module, whose outputs are the probabilities of an ensemble.

    The module takes inputs of shape (example, ...) and returns a tensor (example, class), or
    (example, target) for a regression. It is for prediction: it stays in evaluation mode, also
    after ``train()``, and its parameters need no gradient. Gradients with respect to the inputs can
    be computed. All examples of a call are computed in one pass.

    Attributes:
        constituents: the models of the shards.
        loss: the loss whose ``probabilities`` map outputs to what is aggregated.
        aggregate: maps stacked probabilities (constituent, example, class) to (example, class).
        backbone: maps inputs to the features that the models take; None if they take the inputs.

    >>> from unlearnkit.models.losses import SquaredError
    >>> module = EnsembleModule([nn.Identity(), nn.Tanh()], SquaredError(), lambda p: p.mean(0))
    >>> module(torch.zeros(1, 2))
    tensor([[0., 0.]])
    >>> module.train().training
    False
    """

    def __init__(
        self,
        constituents: Iterable[nn.Module],
        loss: Loss,
        aggregate: Callable[[Tensor], Tensor],
        backbone: nn.Module | None = None,
    ) -> None:
        """Take over the models, and freeze them."""
        super().__init__()
        self.backbone = backbone
        self.constituents = nn.ModuleList(constituents)
        self.loss, self.aggregate = loss, aggregate
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the probabilities of the ensemble, or a regression's scaled predictions."""
        if self.backbone is not None:
            inputs = self.backbone(inputs)
        parts = [self.loss.probabilities(each(inputs)) for each in self.constituents]
        return self.aggregate(torch.stack(parts))
