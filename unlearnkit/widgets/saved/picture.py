"""Static HTML of a tree of widgets: what a reader without a kernel sees of it.

Widgets of this package say themselves what stands for them, by a method ``picture``.
"""

import html
import sys
from collections.abc import Iterator
from datetime import datetime

import ipywidgets

# Controls whose value says something about what is shown; buttons do nothing without a kernel.
_CONTROLS = (ipywidgets.Dropdown, ipywidgets.RadioButtons, ipywidgets.Text, ipywidgets.Checkbox)


def made() -> str:
    """Say when a picture was made, and how to act."""
    return f"As of {datetime.now():%d %B %Y, %H:%M}. {how_to_act()}"


def how_to_act() -> str:
    """Say what to do where a panel is not shown; marimo has no ipywidgets layouts."""
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return (
            "marimo does not show panels that are laid out with ipywidgets. To act, call the "
            "session's methods, such as session.unlearn(), or open the panel in JupyterLab, "
            "Notebook 7 or Voila."
        )
    return "To act, run the notebook."


def picture_of(widget: ipywidgets.Widget) -> str:
    """Return the visible content of a widget and of its children as HTML.

    Args:
        widget: any widget, such as that of a panel.

    >>> label, hidden = ipywidgets.Label("3 < 4"), ipywidgets.Label("no")
    >>> hidden.layout.display = "none"
    >>> picture_of(ipywidgets.VBox([label, hidden, ipywidgets.Button(description="Go")]))
    '<p>3 &lt; 4</p>'
    """
    return "\n".join(part for part in _parts(widget) if part)


def _parts(widget: ipywidgets.Widget) -> Iterator[str]:
    layout = getattr(widget, "layout", None)
    if layout is not None and layout.display == "none":
        return
    if hasattr(widget, "picture"):
        yield widget.picture()
    elif isinstance(widget, ipywidgets.HTML):
        yield widget.value
    elif isinstance(widget, ipywidgets.Label):
        yield f"<p>{html.escape(widget.value)}</p>" * bool(widget.value)
    elif isinstance(widget, _CONTROLS) and widget.description:
        yield f"<p>{html.escape(widget.description)}: {html.escape(_value(widget))}</p>"
    else:
        for child in getattr(widget, "children", ()):
            yield from _parts(child)


def _value(widget: ipywidgets.Widget) -> str:
    if isinstance(widget, ipywidgets.Checkbox):
        return "yes" if widget.value else "no"
    return str(getattr(widget, "label", None) or widget.value or "none")
