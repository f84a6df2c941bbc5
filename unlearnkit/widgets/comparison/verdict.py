"""What a comparison found, as a table and in sentences."""

import math

from unlearnkit.display import duration, listing, plural
from unlearnkit.evaluation.comparison import PARTS, Comparison
from unlearnkit.widgets.parts.html import table

PART_NAMES = {"forget": "forgotten examples", "retain": "retained ones", "test": "test examples"}


def verdict_table(comparison: Comparison) -> str:
    """Return the table that the panel shows first: doing nothing, unlearned, and the goal."""
    task, scores = comparison.task, comparison.scores
    score = "accuracy" if task.name == "classification" else "RMSE"
    rows = [
        [
            f"{score}, {PART_NAMES[part]}",
            *(_score(comparison, model, part) for model in ("original", "unlearned", "scratch")),
        ]
        for part in PARTS
        if not scores[part].isna().all()
    ]
    name = "KL" if task.name == "classification" else "half squared difference"
    kl = comparison.output_kl
    divergences = [_small(kl["original"]), _small(kl["unlearned"])]
    rows.append([f"outputs: {name} from retrained (nats)", *divergences, "0"])
    gap, nothing = comparison.membership_gap.value, comparison.original_membership_gap.value
    if not math.isnan(gap):
        rows.append(["membership attack: AUC minus retrained", _signed(nothing), _signed(gap), "0"])
    frame = comparison.constituents
    same, total = int(frame["bit_identical"].sum()), len(frame)
    rows.append(["shards that equal retraining, bit for bit", "-", f"{same} of {total}", "all"])
    times = [duration(comparison.seconds), duration(comparison.scratch_seconds)]
    rows.append(["wall time", "-", *times])
    headers = ["", "doing nothing", "unlearned", "retrained: the goal"]
    return table(headers, rows, caption="The closer to the last column, the better", text=(0,))


def _score(comparison: Comparison, model: str, part: str) -> str:
    value = float(comparison.scores[part][model])
    return "-" if math.isnan(value) else comparison.task.format_part_score(value)


def _small(value: float) -> str:
    return "-" if math.isnan(value) else "0" if value == 0 else f"{value:.2g}"


def verdict(comparison: Comparison) -> list[str]:
    """Return the results of a comparison, one sentence for each."""
    frame = comparison.constituents
    same, total = int(frame["bit_identical"].sum()), len(frame)
    others = [int(s) for s in frame["shard"][~frame["bit_identical"]]]
    lines = []
    if total and same == total:
        lines.append(
            f"Exact: all {total} unlearned constituents are byte for byte those of training from "
            "scratch. Every gap below is 0."
            if total > 1
            else "Exact: the unlearned constituent is byte for byte that of training from scratch."
        )
    elif same:
        lines.append(
            f"{same} of {total} constituents {'is' if same == 1 else 'are'} bit-identical to the "
            f"retrained model; {plural(len(others), 'shard')} ({listing(others)}) approximate."
        )
    elif total:
        lines.append(
            f"All {total} constituents compared are approximate."
            if total > 1
            else "The constituent compared is approximate."
        )
    kl = comparison.output_kl
    if kl["unlearned"] == 0 and kl["original"] > 0:
        lines.append(
            f"Outputs: identical to those of the retrained model on every test example; doing "
            f"nothing leaves {kl['original']:.2g} nats."
        )
    elif kl["original"] > 0:
        left = kl["unlearned"] / kl["original"]
        lines.append(
            f"Outputs: unlearning leaves {left:.0%} of the difference to the retrained model that "
            f"doing nothing leaves ({kl['unlearned']:.2g} against {kl['original']:.2g} nats)"
            + (": worse than doing nothing." if left > 1 else ".")
        )
    gap, nothing = comparison.membership_gap, comparison.original_membership_gap
    if not math.isnan(gap.value):
        lines.append(
            f"Membership inference: gap {_signed(gap.value)}, doing nothing "
            f"{_signed(nothing.value)}." + _power(gap.interval, nothing.interval)
        )
    if comparison.task.name == "classification":
        lines.append(
            f"Accuracy: the product of (1 - gap) over forget, retain and test is "
            f"{comparison.tug_of_war:.4f} (best 1)."
        )
    else:
        errors = comparison.scores["test"].to_dict()
        lines.append(
            f"RMSE on test examples: {errors['unlearned']:.4g}, retrained "
            f"{errors['scratch']:.4g}, original {errors['original']:.4g}."
        )
    predicted = comparison.predicted_seconds
    estimate = "" if predicted is None else f" ({duration(predicted)} of CPU time predicted)"
    lines.append(
        f"Wall time: unlearning took {duration(comparison.seconds)}{estimate}; training the "
        f"{plural(total, 'shard')} from scratch took {duration(comparison.scratch_seconds)}."
    )
    return lines


def _signed(value: float) -> str:
    """Format a gap with its sign, to three decimal places.

    >>> _signed(0.0123), _signed(-0.0001)
    ('+0.012', '0.000')
    """
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}"


def _power(gap: tuple[float, float] | None, nothing: tuple[float, float] | None) -> str:
    """Interpret the confidence intervals of the two gaps."""
    if nothing is not None and nothing[0] <= 0 <= nothing[1]:
        return (
            " The interval of doing nothing includes 0, so the attack has too little power on this "
            "request to show a leak."
        )
    if gap is not None and gap[0] <= 0 <= gap[1]:
        return " The interval of the unlearned model includes 0, so no leak is shown."
    return ""
