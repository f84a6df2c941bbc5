"""A collapsible section of a panel, whose body is built when it is first opened."""

from collections.abc import Sequence
from typing import ClassVar

import anywidget
import ipywidgets
import traitlets

from unlearnkit.widgets.parts.elements.head import TOOLS_CSS, TOOLS_JS
from unlearnkit.widgets.parts.panel import Panel

_ESM = (
    TOOLS_JS
    + """
function render({ model, el }) {
  el.classList.add("uk-section-head");
  el.innerHTML = '<div class="uk-heading"><button type="button"><span aria-hidden="true"></span>'
    + '<b></b></button><div></div></div><p role="status"></p><div></div>';
  const [heading, line, boxes] = el.children;
  const [button, place] = heading.children;
  const [mark, title] = button.children;
  const show = () => {
    const open = model.get("expanded");
    mark.textContent = open ? "\\u25be" : "\\u25b8";
    title.textContent = model.get("title");
    line.textContent = model.get("busy") ? "Computing ..." : model.get("explanation");
    button.setAttribute("aria-expanded", String(open));
    place.hidden = boxes.hidden = !open;
  };
  button.addEventListener("click", () => {
    model.set("expanded", !model.get("expanded"));
    model.save_changes();
  });
  const end = tools(model, place, boxes);
  show();
  model.on("change:expanded change:busy", show);
  return () => { model.off("change:expanded change:busy", show); end(); };
}
export default { render };
"""
)

_CSS = (
    TOOLS_CSS
    + """
.jupyter-widgets.uk-section {
  margin: 0; width: auto; min-width: 0; overflow: visible; flex-shrink: 0;
  border-top: 1px solid var(--uk-line); padding-top: 6px;
}
.uk-section > .uk-body { margin: 0 0 6px; width: auto; overflow: visible; padding: 4px 0 0 18px; }
.uk-section .uk-row > .uk-beside { flex: 1 1 420px; align-self: flex-start; }
@media (max-width: 900px) { .uk-section > .uk-body { padding-left: 0; } }
.uk-section-head { color: var(--uk-ink); font: 13px/1.5 var(--uk-ui); min-width: 0; }
.uk-section-head .uk-heading { display: flex; flex-wrap: wrap; align-items: baseline; }
.uk-section-head [hidden] { display: none; }
.uk-section-head .uk-heading > button {
  display: flex; align-items: baseline; gap: 6px; border: none; padding: 2px 6px 2px 0;
  background: none; color: inherit; font: inherit; text-align: left; cursor: pointer;
}
.uk-section-head .uk-heading > button:hover b {
  text-decoration: underline; text-underline-offset: 2px;
}
.uk-section-head .uk-heading > button span { width: 12px; color: var(--uk-quiet); }
.uk-section-head > p { margin: 0 0 0 18px; color: var(--uk-quiet); max-width: 90ch; }
"""
)


class _Head(anywidget.AnyWidget):
    """The heading, which opens and closes its section, with the tools of an open section."""

    _esm = _ESM
    _css = _CSS
    title = traitlets.Unicode().tag(sync=True)
    explanation = traitlets.Unicode().tag(sync=True)
    expanded = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    meaning = traitlets.Unicode().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)


class Section:
    """A part of a panel that computes nothing until it is opened.

    Subclass it: set :attr:`title`, :attr:`explanation` and :attr:`meaning`, write :meth:`build`,
    :meth:`draw`, :meth:`clear` and :attr:`code`. The panel calls :meth:`renew` whenever the data
    behind the section have changed.

    Attributes:
        title: the heading.
        explanation: one sentence below the heading.
        meaning: the text of the fold-out "What does this mean?", with its source.
        panel: the panel that shows errors.
        widget: the whole section.
        body: the part that opens.
    """

    title: ClassVar[str] = ""
    explanation: ClassVar[str] = ""
    meaning: ClassVar[str] = ""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._stale = True
        self._head = _Head(title=self.title, explanation=self.explanation, meaning=self.meaning)
        self._code_line: _Head | None = None  # None until the body is built
        self.body = ipywidgets.VBox()
        self.body.add_class("uk-body")
        self.body.layout.display = "none"
        self.widget = ipywidgets.VBox([self._head, self.body])
        self.widget.add_class("uk-section")
        self._head.observe(panel.guard(lambda change: self._toggled()), names="expanded")

    @property
    def open(self) -> bool:
        """Whether the body is visible; setting it acts like a click."""
        return bool(self._head.expanded)

    @open.setter
    def open(self, value: bool) -> None:
        self._head.expanded = value

    @property
    def code(self) -> str:
        """The Python call that reproduces the section."""
        return ""

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the widgets of the body; called once, on first opening."""
        raise NotImplementedError

    def draw(self) -> None:
        """Compute the results for the current controls and show them."""
        raise NotImplementedError

    def clear(self) -> None:
        """Discard all computed results."""
        raise NotImplementedError

    def renew(self) -> None:
        """Mark the section as stale; redraw it now if it is open, or else when it is opened."""
        self._stale = True
        if self.open:
            self.redraw()

    def forget(self) -> None:
        """Close the section and discard its results, because their data are gone."""
        self.open, self._stale = False, True
        if self._code_line is not None:
            self.clear()

    def redraw(self) -> None:
        """Draw the body and update the code line."""
        self._head.busy = True
        try:
            self.draw()
        finally:
            self._head.busy = False
        self._stale = False
        if self._code_line is not None:
            self._code_line.code = self.code

    def _toggled(self) -> None:
        if self.open and self._code_line is None:
            self.body.children = list(self.build())
            self._code_line = self._head
        if self.open and self._stale:
            self.redraw()
        self.body.layout.display = None if self.open else "none"
