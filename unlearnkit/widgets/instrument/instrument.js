// The boundary as one instrument. It holds every outcome of the request, so a drag asks nobody.
// The same module is the front end of the widget and, with a frozen model, of a saved copy.

const CSS = `
:host { display: block; color-scheme: inherit; min-width: 0; }
:host([data-guided]) :is(.unlearn, .better, .running) { display: none !important; }
.box {
  --ink: var(--jp-ui-font-color1, var(--vscode-foreground, var(--uk-ink, CanvasText)));
  --page: var(--jp-layout-color0, var(--vscode-editor-background, Canvas));
  --quiet: color-mix(in srgb, var(--ink) 76%, transparent);
  --line: color-mix(in srgb, var(--ink) 24%, transparent);
  --wash: color-mix(in srgb, var(--ink) 7%, transparent);
  --exact: #0072b2; --approximate: #e69f00; --owed: #cc79a7; --mark: #d55e00;
  color: var(--ink); font: 13px/1.45 var(--jp-ui-font-family, system-ui, sans-serif);
  max-width: 1000px; min-width: 0;
}
[hidden] { display: none !important; }
svg { display: block; width: 100%; overflow: visible; user-select: none; }
text { fill: var(--quiet); font-size: 11px; }
text:not(.name) { paint-order: stroke; stroke: var(--page); stroke-width: 3; }
.cell, .bar { fill: var(--quiet); }
.kept { fill-opacity: .16; } .outstanding { fill: var(--owed); }
.e .retrain, .e .bar { fill: var(--exact); }
.a .retrain, .a .bar { fill: var(--approximate); }
.row { cursor: pointer; } .rest { cursor: default; }
.under { fill: transparent; } .row:hover .under, .chosen .under { fill: var(--wash); }
.chosen .name, .hand .name { fill: var(--ink); font-weight: 700; }
.grid { stroke: var(--line); } .axis { stroke: var(--quiet); }
.sum { fill: none; stroke: var(--ink); stroke-width: 1.25; pointer-events: none; }
.cost { fill: none; stroke: var(--ink); stroke-width: 1.75; }
.debt { fill: none; stroke: var(--owed); stroke-width: 1.75; }
.dot { stroke: var(--page); stroke-width: 1; }
.plot { fill: transparent; cursor: col-resize; touch-action: pan-y; }
.line { stroke: var(--mark); stroke-width: 2; stroke-dasharray: 6 4; pointer-events: none; }
.knob { fill: var(--mark); } .grip { fill: transparent; }
.handle { cursor: ew-resize; touch-action: pan-y; outline: none; }
.handle:focus-visible .knob { stroke: var(--ink); stroke-width: 2.5; }
.now { fill: var(--ink); font-weight: 600; font-size: 12px; }
.bar-line { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 14px; margin: 0 0 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; margin-left: auto; color: var(--quiet);
  font-size: 12px; }
.legend span::before { content: ""; display: inline-block; width: 10px; height: 10px;
  border-radius: 2px; margin-right: 4px; vertical-align: -1px; background: var(--mark-color); }
p { margin: 6px 0; max-width: 110ch; overflow-wrap: anywhere; }
.acts { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; }
label { display: inline-flex; align-items: center; gap: 5px; }
input { margin: 0; accent-color: #0072b2; } input[type=number] { width: 5em; }
:is(select, input[type=number]) { font: inherit; color: var(--ink); background: var(--page);
  border: 1px solid var(--line); border-radius: 3px; padding: 1px 2px; max-width: 100%; }
button { font: inherit; color: var(--ink); background: none; border: 1px solid var(--line);
  border-radius: 4px; padding: 4px 12px; cursor: pointer; }
button:hover { background: var(--wash); }
button.main { font-weight: 600; color: #fff; background: #00629a; border-color: #00629a; }
button.main:hover { background: #00527f; }
button:disabled { opacity: .55; cursor: default; }
:is(button, select, input):focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
code { font: 12px/1.5 var(--jp-code-font-family, ui-monospace, monospace); color: var(--ink);
  background: var(--wash); border-radius: 3px; padding: 1px 6px; overflow-wrap: anywhere; }
.said { color: var(--quiet); } .said.error { color: var(--ink); font-weight: 600; }
.said:empty { display: none; }
progress { width: 150px; accent-color: #0072b2; }
.override { margin-top: 6px; } fieldset { border: 0; margin: 0; padding: 0; display: inline-flex;
  flex-wrap: wrap; gap: 2px 10px; } .about { color: var(--quiet); }
`;

