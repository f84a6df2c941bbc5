"""The table of routes: the route of each shard with its reason, and a field to override it."""

from typing import Any

import anywidget
import traitlets

from unlearnkit.figures.drawing import percent
from unlearnkit.unlearning.boundary.protocol import LEAVE, Costs, Decision
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload
from unlearnkit.widgets.boundary.sentences import ROUTE_NAMES

# Rows are updated cell by cell, so that a field keeps the focus while the slider moves.
_ESM = """
const ROUTES = [["", "as decided"], ["exact", "exact"], ["approximate", "approximate"]];

function render({ model, el }) {
  el.classList.add("uk-prose", "uk-routes");
  el.innerHTML = '<details><summary>Shard by shard: costs, reasons and overrides</summary>'
    + '<div class="uk-scroll" tabindex="0" role="group"><table><caption></caption>'
    + '<thead><tr></tr></thead><tbody></tbody></table></div></details>';
  const caption = el.querySelector("caption"), top = el.querySelector("thead tr");
  const body = el.querySelector("tbody");
  let lines = new Map();
  const add = (parent, tag, name = "") => {
    const node = parent.appendChild(document.createElement(tag));
    node.className = name;
    return node;
  };
  // On narrow pages the reason moves below its row, and debt and visits are hidden.
  const kind = (i, count) => i === count - 1 ? "uk-text uk-long" : i === 1 ? "uk-text"
    : i === 3 || i === 4 ? "uk-rare" : "";
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const make = (shard, count) => {
    const main = document.createElement("tr"), below = document.createElement("tr");
    below.className = "uk-below";
    const cells = [];
    for (let i = 0; i < count; i++) {
      cells.push(add(main, "td", kind(i, count)));
      if (i === 0) add(main, "td", "uk-text");
    }
    const override = main.children[1].appendChild(document.createElement("select"));
    override.setAttribute("aria-label", `override for shard ${shard}`);
    for (const [value, word] of ROUTES) override.add(new Option(word, value));
    override.addEventListener("change", () => {
      const { [shard]: before, ...chosen } = model.get("chosen");
      model.set("chosen", override.value ? { ...chosen, [shard]: override.value } : chosen);
      model.save_changes();
    });
    const route = add(cells[1], "span"), why = add(below, "td", "uk-text");
    why.colSpan = count;
    return { main, below, cells, override, route, why };
  };
  const show = () => {
    const { headers, rows } = model.get("table"), chosen = model.get("chosen");
    el.hidden = !rows.length;
    caption.textContent = model.get("caption");
    el.querySelector(".uk-scroll").setAttribute("aria-label", model.get("caption"));
    if (top.children.length !== headers.length + 1) {
      lines = new Map();
      body.replaceChildren();
    }
    top.replaceChildren();
    headers.forEach((word, i) => {
      const head = add(top, "th", kind(i, headers.length));
      head.scope = "col";
      head.textContent = word;
      if (i) return;
      Object.assign(add(top, "th", "uk-text"), { scope: "col", textContent: "override" });
    });
    const order = [], focused = document.activeElement;
    for (const { shard, kind: route, free, cells } of rows) {
      let line = lines.get(shard);
      if (!line) lines.set(shard, line = make(shard, cells.length));
      cells.forEach((text, i) => write(i === 1 ? line.route : line.cells[i], text));
      write(line.why, cells.at(-1));
      line.route.className = route === "leave" ? "" : `uk-${route}`;
      line.override.value = chosen[shard] ?? "";
      line.override.disabled = route === "leave";
      line.override.options[2].disabled = !free;
      order.push(line.main, line.below);
    }
    const there = [...body.children];
    if (order.length !== there.length || order.some((node, i) => node !== there[i])) {
      body.replaceChildren(...order);
      const kept = new Set(rows.map(({ shard }) => shard));
      for (const shard of [...lines.keys()]) if (!kept.has(shard)) lines.delete(shard);
      if (body.contains(focused)) focused.focus({ preventScroll: true });
    }
  };
  show();
  const events = ["change:table", "change:chosen", "change:caption"];
  for (const name of events) model.on(name, show);
  return () => { for (const name of events) model.off(name, show); };
}
export default { render };
"""

_CSS = """
.uk-routes[hidden] { display: none; }
.uk-prose.uk-routes td.uk-text { min-width: 0; }
.uk-routes th { white-space: nowrap; }
.uk-prose.uk-routes .uk-scroll { max-height: 480px; }
@container (max-width: 900px) { /* as .uk-prose below 620 px, since this table has more columns */
  .uk-routes .uk-long { display: none; }
  .uk-routes .uk-below { display: table-row; }
  .uk-routes tr:has(+ .uk-below) td { border-bottom: none; padding-bottom: 0; }
  .uk-routes .uk-below td { color: var(--uk-quiet); padding-top: 0; }
}
@container (max-width: 620px) {
  .uk-routes .uk-rare { display: none; }
  .uk-prose.uk-routes th { white-space: normal; }
}
.uk-routes select {
  padding: 1px 2px; border: 1px solid var(--uk-line); border-radius: 3px; font: inherit;
  background: var(--jp-layout-color1, Field); color: var(--uk-ink);
}
"""


class RouteTable(anywidget.AnyWidget):
    """One row per shard, with a choice of "as decided", "exact" or "approximate".

    Attributes:
        table: ``headers``, and ``rows`` with the texts of their cells.
        chosen: the overriding routes, by shard as text; shards left as decided are absent.
        caption: the text above the table.
    """

    _esm = _ESM
    _css = _CSS
    table: "traitlets.Dict[str, Any]" = traitlets.Dict({"headers": [], "rows": []}).tag(sync=True)
    chosen: "traitlets.Dict[str, str]" = traitlets.Dict().tag(sync=True)
    caption = traitlets.Unicode("The route of each shard and its reason, cheapest shard first").tag(
        sync=True
    )

    @property
    def overrides(self) -> dict[int, str]:
        """The overriding routes by shard, in ascending order."""
        return {int(shard): self.chosen[shard] for shard in sorted(self.chosen, key=int)}

    def show(
        self, decision: Decision, workload: Workload, costs: Costs, checks: dict[int, Check]
    ) -> None:
        """Show a decision.

        Args:
            decision: the order, routes and reasons to show.
            workload: the workload of the request.
            costs: predicted CPU seconds of both routes.
            checks: of approximations of the request that were tried, by shard.
        """
        works = {work.shard: work for work in workload.shards}
        bounded = any(check.bound is not None for check in checks.values())
        headers = ["shard", "route", "forget", "debt", "visits", "share"]
        headers += ["exact (CPU s)", "approx. (CPU s)"]
        headers += ["error at most"] * bounded + ["why"]
        rows = []
        for route in decision.routes:
            cost, work = costs.of(route.shard), works[route.shard]
            bound = checks[route.shard].bound if route.shard in checks else None
            cells = [
                *(str(route.shard), ROUTE_NAMES[route.kind], str(work.forget), str(work.debt)),
                *(f"{route.visits:,}", percent(route.share)),
                *(_seconds(cost.exact_seconds), _seconds(cost.approximate_seconds)),
                *(["-" if bound is None else f"{bound:.2g}"] if bounded else []),
                route.reason,
            ]
            free = not cost.forced and route.kind != LEAVE
            rows.append({"shard": route.shard, "kind": route.kind, "free": free, "cells": cells})
        self.table = {"headers": headers, "rows": rows}

    def clear(self) -> None:
        """Hide the table and discard all overrides."""
        self.chosen, self.table = {}, {"headers": [], "rows": []}


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2g}" if seconds < 99.5 else f"{seconds:,.0f}"
