// Figures grow to their full size when pressed; a printed page shows what is folded away.
for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.closest("figure").classList.toggle("large"));
  });
}
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
window.addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

// The explorer: native controls, and one Vega-Lite chart with a panel for each layer.
const MOST_PANELS = 6, HEIGHT = 200, MARGIN = 85;
const form = document.getElementById("explorer-form");
const part = (name) => form.querySelector(`[data-part="${name}"]`);
const checked = (name) => [...part(name).querySelectorAll("input:checked")].map((input) => input.value);
const rateText = (rate) => (rate < 1e-3 ? rate.toExponential() : String(rate));
const written = (value) => (value === null ? "–" : value.toPrecision(3)).replace(/-/g, "−");
const rangeText = (curve, i) => (curve.n > 1 ? `${written(curve.low[i])} to ${written(curve.high[i])}` : "");
const LOOK = {
  background: null, padding: 4, config: {
    font: "system-ui, sans-serif", view: { stroke: null }, axis: { gridColor: "#e6e4de", titleFontWeight: "normal" },
  },
};
const EMBEDDED = {
  mode: "vega-lite", renderer: "svg", actions: false,
  logLevel: 1,  // errors; a layer without rows, such as that of diverged runs, is worth a warning to Vega
};
let data, view, drawing = Promise.resolve();

function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch", ariaHidden: "true" });
  made.style.background = colour;
  return made;
}

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function offer(name, entries) {
  const before = part(name).value;
  part(name).replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => String(value) === before)) part(name).value = before;
}

function offerChoices(name, entries) {
  part(name).replaceChildren(...entries.map(([value, text, on, mark]) =>
    element("label", {}, element("input", { type: "checkbox", value, checked: on }), mark ?? "", text)));
}

const scaleOf = () => data.scales[Number(part("scale").value)];

function offerScale() {
  const { curves, layers, first, steps } = scaleOf();
  const ours = curves.filter((curve) => curve.n);
  const used = (key, value) => ours.some((curve) => curve[key] === value);
  const papers = new Set(curves.filter((curve) => !curve.n).map((curve) => curve.rate));
  const rates = [...new Set(ours.map((curve) => curve.rate))]
    .sort((a, b) => papers.has(b) - papers.has(a) || b - a);
  offer("metric", Object.entries(data.metrics).filter(([name]) => used("metric", name))
    .map(([name, { label }]) => [name, label]));
  offer("rate", rates.map((rate) => [rate, rateText(rate)]));
  offerChoices("arms", Object.entries(data.arms).filter(([name]) => used("arm", name))
    .map(([name, { label, colour }]) => [name, label, true, swatch(colour)]));
  offerChoices("layers", layers.map(({ index }) => [index, `#${index}`, first.includes(index)]));
  Object.assign(part("step"), { max: steps.length - 1, value: 0 });
}

function chosenCurves() {
  const { curves } = scaleOf(), arms = checked("arms"), layers = checked("layers").map(Number);
  return curves.filter((curve) => curve.metric === part("metric").value && curve.rate === Number(part("rate").value) &&
    arms.includes(curve.arm) && layers.includes(curve.layer) && (curve.n || part("paper").checked))
    .sort((a, b) => a.layer - b.layer || arms.indexOf(a.arm) - arms.indexOf(b.arm));
}

// One row for every point: of our curves (with their band), of the paper's, and where a run diverged.
function rowsOf(curves, log) {
  const { steps, layers } = scaleOf();
  const shown = (value) => (value === null || (log && value <= 0) ? null : value);
  const positive = curves.flatMap((curve) => curve.median).filter((value) => shown(value) !== null);
  const bottom = log ? Math.min(...positive) / 2 : -1;
  return curves.flatMap((curve) => {
    const { label, colour, paper } = data.arms[curve.arm];
    const panel = `Layer #${curve.layer}, ${layers.find(({ index }) => index === curve.layer).name}`;
    const kind = curve.n ? "ours" : "paper", who = curve.n ? label : `${label}, paper’s #${curve.papers_layer}`;
    const common = { panel, layer: curve.layer, kind, who, colour: curve.n ? colour : `rgb(${paper})` };
    return [
      ...(curve.steps ?? steps).map((step, i) => ({
        ...common, step, median: shown(curve.median[i]), range: rangeText(curve, i),
        low: shown(curve.low?.[i] ?? null) ?? bottom, high: shown(curve.high?.[i] ?? null),
      })),
      ...(curve.lost ?? []).map(([step, value]) => ({ ...common, kind: "diverged", step, median: shown(value) })),
    ];
  });
}

