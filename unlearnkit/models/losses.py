"""Losses, with their first and second derivatives with respect to the outputs.

Kernels, curvature and influence use four functions of a loss, all per example and unreduced: its
value, its gradient with respect to the outputs, the product of its Hessian with respect to the
outputs with a vector, and the map from outputs to the probabilities that an ensemble averages. Any
object that provides these can be added to `LOSSES` or passed directly.

The last dimension of the outputs holds the classes; all dimensions before it are examples, so the
same function serves one batch and stacked batches of several shards. The caller averages over the
survivors of a batch and adds weight decay.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from unlearnkit.registry import Registry, instance_of


@runtime_checkable
class Loss(Protocol):
    """A loss of one example's outputs and target.

    Implementations are frozen dataclasses: their `repr` is stable across processes and enters the
    digests of training specs. All results have the dtype and device of `outputs`. Targets are
    integer labels in 0..C-1, one per example; a loss may also accept float rows of C targets.
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

        Args:
            outputs: outputs of the model, one row for each example.
            targets: the label of each example, or for a regression its row of targets.

        Raises:
            TypeError: this loss does not accept targets of this kind.
            ValueError: the targets' shape does not fit the outputs.
        """

    def output_gradient(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch class"]:
        """The gradient d value_i / d outputs_i of each example i, without any 1/n.

        Args:
            outputs: as for `value`.
            targets: as for `value`.

        Raises:
            TypeError: as `value`.
            ValueError: as `value`.
        """

    def output_hessian_product(
        self, outputs: Float[Tensor, "*batch class"], vectors: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """H_i v_i for each example i, with H_i = d2 value_i / d outputs_i^2.

        The function takes no targets: where H_i depends on the target, use its expectation over
        the targets that the outputs stand for. The result must be positive semidefinite,
        so that conjugate gradients apply to the Gauss-Newton matrix.

        Args:
            outputs: as for `value`.
            vectors: the vectors v_i, one row for each example.
        """

    def probabilities(
        self, outputs: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """Map outputs to what an ensemble averages: class probabilities, if the loss has them.

        Args:
            outputs: as for `value`.
        """


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
        """The probabilities minus the one-hot label: p - e_t."""
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
class WeightedCrossEntropy:
    """Cross-entropy with a weight for each class: value = -w_t log p_t, with t the label.

    Choose the weights yourself. Inverse class frequencies counted in the data would depend on
    revoked examples. The loss of a batch is divided by its number of examples, not by the sum of
    their weights as in torch's ``CrossEntropyLoss(weight=...)``, so that an example's contribution
    does not depend on the classes of the others.

    Gradient w_t (p - e_t). The Hessian w_t (diag(p) - p p^T) depends on the label through its
    weight, which is replaced by its expectation. Weights inflate the model's probabilities: where
    the weighted loss is at its minimum, p_c is proportional to w_c times the true probability of
    class c. Labels are therefore drawn with probabilities proportional to p_c / w_c, and the
    expected weight is the harmonic mean 1 / sum_c (p_c / w_c). Classes of weight 0 are left out of
    it, and the p_c of the others are divided by their sum. This is exact for equal weights; it was
    derived for unlearnkit. Training and exact unlearning use the gradient alone, so the expected
    weight affects approximate unlearning only (tests/benchmarks/defaults.md has the measurements).

    Attributes:
        class_weights: w, one finite weight of 0 or more for each class, at least one above 0.

    Raises:
        TypeError: ``class_weights`` is a string or a mapping.
        ValueError: a weight is negative or not finite, or all are 0.

    >>> loss, outputs = WeightedCrossEntropy((1, 3)), torch.zeros(2, 2, dtype=torch.float64)
    >>> loss.value(outputs, torch.tensor([0, 1])).exp()             # 2 to the power of the weight
    tensor([2.0000, 8.0000], dtype=torch.float64)
    >>> loss.output_gradient(outputs, torch.tensor([0, 1]))
    tensor([[-0.5000,  0.5000],
            [ 1.5000, -1.5000]], dtype=torch.float64)
    """

    name: ClassVar[str] = "weighted-cross-entropy"
    class_weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the weights and convert them to floats, so that 3 and 3.0 have the same digest."""
        if isinstance(self.class_weights, str | Mapping):
            raise TypeError(f"class_weights={self.class_weights!r}; give one number per class")
        weights = tuple(float(weight) for weight in self.class_weights)
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise ValueError(
                f"class_weights={self.class_weights!r}; give finite weights of 0 or more, one per "
                "class, not all of them 0"
            )
        object.__setattr__(self, "class_weights", weights)

    def value(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch"]:
        """The negative log-probability of each label, in nats, times the label's weight."""
        weights, labels = self._weights(outputs), _labels(outputs, targets)
        return weights[labels] * CrossEntropy().value(outputs, labels)

    def output_gradient(
        self,
        outputs: Float[Tensor, "*batch class"],
        targets: Integer[Tensor, "*batch"] | Float[Tensor, "*batch class"],
    ) -> Float[Tensor, "*batch class"]:
        """The label's weight times p - e_t."""
        weights, labels = self._weights(outputs), _labels(outputs, targets)
        return weights[labels].unsqueeze(-1) * CrossEntropy().output_gradient(outputs, labels)

    def output_hessian_product(
        self, outputs: Float[Tensor, "*batch class"], vectors: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """The expected weight times (diag(p) - p p^T) v.

        >>> loss, outputs = WeightedCrossEntropy((1, 3)), torch.zeros(1, 2)  # 1 / (1/2 + 1/6)
        >>> loss.output_hessian_product(outputs, torch.tensor([[1.0, 0.0]]))
        tensor([[ 0.3750, -0.3750]])
        """
        weights = self._weights(outputs)
        weighted = weights > 0
        logs = outputs.log_softmax(-1)[..., weighted]
        inflated = logs.logsumexp(-1, keepdim=True)
        calibrated = (logs - weights[weighted].log()).logsumexp(-1, keepdim=True)
        expected = (inflated - calibrated).exp()
        return expected * CrossEntropy().output_hessian_product(outputs, vectors)

    def probabilities(
        self, outputs: Float[Tensor, "*batch class"]
    ) -> Float[Tensor, "*batch class"]:
        """softmax(outputs)."""
        return outputs.softmax(-1)

    def _weights(self, outputs: Tensor) -> Tensor:
        if outputs.shape[-1] != len(self.class_weights):
            raise ValueError(
                f"{len(self.class_weights)} class_weights for {outputs.shape[-1]} classes; give "
                "one per class"
            )
        return outputs.new_tensor(self.class_weights)


@dataclass(frozen=True)
class SquaredError:
    """Half the squared distance of outputs and target: value = 1/2 sum_c (outputs_c - t_c)^2.

    With the factor 1/2 the gradient is outputs - t and the Hessian is the identity. Labels are
    one-hot encoded; float targets are used as given, so the loss also serves regression.

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
        """The outputs themselves: they estimate the target and may lie outside 0..1."""
        return outputs


LOSSES: Registry[Loss] = Registry(
    "models.losses.LOSSES",
    "loss",
    """Losses by name, for ``loss=`` of a session and of a spec.

    An entry is a frozen dataclass with ``name`` (its key here), ``value(outputs, targets)``,
    ``output_gradient(outputs, targets)``, ``output_hessian_product(outputs, vectors)`` and
    ``probabilities(outputs)``; its repr enters the digests of specs. The protocol is
    :class:`unlearnkit.models.losses.Loss`. To add an entry, assign it:

    >>> from dataclasses import dataclass
    >>> import unlearnkit as uk
    >>> from unlearnkit.models.losses import LOSSES
    >>> @dataclass(frozen=True)
    ... class Halved(uk.SquaredError):
    ...     name = "halved"
    ...     def value(self, outputs, targets):
    ...         return super().value(outputs, targets) / 2
    ...     def output_gradient(self, outputs, targets):
    ...         return super().output_gradient(outputs, targets) / 2
    ...     def output_hessian_product(self, outputs, vectors):
    ...         return vectors / 2
    >>> LOSSES["halved"] = Halved
    >>> uk.TrainSpec(loss="halved").loss
    Halved()
    >>> del LOSSES["halved"]
    """,
    {loss.name: loss for loss in (CrossEntropy(), SquaredError())},
    parts=("value", "output_gradient", "output_hessian_product", "probabilities"),
    fields=("name",),
    adapt=instance_of,
)


def as_loss(loss: "str | Loss | Mapping[str, Any]") -> Loss:
    """Return the loss for a name, for class weights as a spec stores them, or the loss itself.

    >>> as_loss("cross-entropy")
    CrossEntropy()
    >>> as_loss({"class_weights": [1, 3]})
    WeightedCrossEntropy(class_weights=(1.0, 3.0))

    Raises:
        KeyError: no loss has this name.
        TypeError: the value is neither a name nor an object with the methods of `Loss`.
    """
    if isinstance(loss, Mapping):
        return WeightedCrossEntropy(**loss)
    return LOSSES.choose(loss)


def plain_loss(loss: Loss) -> str | dict[str, Any] | None:
    """Return a plain value for :func:`as_loss`; None for a loss of the user that has no name.

    >>> plain_loss(CrossEntropy()), plain_loss(WeightedCrossEntropy((1, 3)))
    ('cross-entropy', {'class_weights': [1.0, 3.0]})
    """
    if type(loss) is WeightedCrossEntropy:
        return {"class_weights": list(loss.class_weights)}
    return loss.name if LOSSES.get(loss.name) == loss else None


def output_hessians(
    outputs: Float[Tensor, "row class"], loss: Loss
) -> Float[Tensor, "row class class"]:
    """Return the Hessian H_i of each example i with respect to its outputs.

    >>> output_hessians(torch.zeros(1, 2), CrossEntropy())
    tensor([[[ 0.2500, -0.2500],
             [-0.2500,  0.2500]]])
    """
    units = torch.eye(outputs.shape[1], dtype=outputs.dtype)
    columns = [loss.output_hessian_product(outputs, e.expand_as(outputs)) for e in units]
    return torch.stack(columns, 2)


def _labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return integer labels after checking them against the outputs' shape."""
    if targets.is_floating_point():
        raise TypeError(
            f"targets have dtype {targets.dtype}, but integer labels were expected; convert them, "
            "or use squared-error for float targets."
        )
    if targets.shape != outputs.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(targets.shape)} do not fit outputs of shape "
            f"{tuple(outputs.shape)}; give one label per example."
        )
    return targets.long()


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return one-hot rows of the labels in the outputs' dtype."""
    return torch.zeros_like(outputs).scatter(-1, labels.unsqueeze(-1), 1.0)


def _rows(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return target rows in the outputs' dtype: one-hot for labels, as given for floats."""
    if not targets.is_floating_point():
        return _one_hot(outputs, _labels(outputs, targets))
    if targets.shape != outputs.shape:  # (n, 1) and (n, C) would broadcast silently
        raise ValueError(
            f"float targets of shape {tuple(targets.shape)} do not fit outputs of shape "
            f"{tuple(outputs.shape)}; give one row of targets per example."
        )
    return targets.to(outputs.dtype)
