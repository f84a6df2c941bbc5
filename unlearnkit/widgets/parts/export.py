"""A menu that downloads a figure as HTML or PNG and its numbers as CSV.

The browser already has the figure and plotly's script, so it creates HTML and PNG files itself; the
kernel is asked only for the numbers.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import traitlets

from unlearnkit.display import csv_text
from unlearnkit.widgets.parts.plotview import PlotView

if TYPE_CHECKING:
    import pandas as pd

_ESM = r"""
const INK = "#333", LINE = "#ccc";

function save(content, kind, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const reach = async (model, trait, from) =>
  model.widget_manager.get_model((from ?? model).get(trait).slice("IPY_MODEL_".length));

// The standalone figure on white, with the title and legend that the panel shows as text.
function figure(view, legend) {
  const { data = [], layout = {} } = structuredClone(view.get("spec"));
  const axis = { gridcolor: LINE, linecolor: LINE, zerolinecolor: LINE, automargin: true };
  const top = legend ? 98 : 52;   // the panel's plots have 14
  const height = (layout.height ?? 300) + top - 14;
  return { data, layout: {
    ...layout, height, width: 960, dragmode: "zoom", modebar: {}, showlegend: legend,
    margin: { ...layout.margin, t: top },
    title: { text: view.get("label"), x: 0, xref: "paper", xanchor: "left", y: 0.98,
      yref: "container", yanchor: "top", font: { size: 15 } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", xanchor: "left" },
    template: { layout: { paper_bgcolor: "white", plot_bgcolor: "white", xaxis: axis, yaxis: axis,
      font: { color: INK, family: "system-ui, sans-serif", size: 12 } } },
  } };
}

async function page(view, runtime, drawn) {
  const packed = new Blob([runtime.get("script")]).stream();
  const script = await new Response(packed.pipeThrough(new DecompressionStream("deflate"))).text();
  const text = (value) => value.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const json = (value) => JSON.stringify(value).replace(/</g, "\\u003c");
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${text(view.get("label"))}`
    + `</title><body><div id="figure"></div><script>${script}</script><script>`
    + `Plotly.newPlot("figure", ${json(drawn.data)}, ${json(drawn.layout)}, `
    + `{ displaylogo: false, plotlyServerURL: "" })</script></body></html>`;
}

function render({ model, el }) {
  el.classList.add("uk-export", "uk-menu");
  const menu = el.appendChild(document.createElement("details"));
  const head = menu.appendChild(document.createElement("summary"));
  head.textContent = "Save";
  const group = menu.appendChild(document.createElement("div"));
  group.setAttribute("role", "group");
  const away = ({ target, key }) => {
    if (key ? key === "Escape" : !el.contains(target)) menu.open = false;
  };
  document.addEventListener("pointerdown", away);
  el.addEventListener("keydown", away);
  let asked = false;
  const name = (end) => `${model.get("name")}.${end}`;
  const complain = (error) => {
    console.error(error);
    says.textContent = `failed: ${error.message}`;
  };
  const actions = {
    HTML: async () => {
      const view = await reach(model, "view");
      const runtime = await reach(model, "runtime", view);
      save(await page(view, runtime, figure(view, model.get("legend"))), "text/html", name("html"));
    },
    PNG: async () => {
      const view = await reach(model, "view");
      const runtime = await reach(model, "runtime", view);
      const Plotly = await globalThis.__unlearnkit_plotly.get(runtime.get("version"));
      const drawn = figure(view, model.get("legend"));
      const { width, height } = drawn.layout;
      const url = await Plotly.toImage(drawn, { format: "png", width, height, scale: 2 });
      save(await (await fetch(url)).blob(), "image/png", name("png"));
    },
    CSV: async () => { asked = true; model.send({ want: "csv" }); },
  };
  for (const [word, run] of Object.entries(actions)) {
    const button = group.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = word;
    button.setAttribute("aria-label", `Save ${model.get("name")} as ${word}`);
    button.addEventListener("click", () => { says.textContent = ""; run().catch(complain); });
  }
  const says = group.appendChild(document.createElement("span"));
  says.setAttribute("role", "status");
  // All views of the panel receive the answer; only the one that asked uses it.
  const answered = ({ csv, failed }) => {
    if (!asked) return;
    asked = false;
    if (failed) says.textContent = failed;
    else save(csv, "text/csv", name("csv"));
  };
  const named = () => head.setAttribute("aria-label", `Save ${model.get("name")}`);
  named();
  model.on("msg:custom", answered);
  return () => {
    model.off("msg:custom", answered);
    document.removeEventListener("pointerdown", away);
  };
}
export default { render };
"""

SAVE_CSS = """
.uk-export {
  display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 8px; min-width: 0;
  color: var(--uk-quiet); font: 12px/1.6 var(--uk-ui);
}
.uk-export button {
  border: none; padding: 0 2px; background: none; color: var(--uk-quiet); cursor: pointer;
  font: inherit; text-decoration: underline; text-underline-offset: 2px;
}
.uk-export button:hover { color: var(--uk-ink); }
/* the menu of a plot lies over its upper right corner */
.uk-plot { position: relative; }
.uk-plot:has(> .uk-menu) > .uk-prose { padding-right: 48px; }
.uk-plot > .uk-menu { position: absolute; top: 0; right: 0; margin: 0; z-index: 3; }
.uk-menu summary {
  list-style: none; text-decoration: underline; text-underline-offset: 2px; margin-left: auto;
}
.uk-menu summary::-webkit-details-marker { display: none; }
.uk-menu details > div {
  display: flex; gap: 4px 12px; padding: 4px 10px; border: 1px solid var(--uk-line);
  border-radius: 3px; background: var(--uk-page); box-shadow: 0 1px 4px rgba(0, 0, 0, .25);
}
"""


class Export(anywidget.AnyWidget):
    """A menu in the corner of a plot that saves it.

    Args:
        view: the plot to save.
        name: file name without its extension.
        frame: returns the numbers; called when they are saved.

    Attributes:
        legend: whether the saved figure has a legend.
    """

    _esm = _ESM
    _css = SAVE_CSS
    view = traitlets.Instance(PlotView).tag(sync=True, **ipywidgets.widget_serialization)
    name = traitlets.Unicode().tag(sync=True)
    legend = traitlets.Bool(True).tag(sync=True)

    def __init__(self, view: PlotView, name: str, frame: "Callable[[], pd.DataFrame]") -> None:
        super().__init__(view=view, name=name)
        self._frame = frame
        self.on_msg(self._asked)

    def csv(self) -> str:
        """Return the numbers as comma-separated values in full precision."""
        return csv_text(self._frame())

    def _asked(self, widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict) or content.get("want") != "csv":
            return
        try:
            self.send({"csv": self.csv()})
        except RuntimeError as error:  # the data behind the plot are gone
            self.send({"failed": str(error)})
