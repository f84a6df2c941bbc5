"""What a certificate says of shards that were modified with calibrated noise.

The ledger and the approximations record a method by its repr. Those of
:class:`~unlearnkit.approximate.NoisyNewton` state their epsilon and delta. The guarantee is that of
its module; the certificate repeats what it covers and what it does not.
"""

import math
import re
from collections.abc import Mapping, Sequence

from unlearnkit.approximate import NoisyNewton
from unlearnkit.approximate.baselines.certified.gaussian import epsilon_of, largest_mu
from unlearnkit.display import plural
from unlearnkit.training.plan import Plan

KEEPING = ("NoAmend", "Replay", "RewindAndReplay", "FineTune")  # amends that read no older model
_METHOD = re.compile(r"^NoisyNewton\((?P<settings>[^()]*)\)")
_AMEND = re.compile(r", then (?P<amend>\w+)\(")


def on_the_noise(plan: Plan, methods: Mapping[int, str], requests: Sequence[str]) -> list[str]:
    """Say what is certified of the shards that carry debt, if noise hides it.

    Args:
        plan: the plan of the current retain set.
        methods: for each shard with debt, the method and the amend that made it.
        requests: the method of each request in the ledger; "" if it modified no shard.
    """
    groups = dict[str, list[int]]()
    for shard, said in methods.items():
        amend = _AMEND.search(said)
        if noisy_from(said) is not None and amend is not None and amend["amend"] in KEEPING:
            groups.setdefault(said, []).append(shard)
    says = []
    for said, shards in groups.items():
        method = noisy_from(said)
        assert method is not None  # else it is in no group
        sigma = method.sigma(plan.spec.num_shards, plan.spec.num_slices)
        numbers = ", ".join(map(str, shards))
        were = "Shard {} was" if len(shards) == 1 else "Shards {} were"
        says.append(
            f"{were.format(numbers)} last modified by NoisyNewton, a certified removal after Guo "
            "et al. 2020. What one request has left by it, in all shards and stages together, is "
            f"(epsilon = {method.epsilon:g}, delta = {method.delta:g})-indistinguishable from the "
            "minimisers of the convex training objective on the retained examples, with the same "
            f"Gaussian noise of standard deviation {sigma:.2g}, and the same amend."
        )
    return [*says, *_together(requests), _LIMITS] if says else []


def noisy_from(said: str) -> NoisyNewton | None:
    """Return the method that a repr describes, or None if it is another one.

    >>> noisy_from("NoisyNewton(epsilon=2.0, delta=1e-06, tolerance=0.01), then NoAmend()").epsilon
    2.0
    >>> noisy_from("Scrub(alpha=1.0)") is None
    True
    """
    found = _METHOD.match(said)
    if found is None:
        return None
    try:
        pairs = [part.split("=") for part in found["settings"].split(", ") if part]
        values = {name: float(value) for name, value in pairs}
        counts = {name: int(values[name]) for name in ("steps", "products") if name in values}
        return NoisyNewton(**{**values, **counts})  # type: ignore[arg-type]
    except (TypeError, ValueError):  # settings of another version, or an edited ledger
        return None


def _together(requests: Sequence[str]) -> list[str]:
    """Say what several requests have together."""
    noisy = [method for method in map(noisy_from, requests) if method is not None]
    if len(noisy) < 2:
        return []
    mus, delta = [largest_mu(m.epsilon, m.delta) for m in noisy], max(m.delta for m in noisy)
    epsilon = epsilon_of(math.sqrt(sum(mu * mu for mu in mus)), delta)
    return [
        f"{plural(len(noisy), 'request')} were handled in this way; who sees what all of them have "
        f"left has epsilon = {epsilon:.3g} at delta = {delta:g}."
    ]


_LIMITS = (
    "The noise does not certify: that training would have converged to these minimisers; anything "
    "about models from before the request, which who has kept one can compare; anything against "
    "someone who has the store, or knows or guesses the seed of the session, because the noise is "
    "pseudorandom and follows from it, so that an audit can repeat it; the settings and constants "
    "that were chosen on all examples; and the numbers in the ledger."
)
