"""Spot checks: one modified shard is retrained exactly too, which shows what modifying removed.

The gap of doing nothing is the divergence of the model before the request from the retrained one.
What modifying removed of it is measured where both models are known: in a shard that was modified
and then retrained exactly, and that keeps the exact model. The shards are drawn before anything is
modified. The first of them that is doubtful is checked, or else the first one, so that the choice
depends on the checks at most.

In our measurements, results within one training setting hardly predict each other, but settings
differ much. So a spot check finds a training setting in which approximation fails, not a single bad
request, and one check for each trained ensemble is as useful as one for each request.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from unlearnkit.display import plural
from unlearnkit.metrics.metrics import gaussian_kl
from unlearnkit.metrics.tasks import task_of
from unlearnkit.models.losses import CrossEntropy, WeightedCrossEntropy
from unlearnkit.seeding import derive
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.inspection import PROBE_MAX, Probe, evenly_spaced
from unlearnkit.unlearning.workload import Workload

AUTO = "auto"
SHARE = 0.1  # largest share of the visits of exact retraining that a check by default may have
LEAST = 0.5  # approximation fails in a training setting if it removes less than this share
SMALLEST = 1e-10  # divergences below this are rounding
KL, SQUARES = "KL divergence in nats", "half the squared difference of outputs"
MEANING = (
    "A spot check shows whether approximation works in this training setting, not whether every "
    "request is removed well: in our measurements it missed 8% of the settings that fail and gave "
    "a false alarm in 2%."
)


@dataclass(frozen=True)
class SpotCheck:
    """What modifying a shard removed, measured by retraining the same shard exactly.

    Attributes:
        shard: the shard, 0-based; it keeps the exact model.
        asked: whether the caller asked for the check; otherwise it was done by default.
        visits: example gradients of the retraining.
        seconds: wall seconds of the retraining, which are part of those of the request.
        measure: how outputs were compared with those of the retrained model.
        probe: number of probe examples on which they were compared.
        forgotten: number of the shard's forgotten examples on which they were compared.
        probe_gap: mean divergence on the probe of the model before the request; None without a
            probe.
        probe_left: the same of the modified model.
        forget_gap: mean divergence on the forgotten examples of the model before the request.
        forget_left: the same of the modified model.
        usual: whether the shard was modified by the default method and amend. A check of others
            says nothing of these.
    """

    shard: int
    asked: bool
    visits: int
    seconds: float
    measure: str = KL
    probe: int = 0
    forgotten: int = 0
    probe_gap: float | None = None
    probe_left: float | None = None
    forget_gap: float | None = None
    forget_left: float | None = None
    usual: bool = True

    @property
    def probe_removed(self) -> float | None:
        """Share of the gap on the probe that modifying removed; None if there was no gap."""
        return _removed(self.probe_gap, self.probe_left)

    @property
    def forget_removed(self) -> float | None:
        """Share of the gap on the forgotten examples that modifying removed."""
        return _removed(self.forget_gap, self.forget_left)

    @property
    def removed(self) -> float | None:
        """The share on the probe, or on the forgotten examples if it is not known there."""
        return self.forget_removed if self.probe_removed is None else self.probe_removed

    @property
    def fails(self) -> bool:
        """Whether modifying removed less than half of the gap."""
        return self.removed is not None and self.removed < LEAST

    @property
    def error(self) -> float | None:
        """The error of the approximation for the error model, in nats; None if not measured."""
        return self.probe_left if self.measure == KL else None

    @property
    def result(self) -> str:
        """What was removed, in words.

        >>> SpotCheck(3, False, 9, 0.1, KL, 8, 2, 0.5, 0.1, 0.25, 0.05).result
        'modifying removed 80% of the gap of doing nothing on 8 probe examples and 80% on 2 \
forgotten examples'
        """
        parts = [
            f"{share:.0%} {'on' if place else 'of the gap of doing nothing on'} {where}"
            for place, (share, where) in enumerate(self._known)
        ]
        if not parts:
            return "forgetting moved no output measurably, so there was nothing to remove"
        return f"modifying removed {' and '.join(parts)}"

    @property
    def _known(self) -> list[tuple[float, str]]:
        both = (
            (self.probe_removed, plural(self.probe, "probe example")),
            (self.forget_removed, plural(self.forgotten, "forgotten example")),
        )
        return [(share, where) for share, where in both if share is not None]

    @property
    def reason(self) -> str:
        """Why the shard is exact, as its route says."""
        return f"retrained exactly too, as a spot check: {self.result}"

    @property
    def sentence(self) -> str:
        """Describe the check and what it means."""
        return (
            f"Spot check: shard {self.shard} was modified and then retrained exactly, and keeps "
            f"the exact model; {self.result} ({self.measure}). {self.advice or MEANING}"
        )

    @property
    def advice(self) -> str:
        """What to do where approximation fails; empty where it does not."""
        if not self.fails:
            return ""
        if not self.usual:
            return (
                "Less than half was removed, so this method and amend, which are not the default, "
                "fail in this training setting. Repay the debt with repay(), and have later "
                "requests modified by default or retrained exactly (a threshold of 1). "
                f"{MEANING}"
            )
        return (
            "Less than half was removed, so approximation fails in this training setting. Repay "
            "the debt with repay(), and have later requests retrained exactly (a threshold of 1); "
            "or train again with a smaller learning rate or a smaller batch. "
            "session.amplification() measures how chaotic the training is. "
            f"{MEANING}"
        )

    def __repr__(self) -> str:
        return f"SpotCheck(shard {self.shard}: {self.result})"


def _removed(gap: float | None, left: float | None) -> float | None:
    return None if gap is None or left is None or not gap > SMALLEST else 1 - left / gap


def as_spot_check(spot_check: Any) -> bool | str:
    """Return ``True``, ``False`` or ``"auto"``, for which None stands too.

    Raises:
        TypeError: it is neither None, a bool nor a string.
        ValueError: it is another string.
    """
    if spot_check is None:
        return AUTO
    if not isinstance(spot_check, bool | str):
        raise TypeError(
            f"spot_check={spot_check!r} is a {type(spot_check).__name__}; give True, False or "
            "'auto'. The shard is drawn, so that its choice cannot depend on the result"
        )
    if isinstance(spot_check, str) and spot_check != AUTO:
        raise ValueError(f"spot_check={spot_check!r} is not known; give True, False or 'auto'")
    return spot_check


def check_once(spot_check: Any, earlier: Iterable[SpotCheck]) -> bool | str:
    """Return what :func:`as_spot_check` does, but ``False`` for a default check that was done.

    Args:
        spot_check: as for :func:`as_spot_check`, whose errors are raised.
        earlier: the checks of the ensemble. Only those of the default method and amend count.
    """
    check = as_spot_check(spot_check)
    return False if check == AUTO and any(each.usual for each in earlier) else check


def shards_to_check(
    spot_check: bool | str, plan: Plan, workload: Workload, modified: Iterable[int]
) -> tuple[int, ...]:
    """Return the shards of a request in the order in which they are drawn for a spot check.

    The first doubtful one is checked, or else the first one whose modification is accepted.

    Args:
        spot_check: ``False`` for none, ``True`` for all, ``"auto"`` for those whose retraining
            takes at most a tenth of the visits of retraining all hit shards. Of fewer than ten hit
            shards that would be an unusually small one, which tells little: none is checked then.
        plan: the plan after the request, which keys the order together with the seed.
        workload: the workload of the request.
        modified: the shards that are to be modified.
    """
    if spot_check is False:
        return ()
    visits = {work.shard: work.visits for work in workload.shards}
    if spot_check == AUTO and len(visits) * SHARE < 1:
        return ()
    most = workload.visits if spot_check is True else SHARE * workload.visits
    chosen = [shard for shard in modified if visits[shard] <= most]
    return tuple(
        sorted(chosen, key=lambda s: (derive(plan.spec.seed, "spot check", plan.digest, s), s))
    )


@own_settings()
def measure(
    check: SpotCheck,
    plan: Plan,
    probe: Probe,
    forget: Int[np.ndarray, " id"],
    states: tuple[State, State, State],
) -> SpotCheck:
    """Complete a check with the divergences from the retrained model.

    Args:
        check: the check without divergences.
        plan: holds the examples.
        probe: the probe; it may be empty.
        forget: ids that the shard forgot; of more than 256 evenly spaced ones are used.
        states: final states of the model before the request, of the modified and of the exact one.
    """
    chosen = forget[evenly_spaced(len(forget), PROBE_MAX)]
    gone = Probe(plan.architecture, plan.spec.loss, *plan.examples[chosen])
    on_probe, on_gone = _divergences(probe, states), _divergences(gone, states)
    return replace(
        check,
        measure=KL if _has_likelihood(gone) else SQUARES,
        probe=len(probe.inputs),
        forgotten=len(gone.inputs),
        probe_gap=on_probe[0],
        probe_left=on_probe[1],
        forget_gap=on_gone[0],
        forget_left=on_gone[1],
    )


def _divergences(
    probe: Probe, states: tuple[State, State, State]
) -> tuple[float | None, float | None]:
    """Mean divergence of the first two models' outputs from those of the last one."""
    if not len(probe.inputs):
        return None, None
    before, modified, exact = probe.outputs(states)
    return _divergence(probe, exact, before), _divergence(probe, exact, modified)


def _has_likelihood(probe: Probe) -> bool:
    """Whether outputs are probabilities or predicted targets."""
    classes = isinstance(probe.loss, CrossEntropy | WeightedCrossEntropy)
    return classes or probe.targets.is_floating_point()


def _divergence(probe: Probe, reference: Tensor, outputs: Tensor) -> float:
    reference, outputs = reference.double(), outputs.double()  # small divergences cancel in float32
    if not _has_likelihood(probe):
        return float(gaussian_kl(reference, outputs).mean())
    pair = probe.loss.probabilities(reference), probe.loss.probabilities(outputs)
    return float(task_of(probe.targets).divergence(*pair).mean())
