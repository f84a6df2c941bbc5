"""A slider for a percentage, made of the page's own inputs.

That of ipywidgets has no name for screen readers, and redraws itself for 9 ms at each step.
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
  // A number typed: on Enter or on leaving the field; what is no number is put back.
  const take = () => {
    const typed = field.value === "" ? NaN : Number(field.value);
    if (Number.isFinite(typed)) set(Math.min(100, Math.max(0, typed)));
    field.value = model.get("value");
  };
  field.addEventListener("change", take);
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") take(); });
  show();
  const news = ["change:value", "change:step", "change:description"];
  for (const name of news) model.on(name, show);
  return () => { for (const name of news) model.off(name, show); };
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
    """A percentage by mouse, by arrow keys, or typed.

    Attributes:
        value: from 0 to 100.
        step: of the arrow keys and the mouse; typed numbers may be finer.
        description: its label.
    """

    _esm = _ESM
    _css = _CSS
    value = traitlets.Float(0.0, min=0.0, max=100.0).tag(sync=True)
    step = traitlets.Float(0.5).tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
