"""Shows tabular results in notebooks: the short repr above the rows."""

import html
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20  # longer tables show only their first and last rows


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


def plural(count: int, noun: str) -> str:
    """Format a count with its noun in singular or plural.

    >>> plural(1, "shard"), plural(1200, "example")
    ('1 shard', '1,200 examples')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
