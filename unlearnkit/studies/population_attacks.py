"""Attacks on single examples: likelihood ratios from a population of models.

An attack with one threshold for all examples misleads, because it averages over examples that no
model remembers (Naderloui et al. 2025, RULI). Here the attacker fits, for each forgotten example,
one Gaussian to its margins under models that learned it and another to those under models that
never saw it, and scores a model by the ratio of the two likelihoods.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from unlearnkit.metrics.true_positives import RATES, threshold_at, true_positives
from unlearnkit.studies.population import KINDS, Margins, Population
from unlearnkit.studies.population_metrics import log_density, need_models

if TYPE_CHECKING:
    import pandas as pd

# What the attacker fits the first Gaussian to.
VIEWS = {"lira": "original", "ruli": "unlearned"}
RESAMPLES = 200


def attack_examples(
    population: Population,
    *,
    memorised: float = 1.0,
    rates: tuple[float, ...] = RATES,
    resamples: int = RESAMPLES,
) -> "pd.DataFrame":
    """Attack every forgotten example by a likelihood ratio, and count who is found.

    Two attackers score each model, whose margin of an example is m, by log p(m | learned) -
    log p(m | never seen). Both fit the second Gaussian to retrained models. ``"lira"`` fits the
    first one to original models, as an attacker does who does not know that anything was unlearned;
    ``"ruli"`` fits it to unlearned models, and so finds whatever unlearning leaves behind. Each
    half of the seeds is attacked with Gaussians fitted to the other half. The retrained models are
    the non-members, so their true positive rate is the false positive rate. The ``null`` is the
    rate to expect of a perfectly unlearned model, which is larger where scores are few.

    The interval joins two of 95 %: the percentile interval of the bootstrap over seeds, because the
    scores of one model are not independent (Efron and Tibshirani 1993, section 13.3), and the
    conservative one of :func:`~unlearnkit.metrics.true_positives.true_positives`, because few
    scores lie above the threshold, which the bootstrap alone does not allow for. Both take the
    fitted Gaussians as given.

    Sources: Carlini et al. 2022, Membership Inference Attacks From First Principles (algorithm 1,
    online); Naderloui et al. 2025, Rectifying Privacy and Efficacy Measurements in Machine
    Unlearning (USENIX Security; the efficacy game, unlearned against retrained). Departures: all
    models forget one set, whose examples take the place of random targets; means are fitted, as in
    algorithm 1, where the code of LiRA takes medians; and Gaussians replace the kernel density
    estimates of RULI's code.

    Args:
        population: the models, at least eight.
        memorised: the share of forgotten examples to attack, those that original models remember
            most: the distance of their mean margins from those of retrained models, in units of the
            spread. It is computed on the half that the Gaussians are fitted to.
        rates: false positive rates.
        resamples: the number of bootstrap samples.

    Returns:
        One row per attacker, kind of model and rate: attacker, models, false_rate, true_rate, low,
        high, false (the false positive rate that was possible), null, scores (the number
        per kind).

    Raises:
        ValueError: the population has fewer than eight models, ``memorised`` is not above 0 and at
            most 1, ``resamples`` is below 1, or a rate is not between 0 and 1.
    """
    import pandas as pd

    need_models(population, 8)
    if not 0 < memorised <= 1:
        raise ValueError(f"memorised={memorised} is no share; give one above 0, and at most 1")
    if resamples < 1:
        raise ValueError(f"resamples={resamples} is too small; give at least 1 (200 are usual)")
    margins = {kind: population.of(kind) for kind in KINDS}
    rows = []
    for attacker, learned in VIEWS.items():
        scores = _scores(margins, learned, memorised)
        draws = np.random.default_rng(0).integers(
            len(population), size=(resamples, len(population))
        )
        for kind in ("original", "unlearned"):
            for rate in rates:
                members, others = scores[kind], scores["scratch"]
                found = true_positives(members.ravel(), others.ravel(), rate)
                drawn = [
                    (members[draw] > threshold_at(others[draw].ravel(), rate)).mean()
                    for draw in draws
                ]
                low, high = np.quantile(drawn, (0.025, 0.975))
                least, most = found.interval
                rows.append(
                    {
                        "attacker": attacker,
                        "models": kind,
                        "false_rate": rate,
                        "true_rate": found.true,
                        "low": min(low, least),
                        "high": max(high, most),
                        "false": found.false,
                        "null": found.null,
                        "scores": found.others,
                    }
                )
    return pd.DataFrame(rows)


def _scores(
    margins: dict[str, Margins], learned: str, memorised: float
) -> dict[str, Float[np.ndarray, "model score"]]:
    """Return the log-likelihood ratios of each kind of model; each half is fitted to the other."""
    halves: dict[str, list[Margins]] = {kind: [] for kind in KINDS}
    count = len(margins["scratch"])
    for target in (np.arange(count) % 2 == 0, np.arange(count) % 2 == 1):
        shadows = {kind: rows[~target] for kind, rows in margins.items()}
        chosen = _most_memorised(shadows, memorised)
        first, second = shadows[learned][:, chosen], shadows["scratch"][:, chosen]
        for kind, rows in margins.items():
            some = rows[target][:, chosen]
            halves[kind].append(log_density(some, first) - log_density(some, second))
    return {kind: np.concatenate(parts) for kind, parts in halves.items()}


def _most_memorised(shadows: dict[str, Margins], share: float) -> Bool[np.ndarray, " example"]:
    """Choose the examples whose margins training with them raises most, in units of the spread."""
    original, retrained = shadows["original"], shadows["scratch"]
    spread = np.sqrt((original.var(0, ddof=1) + retrained.var(0, ddof=1)) / 2)
    raised = (original.mean(0) - retrained.mean(0)) / np.maximum(spread, 1e-6)
    chosen = np.zeros(len(raised), bool)
    chosen[np.argsort(-raised, kind="stable")[: max(1, round(share * len(raised)))]] = True
    return chosen