const BOX = `
<div class="bar-line">
  <label class="mode"><span>boundary</span><select aria-label="boundary">
    <option value="hand">threshold</option><option value="decided"></option></select></label>
  <label class="exactly"><span>threshold</span><input type="number" min="0" max="100" step="any"
    aria-label="threshold, in percent">%</label>
  <label class="unit"><span>measured in</span><select aria-label="threshold measured in">
    <option value="visits">visits</option><option value="seconds">CPU seconds</option></select>
  </label>
  <label class="whole"><input type="checkbox"><span>all shards alike</span></label>
  <div class="legend"></div>
</div>
<svg></svg>
<p class="sentence"></p>
<div class="acts">
  <button type="button" class="main unlearn"></button>
  <button type="button" class="better"></button>
  <button type="button" class="strip" aria-expanded="false">Override a shard</button>
  <code></code>
</div>
<div class="acts override" hidden>
  <label>Shard <select class="shard" aria-label="shard to override"></select></label>
  <fieldset aria-label="route of the shard">
    <label><input type="radio" value="">as decided</label>
    <label><input type="radio" value="exact">exact</label>
    <label><input type="radio" value="approximate">approximate</label>
  </fieldset>
  <button type="button" class="clear">Clear overrides</button>
  <span class="about"></span>
</div>
<div class="acts running" hidden>
  <progress max="1"></progress><span class="doing"></span>
  <button type="button" class="cancel">Cancel</button>
</div>
<div class="said" role="status"></div>`;

const TOLERANCE = 1e-12;   // as in FixedBoundary.decide
const STATUS = { k: "kept", r: "retrain", o: "outstanding", e: "empty" };
const WORDS = {
  kept: "stays", retrain: "would be retrained", outstanding: "owed from before", empty: "is empty",
};
const ROUTES = { e: "exact", a: "approximate", l: "leaves the vote" };

// Thresholds are written in full, because a shorter number may decide differently.
const shown = (share) => Number((100 * share).toPrecision(10));
const percent = (share) => `${shown(share)}%`;
const about = (share) => share > 0 && share < 5e-4 ? "under 0.1%"
  : `${(100 * share).toFixed(1).replace(/\.0$/, "")}%`;
const duration = (s) => s >= 59.5
  ? `${Math.floor(Math.round(s) / 60)} min ${Math.round(s) % 60} s`
  : s >= 10 ? `${s.toFixed(0)} s` : `${Number(s.toPrecision(2))} s`;
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

