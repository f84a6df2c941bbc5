"""Text, tables and small pictures in a panel, with the style sheet that they share."""

import html
from collections.abc import Iterable, Sequence

import anywidget
import traitlets

# The content is replaced only when it changes, so nothing flickers and a selection survives.
_ESM = """
function render({ model, el }) {
  el.classList.add("uk-prose");
  let width = 0;
  // Steady text keeps its greatest height so far, so that the widgets below it do not jump.
  const hold = () => {
    const steady = model.get("steady") && el.clientWidth;
    if (!steady || el.clientWidth !== width) el.style.minHeight = "";
    width = el.clientWidth;
    if (steady) el.style.minHeight = `${el.offsetHeight}px`;
  };
  const show = () => {
    const text = model.get("html");
    if (el.dataset.shown === text) return;
    el.dataset.shown = text;
    el.innerHTML = text;
    el.hidden = !text;
    hold();
  };
  if (model.get("live")) el.setAttribute("role", "status");
  show();
  const sizes = new ResizeObserver(() => { if (el.clientWidth !== width) hold(); });
  sizes.observe(el);
  model.on("change:html", show);
  model.on("change:steady", hold);
  return () => {
    sizes.disconnect();
    model.off("change:html", show);
    model.off("change:steady", hold);
  };
}
export default { render };
"""

_CSS = """
.uk-prose { font: 13px/1.5 var(--uk-ui); color: var(--uk-ink); min-width: 0; }
.uk-prose[hidden] { display: none; }
.uk-prose p { margin: 0 0 4px; max-width: 90ch; overflow-wrap: anywhere; }
.uk-prose ul { margin: 2px 0; padding-left: 20px; max-width: 88ch; overflow-wrap: anywhere; }
.uk-row > .uk-prose { flex: 1 1 240px; width: auto; }
.uk-revocation .uk-prose .uk-scroll { max-height: 480px; }
.uk-prose .uk-quiet { color: var(--uk-quiet); }
.uk-prose .uk-exact, .uk-prose .uk-approximate { white-space: nowrap; }
.uk-prose .uk-caption { margin: 2px 0 0; max-width: none; }
.uk-prose .uk-caption b { display: block; font-weight: 600; }
.uk-prose .uk-legend { white-space: nowrap; margin-right: 8px; color: var(--uk-quiet); }
.uk-mark {
  display: inline-block; box-sizing: border-box; width: 11px; height: 11px; margin-right: 4px;
  vertical-align: -1px; background: var(--uk-mark);
}
.uk-mark.uk-square { border-radius: 2px; }
.uk-mark.uk-circle { border-radius: 50%; }
.uk-mark.uk-ring { border-radius: 50%; background: none; border: 2px solid var(--uk-mark); }
.uk-mark.uk-diamond { transform: rotate(45deg) scale(.8); }
.uk-mark.uk-hollow {
  background: none; border: 2px solid var(--uk-mark); transform: rotate(45deg) scale(.8);
}
.uk-mark.uk-line { width: 18px; height: 3px; vertical-align: 3px; border-radius: 1px; }
.uk-mark.uk-dashed {
  background: repeating-linear-gradient(90deg, var(--uk-mark) 0 5px, transparent 5px 8px);
}
.uk-panel .uk-plot { margin: 0; min-width: 0; overflow: visible; flex-shrink: 0; }
.uk-panel .uk-row > .uk-plot { flex: 1 1 320px; width: auto; align-self: flex-start; }
.uk-prose .uk-exact::before, .uk-prose .uk-approximate::before {
  content: ""; display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .35em; vertical-align: -.06em;
}
.uk-prose .uk-exact::before { background: #0072B2; }
.uk-prose .uk-approximate::before { background: #E69F00; }
/* An edge is shaded while content is hidden beyond it: the covers scroll, the shades do not. */
.uk-prose .uk-scroll {
  overflow: auto; max-height: 360px; background:
    linear-gradient(var(--uk-page) 40%, transparent) 0 0 / 100% 28px local no-repeat,
    linear-gradient(transparent, var(--uk-page) 60%) 0 100% / 100% 28px local no-repeat,
    linear-gradient(rgba(128, 128, 128, .35), transparent) 0 0 / 100% 7px scroll no-repeat,
    linear-gradient(transparent, rgba(128, 128, 128, .35)) 0 100% / 100% 7px scroll no-repeat;
}
.uk-prose .uk-scroll.uk-tall { max-height: 480px; }
.uk-prose .uk-tall code { overflow-wrap: anywhere; background: none; color: inherit; }
.uk-prose .uk-tall :is(th, td) { text-align: left; overflow-wrap: anywhere; min-width: 2.5em; }
.uk-prose table {
  border-collapse: collapse; font-size: 12.5px; margin: 2px 0; width: auto; table-layout: auto;
  font-variant-numeric: tabular-nums; border: none;
}
.uk-prose caption {
  text-align: left; color: var(--uk-quiet); padding: 2px 0; caption-side: top; font-size: 12.5px;
  min-width: min(56ch, 100cqi); /* otherwise the caption is as narrow as its table */
}
.uk-prose th, .uk-prose td {
  padding: 3px 12px 3px 0; text-align: right; vertical-align: top; border: none;
  border-bottom: 1px solid var(--uk-line); background: none; white-space: normal; max-width: none;
}
.uk-prose thead th { font-weight: 600; vertical-align: bottom; }
.uk-prose th.uk-text, .uk-prose td.uk-text { text-align: left; }
.uk-prose td.uk-text { min-width: 6em; }
.uk-prose td:not(.uk-text) { white-space: nowrap; }
.uk-prose .uk-tall td { white-space: normal; }
.uk-prose .uk-tall td:first-child { overflow-wrap: normal; }
.uk-prose .uk-below { display: none; }
.uk-panel .uk-prose { container-type: inline-size; }
@container (max-width: 620px) {
  .uk-prose th, .uk-prose td { padding-right: 8px; }
  .uk-prose td.uk-text { min-width: 0; }
  .uk-prose .uk-long { display: none; }
  .uk-prose .uk-below { display: table-row; }
  .uk-prose tr:has(+ .uk-below) td { border-bottom: none; padding-bottom: 0; }
  .uk-prose .uk-below td { color: var(--uk-quiet); padding-top: 0; }
}
.uk-prose details { max-width: none; }
.uk-prose .uk-strip { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 4px; }
.uk-prose .uk-strip figure {
  margin: 0; text-align: center; font-size: 11px; color: var(--uk-quiet);
}
.uk-prose .uk-strip img, .uk-prose .uk-lead img {
  display: block; width: 44px; height: 44px; image-rendering: pixelated; border-radius: 3px;
  border: 1px solid var(--uk-line); margin: 0 auto 1px;
}
.uk-prose .uk-lead img { width: 32px; height: 32px; margin: 0; }
.uk-prose tr:has(.uk-lead) td { vertical-align: middle; }
.uk-prose .uk-steps {
  display: flex; flex-wrap: wrap; gap: 6px; list-style: none; padding: 0; margin: 0;
  max-width: none;
}
.uk-prose .uk-steps li {
  border: 1px solid var(--uk-line); border-radius: 12px; padding: 1px 10px; color: var(--uk-quiet);
}
.uk-prose .uk-steps li.uk-done { color: var(--uk-ink); }
.uk-prose .uk-steps li.uk-next {
  border-color: var(--uk-brand); color: var(--uk-ink); font-weight: 600;
}
"""


