"""A percentage slider made of native HTML inputs.

The slider of ipywidgets has no accessible name and is slow to redraw.
"""

import anywidget
import traitlets

_ESM = """
let count = 0;
function render({ model, el }) {
  el.classList.add("uk-slider");
  const id = `uk-slider-${++count}`;
  el.innerHTML = `<label for="${id}"></label><input type="range" id="${id}">`
    + '<span><input type="number">%</span>';
  const [label, range, span] = el.children;
  const field = span.firstChild;
  const show = () => {
    const [value, step, description] = ["value", "step", "description"].map((n) => model.get(n));
    label.textContent = description;
    field.setAttribute("aria-label", `${description}, in percent`);
    for (const input of [range, field]) Object.assign(input, { min: 0, max: 100, step });
    if (Number(range.value) !== value) range.value = value;
    if (document.activeElement !== field) field.value = value;
    range.setAttribute("aria-valuetext", `${value} percent`);
  };
  const set = (value) => { model.set("value", value); model.save_changes(); };
  range.addEventListener("input", () => set(Number(range.value)));
  // A typed number counts on Enter or when the field loses focus; other text is reset.
  const take = () => {
    const typed = field.value === "" ? NaN : Number(field.value);
    if (Number.isFinite(typed)) set(Math.min(100, Math.max(0, typed)));
    field.value = model.get("value");
  };
  field.addEventListener("change", take);
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") take(); });
  show();
  const events = ["change:value", "change:step", "change:description"];
  for (const name of events) model.on(name, show);
  return () => { for (const name of events) model.off(name, show); };
}
export default { render };
"""

_CSS = """
.uk-slider {
  display: flex; align-items: center; gap: 10px; flex: 1 1 320px; max-width: 560px; min-width: 0;
  margin: 0 2px; font: 13px/1.5 var(--uk-ui); color: var(--uk-ink);
}
.uk-slider input[type=range] { flex: 1 1 120px; min-width: 60px; accent-color: var(--uk-brand); }
.uk-slider span { white-space: nowrap; }
.uk-slider input[type=number] {
  width: 4.6em; margin-right: 3px; padding: 2px 4px; border: 1px solid var(--uk-line);
  border-radius: 3px; background: none; color: inherit; font: inherit; text-align: right;
}
"""


class PercentSlider(anywidget.AnyWidget):
    """A percentage, set with the mouse, with the arrow keys or by typing.

    Attributes:
        value: the percentage, from 0 to 100.
        step: the step of mouse and arrow keys; typed numbers may be finer.
        description: the label.
    """

    _esm = _ESM
    _css = _CSS
    value = traitlets.Float(0.0, min=0.0, max=100.0).tag(sync=True)
    step = traitlets.Float(0.5).tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
