"""The instrument as HTML, which follows the drag without a kernel and is a picture without scripts.

A notebook keeps this beside the widget. Where the notebook is trusted, on an exported page and on a
static one, the script runs and the line can be dragged. Elsewhere the picture and the sentence
remain: JupyterLab's sanitiser removes scripts and styles, but leaves images.
"""

import html
import json
import uuid
from pathlib import Path
from typing import Any

from unlearnkit.widgets.instrument.still import still

MODULE = Path(__file__).with_name("instrument.js").read_text(encoding="utf-8")


def frozen(values: dict[str, Any], picture: str) -> str:
    """Return a copy of an instrument that needs no kernel.

    Args:
        values: the traits of the instrument by name, as plain JSON.
        picture: HTML for readers that run no scripts.
    """
    place = f"uk-{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(values)).hex}"
    # No text of the data may end the script.
    written = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div id="{place}">{picture}</div>\n'
        f'<script type="module">\n{MODULE}\nconst values = {written};\n'
        "const nothing = () => {};\n"
        f'for (const place of document.querySelectorAll("#{place}")) {{\n'
        "  place.replaceChildren();\n"
        "  render({ el: place, model: { frozen: true, get: (name) => values[name],\n"
        "    set: nothing, save_changes: nothing, on: nothing, off: nothing } });\n}\n</script>"
    )


def picture(data: dict[str, Any], table: Any, kinds: str, line: float | None, said: str) -> str:
    """Return the still picture with its sentence.

    Args:
        data: what the page shows of the request.
        table: the table on show; None if no shard is hit.
        kinds: the routes of the table's shards, one letter each.
        line: the threshold; None if the boundary has none.
        said: the sentence.
    """
    text = f"<p>{html.escape(said)}</p>"
    if not data["shards"]:
        return text
    alt = html.escape(said, quote=True)
    return f'<img alt="{alt}" src="{still(data, table, kinds, line)}">{text}'