class Html(anywidget.AnyWidget):
    """HTML written by this package; callers escape everything that comes from users or data.

    Attributes:
        html: the content; an empty one takes no space.
        live: whether screen readers announce changes.
        steady: whether the height is kept while the text changes, as under a moving slider.
    """

    _esm = _ESM
    _css = _CSS
    html = traitlets.Unicode().tag(sync=True)
    live = traitlets.Bool(False).tag(sync=True)
    steady = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        """Return the content, which is HTML already."""
        return str(self.html)


def paragraphs(*sentences: str) -> str:
    """Return escaped paragraphs; empty sentences are left out.

    >>> paragraphs("a < b", "")
    '<p>a &lt; b</p>'
    """
    return "".join(f"<p>{html.escape(text)}</p>" for text in sentences if text)


def bullets(sentences: Iterable[str]) -> str:
    """Return an escaped bullet list."""
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"


def fold(summary: str, inner: str) -> str:
    """Return HTML folded behind a summary that opens it on a click."""
    return f"<details><summary>{html.escape(summary)}</summary>{inner}</details>"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    text: Iterable[int] = (),
    long: int | None = None,
    lead: Sequence[str] = (),
) -> str:
    """Return a table of escaped cells that scrolls within its own frame on narrow pages.

    Args:
        headers: column titles.
        rows: cell texts, row by row.
        caption: a sentence on the content, shown above the table.
        text: indices of the text columns, which are left-aligned; the others hold numbers.
        long: index of a column of sentences, which moves below its row on narrow pages.
        lead: one picture per row, for an untitled first column.
    """
    left = set(text)

    def cell(tag: str, column: int, content: str) -> str:
        kinds = ["uk-text"] * (column in left) + ["uk-long"] * (column == long)
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{html.escape(content)}</{tag}>"

    head = "<td></td>" * bool(lead) + "".join(
        cell("th", i, title) for i, title in enumerate(headers)
    )
    body = "".join(
        "<tr>"
        + (f'<td class="uk-lead">{lead[number]}</td>' if lead else "")
        + "".join(cell("td", i, content) for i, content in enumerate(row))
        + "</tr>"
        # The text is in the page twice; only one copy at a time is visible to the reader.
        + ("" if long is None else _line(row[long], len(row) - 1))
        for number, row in enumerate(rows)
    )
    name = f' aria-label="{html.escape(caption, quote=True)}"' if caption else ""
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="uk-scroll" tabindex="0" role="group"{name}><table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def coloured(drawn: str) -> str:
    """Mark the routes in a table with the colours that the figures use for them."""
    for word in ("exact", "approximate"):
        cell = f'<td class="uk-text">{word}</td>'
        drawn = drawn.replace(
            cell, f'<td class="uk-text"><span class="uk-{word}">{word}</span></td>'
        )
    return drawn


def _line(text: str, width: int) -> str:
    return (
        f'<tr class="uk-below"><td colspan="{width}" class="uk-text">{html.escape(text)}</td></tr>'
    )


def picture(source: str, description: str) -> str:
    """Return an ``<img>`` element with a description for screen readers."""
    return f'<img src="{source}" alt="{html.escape(description, quote=True)}">'
