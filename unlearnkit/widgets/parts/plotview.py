"""A plotly figure as a widget with one synchronised trait, redrawn in place.

Plotly's own ``FigureWidget`` sends 5 MB of script with every figure and, after a reload, shows the
state in which it was created. Here the script is sent once, in a widget that all views share, so a
reload, a second view and Voila all find it; nothing is loaded from a CDN.
"""

import html
import json
import zlib
from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets
import plotly.graph_objects as go
import plotly.io as pio
import traitlets
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from unlearnkit.figures.still import as_image

_HEIGHT = 320

_RUNTIME_ESM = "export default {};"

_VIEW_ESM = r"""
// The script is unpacked and run once per page, however many views and notebooks there are.
async function load(packed) {
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = await new Response(unpacked).text();
  // Loaded as an ES module with a local `module`, plotly does not depend on a module loader.
  const parts = ["const module = {exports: {}};\n", script, "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  const before = window.Plotly;
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
    window.Plotly = before;   // keep another extension's plotly
  }
}

async function plotly(model) {
  const id = model.get("runtime").slice("IPY_MODEL_".length);
  const runtime = await model.widget_manager.get_model(id);
  const scripts = (globalThis.__unlearnkit_plotly ??= new Map());
  const version = runtime.get("version");
  if (!scripts.has(version)) {
    const loading = load(runtime.get("script"));
    loading.catch(() => scripts.delete(version));
    scripts.set(version, loading);
  }
  return scripts.get(version);
}

// The colours of the page's theme as a plotly template; a figure's own settings take precedence.
function theme(el) {
  const probe = el.appendChild(document.createElement("span"));
  // JupyterLab fades colours when the theme switches; the probe must show the new ones at once.
  probe.style.setProperty("transition", "none", "important");
  const ink = (color) => { probe.style.color = color; return getComputedStyle(probe).color; };
  const text = ink("var(--jp-ui-font-color1, var(--vscode-foreground, rgba(0, 0, 0, 0.87)))");
  const quiet = ink("var(--jp-ui-font-color2, var(--vscode-foreground, rgba(0, 0, 0, 0.54)))");
  const line = ink("var(--jp-border-color1, rgba(128, 128, 128, 0.6))");
  const grid = ink("var(--jp-border-color2, rgba(128, 128, 128, 0.3))");
  const card = ink("var(--jp-layout-color1, var(--vscode-editor-background, white))");
  probe.style.fontFamily = "var(--jp-ui-font-family, system-ui, sans-serif)";
  const family = getComputedStyle(probe).fontFamily;
  probe.remove();
  const clear = "rgba(0, 0, 0, 0)";
  const axis = {
    automargin: true, gridcolor: grid, linecolor: line, zerolinecolor: line, tickcolor: line,
    title: { standoff: 8, font: { size: 12 } }, zerolinewidth: 1,
  };
  const bar = { outlinewidth: 0, thickness: 14, tickcolor: line };
  return {
    data: { heatmap: [{ type: "heatmap", colorbar: bar }] },
    layout: {
      paper_bgcolor: clear, plot_bgcolor: clear, font: { color: text, family, size: 12 },
      title: { x: 0, xref: "paper", xanchor: "left", font: { size: 14 } },
      margin: { l: 48, r: 16, t: 44, b: 40 }, xaxis: axis, yaxis: axis,
      coloraxis: { colorbar: bar }, legend: { bgcolor: clear },
      hoverlabel: { bgcolor: card, bordercolor: line, font: { color: text, family } },
      modebar: { bgcolor: clear, color: quiet, activecolor: text },
    },
  };
}

const dressed = (own, page) => !own ? page : {
  data: { ...page.data, ...own.data }, layout: { ...own.layout, ...page.layout },
};

const plain = (value) => ArrayBuffer.isView(value) ? Array.from(value)
  : Array.isArray(value) ? value.map(plain) : value ?? null;

// Without a server URL there is no button that uploads the data to plotly.
const CONFIG = {
  displaylogo: false, responsive: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
};
// A figure in which dragging selects keeps its buttons visible, to show the mode.
const SELECTS = {
  ...CONFIG, displayModeBar: true, modeBarButtonsToRemove: ["sendChartToCloud", "autoScale2d"],
};

async function render({ model, el }) {
  el.classList.add("uk-plotview");
  const graph = el.appendChild(document.createElement("div"));
  graph.className = "uk-plotview-graph";
  graph.setAttribute("role", "img");
  const complain = (error) => {
    console.error(error);
    graph.textContent = `This plot could not be drawn (${error.message}); run its cell again.`;
  };
  let Plotly;
  try { Plotly = await plotly(model); } catch (error) { complain(error); return; }

  let page = null, waiting = false, gone = false, listening = false, drawn = "";
  let painting = false, again = false, shown = false;
  const clicked = (event) => {
    const point = event.points[0];
    const count = (model.get("clicked").count ?? 0) + 1;
    model.set("clicked", {
      curve: point.curveNumber, point: plain(point.pointIndex ?? point.pointNumber),
      x: plain(point.x), y: plain(point.y), customdata: plain(point.customdata), count,
    });
    model.save_changes();
  };
  const selected = (event) => {
    const points = (event?.points ?? []).map((point) => plain(point.customdata));
    const count = (model.get("selected").count ?? 0) + 1;
    model.set("selected", { customdata: points, count });
    model.save_changes();
  };
  // The picture of the example under the pointer; the kernel is asked for each once.
  const pictures = new Map();
  const card = el.appendChild(document.createElement("img"));
  Object.assign(card, { className: "uk-plotview-picture", alt: "", hidden: true });
  let pointed = null;
  const place = () => {
    const source = pointed === null ? null : pictures.get(pointed.id);
    card.hidden = !source;
    if (!source) return;
    card.src = source;
    const side = pointed.x > el.clientWidth / 2 ? pointed.x - 78 : pointed.x + 14;
    const top = Math.min(Math.max(pointed.y - 78, 2), el.clientHeight - 68);
    Object.assign(card.style, { left: `${side}px`, top: `${top}px` });
  };
  const hovered = (event) => {
    if (!model.get("pictured")) return;
    const id = plain(event.points[0].customdata);
    if (typeof id !== "number") return;
    const box = el.getBoundingClientRect();
    pointed = { id, x: event.event.clientX - box.left, y: event.event.clientY - box.top };
    if (!pictures.has(id)) {
      pictures.set(id, null);
      model.send({ want: "picture", id });
    }
    place();
  };
  const unhovered = () => { pointed = null; place(); };
  const answered = ({ picture, id }) => {
    if (picture === undefined) return;
    pictures.set(id, picture);
    if (pointed?.id === id) place();
  };
  model.on("msg:custom", answered);

  const paint = async () => {
    const width = el.clientWidth, height = el.clientHeight;
    if (gone) return;
    if (!width || !height) {   // hidden: the observer fires again when it is shown
      // An observer misses an element that is hidden and shown again at the same size, as
      // JupyterLab does with the whole page when the theme changes, so observation restarts.
      if (shown) { shown = false; sizes.unobserve(el); sizes.observe(el); }
      return;
    }
    const { data = [], layout = {} } = model.get("spec");
    page ??= theme(el);
    const title = layout.title?.text ?? layout.title ?? "";
    const words = model.get("description") || model.get("label") || String(title);
    graph.setAttribute("aria-label", words.replace(/<[^>]*>/g, " "));
    // Plotly modifies its arguments (a zoom, for example), so it gets a copy of the trait.
    const { shapes = [], ...own } = structuredClone(layout);
    const rest = JSON.stringify([data, own, page, width, height]);
    try {
      // Redrawing the shapes alone is much faster than redrawing the figure.
      if (rest === drawn) { await Plotly.relayout(graph, { shapes }); return; }
      drawn = rest;
      await Plotly.react(graph, data.map((trace) => ({ ...trace })), {
        uirevision: "a zoom outlives an update", ...own, shapes, width, height, autosize: false,
        template: dressed(own.template, page),
      }, ["lasso", "select"].includes(layout.dragmode) ? SELECTS : CONFIG);
      if (!listening && !gone) {
        graph.on("plotly_click", clicked);
        graph.on("plotly_selected", selected);
        graph.on("plotly_deselect", () => selected());
        graph.on("plotly_hover", hovered);
        graph.on("plotly_unhover", unhovered);
        listening = true;
      }
    } catch (error) { drawn = ""; complain(error); }
  };
  // Plotly draws in several steps; a second drawing must not overtake the first.
  const draw = async () => {
    waiting = false;
    if (painting) { again = true; return; }
    painting = true;
    try { await paint(); } finally { painting = false; }
    if (again) { again = false; soon(); }
  };
  // All updates, resizes and theme changes between two frames cause one drawing.
  const soon = () => {
    if (waiting) return;
    waiting = true;
    if (document.hidden) setTimeout(draw); else requestAnimationFrame(draw);
  };
  const repaint = () => { page = null; soon(); };

  model.on("change:spec", soon);
  model.on("change:label change:description", soon);
  const sizes = new ResizeObserver(() => {
    shown = el.clientWidth > 0 && el.clientHeight > 0;
    repaint();
  });
  sizes.observe(el);
  // These attributes change once the new theme's style sheet is loaded.
  const themes = new MutationObserver(repaint);
  const marks = ["class", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"];
  themes.observe(document.body, { attributes: true, attributeFilter: marks });
  return () => {
    gone = true;
    model.off("change:spec", soon);
    model.off("change:label change:description", soon);
    model.off("msg:custom", answered);
    sizes.disconnect();
    themes.disconnect();
    Plotly.purge(graph);
  };
}
export default { render };
"""

