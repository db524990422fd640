// One panel: a layer's curves as a Vega-Lite specification.

function darker(colour) {
  const channels = [1, 3, 5].map((start) => Math.round(0.6 * parseInt(colour.slice(start, start + 2), 16)));
  return `rgb(${channels.join(",")})`;
}

// The layer's curves: arms with their statistics over seeds, each seed's own curve, and the paper's.
function panelOf(scale, choice, layer) {
  const curves = choice.arms.map((arm) => {
    const runs = scale.series
      .map((series, number) => ({ ...series, number }))
      .filter((series) => series.arm === arm.name && series.rate === choice.rate)
      .map((series) => ({ ...series, values: curveOf(scale, choice.metric, series.number, layer) }));
    const paper = !choice.paper ? undefined : scale.paper.find((curve) =>
      curve.metric === choice.metric && curve.arm === arm.name && curve.rate === choice.rate &&
      curve.layer === scale.layers[layer].index);
    return { ...arm, runs, summary: overSeeds(runs.map((run) => run.values), scale.steps.length), paper };
  });
  return { layer: scale.layers[layer], curves };
}

function shown(value, log) {
  return Number.isFinite(value) && (!log || value > 0) ? value : null;
}

// From the smallest to the largest value in any panel, so that panels can be compared.
function domainOf(panels, choice) {
  if (!METRICS[choice.metric].log) return [-1, 1];
  let [least, most] = [Infinity, 0];
  const take = (value) => {
    if (shown(value, true) !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
  };
  for (const { curves } of panels) {
    for (const { runs, summary, paper } of curves) {
      if (choice.seeds) runs.forEach((run) => run.values.forEach(take));
      else summary.forEach(({ median, low, high }) => [median, low, high].forEach(take));
      if (paper) paper.values.forEach(take);
    }
  }
  return most > 0 ? [least / 1.2, most * 1.2] : [0.1, 1];
}

// The ticks of a logarithmic axis: powers of ten, at most six; without two of them, what Vega chooses.
function powersOfTen([least, most]) {
  const first = Math.ceil(Math.log10(least)), last = Math.floor(Math.log10(most));
  const every = Math.ceil((last - first + 1) / 6);
  const values = [];
  for (let power = first; power <= last; power += every) values.push(Number(`1e${power}`));
  return values.length > 1 ? { values } : { tickCount: 4 };
}

function specification(scale, choice, panel, domain, at) {
  const { log, label } = METRICS[choice.metric];
  const bands = [], lines = [], ends = [], papers = [];
  for (const { colour, runs, summary, paper } of panel.curves) {
    scale.steps.forEach((step, i) => {
      const { median, low, high } = summary[i];
      if (choice.seeds) {
        runs.forEach((run) => lines.push({ step, value: shown(run.values[i], log), colour, of: colour + run.seed }));
        return;
      }
      lines.push({ step, value: shown(median, log), colour, of: colour });
      const bottom = shown(low, log) === null && high > 0 ? domain[0] : shown(low, log);
      bands.push({ step, value: bottom, high: shown(high, log), colour });
    });
    for (const run of runs.filter((series) => series.diverged)) {
      const last = run.values.findLastIndex((value) => shown(value, log) !== null);
      if (last >= 0) ends.push({ step: scale.steps[last], value: run.values[last], colour });
    }
    if (paper) {
      paper.steps.forEach((step, i) =>
        papers.push({ step, value: shown(paper.values[i], log), colour: darker(colour), of: colour }));
    }
  }
  const x = {
    field: "step", type: "quantitative", title: "training step",
    scale: { domain: [0, Math.max(1, scale.steps.at(-1))], nice: false },
    axis: { tickCount: 4, format: ",d" },
  };
  const y = {
    field: "value", type: "quantitative", title: label,
    scale: { type: log ? "log" : "linear", domain, nice: false, clamp: log },
    axis: log
      ? { ...powersOfTen(domain), labelExpr:
          "datum.value >= 1e4 || datum.value < 1e-3 ? format(datum.value, '.0e') : format(datum.value, '~g')" }
      : { values: [-1, -0.5, 0, 0.5, 1] },
  };
  const color = { field: "colour", type: "nominal", scale: null };
  const detail = { field: "of" };
  const line = { type: "line", strokeJoin: "round", clip: true };
  return {
    width: "container", height: 220, padding: 4, background: null,
    autosize: { type: "fit-x", contains: "padding" },
    params: [{ name: "at", value: at }],
    layer: [
      { data: { values: bands }, mark: { type: "area", opacity: 0.2, clip: true },
        encoding: { x, y, y2: { field: "high" }, color } },
      { data: { values: papers }, mark: { ...line, strokeWidth: 1.1, strokeDash: [5, 2.5] },
        encoding: { x, y, color, detail } },
      { data: { values: lines }, mark: { ...line, strokeWidth: choice.seeds ? 1 : 1.6 },
        encoding: { x, y, color, detail } },
      { data: { values: ends }, mark: { type: "point", shape: "cross", angle: 45, filled: true, size: 70 },
        encoding: { x, y, color } },
      { data: { values: [{}] }, mark: { type: "rule", color: "#555", strokeWidth: 0.8 },
        encoding: { x: { datum: { expr: "at" }, type: "quantitative" } } },
    ],
    config: {
      font: "system-ui, sans-serif", view: { stroke: null },
      axis: {
        labelColor: "#333", titleColor: "#333", titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 11,
        gridColor: "#e6e4de", domainColor: "#888", tickColor: "#888", titlePadding: 6,
      },
    },
  };
}
