"""How results are shown: tables in notebooks and as CSV, and numbers as text."""

import html
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20  # longer tables show only their first and last rows
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\n")


class Tabular(Protocol):
    """A result that is a table."""

    def to_frame(self) -> "pd.DataFrame":
        """The table."""
        ...


def as_html(result: Tabular, **options: Any) -> str:
    """The result's repr and its table as HTML.

    Args:
        result: a result that is a table.
        options: keyword arguments of ``DataFrame.to_html``.
    """
    import pandas as pd

    given = {"index": False, "na_rep": "-", "max_rows": MOST_ROWS, **options}
    with pd.option_context("display.max_colwidth", None):
        return f"<p>{html.escape(repr(result))}</p>{result.to_frame().to_html(**given)}"


def csv_text(frame: "pd.DataFrame") -> str:
    r"""Return a table as comma-separated values, with numbers in full precision.

    Texts that a spreadsheet would take for a formula, such as a class named ``=HYPERLINK(...)``,
    begin with an apostrophe. Numbers, also those written as text, stay as they are.

    >>> import pandas as pd
    >>> csv_text(pd.DataFrame({"class": ["cat", "=1+1", "-1"], "+x": [0.5, -0.5, 1.0]}))
    "class,'+x\ncat,0.5\n'=1+1,-0.5\n-1,1.0\n"
    """
    import pandas as pd

    table = frame.set_axis([_harmless(name) for name in frame.columns], axis=1)
    for at in range(len(frame.columns)):
        column = frame.iloc[:, at]
        if not pd.api.types.is_numeric_dtype(column):
            table.isetitem(at, column.astype(object).map(_harmless).to_numpy())
    return str(table.to_csv(index=False))


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # a lone \r would end the row
    if not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def plural(count: int, noun: str) -> str:
    """Format a count with its noun in singular or plural.

    >>> plural(1, "shard"), plural(1200, "example")
    ('1 shard', '1,200 examples')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listing(numbers: "tuple[int, ...] | list[int]", most: int = 8) -> str:
    """List numbers in text, and count those beyond the first few.

    >>> listing((1, 2, 5)), listing(range(20), most=3)
    ('1, 2 and 5', '0, 1, 2 and 17 more')
    """
    texts = [str(number) for number in numbers]
    if len(texts) > most:
        return ", ".join(texts[:most]) + f" and {len(texts) - most} more"
    if len(texts) < 2:
        return "".join(texts)
    return ", ".join(texts[:-1]) + " and " + texts[-1]


def percent(share: float, digits: int = 1) -> str:
    """Format a share as a percentage.

    >>> percent(0.196), percent(0.25), percent(1.0), percent(0.0004), percent(-0.0004)
    ('19.6%', '25%', '100%', 'under 0.1%', '0%')
    """
    if 0 < share < 0.5 * 10.0 ** -(digits + 2):
        return f"under {10.0**-digits:g}%"
    text = f"{share:.{digits}%}".replace("." + "0" * digits + "%", "%")
    return "0%" if text == "-0%" else text


def duration(seconds: float) -> str:
    """Format seconds with two significant digits, from a minute on with minutes.

    >>> duration(0.034), duration(1.66), duration(48.2), duration(130)
    ('0.034 s', '1.7 s', '48 s', '2 min 10 s')
    """
    if seconds >= 59.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{max(seconds, 0):.2g} s"
