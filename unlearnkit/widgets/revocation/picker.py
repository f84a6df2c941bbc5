"""A picker of examples, shown as a grid of pictures or as rows of a table."""

from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

_ESM = """
function render({ model, el }) {
  el.classList.add("uk-picker");
  el.setAttribute("role", "group");
  let buttons = [], pointed = null;
  const picked = () => new Set(model.get("picked"));
  const mark = () => {
    const chosen = picked(), kin = new Set(model.get("kin"));
    for (const button of buttons) {
      const on = chosen.has(Number(button.dataset.id));
      const whole = button.closest("tr") ?? button, group = whole.dataset.group;
      button.setAttribute("aria-pressed", String(on));
      whole.classList.toggle("uk-picked", on);
      // What belongs together: with something picked, or with what is pointed at.
      const near = group !== undefined && (kin.has(Number(group)) || group === pointed);
      whole.classList.toggle("uk-kin", near && !on);
    }
  };
  const point = (event) => {
    const group = event.target.closest?.("[data-group]")?.dataset.group ?? null;
    if (group === pointed) return;
    pointed = group;
    mark();
  };
  for (const kind of ["pointerover", "focusin"]) el.addEventListener(kind, point);
  for (const kind of ["pointerleave", "focusout"]) {
    el.addEventListener(kind, () => { pointed = null; mark(); });
  }
  const toggle = (id) => {
    const chosen = picked();
    if (!chosen.delete(id)) chosen.add(id);
    model.set("picked", [...chosen]);
    model.save_changes();
    mark();
  };
  // The picker is one tab stop; the arrow keys move within it, shielded from JupyterLab.
  const focus = (index) => {
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, index))];
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next?.focus();
  };
  const across = () => {
    const top = buttons[0]?.getBoundingClientRect().top;
    const count = buttons.findIndex((button) => button.getBoundingClientRect().top > top + 2);
    return count < 0 ? buttons.length : count;
  };
  el.addEventListener("keydown", (event) => {
    const index = buttons.indexOf(document.activeElement);
    if (index < 0) return;
    const moves = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across(), ArrowDown: across(),
      Home: -index, End: buttons.length,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    focus(index + moves[event.key]);
  });
  const make = (tag, parent, text) => {
    const node = parent.appendChild(document.createElement(tag));
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const button = (item, parent) => {
    const node = make("button", parent);
    node.type = "button";
    node.dataset.id = item.id;
    node.setAttribute("aria-label", item.label);
    node.title = item.label;
    node.tabIndex = buttons.length ? -1 : 0;
    node.classList.toggle("uk-waiting", item.waiting);
    make("i", node).setAttribute("aria-hidden", "true");
    buttons.push(node);
    return node;
  };
  const build = () => {
    const inside = buttons.includes(document.activeElement);
    buttons = [];
    el.replaceChildren();
    el.setAttribute("aria-label", model.get("label"));
    const headers = model.get("headers"), items = model.get("items");
    if (!headers.length) {
      const grid = make("div", el);
      grid.className = "uk-picker-grid";
      for (const item of items) {
        const node = button(item, grid);
        if (item.group !== undefined) node.dataset.group = item.group;
        node.addEventListener("click", () => toggle(item.id));
        const image = make("img", node);
        image.src = item.source;
        image.alt = "";
        make("span", node, item.caption);
      }
    } else if (items.length) {
      const scroll = make("div", el);
      scroll.className = "uk-scroll";
      const table = make("table", scroll), row = make("tr", make("thead", table));
      make("td", row);
      const text = new Set(model.get("text"));
      const kind = (place) => text.has(place) ? "uk-text" : "";
      headers.forEach((head, place) => {
        const node = make("th", row, head);
        node.scope = "col";
        node.className = kind(place);
      });
      const body = make("tbody", table);
      for (const item of items) {
        const line = make("tr", body);
        if (item.group !== undefined) line.dataset.group = item.group;
        button(item, make("td", line));
        item.cells.forEach((cell, place) => { make("td", line, cell).className = kind(place); });
        line.addEventListener("click", () => toggle(item.id));
      }
    }
    mark();
    if (inside) focus(0);
  };
  build();
  model.on("change:items", build);
  model.on("change:picked", mark);
  model.on("change:kin", mark);
  return () => {
    model.off("change:items", build);
    model.off("change:picked", mark);
    model.off("change:kin", mark);
  };
}
export default { render };
"""

