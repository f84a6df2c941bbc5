"""Values of plotly's JSON: arrays, numbers as text, and colours."""

import base64
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

Spec = dict[str, Any]

# The markup that plotly knows; all else between angles is text.
_TAG = re.compile(r"</?(?:b|i|u|s|em|strong|sub|sup|span|a|br)(?: [^>]*)?/?>")
_FORMAT = re.compile(
    r"^(?P<sign>\+)?(?P<comma>,)?(?:\.(?P<digits>\d+))?(?P<trim>~)?(?P<kind>[%gfesdr])?$"
)
_PREFIXES = {-9: "n", -6: "\N{MICRO SIGN}", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


class UnknownPartError(ValueError):
    """A part of a figure that still pictures do not draw."""


def listed(values: Any) -> list[Any]:
    """Return an array of plotly's JSON as a list.

    >>> listed({"dtype": "i1", "bdata": "AQID"}), listed((1, 2)), listed(None)
    ([1, 2, 3], [1, 2], [])
    """
    if values is None:
        return []
    if isinstance(values, dict):
        found = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
        if "shape" in values:
            shape = values["shape"]
            sizes = shape.split(",") if isinstance(shape, str) else shape
            found = found.reshape([int(size) for size in sizes])
        return list(found.tolist())
    if isinstance(values, np.ndarray):
        return list(values.tolist())
    if isinstance(values, str) or (
        not isinstance(values, Sequence) and not hasattr(values, "__iter__")
    ):
        return [values]
    return list(values)


def number(value: Any) -> float:
    """Return a value as a number; nan for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    return float(value)


def written(value: float, form: str | None = None) -> str:
    """Write a number in a format of d3, as plotly's tick labels and hovers use them.

    >>> written(0.256, ".0%"), written(1234.5, ",.1f"), written(0.00012, "~g"), written(25000, "~s")
    ('26%', '1,234.5', '0.00012', '25k')
    """
    if not math.isfinite(value):
        return ""
    match = _FORMAT.match(form or "")
    if match is None or not form:
        return _short(value)
    digits, kind, trim = match["digits"], match["kind"], bool(match["trim"])
    sign, comma = match["sign"] or "", match["comma"] or ""
    if kind == "d" or (kind is None and digits is None):
        text = f"{value:{sign}{comma}.0f}" if kind == "d" else f"{value:{sign}{comma}.12g}"
    elif kind == "%":
        text = f"{100 * value:{sign}{comma}.{digits or (6 if digits is None else 0)}f}"
        text = (_trimmed(text) if trim or digits is None else text) + "%"
    elif kind == "f":
        text = (
            f"{value:{sign}{comma}.{digits or 6}f}"
            if digits != "0"
            else f"{value:{sign}{comma}.0f}"
        )
        text = _trimmed(text) if trim else text
    elif kind == "s":
        power = 3 * math.floor(math.log10(abs(value)) / 3 + 1e-9) if value else 0
        power = min(12, max(-9, power))
        text = f"{value / 10.0**power:{sign}.{digits or 3}g}{_PREFIXES[power]}"
    elif kind == "e":
        text = f"{value:{sign}.{digits or 6}e}"
    else:
        text = f"{value:{sign}{comma}.{digits or 6}g}"
    return text.replace("-0%", "0%") if text == "-0%" else text.replace("-", "\N{MINUS SIGN}")


def _short(value: float) -> str:
    text = f"{value:,.6g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(text: Any) -> str:
    """Return a text of plotly's without its markup.

    >>> plain("<b>0</b>, bit<br>for bit")
    '0, bit for bit'
    """
    return _TAG.sub("", str(text).replace("<br>", " "))


def text_of(part: Any) -> str:
    """Return the text of a title, which plotly writes as a text or as a mapping."""
    text = part.get("text") if isinstance(part, dict) else part
    return "" if text is None else str(text)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text of plotly's, without markup."""
    return [_TAG.sub("", line) for line in str(text).split("<br>")]


def texts_of(trace: Spec, count: int) -> list[str]:
    """Return the text that is written at each point of a trace; empty where there is none."""
    texts = listed(trace.get("text"))
    texts = texts * count if isinstance(trace.get("text"), str) else texts
    template = trace.get("texttemplate")
    if isinstance(template, str) and template not in ("", "%{text}"):
        values = {key: listed(trace.get(key)) for key in ("x", "y", "z")}
        return [
            filled_in(template, {k: v[i] for k, v in values.items() if i < len(v)})
            for i in range(count)
        ]
    return [str(texts[i]) if i < len(texts) and texts[i] is not None else "" for i in range(count)]


def filled_in(template: str, values: Spec) -> str:
    """Fill values into a template of plotly, such as ``"%{y:.0%}"``."""
    for name, value in values.items():
        start = template.find("%{" + name)
        while start >= 0:
            end = template.index("}", start)
            form = template[start:end].partition(":")[2]
            found = number(value)
            text = str(value) if math.isnan(found) else written(found, form or None)
            template = template[:start] + text + template[end + 1 :]
            start = template.find("%{" + name)
    return template
