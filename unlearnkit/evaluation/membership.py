"""The membership attack of `attacks`, opened: scores, thresholds, and the examples most at risk.

Forgotten examples play the members and test examples the non-members; an attacker calls a member
whatever has a loss at or below a threshold. The model from scratch is attacked too: it never saw
the forgotten examples, so its curve, not the diagonal, is what innocence looks like on them.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import MODELS, Comparison
from unlearnkit.evaluation.parameters import states_of
from unlearnkit.metrics.attacks import auc_interval
from unlearnkit.metrics.metrics import auc, share_interval
from unlearnkit.metrics.tasks import task_of
from unlearnkit.training.ensemble import state_probabilities

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("forget", "test")


@dataclass(frozen=True)
class Rates:
    """What one threshold does to one model.

    Attributes:
        model: attacked.
        true: share of forgotten examples called members; nan without any.
        false: share of test examples called members; nan without any.
        true_interval: 95 % interval of `true` over the choice of examples (Wilson 1927).
        false_interval: the same of `false`.
    """

    model: str
    true: float
    false: float
    true_interval: tuple[float, float] | None
    false_interval: tuple[float, float] | None


def membership_losses(comparison: Comparison) -> "pd.DataFrame":
    """Cross-entropy in nats of every forgotten and test example under the three ensembles.

    Of a regression half the squared error, in squared units of the target scale
    (:class:`~unlearnkit.metrics.tasks.Regression`). One row an example: part, id, label (none for
    several targets), original, unlearned, scratch. The attack's score is minus the loss (Yeom,
    Giacomelli, Fredrikson and Jha 2018, as a ranking).
    """
    import pandas as pd

    frames = []
    for part in PARTS:
        outputs = {name: getattr(comparison.outputs[name], part) for name in MODELS}
        frames.append(_losses(part, comparison.ids[part], comparison.labels[part], outputs))
    return pd.concat(frames, ignore_index=True)


def constituent_losses(comparison: Comparison, dataset: Dataset, shard: int) -> "pd.DataFrame":
    """The same as :func:`membership_losses` of one constituent, whose shard lost the examples.

    An ensemble hides a leak: the other constituents never saw the example, and outvote the one that
    did. Who holds the constituents can attack each by itself.

    Args:
        comparison: of an unlearning.
        dataset: for the examples.
        shard: a shard that was compared; only examples forgotten of it are members.

    Raises:
        KeyError: the shard was not compared.
    """
    import pandas as pd

    states = states_of(comparison, shard)
    model = comparison.scratch
    frames = []
    for part, ids in (("forget", comparison.forgotten_of(shard)), ("test", dataset.test.ids)):
        inputs, labels = dataset.examples(ids)
        outputs = {
            name: state_probabilities(model.architecture, model.loss, state, inputs)
            for name, state in states.items()
        }
        frames.append(_losses(part, ids, labels, outputs))
    return pd.concat(frames, ignore_index=True)


def roc_curve(members: Float[Tensor, " member"], others: Float[Tensor, " other"]) -> "pd.DataFrame":
    """The receiver operating characteristic of calling members what has a loss <= threshold.

    One row a threshold, ascending, the first with nobody called: threshold, false positive rate,
    true positive rate. Ties move both at once; the trapezoid area under the points is then the
    Mann-Whitney area that :func:`~unlearnkit.metrics.attacks.membership_auc` reports. Empty where
    either side is.

    >>> curve = roc_curve(torch.tensor([0.1, 0.4]), torch.tensor([0.4, 0.9]))
    >>> curve["true_positive_rate"].tolist(), curve["false_positive_rate"].tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    import pandas as pd

    names = ["threshold", "false_positive_rate", "true_positive_rate"]
    if not len(members) or not len(others):
        return pd.DataFrame(columns=names, dtype=float)
    thresholds = torch.cat([members, others]).unique()
    called = [
        torch.searchsorted(side.sort().values, thresholds, right=True).double() / len(side)
        for side in (others, members)
    ]
    rows = torch.stack([thresholds.double(), *called], 1)
    start = torch.tensor([[-torch.inf, 0.0, 0.0]], dtype=torch.float64)
    return pd.DataFrame(torch.cat([start, rows]).numpy(), columns=names)


