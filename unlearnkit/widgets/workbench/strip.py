"""The steps of a session and the strip below them, which stay in sight above the open step."""

from typing import Any

import anywidget
import traitlets

from unlearnkit.widgets.parts.elements.fallback import page_of
from unlearnkit.widgets.parts.elements.keys import KEYS_JS
from unlearnkit.widgets.parts.elements.theme import CSS
from unlearnkit.widgets.workbench.summary import page_lines

_ESM = (
    KEYS_JS
    + """
const make = (tag, parent, kind = "", text = "") => {
  const node = parent.appendChild(document.createElement(tag));
  if (kind) node.className = kind;
  node.textContent = text;
  return node;
};

function render({ model, el }) {
  el.classList.add("uk-strip-bar");
  const send = (act, name = "") => model.send({ act, name });
  const list = make("div", el, "uk-tabs");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Steps of the session");
  const facts = make("div", el, "uk-facts");
  const left = make("div", facts, "uk-lines");
  left.setAttribute("role", "status");
  const right = make("div", facts, "uk-acts");
  const button = (parent, kind, label, act) => {
    const node = make("button", parent, `jupyter-button ${kind}`, label);
    node.type = "button";
    node.addEventListener("click", () => send(act));
    return node;
  };
  const lines = [0, 1].map(() => make("p", left));
  const better = button(right, "uk-better", "", "better");
  better.title = "Retrain every shard that is hit exactly: predicted to be faster, without a debt";
  const compare = button(right, "uk-compare mod-primary", "Compare", "compare");
  const unlearn = button(right, "uk-unlearn mod-primary", "Unlearn", "unlearn");
  const cancel = button(right, "uk-cancel", "Cancel", "cancel");
  const bar = make("progress", left, "uk-progress");
  bar.max = 1;
  const problem = make("p", el, "uk-problem");
  problem.setAttribute("role", "alert");

  let tabs = [], opened = "";
  const choose = (name) => {
    if (name !== model.get("state").open) send("open", name);
    const frame = el.closest(".uk-dashboard");
    let scroller = frame?.parentElement;
    while (scroller && !/auto|scroll/.test(getComputedStyle(scroller).overflowY)) {
      scroller = scroller.parentElement;
    }
    const top = scroller?.getBoundingClientRect().top ?? 0;
    if (frame && frame.getBoundingClientRect().top < top) frame.scrollIntoView();
  };
  const move = (event) => {
    const at = tabs.indexOf(event.target), last = tabs.length - 1;
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    const tab = tabs[(next + tabs.length) % tabs.length];
    tab.focus();
    choose(tab.dataset.name);
  };
  list.addEventListener("keydown", move);

  // The open step keeps its height from the start of a request's work until the next request, so
  // that the page holds its place when the work is done and the request's figures go.
  const hold = (open, { busy, unlearn }) => {
    const box = el.closest(".uk-dashboard")?.querySelector(".uk-stage");
    if (!box) return;
    if (open !== opened || (unlearn && !busy)) box.style.minHeight = "";
    if (busy) box.style.minHeight = `${box.offsetHeight}px`;
    opened = open;
  };

  const show = () => {
    const { steps = [], open, said = [], problem: wrong, ...state } = model.get("state");
    const names = steps.map(({ name }) => name).join();
    if (names !== tabs.map((tab) => tab.dataset.name).join()) {
      list.replaceChildren();
      tabs = steps.map(({ name, more }) => {
        const tab = make("button", list, more ? "uk-tab uk-more" : "uk-tab");
        Object.assign(tab, { type: "button" });
        tab.dataset.name = name;
        tab.setAttribute("role", "tab");
        tab.addEventListener("click", () => choose(name));
        return tab;
      });
    }
    steps.forEach(({ name, label, note, done, next }, at) => {
      const tab = tabs[at];
      const text = label + (done ? " \\u2713" : "") + (note ? ` \\u00b7 ${note}` : "");
      if (tab.textContent !== text) tab.textContent = text;
      tab.classList.toggle("uk-next", next);
      tab.setAttribute("aria-selected", String(name === open));
      tab.tabIndex = name === open ? 0 : -1;
      if (next) tab.setAttribute("aria-current", "step"); else tab.removeAttribute("aria-current");
    });
    lines.forEach((line, at) => {
      const text = said[at] ?? "";
      if (line.textContent !== text) line.textContent = text;
    });
    better.textContent = state.better ?? "";
    better.hidden = !state.better || state.busy;
    compare.hidden = !state.compare || state.busy;
    unlearn.hidden = !state.unlearn || state.busy;
    cancel.hidden = bar.hidden = !state.busy;
    cancel.disabled = !state.stoppable;
    if (state.busy) bar.value = state.share;
    problem.textContent = wrong ?? "";
    problem.hidden = !wrong;
    hold(open, state);
  };
  show();
  model.on("change:state", show);
  return () => model.off("change:state", show);
}
export default { render };
"""
)