# The graph is positioned absolutely, so that its width cannot widen the page.
_VIEW_CSS = """
.uk-plotview {
  position: relative; box-sizing: border-box; width: 100%; min-width: 0; min-height: 80px;
  overflow: hidden;
}
.uk-row > .uk-plotview { width: auto; flex: 1 1 320px; }
.uk-plotview-picture {
  position: absolute; z-index: 2; width: 64px; height: 64px; box-sizing: border-box;
  image-rendering: pixelated; pointer-events: none; border-radius: 3px; background: white;
  border: 1px solid var(--jp-border-color1, rgba(128, 128, 128, 0.6));
}
.uk-plotview-picture[hidden] { display: none; }
.uk-plotview-graph {
  position: absolute; inset: 0; overflow: hidden;
  color: var(--jp-ui-font-color2, GrayText); font: 13px var(--jp-ui-font-family, sans-serif);
}
"""


class _Runtime(anywidget.AnyWidget):
    """Plotly's script, compressed to stay below Jupyter's data rate limit."""

    _esm = _RUNTIME_ESM
    script = traitlets.Bytes().tag(sync=True)
    version = traitlets.Unicode().tag(sync=True)

    _shared: "_Runtime | None" = None

    @classmethod
    def shared(cls) -> "_Runtime":
        """Return the runtime of this kernel; create it if there is none or it was closed."""
        if cls._shared is None or cls._shared.comm is None:
            script = zlib.compress(get_plotlyjs().encode(), level=3)
            cls._shared = cls(script=script, version=get_plotlyjs_version())
        return cls._shared