_CSS = """
.uk-picker { min-width: 0; color: var(--uk-ink); font: 12px/1.4 var(--uk-ui); }
.uk-picker-grid { display: flex; flex-wrap: wrap; gap: 4px; }
.uk-picker button {
  position: relative; padding: 3px; border: 2px solid transparent; border-radius: 4px;
  background: none; color: var(--uk-quiet); font: 11px/1.3 var(--uk-ui); cursor: pointer;
}
.uk-picker button:hover { background: var(--uk-wash); }
.uk-picker img {
  display: block; width: 44px; height: 44px; margin: 0 auto 1px; image-rendering: pixelated;
  border-radius: 2px;
}
.uk-picker button[aria-pressed=true] { border-color: #0072B2; color: var(--uk-ink); }
.uk-picker button[aria-pressed=true] i::after {
  content: "\\2713"; position: absolute; top: -2px; right: -2px; width: 15px; height: 15px;
  border-radius: 50%; background: #0072B2; color: white; font: 700 11px/15px var(--uk-ui);
}
.uk-picker button.uk-kin { border: 2px dotted #0072B2; }
.uk-picker tr.uk-kin { background: rgba(0, 114, 178, .07); }
.uk-picker tr.uk-kin td:first-child { box-shadow: inset 3px 0 #0072B2; }
.uk-picker button.uk-waiting img { opacity: .35; }
.uk-picker button.uk-waiting { border: 2px dashed #D55E00; }
.uk-picker .uk-scroll { overflow-x: auto; max-height: 600px; overflow-y: auto; }
.uk-picker table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.uk-picker th, .uk-picker td {
  padding: 2px 10px 2px 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--uk-line);
}
.uk-picker :is(th, td).uk-text { text-align: left; }
.uk-picker th { font-weight: 600; vertical-align: bottom; }
.uk-picker tbody tr { cursor: pointer; }
.uk-picker tbody tr:hover { background: var(--uk-wash); }
.uk-picker tr.uk-picked { background: rgba(0, 114, 178, .16); }
.uk-picker td button {
  width: 18px; height: 18px; margin-left: 4px; padding: 0; border: 1px solid var(--uk-quiet);
}
.uk-picker td button[aria-pressed=true] i::after { top: 0; right: 0; border-radius: 2px; }
"""


class Picker(anywidget.AnyWidget):
    """Examples that can be picked; a click, the space bar or Enter toggles one.

    Attributes:
        items: the examples on the current page. Each has an ``id``, a ``label`` for screen
            readers, ``waiting`` if it is already in the request, and either the ``source`` and the
            ``caption`` of its picture or the ``cells`` of its row. Examples with the same
            ``group``, a number, are marked together when one of them is pointed at.
        headers: column titles; empty for pictures. Set them before ``items``.
        text: indices of the columns of text, which are left-aligned.
        picked: ids of the picked examples on all pages.
        kin: groups whose examples are marked, because some of them are picked.
        label: accessible name of the whole picker.
    """

    _esm = _ESM
    _css = _CSS
    items: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    headers: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    text: "traitlets.List[int]" = traitlets.List().tag(sync=True)
    picked: "traitlets.List[int]" = traitlets.List().tag(sync=True)
    kin: "traitlets.List[int]" = traitlets.List().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def show(self, items: Sequence[dict[str, Any]], headers: Sequence[str] = ()) -> None:
        """Show another page; picked examples stay picked."""
        with self.hold_sync():
            self.headers, self.items = list(headers), list(items)
