"""Tables of distances to the retrained model, beside doing nothing and beside another seed."""

import math

import pandas as pd
from judging import ANOTHER, GAPS, NOTHING

from unlearnkit.evaluation.amplification import times

COLUMNS = (
    "method | shards modified (doubtful) | test KL left (removed) | "
    "forget-side KL per constituent left (removed) | MIA gap left, 95 % interval (removed) | speed"
)


def rule(head: str) -> str:
    """Return the line below a table's head."""
    return "|---" * (head.count("|") - 1) + "|"


def chaos(value: float) -> str:
    """Return an amplification with two digits; nothing if it was not measured."""
    return "" if math.isnan(value) else times(value)


def lines_of(rows: pd.DataFrame) -> list[str]:
    """Return the cells of ``COLUMNS`` of each way, medians over the rows of one request."""
    lines = []
    nothing = {gap: f"{gap}, {NOTHING}" for gap in GAPS}
    frame = rows.assign(**{f"{gap}, left": (1 - rows[gap]) * rows[nothing[gap]] for gap in GAPS})
    for name in ("MIA half-width", f"MIA half-width, {NOTHING}", "modified", "doubtful", "speed"):
        frame[name] = pd.to_numeric(frame[name]) if name in frame else math.nan
    values = frame[list(nothing.values())].median()
    width = f"MIA half-width, {NOTHING}"
    cells = [amount(values[nothing[gap]]) for gap in GAPS]
    cells[2] += spread(frame[width].median())
    lines.append(f"{NOTHING} |  | {' | '.join(cells)} |  | {frame.groupby('method').size().max()}")
    order = sorted(dict.fromkeys(frame.method), key=lambda name: name != ANOTHER)
    for method in order:
        some = frame[frame.method == method]
        row = some.median(numeric_only=True)
        cells = [amount(row[f"{gap}, left"]) for gap in GAPS]
        cells[2] += spread(row["MIA half-width"])
        speed = modified = ""
        if method != ANOTHER:
            cells = [
                f"{cell} ({share_of(row[gap])})" for cell, gap in zip(cells, GAPS, strict=True)
            ]
            modified = f"{row.modified:.0%} ({row.doubtful:.0f})"
            speed = f"{row.speed:.1f}x"
        lines.append(f"{method} | {modified} | {' | '.join(cells)} | {speed} | {len(some)}")
    return lines


def amount(value: float) -> str:
    """Return a distance with two digits.

    >>> amount(0.00012), amount(0.000012), amount(0.0)
    ('0.00012', '1.2e-05', '0')
    """
    return f"{value:.2g}"


def spread(half_width: float) -> str:
    """Return half the width of an interval, if it is known."""
    return "" if math.isnan(half_width) else f" ± {half_width:.1g}"


def share_of(removed: float) -> str:
    """Return a share removed, with its number where a method led away.

    >>> share_of(0.934), share_of(-0.28), share_of(-130.0), share_of(float("nan"))
    ('93%', '-28%', '-13000%', '-')
    """
    return "-" if math.isnan(removed) else f"{removed:.0%}"
