"""Checks approximations before they are accepted, by their corrections and outputs.

Retraining cannot be seen at this point, so a check asks whether the two parts of an approximation
agree and whether training is calm enough for any approximation. These quantities do not depend on
the units of the data, exist for every model and loss, and were devised for unlearnkit
(``tests/benchmarks/defaults.md`` has the measurements).

*Agreement* compares what the correction predicts with what the replay does. It is the cosine of the
angle between the change of the outputs that the correction makes and the change that remains after
the amend, on the forgotten examples. Both are estimates of what retraining would change, and near 1
if training is stable. If training is chaotic, the replay leads elsewhere. A longer replay differs
more from the correction in calm training too, so what agreement says depends on the sharpness.

*Motion* measures how far the last epochs of training itself moved the outputs on the probe, as a
mean divergence per replayed epoch. The probe is a labelled, held-out part of the data that is used
neither for training nor for testing. If a single epoch moves the outputs far, the small changes
that a request causes are lost in it.

*Sharpness* measures how close training comes to the edge of stability, where it becomes chaotic:

    sharpness = learning rate * (largest eigenvalue of G) / (2 (1 + momentum)),

with the Gauss-Newton matrix G of the mean loss on the probe; where there is none, on some of the
shard's examples. On the probe the curvature does not vanish as training examples are fitted, and
the sharpness is the same for every request. The larger of its values at the initial weights and at
the end of training counts; for linear models, whose curvature is largest where all classes are
equally probable, that at the initial weights. On a quadratic loss, heavy-ball gradient descent
diverges above 1 (Polyak 1964; Cohen, Kaur, Li, Kolter and Talwalkar 2021 found that networks are
driven there). It is a property of training and not of a request, so it is measured in one shard
only.

*Drift* measures how far the amend moves the outputs on the probe away from the corrected ones,
relative to what is forgotten:

    drift = mean KL(corrected outputs, amended outputs) / (epochs replayed * sqrt(share) * loss),

where share is the forgotten share of the shard's examples, and loss their mean loss under the model
before the request. Examples with a high loss influence the model more, so their removal may move
the outputs further. The square root of the share is a compromise: with the share itself every
request of a single example would look chaotic, and without it no small request would.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.linearised import Linearised, stack_parameters
from unlearnkit.metrics.metrics import gaussian_kl
from unlearnkit.metrics.tasks import task_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.chunks import chunks
from unlearnkit.models.losses import Loss, SquaredError
from unlearnkit.models.vector import unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings

PROBE_MAX = 256  # the most examples of the probe part that are used; the first by id
CHECKED_MAX = 64  # the most examples of these, and of the forgotten ones, for the check of a shard
CURVED_MAX = 128  # the most examples on which curvature is estimated
ITERATIONS, STEP = 2, 1e-2  # power iterations, and the length of their steps in the parameters


class Models(NamedTuple):
    """The models of one shard before and after its modification.

    Attributes:
        before: before the request.
        corrected: after the correction, before the amend.
        after: after the amend.
        tail: the model before the request at the beginning of the epochs that the amend replayed;
            None if it is not known.
    """

    before: State
    corrected: State
    after: State
    tail: State | None = None


@dataclass(frozen=True)
class Check:
    """What is known of one shard's approximation. Fields that were not measured are None.

    Attributes:
        shard: 0-based.
        share: share of the shard's examples that the request forgets.
        convex: whether the loss is convex in the parameters, so that training is not chaotic.
        correction: L2 norm of the correction of the last stage's parameters, relative to the norm
            of these parameters.
        bound: bound of the error model on the error that remains, in nats.
        replayed: number of epochs of the amend.
        kl: mean KL divergence in nats from the outputs on the probe before the request to those
            after it.
        drift: mean KL divergence in nats from the corrected outputs on the probe to the amended
            ones, scaled as the module's docstring says.
        agreement: cosine between the changes of the outputs on the forgotten examples by the
            correction and after the amend, from -1 to 1.
        motion: mean KL divergence in nats by which an epoch at the end of training moved the
            outputs on the probe. For outputs that are not probabilities, half the squared
            difference replaces the KL divergence, here and in ``kl`` and ``drift``.
        sharpness: learning rate times curvature, relative to the edge of stability, in one of the
            shards that were modified; None for other optimizers than SGD.
        rise: relative increase of the mean loss on the probe over that before the request.
        error: for an approximation that exact retraining has replaced, the mean KL divergence in
            nats from the exact outputs on the probe to those of the approximation.
        class_share: the largest share of a class of the shard that the request forgets; None for a
            regression.
        doubt: why the approximation may be no better than doing nothing; empty if nothing suggests
            it (:mod:`unlearnkit.unlearning.boundary.verdict`).
    """

    shard: int
    share: float | None = None
    convex: bool = False
    correction: float | None = None
    bound: float | None = None
    replayed: int | None = None
    kl: float | None = None
    drift: float | None = None
    rise: float | None = None
    agreement: float | None = None
    motion: float | None = None
    sharpness: float | None = None
    error: float | None = None
    class_share: float | None = None
    doubt: str = ""

    @property
    def sentence(self) -> str:
        """Describe the check in words, as the reason of an accepted approximation does.

        >>> Check(0, kl=2e-4, drift=0.02, rise=-0.001).sentence
        'its outputs on the probe moved by 0.0002 nats and drifted by 0.02, loss there by -0.1%'
        """
        parts = []
        if self.correction is not None:
            parts.append(f"corrected by {self.correction:.2%} of its parameters")
        if self.bound is not None:
            parts.append(f"error at most {self.bound:.2g} nats according to the error model")
        if self.kl is not None:
            drift = "" if self.drift is None else f" and drifted by {self.drift:.2g}"
            parts.append(f"its outputs on the probe moved by {self.kl:.2g} nats{drift}")
        if self.rise is not None:
            parts.append(f"loss there by {self.rise:+.1%}")
        if self.agreement is not None:
            parts.append(f"correction and amend agree to {self.agreement:.0%}")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Probe:
    """Labelled, held-out examples on which models are checked.

    Attributes:
        architecture: the architecture of the models.
        loss: loss that the models were trained with.
        inputs: inputs of the examples; there may be none.
        targets: targets of the examples.
    """

    architecture: Architecture
    loss: Loss
    inputs: Num[Tensor, "batch ..."]
    targets: Tensor

    @own_settings()
    def outputs(self, states: Sequence[State]) -> Float[Tensor, "model batch class"]:
        """Return the models' outputs for the examples, in evaluation mode."""
        stack = self.architecture.stack
        with torch.no_grad():
            if stack is None:
                return torch.stack([self._outputs_of(state, self.inputs) for state in states])
            inputs, width = self.inputs.flatten(1).unsqueeze(0), stack.widths[-1]
            parameters = (stack_parameters(stack, [state], self.loss) for state in states)
            lanes = (Linearised(stack, self.loss, each, inputs).outputs for each in parameters)
            return torch.cat([outputs[..., :width] for outputs in lanes])

    @own_settings()
    def largest_curvature(self, state: State, generator: torch.Generator) -> float:
        """Estimate the largest eigenvalue of the Gauss-Newton matrix of the mean loss at a state.

        Power iterations (von Mises 1929) give a value that is at most the eigenvalue. They begin
        with the gradient of a random change of the outputs, which is mostly in directions of high
        curvature. Differences of outputs replace products with the Jacobian, so that this works for
        any module that can be trained.
        """
        architecture, names = self.architecture, self.architecture.trainable_names
        module, (outputs,) = architecture.module(state), self.outputs([state])
        change, found = torch.randn(outputs.shape, generator=generator).to(outputs), 0.0
        for number in range(ITERATIONS + 1):
            curved = self.loss.output_hessian_product(outputs, change)
            vector = mean_gradient(module, state, names, self.inputs, curved, _Given())
            length = float(vector.norm())
            found = length if number else 0.0
            if number == ITERATIONS or not 0 < length < math.inf:
                break
            step = unflatten(vector.mul_(STEP / length), state, names)
            moved = architecture.moved(state, {name: state[name] + step[name] for name in names})
            change = (self.outputs([moved])[0] - outputs) / STEP
        return found

    def some(self, most: int) -> "Probe":
        """Return a probe of at most this many of the examples, evenly spaced."""
        chosen = evenly_spaced(len(self.inputs), most)
        return replace(self, inputs=self.inputs[chosen], targets=self.targets[chosen])

    def correction(self, state: State, norm: float) -> float:
        """Return a correction's norm relative to that of the parameters it is added to."""
        names = self.architecture.trainable_names
        whole = math.hypot(*(float(torch.linalg.vector_norm(state[name])) for name in names))
        return float(norm / max(whole, 1e-30))

    @own_settings()
    def inspect(self, check: Check, models: Models, forgotten: "Probe") -> Check:
        """Complete the check of a shard after its amend.

        Args:
            check: the check of the shard's correction, with the epochs of the amend.
            models: the shard's models.
            forgotten: forgotten examples of the shard, at least one.

        Returns:
            The check with ``drift`` and ``agreement``, and if the probe is not empty with ``kl``,
            ``rise`` and ``motion``.
        """
        states, count = [state for state in models if state is not None], len(forgotten.inputs)
        both = replace(self, inputs=torch.cat([forgotten.inputs, self.inputs])).outputs(states)
        before, corrected, after = both[:3, :count].double()
        check = replace(check, agreement=_cosine(corrected - before, after - before))
        if not len(self.inputs):
            return check
        outputs = both[:, count:]
        loss = float(self.loss.value(before.to(outputs), forgotten.targets).mean())
        levels = self.loss.value(outputs[:3:2], self.targets.expand(2, *self.targets.shape)).mean(1)
        drift = self.divergence(outputs[1], outputs[2])
        epochs = max(check.replayed or 1, 1)
        motion = self.divergence(outputs[3], outputs[0]) / epochs if len(outputs) > 3 else None
        return replace(
            check,
            kl=self.divergence(outputs[0], outputs[2]),
            rise=float(levels[1] / levels[0] - 1),
            drift=drift / (epochs * max(math.sqrt(check.share or 0.0) * loss, 1e-12)),
            motion=motion,
        )

    @own_settings()
    def errors(
        self, shards: Sequence[int], exact: Sequence[State], approximate: Sequence[State]
    ) -> tuple[Check, ...]:
        """Measure how far approximations were from the exact models that replace them."""
        if not shards or not len(self.inputs):
            return ()
        divergences = map(self.divergence, self.outputs(exact), self.outputs(approximate))
        return tuple(Check(s, error=e) for s, e in zip(shards, divergences, strict=True))

    def _outputs_of(self, state: State, inputs: Tensor) -> Tensor:
        module = self.architecture.module(state)
        parts = chunks(self.architecture, inputs)
        return torch.cat([module(part) for part in parts])

    def _targets(self, outputs: Float[Tensor, "model batch class"]) -> Tensor:
        return self.targets.expand(len(outputs), *self.targets.shape)

    def divergence(
        self, reference: Float[Tensor, "batch class"], outputs: Float[Tensor, "batch class"]
    ) -> float:
        """Return the mean divergence of outputs from reference outputs.

        It is the KL divergence in nats of what the loss maps outputs to, if these are
        probabilities. Otherwise it is half the squared difference of the outputs.
        """
        # In float32, rounding would drown small divergences.
        pair = tuple(self.loss.probabilities(each.double()) for each in (reference, outputs))
        if self.targets.is_floating_point() or all(map(_are_probabilities, pair)):
            return float(task_of(self.targets).divergence(*pair).mean())
        return float(gaussian_kl(reference, outputs).mean())


class _Given(SquaredError):
    """Takes the targets for the gradients of the outputs."""

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The targets."""
        return targets


def _are_probabilities(outputs: Float[Tensor, "batch class"]) -> bool:
    """Whether rows are probabilities, up to rounding."""
    return bool((outputs >= 0).all()) and bool(((outputs.sum(-1) - 1).abs() <= 1e-3).all())


def _cosine(one: Float[Tensor, "batch class"], other: Float[Tensor, "batch class"]) -> float:
    """Cosine of the angle between two changes of outputs; 1 if both are zero, 0 if one is."""
    norms = float(one.norm() * other.norm())
    if norms == 0:
        return float(not one.any() and not other.any())
    return float((one * other).sum()) / norms


def evenly_spaced(count: int, most: int) -> Int[np.ndarray, " chosen"]:
    """Return positions among ``count`` items: all of them, or ``most`` that are evenly spaced.

    >>> evenly_spaced(9, 3)
    array([0, 4, 8])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