_CSS = (
    CSS
    + """
/* The strip sticks to the top of the notebook, so nothing around it may scroll by itself. */
:is(.jp-OutputArea, .jp-OutputArea-child, .jp-OutputArea-output, .widget-box):has(.uk-dashboard) {
  overflow: visible;
}
.jupyter-widgets.uk-dashboard {
  box-sizing: border-box; width: 100%; min-width: 0; margin: 0; padding: 0; overflow: visible;
  border: 1px solid var(--uk-line); border-radius: 6px; gap: 0;
}
.uk-dashboard > .uk-stage, .uk-dashboard > .uk-strip-bar {
  margin: 0; width: auto; min-width: 0; overflow: visible; flex-shrink: 0;
}
.uk-dashboard .uk-stage > .uk-panel { border: none; padding: 8px 14px 12px; }
/* the tab is the title of a step */
.uk-dashboard .uk-stage > .uk-panel > .uk-head {
  display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 16px;
}
.uk-dashboard .uk-stage > .uk-panel > .uk-head .uk-title { display: none; }
.uk-dashboard .uk-stage > .uk-panel > .uk-head .uk-explanation { flex: 1 1 300px; }
.uk-dashboard .uk-stage > .uk-panel > .uk-head .uk-heading { order: 1; }
.uk-dashboard .uk-stage > .uk-panel > .uk-head > :last-child { order: 2; flex: 0 0 100%; }
.uk-strip-bar {
  position: sticky; top: 0; z-index: 6; padding: 8px 14px; border-radius: 6px 6px 0 0;
  border-bottom: 1px solid var(--uk-line); background: var(--uk-page); color: var(--uk-ink);
  font: 13px/1.45 var(--uk-ui); container-type: inline-size;
}
.uk-tabs { display: flex; flex-wrap: wrap; gap: 4px; }
.uk-tab {
  border: 1px solid var(--uk-line); border-radius: 12px; padding: 1px 10px; background: none;
  color: var(--uk-quiet); font: 13px/1.6 var(--uk-ui); cursor: pointer;
}
.uk-tab:hover { color: var(--uk-ink); background: var(--uk-wash); }
.uk-tab.uk-next { border-color: var(--uk-brand); color: var(--uk-ink); }
.uk-tab[aria-selected=true] {
  border-color: var(--uk-brand); background: var(--uk-wash); color: var(--uk-ink); font-weight: 600;
}
.uk-tab.uk-more { border-color: transparent; }
.uk-tab.uk-more[aria-selected=true] { border-color: var(--uk-brand); }
.uk-tab.uk-more:not(.uk-more ~ .uk-more) { margin-left: auto; }
@container (max-width: 700px) { .uk-tab { padding: 1px 7px; } }
.uk-facts { display: flex; align-items: flex-start; gap: 6px 16px; margin-top: 6px; }
.uk-lines { flex: 1 1 300px; min-width: 0; min-height: 40px; }
.uk-lines p { margin: 0; overflow-wrap: anywhere; text-wrap: pretty; }
.uk-lines p + p { color: var(--uk-quiet); }
.uk-progress { width: 100%; height: 8px; accent-color: var(--uk-brand); }
.uk-acts { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 6px; }
.uk-acts .jupyter-button { width: auto; margin: 0; cursor: pointer; }
.uk-acts .jupyter-button:disabled { cursor: default; }
.uk-strip-bar [hidden] { display: none; }
.uk-problem {
  margin: 6px 0 0; padding: 4px 10px; border-left: 3px solid var(--uk-error); border-radius: 3px;
  background: var(--uk-wash); overflow-wrap: anywhere;
}
@media (max-width: 900px) { .uk-facts { flex-wrap: wrap; } .uk-acts { margin-left: auto; } }
"""
)


class Strip(anywidget.AnyWidget):
    """Tabs for the steps, two lines on the request, and the buttons that act on it.

    A click sends ``{"act": ..., "name": ...}``: ``open`` with the name of a step, ``unlearn``,
    ``cancel``, ``better`` or ``compare``.

    Attributes:
        state: what is shown: ``steps`` (each with ``name``, ``label``, ``note``, ``done``, ``next``
            and ``more``), the name of the ``open`` one, the sentences ``said``, a ``problem``, and
            whether to offer ``unlearn``, ``compare`` and ``better`` (its label); while work is
            running ``busy``, its ``share`` and whether it is ``stoppable``.
    """

    _esm = _ESM
    _css = _CSS
    state: "traitlets.Dict[str, Any]" = traitlets.Dict().tag(sync=True)

    def picture(self) -> str:
        """Return the finished steps and the sentences as HTML."""
        lines = page_lines(self.state.get("steps", []), self.state.get("said", []))
        return page_of("unlearnkit", lines, "session.dashboard()")
