"""What the documents share: the page around their HTML, and writing them to a file."""

import os
from pathlib import Path


def page(title: str, heading: str, body: str, *, css: str) -> str:
    """Return a self-contained HTML page; title and heading are text of ours, not of a user."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:14px sans-serif;margin:2em auto}"
        "td,th{padding:.2em .6em;text-align:left;vertical-align:top}"
        f"code{{overflow-wrap:anywhere}}{css}</style><h1>{heading}</h1>{body}</html>"
    )


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """Return a text, and write it to ``path`` if one is given."""
    if path is not None:
        Path(path).expanduser().write_text(text, encoding="utf-8")
    return text
