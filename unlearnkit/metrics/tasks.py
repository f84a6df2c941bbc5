"""Tasks: what of judging models differs between classification and regression.

A model of a regression is read as one of targets with a normal distribution of variance 1 around
its outputs, in units of the target scale: squared error is then its negative log-likelihood, up to
a constant, as cross-entropy is that of a classification (Bishop 2006, Pattern Recognition and
Machine Learning, sections 3.1.1 and 4.3.4). What is defined by likelihoods so carries over:
divergence from scratch, membership inference, the cap on how outputs may drift.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import SMALLEST_PROBABILITY, accuracy, example_kl


class Task(Protocol):
    """Classification or regression.

    Attributes:
        name: ``"classification"`` or ``"regression"``.
        score_name: of :meth:`score`.
        part_score_name: of :meth:`part_score`.
    """

    name: ClassVar[str]
    score_name: ClassVar[str]
    part_score_name: ClassVar[str]

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """How well models predict, best 1; nan where it is not defined."""

    def part_score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """The same, defined for a single example too; nan for none."""

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """KL(reference || outputs) of each example, in nats.

        Raises:
            ValueError: the two differ in shape.
        """

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """Of each example's target, in nats, up to a constant, in float64.

        Raises:
            ValueError: outputs and targets do not fit.
        """

    def words(self, score: float) -> str:
        """A score in words."""

    def part_words(self, score: float) -> str:
        """A part's score in words."""


@dataclass(frozen=True)
class Classification:
    """Outputs are probabilities of classes, labels their numbers."""

    name: ClassVar[str] = "classification"
    score_name: ClassVar[str] = "accuracy"
    part_score_name: ClassVar[str] = "accuracy"

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """Accuracy."""
        return accuracy(outputs, targets)

    def part_score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """Accuracy."""
        return accuracy(outputs, targets)

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """:func:`~unlearnkit.metrics.metrics.example_kl`."""
        return example_kl(reference, outputs)

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """:func:`label_log_probability`."""
        return label_log_probability(outputs, targets)

    def words(self, score: float) -> str:
        """As a percentage."""
        return f"{score:.1%}"

    def part_words(self, score: float) -> str:
        """As a percentage."""
        return f"{score:.1%}"


@dataclass(frozen=True)
class Regression:
    """Outputs are predictions of targets, in units of their scale.

    Attributes:
        scale: of each target; 1 of an output is so much in the units of the values given.

    >>> task, targets = Regression((10.0,)), torch.tensor([[1.0], [0.0]])
    >>> outputs = torch.tensor([[1.0], [4.0]])
    >>> task.part_score(outputs, targets)      # errors of 0 and 4 scales of 10: 40 / sqrt(2)
    28.284271247461902
    >>> task.divergence(outputs, targets), task.log_likelihood(outputs, targets)
    (tensor([0., 8.], dtype=torch.float64), tensor([-0., -8.], dtype=torch.float64))
    """

    name: ClassVar[str] = "regression"
    score_name: ClassVar[str] = "R2"
    part_score_name: ClassVar[str] = "RMSE"
    scale: tuple[float, ...] = (1.0,)

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """R2, the coefficient of determination: 1 - squared error / that of the targets' mean.

        Of several targets the mean of theirs. nan where there are fewer than two examples or a
        target does not vary.

        >>> targets = torch.tensor([[1.0], [2.0], [3.0]])
        >>> Regression().score(targets, targets), Regression().score(0 * targets + 2, targets)
        (1.0, 0.0)
        """
        _check_rows(outputs, targets)
        rows = targets.double()
        error = (outputs.double() - rows).square().sum(0)
        spread = (rows - rows.mean(0)).square().sum(0)
        if len(rows) < 2 or not bool((spread > 0).all()):
            return math.nan
        return float((1 - error / spread).mean())

    def part_score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """RMSE, the root of the mean squared error over examples and targets, in their units."""
        _check_rows(outputs, targets)
        scale = torch.tensor(self.scale, dtype=torch.float64)
        error = (outputs.double() - targets.double()) * scale
        return float(error.square().mean().sqrt()) if len(error) else math.nan

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """Half the squared difference: the KL of normal distributions of variance 1 around both.

        KL(N(a, I) || N(b, I)) = |a - b|^2 / 2 (Kullback and Leibler 1951, of Gaussians for example
        in Bishop 2006, exercise 2.13).
        """
        _check_rows(reference, outputs)
        return (reference.double() - outputs.double()).square().sum(-1) / 2

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """Minus half the squared error, which ranks examples as their loss does."""
        return -self.divergence(outputs, targets)

    def words(self, score: float) -> str:
        """To two digits."""
        return f"{score:.2f}"

    def part_words(self, score: float) -> str:
        """To three digits."""
        return f"{score:.3g}"


def task_of(data: Dataset | Tensor) -> Task:
    """The task of a dataset, or of labels (for which a target's scale is unknown, and 1)."""
    if isinstance(data, Dataset):
        return Regression(data.target_scale) if data.is_regression else Classification()
    return Regression() if data.is_floating_point() else Classification()


def need_classes(dataset: Dataset, what: str, instead: str) -> None:
    """Refuse what is defined for classes only.

    Args:
        dataset: that is asked for it.
        what: is asked for.
        instead: the way out.

    Raises:
        ValueError: the dataset is of a regression.
    """
    if dataset.is_regression:
        raise ValueError(f"{what} is for classes, and {dataset.name} is a regression; {instead}")


def label_log_probability(
    probabilities: Float[Tensor, "batch class"], labels: Integer[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The score of each example: minus its cross-entropy, in float64.

    >>> label_log_probability(torch.tensor([[0.25, 0.75]]), torch.tensor([1])).exp()
    tensor([0.7500], dtype=torch.float64)

    Raises:
        ValueError: not one label per row of probabilities.
    """
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit probabilities of shape "
            f"{tuple(probabilities.shape)}; give one label per example."
        )
    chosen = probabilities.double().gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    return chosen.clamp_min(SMALLEST_PROBABILITY).log()


def _check_rows(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} "
            "do not fit; give one row of each per example."
        )
