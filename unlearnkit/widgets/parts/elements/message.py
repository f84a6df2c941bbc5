"""The line of a panel that shows notes and errors."""

import html

import anywidget
import traitlets

from unlearnkit.widgets.parts.elements.theme import CSS

# Only textContent is set, so no message or user-supplied name is interpreted as markup.
_ESM = """
// Pictures that stand for the panel where there is no kernel are hidden while it is alive.
function hideCopies(ids) {
  for (const id of ids) {
    if (document.getElementById(`uk-hides-${id}`)) continue;
    const style = document.head.appendChild(document.createElement("style"));
    style.id = `uk-hides-${id}`;
    style.textContent = `[data-uk-copy="${id}"] { display: none !important; }`;
  }
}

function render({ model, el }) {
  el.classList.add("uk-message");
  const make = (tag, text, parent) => {
    const node = parent.appendChild(document.createElement(tag));
    node.textContent = text;
    return node;
  };
  const show = () => {
    const { kind, text, details } = model.get("message");
    el.replaceChildren();
    el.classList.toggle("uk-error", kind === "error");
    el.setAttribute("role", kind === "error" ? "alert" : "status");
    if (!text) return;
    const line = make("p", "", el);
    make("span", kind === "error" ? "Error: " : "Note: ", line).className = "uk-kind";
    make("span", text, line).className = "uk-text";
    if (!details) return;
    const fold = make("details", "", el);
    make("summary", "Traceback", fold);
    make("pre", details, fold).tabIndex = 0;
  };
  const hide = () => hideCopies(model.get("copies"));
  show();
  hide();
  model.on("change:message", show);
  model.on("change:copies", hide);
  return () => {
    model.off("change:message", show);
    model.off("change:copies", hide);
  };
}
export default { render };
"""

_CSS = (
    CSS
    + """
.uk-message:empty { display: none; }
.uk-message {
  border-left: 3px solid var(--uk-brand); border-radius: 3px; padding: 6px 10px;
  background: var(--uk-wash); color: var(--uk-ink);
}
.uk-message.uk-error { border-left-color: var(--uk-error); }
.uk-message p { margin: 0; overflow-wrap: anywhere; }
.uk-message .uk-kind { font-weight: 600; }
.uk-message details { max-width: none; margin-top: 2px; }
.uk-message pre {
  margin: 6px 0 2px; max-height: 260px; overflow: auto; color: var(--uk-ink);
  font: 12px/1.4 var(--uk-mono); white-space: pre; background: none;
}
"""
)

SILENCE = {"kind": "note", "text": "", "details": ""}


class Message(anywidget.AnyWidget):
    """A note or an error with an optional traceback; it also carries the CSS of all panels.

    Attributes:
        message: ``kind``, ``text`` and ``details``.
        copies: ids of pictures of the panel, which the page hides while the panel is alive.
    """

    _esm = _ESM
    _css = _CSS
    message = traitlets.Dict(SILENCE).tag(sync=True)
    copies: "traitlets.List[str]" = traitlets.List().tag(sync=True)

    def picture(self) -> str:
        """Return the message as HTML; empty if there is none."""
        text = html.escape(self.message["text"])
        return f"<p><b>{text}</b></p>" if text else ""
