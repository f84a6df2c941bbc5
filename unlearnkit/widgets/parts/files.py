"""Buttons that download files written by the kernel."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from unlearnkit.widgets.parts.export import SAVE_CSS

_ESM = """
const KINDS = { json: "application/json", html: "text/html", csv: "text/csv" };

function render({ model, el }) {
  el.classList.add("uk-export");
  el.setAttribute("role", "group");
  let asked = "";
  el.appendChild(document.createElement("span")).textContent = model.get("label");
  for (const name of model.get("names")) {
    const end = name.split(".").at(-1), button = el.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = end.toUpperCase();
    button.setAttribute("aria-label", `Save ${name}`);
    button.addEventListener("click", () => {
      says.textContent = "";
      asked = name;
      model.send({ want: name });
    });
  }
  const says = el.appendChild(document.createElement("span"));
  says.setAttribute("role", "status");
  // All views of the panel receive the answer; only the one that asked uses it.
  const answered = ({ name, content, failed }) => {
    if (asked !== name) return;
    asked = "";
    if (failed) { says.textContent = failed; return; }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: KINDS[name.split(".").at(-1)] }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  model.on("msg:custom", answered);
  return () => model.off("msg:custom", answered);
}
export default { render };
"""


class Files(anywidget.AnyWidget):
    """One download button per file.

    Args:
        label: text in front of the buttons.
        files: functions that return the content, by file name; names end in json, html or csv.
    """

    _esm = _ESM
    _css = SAVE_CSS
    label = traitlets.Unicode().tag(sync=True)
    names: "traitlets.List[str]" = traitlets.List().tag(sync=True)

    def __init__(self, label: str, files: Mapping[str, Callable[[], str]]) -> None:
        super().__init__(label=label, names=list(files))
        self._files = dict(files)
        self.on_msg(self._asked)

    def text(self, name: str) -> str:
        """Return the content of a file."""
        return self._files[name]()

    def _asked(self, widget: Any, content: Any, buffers: Any) -> None:
        name = content.get("want") if isinstance(content, dict) else None
        if name not in self._files:
            return
        try:
            self.send({"name": name, "content": self.text(name)})
        except RuntimeError as error:
            self.send({"name": name, "failed": str(error)})
