"""Tabs that show one section of a panel at a time."""

import anywidget
import traitlets

# A tab list as the ARIA practices describe it: one tab stop, and arrow keys move and choose.
_ESM = """
function render({ model, el }) {
  el.classList.add("uk-section-tabs", "uk-scroll");
  el.setAttribute("role", "tablist");
  el.setAttribute("aria-label", model.get("label"));
  // JupyterLab uses the arrow keys to move between cells unless the focused control claims them.
  const keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const choose = (at) => { model.set("chosen", at); model.save_changes(); };
  const mark = () => {
    [...el.children].forEach((tab, at) => {
      const chosen = at === model.get("chosen");
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      // Within the row only: the page must stay where it is.
      if (chosen) el.scrollLeft = Math.max(0, tab.offsetLeft - el.offsetLeft - 40);
    });
  };
  const build = () => {
    el.replaceChildren(...model.get("names").map((name, at) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.setAttribute("data-lm-suppress-shortcuts", "true");
      tab.textContent = name;
      tab.addEventListener("click", () => choose(at));
      return tab;
    }));
    mark();
  };
  el.addEventListener("keydown", (event) => {
    const count = model.get("names").length, now = model.get("chosen");
    let next = event.key in keys ? (now + keys[event.key] + count) % count : null;
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = count - 1;
    if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    choose(next);
    el.children[next].focus();
  });
  build();
  model.on("change:names", build);
  model.on("change:chosen", mark);
  return () => { model.off("change:names", build); model.off("change:chosen", mark); };
}
export default { render };
"""

_CSS = """
.uk-section-tabs {
  display: flex; flex-wrap: wrap; gap: 2px; min-width: 0; border-bottom: 1px solid var(--uk-line);
}
.uk-section-tabs button {
  border: 1px solid transparent; border-bottom: none; border-radius: 4px 4px 0 0;
  padding: 3px 9px; background: none; color: var(--uk-ink); cursor: pointer;
  font: 12.5px/1.5 var(--uk-ui); margin-bottom: -1px;
}
.uk-section-tabs button:hover { background: var(--uk-wash); }
.uk-section-tabs button[aria-selected=true] {
  border-color: var(--uk-line); background: var(--uk-page); font-weight: 600;
  box-shadow: inset 0 2px var(--uk-brand);
}
@media (max-width: 900px) { /* one row, which scrolls, instead of many */
  .uk-section-tabs { flex-wrap: nowrap; overflow-x: auto; overflow-y: hidden; }
  .uk-section-tabs button { flex: none; }
}
/* The chosen tab names its section, which is always open here. */
.uk-comparison .jupyter-widgets.uk-section { border-top: none; padding-top: 0; }
.uk-comparison .uk-section > .uk-body { padding-left: 0; }
.uk-comparison .uk-section-head { display: flex; flex-wrap: wrap; gap: 0 12px; }
.uk-comparison .uk-section-head .uk-heading > button { display: none; }
.uk-comparison .uk-section-head .uk-heading { order: 1; }
.uk-comparison .uk-section-head > p { flex: 1 1 320px; margin: 0; }
.uk-comparison .uk-section-head > div:last-child { order: 2; flex: 1 1 100%; }
"""


class Tabs(anywidget.AnyWidget):
    """A row of tabs, of which one is chosen.

    Attributes:
        names: the names of the tabs.
        chosen: the number of the chosen tab.
        label: what the tabs are of, for screen readers.
    """

    _esm = _ESM
    _css = _CSS
    names: "traitlets.List[str]" = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