function make(tag, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

// Where a threshold lies on the axis: evenly up to the end of the sums, then squeezed up to 100%.
function scale(total, from, to) {
  const least = Math.max(total, 1e-6), ten = 10 ** Math.floor(Math.log10(least / 4));
  let tick = ten * [1, 2, 2.5, 5, 10].find((n) => n * ten * 4.6 > least);
  while ((to - from - 40) * tick / least < 34) tick *= 2;
  const whole = total * 1.04 >= 1, end = whole ? 1 : Math.min(1, total * 1.04 + tick * 0.12);
  const last = whole ? to : to - 34;
  const x = (share) => share <= end ? from + (last - from) * share / end
    : last + (to - last) * (share - end) / (1 - end);
  const decimals = Math.min(9, Math.max(3, Math.ceil(Math.log10(200 / end))));
  const share = (px) => {
    const raw = px <= last ? end * (px - from) / (last - from)
      : end + (1 - end) * (px - last) / (to - last);
    const digits = px <= last ? decimals : 2;
    return Math.min(1, Math.max(0, Number(raw.toFixed(digits))));
  };
  return { x, share, tick, end, last, whole, fine: 10 ** -decimals, decimals };
}

function render({ model, el }) {
  const frozen = model.frozen === true;
  const host = el.appendChild(document.createElement("div"));
  host.className = frozen ? "uk-frozen" : "uk-instrument";
  host.toggleAttribute("data-guided", Boolean(model.get("guided")));
  const root = host.attachShadow({ mode: "open" });   // style sheets of the page stop here
  root.innerHTML = `<style>${CSS}</style><div class="box">${BOX}</div>`;
  const $ = (selector) => root.querySelector(selector);
  const svg = $("svg"), sentence = $(".sentence"), code = $("code"), said = $(".said");
  const radios = [...root.querySelectorAll("input[type=radio]")];
  let data, table, share, mode, unit, whole, chosen, index, parts = {}, picked = null;
  let waiting = 0, sent = 0;

  // Looking up ------------------------------------------------------------------------------

  const find = (at) => {
    const all = table.outcomes;
    if (at >= 1) return all.length - 1;
    let best = 0;
    for (let i = 0; i < all.length; i++) if (all[i].start <= at + TOLERANCE) best = i;
    return best;
  };
  const byHand = () => mode === "hand" || !data.tables.decided;
  const choose = () => {
    const name = byHand() ? `${unit}${whole ? " whole" : ""}` : "decided";
    table = data.tables[name] ?? data.tables.visits;
  };
  // The shortest number from which on the outcome is that of the given start.
  const readable = (start) => {
    for (let digits = 2; digits < 9; digits++) {
      const short = Math.min(1, Math.ceil(start * 10 ** digits) / 10 ** digits);
      if (find(short) === find(Math.min(1, start))) return short;
    }
    return Math.min(1, start);
  };

  // Drawing ---------------------------------------------------------------------------------

  function draw() {
    const width = Math.min(1000, Math.max(300, host.clientWidth || 720));
    svg.replaceChildren();
    parts = { width };
    svg.toggleAttribute("hidden", !data.shards.length);
    if (!data.shards.length) return;
    const order = table ? table.shards : [];
    const rest = data.shards.map((_, s) => s).filter((s) => !order.includes(s));
    const high = order.length ? Math.min(16, Math.max(5, Math.floor(210 / order.length))) : 0;
    const room = order.length ? 64 : 210;
    const low = Math.min(high || 16, Math.max(3, Math.floor(room / (rest.length || 1))));
    const left = 30, map = Math.min(data.slices * 22, width * 0.3);
    // The axis leaves room for the map, and for the labels of the curves below it.
    const from = Math.max(left + map + 20, Math.min(160, width * 0.36));
    const to = width - 18, top = table ? 34 : 20, hand = table && byHand();
    const total = !table ? 1 : hand ? table.sums.at(-1) : 2.2 * Math.max(...table.costs);
    const axis = scale(total, from, to);
    let y = top;
    make("text", { x: left, y: 12 }, svg, map > 150 ? "stages, by shard and slice" : "shard × slice");
    parts.rows = [...order, ...rest].map((shard, i) => {
      const hit = i < order.length, h = hit ? high : low;
      const g = row(shard, i, y, h, left, map, hit ? axis : null, from, to);
      const made = { g, y, h, shard };
      y += h;
      return made;
    });
    const bottom = y, hits = order.length ? parts.rows[order.length - 1] : null;
    Object.assign(parts, { axis, from, to, top, bottom, left, map });
    let foot = bottom + 4;
    if (table) {
      const title = hand ? "cost of retraining each shard, and their running sum"
        : "cost of retraining each shard, and what its other route would do";
      make("text", { x: from, y: 12 }, svg, to - from > 330 ? title : "cost; line: running sum");
      foot = ticks(axis, from, to, top, bottom);
      if (hand) foot = follow(axis, from, to, top, bottom, hits.y + hits.h);
      else instead(high);
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${foot}`);
    svg.setAttribute("height", foot);
    index = undefined;
    mark();
  }

  function row(shard, i, y, h, left, map, axis, from, to) {
    const one = data.shards[shard], hit = axis !== null;
    const g = make("g", { class: hit ? "row" : "row rest" }, svg);
    const gap = h >= 8 ? 1.5 : 0.75, box = { y, height: Math.max(1, h - gap) };
    make("rect", { x: 0, y, width: to, height: h, class: "under" }, g);
    if (h >= 10 || i % Math.ceil(11 / h) === 0)
      make("text", { x: left - 5, y: y + h / 2 + 4, "text-anchor": "end", class: "name" }, g, shard);
    one.visits.forEach((visits, j) => {
      const status = STATUS[one.status[j]];
      if (status === "empty") return;
      const cell = make("rect", {
        ...box, x: left + (j * map) / data.slices, width: Math.max(1, map / data.slices - 1.5),
        class: `cell ${status}`,
      }, g);
      if (status !== "kept") cell.setAttribute("fill-opacity", 0.3 + (0.7 * visits) / data.most);
      make("title", {}, cell, `Shard ${shard}, slice ${j + 1}: ${count(visits, "visit")}; `
        + `this stage ${WORDS[status]}.`);
    });
    if (!hit) return g;
    const bar = make("rect", {
      ...box, x: from, width: Math.max(0.5, axis.x(table.costs[i]) - from), class: "bar",
    }, g);
    make("title", {}, bar, facts(i));
    g.addEventListener("click", () => pick(shard, true));
    return g;
  }

  // What is known of a shard, in a sentence.
  function facts(i) {
    const shard = table.shards[i], one = data.shards[shard], other = table.instead?.[i];
    const seconds = one.exact === null || one.approximate === null ? ""
      : `; exact ${duration(one.exact)}, approximate ${duration(one.approximate)} of CPU time`;
    const debt = one.debt ? `, ${one.debt} owed from before` : "";
    const flip = !other || other.seconds === null ? ""
      : ` The other route instead: ${duration(other.seconds)} in all, ${other.owed} owed.`;
    return `${about(table.costs[i])} of training from scratch, ${about(table.sums[i])} with the `
      + `cheaper ones${seconds}; ${one.forget} to forget${debt}.`
      + `${one.forced ? ` It must be exact: ${one.forced}.` : ""}${flip}`;
  }

  function ticks(axis, from, to, top, bottom) {
    const room = axis.whole ? to : axis.last;
    for (let i = 0; i * axis.tick <= axis.end + 1e-9; i++) {
      const value = i * axis.tick, at = axis.x(value);
      if (at > room + 0.5) break;
      svg.prepend(make("line", { x1: at, x2: at, y1: top, y2: bottom + 3, class: "grid" }, svg));
      if (axis.whole || at < room - 8)
        make("text", { x: at, y: bottom + 15, "text-anchor": "middle" }, svg, percent(value));
    }
    if (!axis.whole && byHand()) {   // two strokes: the axis is broken
      for (const at of [axis.last - 2, axis.last + 2])
        make("line", { x1: at - 2, x2: at + 2, y1: bottom + 5, y2: bottom - 3, class: "axis" }, svg);
      svg.prepend(make("line", { x1: to, x2: to, y1: top, y2: bottom + 3, class: "grid" }, svg));
      make("text", { x: to, y: bottom + 15, "text-anchor": "middle" }, svg, "100%");
    }
    return bottom + 22;
  }

  // The running sum, the curves under the same axis, and the line that crosses all of them.
  function follow(axis, from, to, top, bottom, end) {
    const { x } = axis, all = table.outcomes, timed = all[0].seconds !== null;
    let d = `M${from},${top}`;
    table.sums.forEach((sum, i) => {
      const at = parts.rows[i];
      d += `H${x(Math.min(1, sum))}V${at.y + at.h}`;
    });
    make("path", { d, class: "sum" }, svg);
    const base = bottom + 84, tall = 50, foot = base + 6;
    const fields = [...(timed ? ["seconds"] : []), "owed"];
    parts.curves = fields.map((field, i) => {
      const most = Math.max(...all.map((one) => one[field])) || 1;
      const level = (value) => base - (tall * value) / most;
      const name = field === "owed" ? "debt" : "cost";
      let line = "";
      all.forEach((one, k) => {
        line += k ? `H${x(Math.min(1, one.start))}V${level(one[field])}`
          : `M${from},${level(one[field])}`;
      });
      make("path", { d: `${line}H${to}`, class: name }, svg);
      const color = name === "debt" ? "var(--owed)" : "var(--ink)";
      const middle = base - tall + 8 + 19 * i;
      make("circle", { cx: 14, cy: middle - 4, r: 4, fill: color }, svg);
      const label = make("text", { x: 24, y: middle, class: "now" }, svg);
      const dot = make("circle", { r: 4.5, class: "dot", fill: color }, svg);
      return { field, level, label, dot };
    });
    make("line", { x1: from, x2: to, y1: base, y2: base, class: "axis" }, svg);
    parts.error = make("text", { x: 24, y: base - tall + 8 + 19 * fields.length }, svg);
    const plot = make("rect", {
      x: from - 8, y: top - 4, width: to - from + 16, height: foot - top + 4, class: "plot",
    }, svg);
    parts.across = make("line", { x1: parts.left ?? 30, y1: top, y2: top, class: "line" }, svg);
    const handle = make("g", {
      class: "handle", tabindex: 0, role: "slider", "aria-label": "threshold",
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-orientation": "horizontal",
    }, svg);
    make("rect", { x: -18, y: top - 20, width: 36, height: foot - top + 20, class: "grip" }, handle);
    make("line", { x1: 0, x2: 0, y1: top - 4, y2: base, class: "line" }, handle);
    make("circle", { cx: 0, cy: top - 5, r: 6, class: "knob" }, handle);
    parts.tag = make("text", { y: top - 2, class: "now" }, svg);
    Object.assign(parts, { handle, hitEnd: end });
    for (const node of [plot, handle]) {
      node.addEventListener("pointerdown", grasp);
      node.addEventListener("pointermove", drag);
      node.addEventListener("lostpointercapture", () => tell());
    }
    handle.addEventListener("keyup", () => tell());
    return foot;
  }

  // Beside each bar, what overriding the boundary's decision would do to the whole request.
  function instead(high) {
    if (high < 10) return;
    table.shards.forEach((shard, i) => {
      const other = table.instead?.[i], at = parts.rows[i];
      if (!other || other.seconds === null) return;
      const word = table.outcomes[0].kinds[i] === "e" ? "approximate" : "exact";
      make("text", { x: parts.axis.x(table.costs[i]) + 8, y: at.y + at.h / 2 + 4 }, at.g,
        `${word} instead: ${duration(other.seconds)} in all, ${other.owed} owed`);
    });
  }

  // Following the threshold -----------------------------------------------------------------

  function move(value) {
    share = value;
    if (table) mark();
  }

  function mark() {
    if (!table) return;
    const now = byHand() ? find(share) : 0, one = table.outcomes[now], at = percent(share);
    if (now !== index) {
      index = now;
      let split = parts.top;
      [...one.kinds].forEach((kind, i) => {
        const { g, y, h, shard } = parts.rows[i], own = chosen[shard];
        g.setAttribute("class", `row ${kind}${own ? " hand" : ""}${shard === picked ? " chosen" : ""}`);
        if (kind === "e" && !own && !data.shards[shard].forced) split = y + h;
      });
      if (parts.across) for (const end of ["y1", "y2"]) parts.across.setAttribute(end, split);
      better(one);
      aside();
    }
    if (parts.handle) {
      const x = parts.axis.x(share), beyond = x > parts.width - 60;
      parts.handle.setAttribute("transform", `translate(${x} 0)`);
      parts.across.setAttribute("x2", x);
      parts.tag.setAttribute("x", beyond ? x - 10 : x + 10);
      parts.tag.setAttribute("text-anchor", beyond ? "end" : "start");
      parts.tag.textContent = at;
      for (const { field, level, label, dot } of parts.curves) {
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", level(one[field]));
        label.textContent = field === "owed" ? `${one.owed.toLocaleString("en")} owed`
          : `${duration(one.seconds)} predicted`;
      }
      parts.error.textContent = one.error === null ? "" : `error up to ${one.error.toPrecision(2)}`;
      parts.handle.setAttribute("aria-valuenow", Math.round(1e4 * share) / 100);
      parts.handle.setAttribute("aria-valuetext", `${at}: ${one.summary}`);
    }
    const field = $(".exactly input");
    if (root.activeElement !== field) field.value = shown(share);
    sentence.textContent = one.sentence.replace("{at}", at);
    code.textContent = table.code.replace("{at}", String(share));
    $(".unlearn").textContent = byHand() ? `Unlearn at ${at}` : "Unlearn as decided";
  }

  // The text keeps the height of its longest version, so that nothing below it jumps.
  function hold() {
    sentence.style.minHeight = "";
    if (!table || !host.clientWidth) return;
    const long = table.outcomes.reduce((a, b) => a.sentence.length > b.sentence.length ? a : b);
    const now = sentence.textContent;
    sentence.textContent = long.sentence.replace("{at}", "10.5%");
    sentence.style.minHeight = `${sentence.offsetHeight}px`;
    sentence.textContent = now;
  }

  // Offer to retrain everything where that is predicted to cost less than the present choice.
  function better(one) {
    const hand = data.tables[`${unit}${whole ? " whole" : ""}`] ?? data.tables.visits;
    const all = hand?.outcomes.at(-1), button = $(".better");
    const wins = all && all.seconds !== null && !all.owed && one.kinds.includes("a")
      && all.seconds < one.seconds;
    button.toggleAttribute("hidden", !wins);
    if (wins) button.textContent = `All exact: ${duration(all.seconds)}`;
  }

  // Input -----------------------------------------------------------------------------------

  const shareAt = (event) => {
    const box = svg.getBoundingClientRect();
    return parts.axis.share(((event.clientX - box.left) * parts.width) / box.width);
  };
  function grasp(event) {
    if (event.button) return;
    const { handle } = parts;
    if (event.pointerType === "mouse") event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    if (event.currentTarget !== handle) move(shareAt(event));
  }
  function drag(event) {
    if (parts.handle.hasPointerCapture(event.pointerId)) move(shareAt(event));
  }
  // JupyterLab takes keys at the document, before they get to a control: the window is earlier.
  // What is pressed together with Ctrl or Alt, such as for saving, is left to JupyterLab.
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && event.key === "Enter") return;
    if (root.activeElement !== parts.handle) return event.stopPropagation();
    const { fine, decimals } = parts.axis, small = (event.shiftKey ? 1 : 5) * fine;
    const starts = table.outcomes.map((one) => one.start);
    const step = (by) => Number(Math.min(1, Math.max(0, share + by)).toFixed(decimals));
    const next = {
      ArrowRight: () => step(small), ArrowUp: () => step(small),
      ArrowLeft: () => step(-small), ArrowDown: () => step(-small),
      PageUp: () => readable(starts.find((s) => s > share + TOLERANCE) ?? 1),
      PageDown: () => readable(starts[Math.max(0, find(share) - 1)]),
      Home: () => 0, End: () => 1,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    move(next());
  }
  const hark = () => window.addEventListener("keydown", press, true);
  const deaf = () => { window.removeEventListener("keydown", press, true); if (table) tell(); };
  root.addEventListener("focusin", hark);
  root.addEventListener("focusout", deaf);

  // One message a gesture, not one a move: while the kernel is busy, messages queue.
  function tell() {
    if (frozen || model.get("threshold") === share) return;
    model.set("threshold", share);
    model.save_changes();
  }
  function set(name, value) {
    if (!frozen && model.get(name) !== value) {
      model.set(name, value);
      model.save_changes();
    }
    if (frozen) show();
  }

  // Overrides -------------------------------------------------------------------------------

  function pick(shard, open) {
    picked = shard;
    if (open && !frozen) strip(true);
    index = undefined;
    mark();
  }
  function strip(open) {
    $(".override").toggleAttribute("hidden", !open);
    $(".strip").setAttribute("aria-expanded", String(open));
    if (open && picked === null) pick(table.shards[0], false);
  }
  function aside() {
    const i = table.shards.indexOf(picked);
    if (i < 0) return;
    const own = chosen[picked] ?? "", one = data.shards[picked], kind = table.outcomes[index].kinds[i];
    $(".shard").value = String(picked);
    for (const radio of radios) {
      radio.checked = radio.value === own;
      radio.disabled = kind === "l" || (radio.value === "approximate" && Boolean(one.forced));
    }
    $(".about").textContent = `Now ${ROUTES[kind]}. ${facts(i)}`;
  }

  // The kernel ------------------------------------------------------------------------------

  // A front end with a kernel shows it here; others cannot tell, and wait.
  const dead = () => {
    const manager = model.widget_manager;
    if (!manager || !("kernel" in manager)) return false;
    const { kernel } = manager;
    return !kernel || kernel.isDisposed || ["dead", "terminating"].includes(kernel.status);
  };
  function send(action) {
    if (dead()) return say("The kernel is not running. Start it and run this cell again.", true);
    sent += 1;
    const number = Date.now() * 100 + (sent % 100);
    model.set("threshold", share);
    model.set("asked", { action, number, threshold: share, unit, whole, mode });
    try { model.save_changes(); } catch (error) {
      return say("The kernel cannot be reached. Start it and run this cell again.", true);
    }
    say("");
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (model.get("state").answered === number) return;
      say(dead() ? "The kernel is not running. Start it and run this cell again."
        : "Waiting for the kernel, which is busy. If it was restarted, run this cell again.");
    }, 700);
  }
  function say(text, error = false) {
    said.textContent = text;
    said.classList.toggle("error", error);
  }
  function listen() {
    const state = model.get("state");
    const { running = false, busy = false, share: done = 0, text = "", error = false } = state;
    clearTimeout(waiting);
    $(".running").toggleAttribute("hidden", !running);
    $("progress").value = done;
    $(".doing").textContent = running ? text : "";
    for (const name of [".unlearn", ".better"]) $(name).disabled = running || busy;
    say(running ? "" : text, error);
  }

  // State -----------------------------------------------------------------------------------

  function show() {
    data = model.get("data");
    share ??= model.get("threshold");
    [mode, unit, whole] = frozen && mode !== undefined ? [mode, unit, whole]
      : ["mode", "unit", "whole"].map((name) => model.get(name));
    chosen = model.get("chosen");
    const hit = Object.keys(data.tables).length > 0, hand = hit && byHand();
    table = null;
    if (hit) choose();
    if (hit && !table.shards.includes(picked)) picked = null;
    $(".mode").toggleAttribute("hidden", !hit || !data.tables.decided || !model.get("switch"));
    $(".mode select").value = byHand() ? "hand" : "decided";
    $(".mode option:last-child").textContent = model.get("switch")
      ? data.tables.decided?.name ?? "" : "";
    for (const name of [".exactly", ".unit", ".whole"]) $(name).toggleAttribute("hidden", !hand);
    $(".unit select").value = unit;
    $(".unit option:last-child").disabled = !data.tables.seconds;
    $(".whole input").checked = whole;
    for (const name of [".unlearn", ".strip"]) $(name).toggleAttribute("hidden", frozen || !hit);
    $(".clear").toggleAttribute("hidden", !Object.keys(chosen).length);
    code.toggleAttribute("hidden", !hit);
    if (!hit) for (const name of [".override", ".better"]) $(name).toggleAttribute("hidden", true);
    const options = hit ? table.shards.map((shard) => new Option(shard, shard)) : [];
    $(".shard").replaceChildren(...options);
    sentence.textContent = hit ? "" : data.nothing;
    legend(hit);
    draw();
    hold();
  }
  function legend(hit) {
    const held = (letter) => data.shards.some((one) => one.status.includes(letter));
    const entries = [
      ...(hit ? [["exact", "var(--exact)"], ["approximate", "var(--approximate)"]] : []),
      ...(held("o") ? [["owed from before", "var(--owed)"]] : []),
    ];
    $(".legend").replaceChildren(...entries.map(([word, color]) => {
      const entry = document.createElement("span");
      entry.textContent = word;
      entry.style.setProperty("--mark-color", color);
      return entry;
    }));
    $(".bar-line").toggleAttribute("hidden", !hit && !entries.length);
  }
  const moved = () => { if (model.get("threshold") !== share) move(model.get("threshold")); };

  $(".unlearn").addEventListener("click", () => send("unlearn"));
  $(".cancel").addEventListener("click", () => send("cancel"));
  $(".better").addEventListener("click", () => {
    move(1);
    if (frozen) mode = "hand";
    else if (model.get("mode") !== "hand") model.set("mode", "hand");
    tell();
    set("mode", "hand");
  });
  $(".mode select").addEventListener("change", ({ target }) => {
    if (frozen) mode = target.value;
    set("mode", target.value);
  });
  $(".unit select").addEventListener("change", ({ target }) => {
    if (frozen) unit = target.value;
    set("unit", target.value);
  });
  $(".whole input").addEventListener("change", ({ target }) => {
    if (frozen) whole = target.checked;
    set("whole", target.checked);
  });
  $(".strip").addEventListener("click", () => strip($(".override").hasAttribute("hidden")));
  $(".shard").addEventListener("change", ({ target }) => pick(Number(target.value), false));
  for (const radio of radios) radio.name = `route-${Math.random()}`;
  for (const radio of radios) {
    radio.name = radios[0].name;
    radio.addEventListener("change", () => {
      const { [picked]: before, ...others } = chosen;
      set("chosen", radio.value ? { ...others, [picked]: radio.value } : others);
    });
  }
  $(".clear").addEventListener("click", () => set("chosen", {}));
  $(".exactly input").addEventListener("change", ({ target }) => {
    const typed = target.value === "" ? NaN : Number(target.value) / 100;
    if (Number.isFinite(typed)) move(Math.min(1, Math.max(0, Number(typed.toPrecision(12)))));
    target.value = shown(share);
    tell();
  });

  // Pictures of this instrument, which stand for it without a kernel, are hidden while it lives.
  const hide = () => {
    for (const id of frozen ? [] : model.get("copies")) {
      if (document.getElementById(`uk-hides-${id}`)) continue;
      const style = document.head.appendChild(document.createElement("style"));
      style.id = `uk-hides-${id}`;
      style.textContent = `[data-uk-copy="${id}"] { display: none !important; }`;
    }
  };
  const events = {
    "change:copies": hide,
    "change:data": show, "change:mode": show, "change:unit": show, "change:whole": show,
    "change:chosen": show, "change:state": listen, "change:threshold": moved,
  };
  for (const name in events) model.on(name, events[name]);
  show();
  listen();
  hide();
  let wide = host.clientWidth;
  // Width 0 means that the page took the view out of sight: there is nothing to draw then.
  const watch = new ResizeObserver(() => {
    if (!host.clientWidth || Math.abs(host.clientWidth - wide) < 2) return;
    wide = host.clientWidth;
    draw();
    hold();
  });
  watch.observe(host);
  return () => {
    window.removeEventListener("keydown", press, true);
    clearTimeout(waiting);
    watch.disconnect();
    for (const name in events) model.off(name, events[name]);
  };
}
export default { render };
