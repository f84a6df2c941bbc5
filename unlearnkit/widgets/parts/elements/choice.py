"""A choice of one among a few options, as radio buttons that are one tab stop."""

import html
from collections.abc import Iterable
from typing import Any

import anywidget
import traitlets

from unlearnkit.widgets.parts.elements.keys import KEYS_JS

# Inputs of one name are one tab stop, and the arrow keys move within them. ipywidgets gives the
# buttons of a group no common name.
_ESM = (
    KEYS_JS
    + """
let count = 0;
function render({ model, el }) {
  el.classList.add("uk-choice");
  el.setAttribute("role", "radiogroup");
  const name = `uk-choice-${++count}`;
  const caption = el.appendChild(document.createElement("span"));
  caption.id = `${name}-label`;
  el.setAttribute("aria-labelledby", caption.id);
  const box = el.appendChild(document.createElement("div"));
  const mark = () => {
    [...box.querySelectorAll("input")].forEach((input, at) => {
      input.checked = at === model.get("index");
      input.disabled = model.get("disabled");
    });
  };
  const build = () => {
    caption.textContent = model.get("description");
    box.replaceChildren();
    model.get("labels").forEach((text, at) => {
      const label = box.appendChild(document.createElement("label"));
      const input = label.appendChild(document.createElement("input"));
      Object.assign(input, { type: "radio", name });
      label.appendChild(document.createElement("span")).textContent = text;
      input.addEventListener("change", () => {
        if (!input.checked) return;
        model.set("index", at);
        model.save_changes();
      });
    });
    mark();
  };
  build();
  model.on("change:labels change:description", build);
  model.on("change:index change:disabled", mark);
  return () => {
    model.off("change:labels change:description", build);
    model.off("change:index change:disabled", mark);
  };
}
export default { render };
"""
)

_CSS = """
.uk-choice {
  display: flex; flex-flow: row wrap; align-items: baseline; gap: 0 10px; min-width: 0;
  color: var(--uk-ink); font: 13px/1.5 var(--uk-ui);
}
.uk-choice > div { display: flex; flex-flow: row wrap; gap: 2px 14px; flex: 1 1 240px; }
.uk-choice label { display: inline-flex; align-items: center; gap: 5px; cursor: pointer; }
.uk-choice input { margin: 0; accent-color: var(--uk-brand); }
"""


class Choice(anywidget.AnyWidget):
    """Radio buttons side by side, with the options and the value of ipywidgets' own.

    Args:
        options: values, or pairs of a label and a value; the first is chosen.
        value: the chosen value; that of the first option by default.
        description: the label of the group.

    Attributes:
        value: the chosen value.
        disabled: whether nothing can be chosen.

    >>> choice = Choice([("one", 1), ("two", 2)], description="how many")
    >>> choice.value = 2
    >>> choice.value, choice.options
    (2, [('one', 1), ('two', 2)])
    """

    _esm = _ESM
    _css = _CSS
    labels: "traitlets.List[str]" = traitlets.List(traitlets.Unicode()).tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    value = traitlets.Any()

    def __init__(self, options: Iterable[Any], value: Any = None, description: str = "") -> None:
        self._given = list(options)
        self._values = [_pair(option)[1] for option in self._given]
        chosen = self._values[0] if value is None else value
        super().__init__(
            labels=[_pair(option)[0] for option in self._given],
            index=self._place(chosen),
            value=chosen,
            description=description,
        )
        self.observe(self._pressed, names="index")
        self.observe(self._show, names="value")

    @property
    def options(self) -> list[Any]:
        """The options as they were given."""
        return list(self._given)

    @options.setter
    def options(self, options: Iterable[Any]) -> None:
        kept = self.value
        self._given = list(options)
        self._values = [_pair(option)[1] for option in self._given]
        self.labels = [_pair(option)[0] for option in self._given]
        place = self._values.index(kept) if kept in self._values else 0
        self.index, self.value = place, self._values[place]

    def picture(self) -> str:
        """Return the choice as HTML, for a page without a kernel."""
        name = f"{html.escape(self.description)}: " if self.description else ""
        return f"<p>{name}{html.escape(self.labels[self.index])}</p>"

    def _place(self, value: Any) -> int:
        if value not in self._values:
            known = ", ".join(map(repr, self._values))
            raise ValueError(f"{value!r} is not an option; choose from {known}")
        return self._values.index(value)

    @traitlets.validate("value")
    def _known(self, proposal: Any) -> Any:
        return self._values[self._place(proposal["value"])]

    def _pressed(self, change: Any) -> None:
        if 0 <= change["new"] < len(self._values):
            self.value = self._values[change["new"]]

    def _show(self, change: Any) -> None:
        self.index = self._place(change["new"])


def _pair(option: Any) -> tuple[str, Any]:
    label, value = option if isinstance(option, tuple) else (option, option)
    return str(label), value
