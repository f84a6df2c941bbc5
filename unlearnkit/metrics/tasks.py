"""Tasks: the scores and likelihoods that differ between classification and regression.

A regression model is interpreted as a normal distribution of variance 1 around its outputs, in
units of the target scale. Half the squared error is then the negative log-likelihood up to a
constant, as cross-entropy is in classification (Bishop 2006, Pattern Recognition and Machine
Learning, sections 3.1.1 and 4.3.4). Quantities defined by likelihoods therefore apply to both
tasks: the divergence from the retrained model, membership inference, and the cap on output drift.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from unlearnkit.data.examples import Dataset
from unlearnkit.metrics.metrics import SMALLEST_PROBABILITY, accuracy, example_kl, gaussian_kl


class Task(Protocol):
    """Classification or regression.

    Attributes:
        name: ``"classification"`` or ``"regression"``.
        score_name: name of the number that :meth:`score` returns.
        part_score_name: name of the number that :meth:`part_score` returns.
    """

    name: ClassVar[str]
    score_name: ClassVar[str]
    part_score_name: ClassVar[str]

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """How well a model predicts; best 1, and nan if it is undefined."""

    def part_score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """A score that is defined for a single example too; nan without examples."""

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """KL(reference || outputs) of each example, in nats.

        Raises:
            ValueError: the shapes differ.
        """

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """Log-likelihood of each example's target up to a constant, in nats and float64.

        Raises:
            ValueError: the shapes of outputs and targets do not match.
        """

    def format_score(self, score: float) -> str:
        """Format a number that :meth:`score` returned."""

    def format_part_score(self, score: float) -> str:
        """Format a number that :meth:`part_score` returned."""


@dataclass(frozen=True)
class Classification:
    """Classification: outputs are class probabilities, and labels are class numbers."""

    name: ClassVar[str] = "classification"
    score_name: ClassVar[str] = "accuracy"
    part_score_name: ClassVar[str] = "accuracy"

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """The accuracy."""
        return accuracy(outputs, targets)

    def part_score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """The accuracy."""
        return accuracy(outputs, targets)

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """See :func:`~unlearnkit.metrics.metrics.example_kl`."""
        return example_kl(reference, outputs)

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """See :func:`label_log_probability`."""
        return label_log_probability(outputs, targets)

    def format_score(self, score: float) -> str:
        """Format as a percentage."""
        return f"{score:.1%}"

    def format_part_score(self, score: float) -> str:
        """Format as a percentage."""
        return f"{score:.1%}"


@dataclass(frozen=True)
class Regression:
    """Regression: outputs and targets are in units of the target scale.

    Attributes:
        scale: one number per target: the length of a scaled unit in units of the given targets.

    >>> task, targets = Regression((10.0,)), torch.tensor([[1.0], [0.0]])
    >>> outputs = torch.tensor([[1.0], [4.0]])
    >>> task.part_score(outputs, targets)      # errors 0 and 4 x 10: 40 / sqrt(2)
    28.284271247461902
    >>> task.divergence(outputs, targets), task.log_likelihood(outputs, targets)
    (tensor([0., 8.], dtype=torch.float64), tensor([-0., -8.], dtype=torch.float64))
    """

    name: ClassVar[str] = "regression"
    score_name: ClassVar[str] = "R2"
    part_score_name: ClassVar[str] = "RMSE"
    scale: tuple[float, ...] = (1.0,)

    def score(self, outputs: Float[Tensor, "batch output"], targets: Tensor) -> float:
        """Coefficient of determination: R2 = 1 - squared error / squared deviation from the mean.

        For several targets it is the mean of their R2. It is nan if there are fewer than two
        examples or a target does not vary.

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
        """Root mean squared error over examples and targets, in the user's units."""
        _check_rows(outputs, targets)
        scale = torch.tensor(self.scale, dtype=torch.float64)
        error = (outputs.double() - targets.double()) * scale
        return float(error.square().mean().sqrt()) if len(error) else math.nan

    def divergence(
        self, reference: Float[Tensor, "batch output"], outputs: Float[Tensor, "batch output"]
    ) -> Float[Tensor, " batch"]:
        """Half the squared difference, which is the KL of unit-variance normal distributions.

        KL(N(a, I) || N(b, I)) = |a - b|^2 / 2 (Kullback and Leibler 1951; for Gaussians see
        Bishop 2006, exercise 2.13).
        """
        _check_rows(reference, outputs)
        return gaussian_kl(reference, outputs)

    def log_likelihood(
        self, outputs: Float[Tensor, "batch output"], targets: Tensor
    ) -> Float[Tensor, " batch"]:
        """Minus half the squared error."""
        return -self.divergence(outputs, targets)

    def format_score(self, score: float) -> str:
        """Format as a number with two decimals."""
        return f"{score:.2f}"

    def format_part_score(self, score: float) -> str:
        """Format as a number with three significant digits."""
        return f"{score:.3g}"


def task_of(data: Dataset | Tensor) -> Task:
    """Return the task of a dataset or of labels; labels alone give a target scale of 1."""
    if isinstance(data, Dataset):
        return Regression(data.target_scale) if data.is_regression else Classification()
    return Regression() if data.is_floating_point() else Classification()


def require_classes(dataset: Dataset, what: str, instead: str) -> None:
    """Refuse an operation that is defined for classification only.

    Args:
        dataset: the dataset that the operation was called with.
        what: name of the operation, for the error message.
        instead: what to do for a regression, for the error message.

    Raises:
        ValueError: the dataset is a regression.
    """
    if dataset.is_regression:
        raise ValueError(f"{what} needs classes, but {dataset.name} is a regression; {instead}")


def margins_of(probabilities: Float[Tensor, "n class"], labels: Tensor) -> Float[np.ndarray, " n"]:
    """The logit of the label's probability, which is first clamped away from 0 and 1.

    >>> margins_of(torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([0, 0])).round(3).tolist()
    [0.0, 2.197]
    """
    p = probabilities.double().gather(1, labels.long().unsqueeze(1)).squeeze(1)
    p = p.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    margins: np.ndarray = (p.log() - torch.log1p(-p)).numpy()
    return margins


def label_log_probability(
    probabilities: Float[Tensor, "batch class"], labels: Integer[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Log-probability of each example's label, which is minus its cross-entropy, in float64.

    >>> label_log_probability(torch.tensor([[0.25, 0.75]]), torch.tensor([1])).exp()
    tensor([0.7500], dtype=torch.float64)

    Raises:
        ValueError: the number of labels differs from the number of rows.
    """
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not match probabilities of shape "
            f"{tuple(probabilities.shape)}; give one label per example."
        )
    chosen = probabilities.double().gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    return chosen.clamp_min(SMALLEST_PROBABILITY).log()


def _check_rows(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} "
            "do not match; give one row of each per example."
        )
