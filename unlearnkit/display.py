"""Shows tabular results in notebooks, the short repr above the rows, and writes them as CSV."""

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
