"""Checks approximations before they are accepted, by their corrections and outputs on the probe.

The probe is a labelled, held-out part of the data that is used neither for training nor for
testing. A poor approximation shows on it as an increased loss, or as drift. Drift measures how far
the amend moves the outputs away from the corrected ones, relative to what is forgotten:

    drift = mean KL(corrected outputs, amended outputs) / (epochs replayed * sqrt(share) * loss),

where share is the forgotten share of the shard's examples, and loss their mean loss under the model
before the request. If training is stable, the correction predicts where training without the
forgotten examples leads, and a replay hardly moves the outputs. If training is chaotic, the replay
leads away from the correction. Examples with a high loss influence the model more, so their removal
may move the outputs further. The square root of the share is a compromise: with the share itself
every request of a single example would look chaotic, and without it no small request would. (The
measure was devised for unlearnkit; ``tests/benchmarks/defaults.md`` has the measurements.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Num
from torch import Tensor

from unlearnkit.approximate.linearised import Linearised, stack_parameters
from unlearnkit.metrics.tasks import task_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.chunks import chunks
from unlearnkit.models.losses import CrossEntropy, Loss
from unlearnkit.models.vector import real_values
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings

PROBE_MAX = 256  # the most examples of the probe part that are used; the first by id


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
        rise: relative increase of the mean loss on the probe over that before the request.
        error: for an approximation that exact retraining has replaced, the mean KL divergence in
            nats from the exact outputs on the probe to those of the approximation.
        class_share: the largest share of a class of the shard that the request forgets; None for a
            regression.
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
    error: float | None = None
    class_share: float | None = None

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
            inputs = self.inputs.flatten(1).expand(len(states), -1, -1)
            parameters = stack_parameters(stack, states, self.loss)
            return Linearised(stack, self.loss, parameters, inputs).outputs[..., : stack.widths[-1]]

    def correction(self, state: State, norm: float) -> float:
        """Return a correction's norm relative to that of the parameters it is added to."""
        names = self.architecture.trainable_names
        whole = sum(float(real_values(state[name]).square().sum()) for name in names) ** 0.5
        return float(norm / max(whole, 1e-30))

    @own_settings()
    def loss_of(self, state: State, inputs: Tensor, targets: Tensor) -> float:
        """Return the mean loss of a model on some examples."""
        with torch.no_grad():
            outputs = self._outputs_of(state, inputs)
        return float(self.loss.value(outputs, targets).mean())

    @own_settings()
    def inspect(
        self,
        checks: Sequence[Check],
        before: Sequence[State],
        corrected: Sequence[State],
        after: Sequence[State],
        losses: Sequence[float] | None = None,
    ) -> list[Check]:
        """Complete checks with the outputs on the probe after an amend.

        Args:
            checks: the checks of the shards' corrections.
            before: the models before the request.
            corrected: the corrected models, before the amend.
            after: the models after the amend.
            losses: mean loss of each shard's forgotten examples under the model before the request.
                If None, drift is not measured, as for models whose loss is convex.

        Returns:
            The checks with kl, rise and drift; unchanged if the probe is empty.
        """
        if not checks or not len(self.inputs):
            return list(checks)
        old, new = self.outputs(before), self.outputs(after)
        levels = [self.loss.value(each, self._targets(each)).mean(1) for each in (old, new)]
        rises = (levels[1] / levels[0] - 1).tolist()
        divergences = map(self._divergence, old, new)
        seen = [
            replace(check, kl=kl, rise=rise)
            for check, kl, rise in zip(checks, divergences, rises, strict=True)
        ]
        if losses is None:
            return seen
        further = map(self._divergence, self.outputs(corrected), new)
        return [
            check if kl is None else replace(check, drift=_drift(check, kl, loss))
            for check, kl, loss in zip(seen, further, losses, strict=True)
        ]

    @own_settings()
    def errors(
        self, shards: Sequence[int], exact: Sequence[State], approximate: Sequence[State]
    ) -> tuple[Check, ...]:
        """Measure how far approximations were from the exact models that replace them."""
        if not shards or not len(self.inputs):
            return ()
        divergences = map(self._divergence, self.outputs(exact), self.outputs(approximate))
        return tuple(Check(s, error=e) for s, e in zip(shards, divergences, strict=True))

    def _outputs_of(self, state: State, inputs: Tensor) -> Tensor:
        module = self.architecture.module(state)
        parts = chunks(self.architecture, inputs)
        return torch.cat([module(part) for part in parts])

    def _targets(self, outputs: Float[Tensor, "model batch class"]) -> Tensor:
        return self.targets.expand(len(outputs), *self.targets.shape)

    def _divergence(
        self, reference: Float[Tensor, "batch class"], outputs: Float[Tensor, "batch class"]
    ) -> float | None:
        if not self.targets.is_floating_point() and not isinstance(self.loss, CrossEntropy):
            return None  # the outputs are neither probabilities nor predicted targets
        pair = self.loss.probabilities(reference), self.loss.probabilities(outputs)
        return float(task_of(self.targets).divergence(*pair).mean())


def _drift(check: Check, kl: float, loss: float) -> float:
    """Scale the divergence that an amend caused, by its epochs and by what was forgotten."""
    return kl / (max(check.replayed or 1, 1) * max(math.sqrt(check.share or 0.0) * loss, 1e-12))