class PlotView(anywidget.AnyWidget):
    """A plotly figure that follows the theme and the width of the page.

    Assigning :attr:`figure` redraws in place and keeps the zoom. The figure's ``layout.height``
    sets the height; the width is that of the container. Several assignments between two frames
    cause one drawing.

    Args:
        figure: a plotly figure, or a dict with ``data`` and ``layout``.
        height: height in pixels, reserved at once so that the page does not jump; a height in the
            figure's layout takes precedence.
        label: name of the plot; the figure's title by default.
        picture_of: returns the picture of an example as a data URL, given its id, which is the
            ``customdata`` of its point; the page shows it beside the pointer. An empty one is not
            shown.

    Attributes:
        description: what the plot shows, with its numbers, for screen readers; the label if it is
            empty.
        spec: the figure as plotly JSON, from which the page draws.
        clicked: the last click, with ``curve``, ``point``, ``x``, ``y``, ``customdata``, and
            ``count``, which distinguishes clicks on the same point. Empty before the first click.
        selected: the last selection by lasso or box, if the figure's ``dragmode`` allows one: the
            ``customdata`` of the points inside, empty once it is removed, and ``count`` as for
            clicks.

    >>> view = PlotView({"data": [{"y": [1, 2]}], "layout": {"title": {"text": "two"}}})
    >>> view.figure.layout.title.text
    'two'
    """

    _esm = _VIEW_ESM
    _css = _VIEW_CSS
    runtime = traitlets.Instance(_Runtime).tag(sync=True, **ipywidgets.widget_serialization)
    spec = traitlets.Dict().tag(sync=True)
    clicked = traitlets.Dict().tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    pictured = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        figure: go.Figure | dict[str, Any] | None = None,
        *,
        height: int = _HEIGHT,
        label: str = "",
        picture_of: Callable[[int], str] | None = None,
    ) -> None:
        super().__init__(
            runtime=_Runtime.shared(),
            layout=ipywidgets.Layout(height=f"{height}px"),
            label=label,
            pictured=picture_of is not None,
        )
        self._picture_of = picture_of
        self._still: tuple[dict[str, Any], str] | None = None
        self.on_msg(self._asked)
        self.figure = {} if figure is None else figure

    def _asked(self, widget: Any, content: Any, buffers: Any) -> None:
        if self._picture_of is None or not isinstance(content, dict):
            return
        number = content.get("id")
        if content.get("want") == "picture" and isinstance(number, int):
            self.send({"picture": self._picture_of(number), "id": number})

    @property
    def figure(self) -> go.Figure:
        """The current figure, as a new plotly figure."""
        return go.Figure(self.spec)

    @figure.setter
    def figure(self, figure: go.Figure | dict[str, Any]) -> None:
        spec = _to_spec(figure)
        height = spec.get("layout", {}).get("height")
        if height is not None:
            self.layout.height = f"{height:g}px"
        self.spec = spec

    def on_click(self, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call ``callback`` with :attr:`clicked` at each click; return a function that ends this.

        The callback may run in another thread than cells do.
        """
        return self._on("clicked", callback)

    def on_select(self, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call ``callback`` with :attr:`selected` at each selection, as in :meth:`on_click`."""
        return self._on("selected", callback)

    def _on(self, trait: str, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        def observer(change: dict[str, Any]) -> None:
            callback(change["new"])

        self.observe(observer, names=trait)
        return lambda: self.unobserve(observer, names=trait)

    def picture(self) -> str:
        """Return what is left of the plot without scripts: a still picture, or else its name."""
        spec = self.spec
        if not spec.get("data"):
            return ""
        if self._still is None or self._still[0] is not spec:
            # The title stands above as text, and the names of the traces belong to the picture.
            layout = {name: part for name, part in spec["layout"].items() if name != "showlegend"}
            named = f"<p><i>Plot: {html.escape(self.label)}</i></p>" if self.label else ""
            self._still = (spec, as_image({**spec, "layout": layout}, self.description) or named)
        return self._still[1]

    def __repr__(self) -> str:
        title = self.spec.get("layout", {}).get("title", {})
        return f"PlotView({title.get('text') if isinstance(title, dict) else title!r})"


def _to_spec(figure: go.Figure | dict[str, Any]) -> dict[str, Any]:
    """Convert a figure to plain JSON values, without plotly's default template.

    The template would add 6 kB to every message, and its colours suit white pages only; the page
    supplies its own. NumPy arrays of a ``go.Figure`` stay base64, those of a dict become
    lists, and NaN becomes null.

    Raises:
        TypeError: ``figure`` is neither a plotly figure nor a dict.
    """
    if isinstance(figure, go.Figure):
        figure = figure.to_dict()
    elif not isinstance(figure, dict):
        raise TypeError(
            f"figure is a {type(figure).__name__}; give a plotly go.Figure, or a dict with "
            "'data' and 'layout'."
        )
    layout = dict(figure.get("layout", {}))
    # Compared only if there is a template, since the conversion would slow down sliders.
    if "template" in layout and pio.templates.default:
        default = pio.templates[pio.templates.default].to_plotly_json()
        if layout["template"] == default:
            layout.pop("template")
    shown = {"data": figure.get("data", []), "layout": layout}
    spec: dict[str, Any] = json.loads(pio.json.to_json_plotly(shown))
    return spec
