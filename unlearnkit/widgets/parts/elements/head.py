"""The heading of a panel, and the tools that explain it and give its Python call."""

import anywidget
import traitlets

from unlearnkit.widgets.parts.elements.fallback import page_of
from unlearnkit.widgets.parts.elements.keys import KEYS_JS

# Two small buttons, each of which opens a box below them: the meaning, and the Python call.
TOOLS_JS = """
let numbered = 0;
function tools(model, place, boxes) {
  place.classList.add("uk-tools");
  const parts = { meaning: "What does this mean?", code: "Python" };
  const made = {};
  for (const [name, label] of Object.entries(parts)) {
    const button = place.appendChild(document.createElement("button"));
    const box = boxes.appendChild(document.createElement("div"));
    Object.assign(button, { type: "button", textContent: label });
    Object.assign(box, { className: `uk-${name}`, id: `uk-tool-${++numbered}`, hidden: true });
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", box.id);
    button.addEventListener("click", () => {
      box.hidden = !box.hidden;
      button.setAttribute("aria-expanded", String(!box.hidden));
    });
    made[name] = { button, box };
  }
  const code = made.code.box.appendChild(document.createElement("code"));
  const copy = made.code.box.appendChild(document.createElement("button"));
  Object.assign(copy, { type: "button", textContent: "Copy" });
  copy.setAttribute("aria-label", "Copy the Python call");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {   // no permission, or no https: select the text for Ctrl+C
      getSelection().selectAllChildren(code);
      copy.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  const show = () => {
    made.meaning.box.replaceChildren(...model.get("meaning").split("\\n").map((text) =>
      Object.assign(document.createElement("p"), { textContent: text })));
    code.textContent = model.get("code");
    for (const [name, { button, box }] of Object.entries(made)) {
      button.hidden = !model.get(name);
      if (button.hidden) box.hidden = true;
    }
  };
  show();
  model.on("change:meaning", show);
  model.on("change:code", show);
  return () => { model.off("change:meaning", show); model.off("change:code", show); };
}
"""

TOOLS_CSS = """
.uk-tools { display: flex; flex-wrap: wrap; gap: 2px 12px; margin-left: auto; }
.uk-tools button {
  border: none; padding: 0; background: none; color: var(--uk-quiet); cursor: pointer;
  font: 12px/1.6 var(--uk-ui); text-decoration: underline; text-underline-offset: 2px;
}
.uk-tools button:hover, .uk-tools button[aria-expanded=true] { color: var(--uk-ink); }
.uk-tools button[hidden], .uk-meaning[hidden], .uk-code[hidden] { display: none; }
.uk-meaning {
  margin: 4px 0 2px; padding: 6px 10px; border-radius: 3px; background: var(--uk-wash);
  color: var(--uk-ink);
}
.uk-meaning p { margin: 0 0 4px; max-width: 90ch; color: inherit; }
.uk-code {
  display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 8px; margin: 4px 0 2px;
  color: var(--uk-quiet);
}
.uk-code code {
  flex: 0 1 auto; min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; padding: 1px 6px;
  max-height: 96px; overflow-y: auto; border-radius: 3px; background: var(--uk-wash);
  color: var(--uk-ink); font: 12px/1.5 var(--uk-mono);
}
.uk-code button {
  flex: none; border: 1px solid var(--uk-line); border-radius: 3px; padding: 0 8px;
  background: none; color: var(--uk-ink); font: 12px/1.6 var(--uk-ui); cursor: pointer;
}
.uk-code button:hover { background: var(--uk-wash); }
"""

_ESM = (
    KEYS_JS
    + TOOLS_JS
    + """
function render({ model, el }) {
  el.classList.add("uk-head");
  el.innerHTML = '<div class="uk-heading"><h3 class="uk-title"></h3><div></div></div>'
    + '<p class="uk-explanation"></p><div></div>';
  const [heading, explanation, boxes] = el.children;
  heading.firstChild.textContent = model.get("title");
  heading.firstChild.hidden = !model.get("title");
  explanation.textContent = model.get("explanation");
  explanation.hidden = !model.get("explanation");
  return tools(model, heading.lastChild, boxes);
}
export default { render };
"""
)

_CSS = (
    TOOLS_CSS
    + """
.uk-head .uk-heading { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 16px; }
.uk-head .uk-explanation { margin: 0; color: var(--uk-quiet); max-width: 90ch; }
.uk-head .uk-title { margin: 0; color: var(--uk-ink); font: 600 15px/1.5 var(--uk-ui); }
.uk-head [hidden] { display: none; }
"""
)


class Head(anywidget.AnyWidget):
    """A title with a line of explanation, and the tools for its meaning and its Python call.

    Attributes:
        title: the heading.
        explanation: one sentence below the heading.
        meaning: paragraphs, separated by line breaks, behind "What does this mean?".
        code: the Python call behind "Python"; without one there is no such tool.
    """

    _esm = _ESM
    _css = _CSS
    title = traitlets.Unicode().tag(sync=True)
    explanation = traitlets.Unicode().tag(sync=True)
    meaning = traitlets.Unicode().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)

    def picture(self) -> str:
        """Return the heading, the explanation and the Python call as HTML."""
        return page_of(self.title, [self.explanation], self.code)