def roc_curves(losses: "pd.DataFrame") -> "pd.DataFrame":
    """`roc_curve` of the three models, with a column that names the model.

    Args:
        losses: of :func:`membership_losses` or :func:`constituent_losses`.
    """
    import pandas as pd

    curves = [roc_curve(*_sides(losses, model)).assign(model=model) for model in MODELS]
    return pd.concat(curves, ignore_index=True)


def roc_areas(losses: "pd.DataFrame") -> dict[str, tuple[float, tuple[float, float] | None]]:
    """The area under each model's curve and its 95 % interval, as `membership_auc` has them.

    Args:
        losses: of :func:`membership_losses` or :func:`constituent_losses`.
    """
    areas: dict[str, tuple[float, tuple[float, float] | None]] = {}
    for model in MODELS:
        members, others = _sides(losses, model)
        area = auc(-members, -others)
        known = not math.isnan(area)
        areas[model] = (area, auc_interval(area, len(members), len(others)) if known else None)
    return areas


def rates(losses: "pd.DataFrame", model: str, threshold: float) -> Rates:
    """True and false positive rate of one model at a threshold on the loss, with intervals.

    Args:
        losses: of :func:`membership_losses` or :func:`constituent_losses`.
        model: attacked.
        threshold: in nats; what has a loss at or below it is called a member.
    """
    found = []
    for part in PARTS:
        side = losses.loc[losses["part"] == part, model].to_numpy()
        share = float((side <= threshold).mean()) if len(side) else math.nan
        found.append((share, share_interval(share, len(side)) if len(side) else None))
    (true, true_interval), (false, false_interval) = found
    return Rates(model, true, false, true_interval, false_interval)


def threshold_at(losses: "pd.DataFrame", share: float, model: str = "unlearned") -> float:
    """The loss at or below which this share of a model's test examples lies: its quantile.

    To sweep the threshold evenly, though losses bunch up near 0; of an ordered sample, so the value
    is always one example's loss (the false positive rate is then the share, but for ties and
    rounding up).

    Args:
        losses: of :func:`membership_losses` or :func:`constituent_losses`.
        share: from 0 to 1.
        model: whose losses.

    Raises:
        ValueError: a share out of range, or no test examples.
    """
    side = np.sort(losses.loc[losses["part"] == "test", model].to_numpy())
    if not 0 <= share <= 1 or not len(side):
        raise ValueError(f"share={share} of {len(side)} test examples; give 0 to 1 of at least one")
    return float(np.quantile(side, share, method="inverted_cdf"))


def riskiest(losses: "pd.DataFrame", *, most: int = 10) -> "pd.DataFrame":
    """Forgotten examples that the unlearned model knows best for what they are.

    Excess = log p_unlearned(label) - log p_scratch(label) = loss of scratch less loss of unlearned,
    in nats: an example that is easy for everybody is not at risk for being so. Watson, Guo, Cormode
    and Sablayrolles 2022 ("On the importance of difficulty calibration in membership inference
    attacks"), with the one model from scratch as reference. One row an example, greatest excess
    first, equal ones by id: id, label, loss of original, unlearned and scratch, excess (0 after an
    exact unlearning), and the original's excess: what doing nothing would leave.

    Args:
        losses: of :func:`membership_losses` or :func:`constituent_losses`.
        most: examples.
    """
    frame = losses[losses["part"] == "forget"].drop(columns="part")
    frame = frame.assign(
        excess=frame["scratch"] - frame["unlearned"],
        **{"original excess": frame["scratch"] - frame["original"]},
    )
    ordered = frame.sort_values(["excess", "id"], ascending=[False, True], kind="stable")
    return ordered.head(most).reset_index(drop=True)


def _losses(
    part: str,
    ids: Int[np.ndarray, " part"],
    labels: Tensor,
    outputs: dict[str, Tensor],
) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, object] = {"part": part, "id": ids}
    if labels.ndim == 1 or labels.shape[1] == 1:
        columns["label"] = labels.flatten().numpy()
    task = task_of(labels)
    losses = {name: -task.log_likelihood(outputs[name], labels).cpu().numpy() for name in MODELS}
    return pd.DataFrame(columns | losses)


def _sides(losses: "pd.DataFrame", model: str) -> tuple[Tensor, Tensor]:
    members, others = (
        torch.from_numpy(losses.loc[losses["part"] == part, model].to_numpy(copy=True))
        for part in PARTS
    )
    return members, others
