"""Details of the membership-inference attack: losses, ROC curves, and the examples most at risk.

The forgotten examples are the members and the test examples the non-members. The attacker calls an
example a member if its loss is at or below a threshold. The retrained model is attacked too: it
never saw the forgotten examples, so its ROC curve, and not the diagonal, is the reference for a
model that has forgotten them.
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
from unlearnkit.metrics.membership_auc import auc_interval
from unlearnkit.metrics.metrics import auc, share_interval
from unlearnkit.metrics.tasks import task_of
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import state_probabilities

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("forget", "test")


@dataclass(frozen=True)
class Rates:
    """Rates of an attack on one model at one threshold.

    Attributes:
        model: the attacked model.
        true: share of forgotten examples called members; nan if there are none.
        false: share of test examples called members; nan if there are none.
        true_interval: 95 % Wilson interval (1927) of `true`, over the choice of examples.
        false_interval: the same for `false`.
    """

    model: str
    true: float
    false: float
    true_interval: tuple[float, float] | None
    false_interval: tuple[float, float] | None


@own_settings()
def membership_losses(comparison: Comparison) -> "pd.DataFrame":
    """Return the loss of every forgotten and test example under the three ensembles.

    The loss is the cross-entropy in nats; for a regression it is half the squared error, in squared
    units of the target scale (:class:`~unlearnkit.metrics.tasks.Regression`). The score of the
    attack is the negative loss (Yeom, Giacomelli, Fredrikson and Jha 2018, used as a ranking).

    Returns:
        One row per example: part, id, label (missing if there are several targets), original,
        unlearned, scratch (the retrained model).
    """
    import pandas as pd

    frames = []
    for part in PARTS:
        outputs = {name: getattr(comparison.outputs[name], part) for name in MODELS}
        frames.append(_losses(part, comparison.ids[part], comparison.labels[part], outputs))
    return pd.concat(frames, ignore_index=True)


@own_settings()
def constituent_losses(comparison: Comparison, dataset: Dataset, shard: int) -> "pd.DataFrame":
    """Return the losses of :func:`membership_losses` under one constituent in the three models.

    An ensemble can hide a leak, because constituents that never saw an example outvote the one that
    did. An attacker who has the constituents can attack each of them separately.

    Args:
        comparison: the comparison of an unlearning.
        dataset: holds the examples.
        shard: a shard that was compared; only its forgotten examples are members.

    Raises:
        KeyError: the shard was not compared.
    """
    import pandas as pd

    states = states_of(comparison, shard)
    model = comparison.scratch
    frames = []
    measured = {"forget": comparison.forgotten_of(shard), "test": comparison.ids["test"]}
    for part, ids in measured.items():
        inputs, labels = dataset.examples(ids)
        outputs = {
            name: state_probabilities(model.architecture, model.loss, state, inputs)
            for name, state in states.items()
        }
        frames.append(_losses(part, ids, labels, outputs))
    return pd.concat(frames, ignore_index=True)


def roc_curve(members: Float[Tensor, " member"], others: Float[Tensor, " other"]) -> "pd.DataFrame":
    """Return the ROC curve of calling examples members if their loss is at most a threshold.

    Tied losses of both sides change both rates at once, so the trapezoidal area under the curve is
    the Mann-Whitney area that :func:`~unlearnkit.metrics.membership_auc.membership_auc` reports.

    Args:
        members: losses of the members.
        others: losses of the non-members.

    Returns:
        One row per threshold, ascending: threshold, false positive rate, true positive rate. No
        example is called a member at the first. The table is empty if either side is empty.

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
    """Return the :func:`roc_curve` of the three models, with a column that names the model.

    Args:
        losses: table of :func:`membership_losses` or :func:`constituent_losses`.
    """
    import pandas as pd

    curves = [roc_curve(*_sides(losses, model)).assign(model=model) for model in MODELS]
    return pd.concat(curves, ignore_index=True)


def roc_areas(losses: "pd.DataFrame") -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Return the area under each model's ROC curve and its 95 % interval.

    They are those of :func:`~unlearnkit.metrics.membership_auc.membership_auc`.

    Args:
        losses: table of :func:`membership_losses` or :func:`constituent_losses`.
    """
    areas: dict[str, tuple[float, tuple[float, float] | None]] = {}
    for model in MODELS:
        members, others = _sides(losses, model)
        area = auc(-members, -others)
        known = not math.isnan(area)
        areas[model] = (area, auc_interval(area, len(members), len(others)) if known else None)
    return areas


def rates(losses: "pd.DataFrame", model: str, threshold: float) -> Rates:
    """Return the true and false positive rates of one model at a threshold, with intervals.

    Args:
        losses: table of :func:`membership_losses` or :func:`constituent_losses`.
        model: the attacked model.
        threshold: examples with a loss at or below it, in nats, are called members.
    """
    found = []
    for part in PARTS:
        side = losses.loc[losses["part"] == part, model].to_numpy()
        share = float((side <= threshold).mean()) if len(side) else math.nan
        found.append((share, share_interval(share, len(side)) if len(side) else None))
    (true, true_interval), (false, false_interval) = found
    return Rates(model, true, false, true_interval, false_interval)


def threshold_at(losses: "pd.DataFrame", share: float, model: str = "unlearned") -> float:
    """Return the threshold at which the attack has a given false positive rate.

    It is the quantile of the losses of the model's test examples, and always the loss of one
    example, so the rate is exact up to ties and rounding up. Losses concentrate near 0, which makes
    it easier to vary the rate than the threshold.

    Args:
        losses: table of :func:`membership_losses` or :func:`constituent_losses`.
        share: share of the test examples that are called members, from 0 to 1.
        model: model whose losses are used.

    Raises:
        ValueError: ``share`` is out of range, or there are no test examples.
    """
    side = np.sort(losses.loc[losses["part"] == "test", model].to_numpy())
    if not 0 <= share <= 1 or not len(side):
        raise ValueError(
            f"there is no threshold for share={share} and {len(side)} test examples; give a share "
            "from 0 to 1, and at least one test example"
        )
    return float(np.quantile(side, share, method="inverted_cdf"))


def riskiest(losses: "pd.DataFrame", *, most: int = 10) -> "pd.DataFrame":
    """Return the forgotten examples that the unlearned model still fits best.

    They are ranked by their excess = log p_unlearned(label) - log p_retrained(label), which is the
    loss of the retrained model minus that of the unlearned model, in nats. The reference model
    accounts for the difficulty of an example: one that any model fits well is not at risk. (Watson,
    Guo, Cormode and Sablayrolles 2022, "On the importance of difficulty calibration in membership
    inference attacks", with the retrained model as the only reference.)

    Args:
        losses: table of :func:`membership_losses` or :func:`constituent_losses`.
        most: the largest number of examples to return.

    Returns:
        One row per example, the greatest excess first and ties by id: id, label, the losses of
        original, unlearned and scratch, excess (0 after exact unlearning), and the excess of the
        original, which remains if nothing is done.
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
