"""What a cell's output holds of a widget, with any version of ipywidgets from 7.7 on."""

import html
from typing import Any

import ipywidgets

VIEW = "application/vnd.jupyter.widget-view+json"


def bundle(widget: ipywidgets.Widget, text: str, page: str) -> dict[str, Any]:
    """Return the output of a cell that shows a widget.

    ipywidgets 7 displays widgets by another method than ipywidgets 8, so the view is written here.

    Args:
        widget: the widget to show.
        text: what viewers of plain text show.
        page: HTML for viewers that run no widgets, such as a preview on the web.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {VIEW: view, "text/plain": text, "text/html": page}


def page_of(title: str, lines: "list[str]", code: str = "") -> str:
    """Return HTML that stands in for a panel where no widgets run.

    >>> page_of("Train", ["Not trained yet."], "session.train()")
    '<p><b>Train</b></p><p>Not trained yet.</p><p><code>session.train()</code></p>'
    """
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)
    call = f"<p><code>{html.escape(code)}</code></p>" if code else ""
    return f"<p><b>{html.escape(title)}</b></p>{said}{call}"