function specification(curves) {
  const { cosine, ...others } = data.metrics, metric = others[part("metric").value] ?? cosine, log = metric !== cosine;
  const columns = Math.min(new Set(curves.map((curve) => curve.layer)).size, part("panels").clientWidth > 620 ? 2 : 1);
  const x = {
    field: "step", type: "quantitative", title: "training step",
    scale: { nice: false }, axis: { tickCount: 4, format: ",d" },
  };
  const y = {
    field: "median", type: "quantitative", title: metric.label,
    scale: log ? { type: "log", nice: false, clamp: true } : { domain: [-1, 1] },
    axis: log ? { tickCount: 4, format: "~g" } : { values: [-1, -0.5, 0, 0.5, 1] },
  };
  const color = { field: "colour", type: "nominal", scale: null }, detail = { field: "who" };
  const tooltip = [["who", "network"], ["step", "step"], ["median", "median"], ["range", "range of the seeds"]]
    .map(([field, title]) => ({ field, title, ...(field === "median" ? { format: ".3~g" } : {}) }));
  const layer = (kind, mark, encoding = {}) => ({
    transform: [{ filter: `datum.kind === "${kind}"` }],
    mark: { clip: true, ...mark }, encoding: { x, y, color, ...encoding },
  });
  return {
    ...LOOK, data: { values: rowsOf(curves, log) }, params: [{ name: "at", value: 0 }], columns,
    facet: { field: "panel", title: null, sort: { field: "layer", op: "min" }, header: { labelFontSize: 12, labelFontWeight: 600 } },
    spec: {
      width: Math.max(160, part("panels").clientWidth / columns - MARGIN), height: HEIGHT,
      layer: [
        layer("ours", { type: "area", opacity: 0.2 }, { y: { ...y, field: "low" }, y2: { field: "high" } }),
        layer("paper", { type: "line", strokeWidth: 1.1, strokeDash: [5, 2.5] }, { detail }),
        layer("ours", { type: "line", strokeWidth: 1.6 }, { detail }),
        layer("diverged", { type: "point", shape: "cross", angle: 45, filled: true, size: 70 }),
        { mark: { type: "rule", color: "#555", strokeWidth: 0.8 },
          encoding: { x: { datum: { expr: "at" }, type: "quantitative" } } },
        layer("ours", { type: "point", opacity: 0, size: 90 }, { tooltip }),  // last, so that nothing lies over it
      ],
    },
  };
}

async function draw() {
  const curves = chosenCurves(), full = checked("layers").length >= MOST_PANELS;
  for (const input of part("layers").querySelectorAll("input")) input.disabled = full && !input.checked;
  view?.finalize();
  view = undefined;
  part("panels").replaceChildren();
  part("empty").hidden = curves.length > 0;
  if (curves.length) {
    view = await vegaEmbed(part("panels"), specification(curves), EMBEDDED);
  }
  const metric = data.metrics[part("metric").value], arms = checked("arms").map((name) => data.arms[name].label);
  part("says").textContent = metric.says;
  part("shown").textContent = `${metric.label}: ${scaleOf().title} (data: ${scaleOf().data}), learning rate ` +
    `${part("rate").selectedOptions[0].text}; ${arms.join(", ")}; median and range of the seeds` +
    (curves.some((curve) => !curve.n) ? "; dashed: the paper’s digitised curve, one run." : ".");
  showValues();
}

// The values at the slider's step, below the chart.
function showValues() {
  const i = Number(part("step").value), step = scaleOf().steps[i], curves = chosenCurves();
  const text = `step ${step.toLocaleString("en-US")}`;
  part("at").textContent = text;
  part("step").setAttribute("aria-valuetext", text);
  view?.view.signal("at", step).runAsync();
  part("values").replaceChildren(...curves.filter((curve) => curve.n).map((curve) => {
    const { label, colour } = data.arms[curve.arm];
    const theirs = curves.find((other) => !other.n && other.arm === curve.arm && other.layer === curve.layer);
    const papers = theirs?.median[theirs.steps.indexOf(step)] ?? null;
    return element("tr", {}, element("th", { scope: "row" }, swatch(colour), `#${curve.layer} ${label}`),
      ...[written(curve.median[i]), rangeText(curve, i), curve.n, written(papers)].map((cell) => element("td", {}, cell)));
  }));
}

// Draws one selection after the other, never two at a time.
function changed(control) {
  if (control === part("step")) return showValues();
  if (control === part("scale")) offerScale();
  drawing = drawing.then(draw).catch((problem) => {
    Object.assign(part("empty"), { hidden: false, textContent: `The chart cannot be drawn: ${problem.message}` });
    throw problem;
  });
  return drawing;
}

async function startExplorer() {
  data = JSON.parse(await unpacked("explorer-data"));
  form.hidden = false;
  offer("scale", data.scales.map(({ title }, i) => [i, title]));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => changed(event.target));
  part("step").addEventListener("input", showValues);
  window.addEventListener("resize", () => changed(form));
  await changed(part("scale"));
}

// The maps: finished specifications, one drawn at a time.
async function startMaps(form) {
  const maps = JSON.parse(await unpacked("maps-data")), select = form.querySelector("select");
  const show = async () => {
    const { says, chart } = maps[select.selectedIndex];
    form.querySelector(".says").textContent = says;
    await vegaEmbed(form.querySelector(".panels"), { ...chart, ...LOOK }, EMBEDDED);
  };
  select.append(...maps.map(({ title }) => new Option(title)));
  select.addEventListener("change", show);
  form.hidden = false;
  await show();
}

// What needs the charting library: each with a note that stands there until it works.
async function start() {
  const parts = [["explorer", startExplorer], ["maps", startMaps]]
    .map(([name, begin]) => [name, begin, document.getElementById(`${name}-form`)]).filter(([, , form]) => form);
  if (!parts.length) return;
  const notes = parts.map(([name]) => document.getElementById(`${name}-note`));
  if (!("DecompressionStream" in window)) {
    for (const note of notes) {
      note.textContent = "This needs a browser of 2023 or later. The numbers are in the CSV files.";
    }
    return;
  }
  document.head.append(element("script", { text: await unpacked("runtime") }));
  for (const [, begin, form] of parts) await begin(form);
  for (const note of notes) note.hidden = true;
  document.documentElement.dataset.explorer = "ready";
}
start();
