"""Looks at an approximation before it is accepted: its correction, and its outputs on the probe.

The probe is a labelled held-out part that is neither trained on nor tested on. An approximation
that is off shows there as a rise of the loss over that of the model as it stood, or as drift: what
the amend does to the outputs beyond the correction, held against what there is to forget,

    drift = mean KL(corrected outputs, amended outputs) / (epochs replayed * sqrt(share) * loss),

of a request that forgets this share of the shard, with this mean loss of the forgotten examples.
Where two runs stay side by side, the correction has said what training without the forgotten
examples leads to, and a replay hardly moves the outputs; where training is chaotic it leads away.
The loss is that under the model as it stood: examples that it had not learned have changed it much,
those that it knows by heart are of the regime in which training is chaotic. The root of the share
stands between two measures: over the share itself, requests of single examples look chaotic at any
rate, and without it those of few never do. (Ours; ``AdaptiveBoundary.max_drift`` has what was
measured.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.linearised import Linearised, stack_parameters
from unlearnkit.metrics.tasks import task_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.losses import CrossEntropy, Loss
from unlearnkit.store.checkpoint import State

PROBE_MAX = 256  # examples of the probe part that are looked at, at most; the first by id


@dataclass(frozen=True)
class Check:
    """What is known of one shard's approximation; None where it was not looked at.

    Attributes:
        shard: 0-based.
        share: of the shard's examples, the part that the request forgets.
        convex: whether the loss is convex in the parameters, so that no run is chaotic.
        correction: L2 norm of the correction of the last stage's parameters, as a part of the norm
            of these parameters.
        bound: on the error that the correction leaves, by past repayments.
        replayed: epochs of the amend.
        kl: mean KL in nats from the outputs on the probe before the request to those after it.
        drift: mean KL in nats from the corrected outputs on the probe to the amended ones, for each
            epoch replayed, over the root of the share times the mean loss, before the request, of
            the forgotten examples.
        rise: of the mean loss on the probe, as a part of that before the request.
        error: of an approximation that exact retraining has replaced: mean KL in nats from the
            exact outputs on the probe to those of the approximation.
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

    @property
    def sentence(self) -> str:
        """What was seen before it was accepted, in words.

        >>> Check(0, kl=2e-4, drift=0.02, rise=-0.001).sentence
        'its outputs on the probe moved by 0.0002 nats and drifted by 0.02, loss there by -0.1%'
        """
        parts = []
        if self.correction is not None:
            parts.append(f"corrected by {self.correction:.2%} of its parameters")
        if self.bound is not None:
            parts.append(f"error at most {self.bound:.2g} nats by calibration")
        if self.kl is not None:
            drift = "" if self.drift is None else f" and drifted by {self.drift:.2g}"
            parts.append(f"its outputs on the probe moved by {self.kl:.2g} nats{drift}")
        if self.rise is not None:
            parts.append(f"loss there by {self.rise:+.1%}")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Probe:
    """Labelled examples on which models are looked at.

    Attributes:
        architecture: of the models.
        loss: that they were trained with.
        inputs: of the examples; there may be none.
        targets: of them.
    """

    architecture: Architecture
    loss: Loss
    inputs: Float[Tensor, "batch ..."]
    targets: Tensor

    def outputs(self, states: Sequence[State]) -> Float[Tensor, "model batch class"]:
        """What models give for the examples, in evaluation mode."""
        stack = self.architecture.stack
        with torch.no_grad():
            if stack is None:
                return torch.stack(
                    [self.architecture.module(state)(self.inputs) for state in states]
                )
            inputs = self.inputs.flatten(1).expand(len(states), -1, -1)
            parameters = stack_parameters(stack, states, self.loss)
            return Linearised(stack, self.loss, parameters, inputs).outputs[..., : stack.widths[-1]]

    def correction(self, state: State, norm: float) -> float:
        """A correction's norm as a part of that of the parameters that it is added to."""
        names = self.architecture.trainable_names
        whole = sum(float(state[name].square().sum()) for name in names) ** 0.5
        return float(norm / max(whole, 1e-30))

    def loss_of(self, state: State, inputs: Tensor, targets: Tensor) -> float:
        """The mean loss of some examples."""
        with torch.no_grad():
            outputs = self.architecture.module(state)(inputs)
        return float(self.loss.value(outputs, targets).mean())

    def inspect(
        self,
        checks: Sequence[Check],
        before: Sequence[State],
        corrected: Sequence[State],
        after: Sequence[State],
        losses: Sequence[float] | None = None,
    ) -> list[Check]:
        """Looks with what the probe says of the models after an amend.

        Args:
            checks: so far.
            before: the models before the request.
            corrected: before the amend.
            after: after it.
            losses: of the forgotten examples under the models before the request; without these,
                as where the loss is convex, drift is not looked at.
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

    def errors(
        self, shards: Sequence[int], exact: Sequence[State], approximate: Sequence[State]
    ) -> tuple[Check, ...]:
        """How far approximations were from the exact models that replace them."""
        if not shards or not len(self.inputs):
            return ()
        divergences = map(self._divergence, self.outputs(exact), self.outputs(approximate))
        return tuple(Check(s, error=e) for s, e in zip(shards, divergences, strict=True))

    def _targets(self, outputs: Float[Tensor, "model batch class"]) -> Tensor:
        return self.targets.expand(len(outputs), *self.targets.shape)

    def _divergence(
        self, reference: Float[Tensor, "batch class"], outputs: Float[Tensor, "batch class"]
    ) -> float | None:
        if not self.targets.is_floating_point() and not isinstance(self.loss, CrossEntropy):
            return None  # the outputs are neither probabilities nor predictions of the targets
        pair = self.loss.probabilities(reference), self.loss.probabilities(outputs)
        return float(task_of(self.targets).divergence(*pair).mean())


def _drift(check: Check, kl: float, loss: float) -> float:
    """What an amend did to the outputs, for each epoch, beside what there was to forget."""
    return kl / (max(check.replayed or 1, 1) * max(math.sqrt(check.share or 0.0) * loss, 1e-12))
