"""Losses: what a constituent minimises, with the first and second derivatives at its outputs.

Kernels, curvature and influence need a loss in four pieces, all per example and unreduced: its
value, its gradient at the outputs, the product of its Hessian at the outputs with a vector, and
the map from outputs to what an ensemble averages. A loss that supplies these fits everywhere; put
it in `LOSSES` or pass the object itself.

Outputs have the classes in the last dimension; any dimensions before it are examples, so one call
serves a batch as well as stacked lanes of batches. Reduction (mean over the survivors of a batch)
and weight decay belong to the caller.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Integer
from torch import Tensor


@runtime_checkable
class Loss(Protocol):
    """A loss of one example's outputs and target.

    Implementations are frozen dataclasses: their `repr` is stable across processes and enters the
    digests of training specs. All results have the dtype and device of `outputs`. Targets are
    integer labels in 0..C-1, one per example; a loss may take float rows of C targets as well.
    """

    @property
    def name(self) -> str:
        """The key of this loss in `LOSSES`."""

    def value(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch"]:
        """The loss of each example, unreduced.

        Raises:
            TypeError: the targets are of a kind that this loss cannot take.
            ValueError: the targets' shape does not fit the outputs.
        """

    def output_gradient(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch class"]:
        """The gradient d value_i / d outputs_i of each example i, without any 1/n.

        Raises:
            TypeError: as `value`.
            ValueError: as `value`.
        """

    def output_hessian_product(
        self, outputs: Float[Tensor, "*batch class"], vectors: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """H_i v_i for each example i, with H_i = d2 value_i / d outputs_i^2.

        It takes no targets: H_i must not depend on them, and must be positive semidefinite, which
        is what makes the Gauss-Newton matrix usable in conjugate gradients.
        """

    def probabilities(
        self, outputs: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """What an ensemble averages: class probabilities where the loss defines them."""


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy, in nats: value = -log p_t with p = softmax(outputs), t the label.

    Gradient p - e_t and Hessian diag(p) - p p^T (Bishop 2006, Pattern Recognition and Machine
    Learning, section 4.3.4).

    >>> outputs = torch.zeros(1, 4, dtype=torch.float64)      # four classes, all equally likely
    >>> CrossEntropy().value(outputs, torch.tensor([2])).exp()
    tensor([4.], dtype=torch.float64)
    >>> CrossEntropy().output_gradient(outputs, torch.tensor([2]))
    tensor([[ 0.2500,  0.2500, -0.7500,  0.2500]], dtype=torch.float64)
    """

    name: ClassVar[str] = "cross-entropy"

    def value(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch"]:
        """The negative log-probability of each label, in nats."""
        labels = _labels(outputs, targets)
        return -outputs.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)

    def output_gradient(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch class"]:
        """The probabilities less one at the label: p - e_t."""
        return outputs.softmax(-1) - _one_hot(outputs, _labels(outputs, targets))

    def output_hessian_product(
        self, outputs: Float[Tensor, "*batch class"], vectors: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """The product (diag(p) - p p^T) v = p * v - p (p . v)."""
        probabilities = outputs.softmax(-1)
        weighted = probabilities * vectors
        return weighted - probabilities * weighted.sum(-1, keepdim=True)

    def probabilities(
        self, outputs: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """softmax(outputs)."""
        return outputs.softmax(-1)


@dataclass(frozen=True)
class SquaredError:
    """Half the squared distance of outputs and target: value = 1/2 sum_c (outputs_c - t_c)^2.

    The half makes the gradient outputs - t and the Hessian the identity. Labels are one-hot
    encoded; float targets are used as given, so regression fits.

    >>> SquaredError().value(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))
    tensor([2.])
    >>> SquaredError().output_gradient(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.0]]))
    tensor([[0.5000, 2.0000]])
    """

    name: ClassVar[str] = "squared-error"

    def value(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch"]:
        """Half the squared distance of each example."""
        return (outputs - _rows(outputs, targets)).square().sum(-1) / 2

    def output_gradient(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch class"]:
        """Outputs - t."""
        return outputs - _rows(outputs, targets)

    def output_hessian_product(
        self, outputs: Float[Tensor, "*batch class"], vectors: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """The vectors themselves: the Hessian is the identity."""
        return vectors

    def probabilities(
        self, outputs: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """The outputs themselves: they estimate the target, and need not lie in 0..1."""
        return outputs


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (CrossEntropy(), SquaredError())}


def as_loss(loss: str | Loss) -> Loss:
    """The loss of this name, or the loss itself.

    >>> as_loss("cross-entropy")
    CrossEntropy()

    Raises:
        KeyError: no loss has this name.
        TypeError: neither a name nor an object with the methods of `Loss`.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            known = ", ".join(LOSSES)
            raise KeyError(f"unknown loss {loss!r}; use one of {known}, or pass a Loss object.")
        return LOSSES[loss]
    if isinstance(loss, type) or not isinstance(loss, Loss):
        raise TypeError(
            f"loss={loss!r} is no loss; pass a name ({', '.join(LOSSES)}) or an object with name, "
            "value, output_gradient, output_hessian_product and probabilities."
        )
    return loss


def _labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """Integer labels, checked against the outputs' shape."""
    if targets.is_floating_point():
        raise TypeError(
            f"targets of dtype {targets.dtype} met, integer labels expected; convert them, or use "
            "squared-error for float targets."
        )
    if targets.shape != outputs.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(targets.shape)} do not fit outputs of shape "
            f"{tuple(outputs.shape)}; give one label per example."
        )
    return targets.long()


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    """Label rows in the outputs' dtype."""
    return torch.zeros_like(outputs).scatter(-1, labels.unsqueeze(-1), 1.0)


def _rows(outputs: Tensor, targets: Tensor) -> Tensor:
    """Target rows in the outputs' dtype: one-hot for labels, as given for floats."""
    if not targets.is_floating_point():
        return _one_hot(outputs, _labels(outputs, targets))
    if targets.shape != outputs.shape:  # (n, 1) against (n, C) would broadcast without a word
        raise ValueError(
            f"float targets of shape {tuple(targets.shape)} do not fit outputs of shape "
            f"{tuple(outputs.shape)}; give one row of targets per example."
        )
    return targets.to(outputs.dtype)
