// The explorer's controls, native ones, and what they draw.
const MOST_PANELS = 6;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch", ariaHidden: "true" });
  made.style.background = colour;
  return made;
}

function rateText(rate) {
  return rate < 1e-3 ? rate.toExponential() : String(rate);
}

class Explorer {
  constructor(form, data) {
    this.form = form;
    this.data = data;
    this.views = [];
    this.at = 0;
    this.drawing = Promise.resolve();
    this.part("scale").append(...data.scales.map((scale, i) => element("option", { value: i }, scale.title)));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => this.changed(event.target));
    this.part("step").addEventListener("input", (event) => this.changed(event.target));
  }

  part(name) {
    return this.form.querySelector(`[data-part="${name}"]`);
  }

  get scale() {
    return this.data.scales[Number(this.part("scale").value)];
  }

  get choice() {
    const checked = (name) => [...this.part(name).querySelectorAll("input:checked")].map((input) => input.value);
    return {
      rate: Number(this.part("rate").value),
      metric: this.part("metric").value,
      arms: checked("arms").map((name) => ({ name, ...this.data.arms[name] })),
      layers: checked("layers").map(Number),
      seeds: this.part("seeds").value === "each",
      paper: this.part("paper").checked,
    };
  }

  // Draws one selection after the other, never two at a time.
  changed(control) {
    if (control === this.part("step")) {
      this.moveTo(this.scale.steps[Number(control.value)]);
      return this.drawing;
    }
    if (control === this.part("scale")) this.offerScale();
    if (control === this.part("scale") || control === this.part("rate")) this.offerArms();
    this.drawing = this.drawing.then(() => this.draw()).catch((problem) => this.fail(problem));
    return this.drawing;
  }

  offerScale() {
    const { scale } = this;
    const before = this.part("metric").value;
    const rates = [...new Set(scale.series.map((series) => series.rate))];
    this.part("rate").replaceChildren(...rates.map((rate) =>
      element("option", { value: rate }, rateText(rate))));
    const metrics = Object.entries(METRICS).filter(([name, metric]) =>
      (metric.of ?? [name]).every((column) => column in scale.columns));
    this.part("metric").replaceChildren(...metrics.map(([name, { label, meaning }]) =>
      element("option", { value: name }, meaning === "2018" ? label : `${label} (${meaning} meaning)`)));
    if (metrics.some(([name]) => name === before)) this.part("metric").value = before;
    this.part("layers").replaceChildren(...scale.layers.map(({ index, name }, i) =>
      element("label", { title: name }, element("input",
        { type: "checkbox", value: i, checked: scale.first.includes(index) }), `#${index}`)));
    const step = this.part("step");
    step.max = scale.steps.length - 1;
    step.value = 0;
    this.at = scale.steps[0];
  }

  offerArms() {
    const { scale } = this;
    const rate = Number(this.part("rate").value);
    const before = [...this.part("arms").querySelectorAll("input")];
    const off = new Set(before.filter((input) => !input.checked).map((input) => input.value));
    const names = Object.keys(this.data.arms).filter((name) =>
      scale.series.some((series) => series.arm === name && series.rate === rate));
    this.part("arms").replaceChildren(...names.map((name) => {
      const { label, colour } = this.data.arms[name];
      const seeds = scale.series.filter((series) => series.arm === name && series.rate === rate).length;
      return element("label", {}, element("input", { type: "checkbox", value: name, checked: !off.has(name) }),
        swatch(colour), `${label} (${seeds} seed${seeds === 1 ? "" : "s"})`);
    }));
  }

  async draw() {
    const { scale, choice } = this;
    await valuesOf(scale);
    for (const view of this.views) view.finalize();
    this.views = [];
    const full = choice.layers.length >= MOST_PANELS;
    for (const input of this.part("layers").querySelectorAll("input")) input.disabled = full && !input.checked;
    this.panels = choice.arms.length ? choice.layers.map((layer) => panelOf(scale, choice, layer)) : [];
    const domain = domainOf(this.panels, choice);
    this.boxes = this.panels.map((panel) => {
      const papers = panel.curves.find((curve) => curve.paper)?.paper.papers_layer;
      const other = papers !== undefined && papers !== panel.layer.index ? ` (paper: #${papers})` : "";
      return element("figure", { className: "panel" },
        element("figcaption", {}, `Layer #${panel.layer.index}, ${panel.layer.name}${other}`),
        element("div", { className: "chart", role: "img", ariaLabel: this.summary(scale, choice, panel.layer) }),
        element("table", { className: "values" }));
    });
    this.part("panels").replaceChildren(...this.boxes);
    this.part("empty").hidden = this.panels.length > 0;
    for (const [i, panel] of this.panels.entries()) await this.drawPanel(panel, this.boxes[i], domain);
    this.part("shown").textContent = this.summary(scale, choice);
    this.part("says").textContent = METRICS[choice.metric].says;
    this.moveTo(this.at);
  }

  async drawPanel(panel, box, domain) {
    const { scale, choice } = this;
    const chart = box.querySelector(".chart");
    const made = await vegaEmbed(chart, specification(scale, choice, panel, domain, this.at),
      { mode: "vega-lite", renderer: "svg", actions: false, tooltip: false });
    this.views.push(made);
    chart.addEventListener("pointermove", (event) => {
      const { view } = made;
      const left = chart.querySelector("svg").getBoundingClientRect().left;
      const step = view.scale("x").invert(event.clientX - left - view.origin()[0] - view.padding().left);
      const distances = scale.steps.map((other) => Math.abs(other - step));
      const nearest = distances.indexOf(Math.min(...distances));
      this.part("step").value = nearest;
      this.moveTo(scale.steps[nearest]);
    });
  }

  // Shows the values at a step, below each panel.
  moveTo(step) {
    this.at = step;
    const { scale } = this;
    const i = scale.steps.indexOf(step);
    const text = `step ${step.toLocaleString("en-US")}`;
    this.part("at").textContent = text;
    this.part("step").setAttribute("aria-valuetext", text);
    for (const [number, panel] of this.panels.entries()) {
      this.views[number].view.signal("at", step).runAsync();
      const rows = panel.curves.map(({ label, colour, runs, summary, paper }) => {
        const { n, median, low, high } = summary[i];
        const cells = [n ? written(median) : "–", n > 1 ? `${written(low)} to ${written(high)}` : ""];
        if (this.choice.seeds) cells[1] = runs.map((run) => written(run.values[i])).join(", ");
        return element("tr", {}, element("th", { scope: "row" }, swatch(colour), label),
          ...cells.map((cell) => element("td", {}, cell)), element("td", {}, this.ofPaper(paper, step)));
      });
      const second = this.choice.seeds ? "each seed" : "range";
      const head = ["", "median", second, "paper"].map((name) => element("th", { scope: "col" }, name));
      head[0].textContent = text;
      this.boxes[number].querySelector("table").replaceChildren(
        element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    }
  }

  ofPaper(paper, step) {
    const found = paper ? paper.steps.indexOf(step) : -1;
    return found < 0 ? "–" : written(paper.values[found]);
  }

  // The selection in words: below the charts, for print and for screen readers.
  summary(scale, choice, layer) {
    const which = layer ? `, layer #${layer.index}` : "";
    const arms = choice.arms.map((arm) => arm.label).join(", ");
    const seeds = choice.seeds ? "each seed" : "median and range of the seeds";
    const paper = choice.paper && this.panels?.some((panel) => panel.curves.some((curve) => curve.paper))
      ? "; dashed: the paper’s digitised curve, one run" : "";
    return `${METRICS[choice.metric].label}${which}: ${scale.title} (data: ${scale.data}), learning rate ` +
      `${rateText(choice.rate)}; ${arms}; ${seeds}, every ${scale.every} steps${paper}.`;
  }

  fail(problem) {
    this.part("empty").hidden = false;
    this.part("empty").textContent = `The chart cannot be drawn: ${problem.message}`;
    throw problem;
  }
}

async function startExplorer() {
  const form = document.getElementById("explorer-form");
  if (!form) return;
  if (!("DecompressionStream" in window)) {
    document.getElementById("explorer-note").textContent =
      "The explorer needs a browser of 2023 or later. The numbers are in the CSV files.";
    return;
  }
  const runtime = await unpacked(document.getElementById("runtime").textContent);
  document.head.append(element("script", { text: new TextDecoder().decode(runtime) }));
  const explorer = new Explorer(form, JSON.parse(document.getElementById("explorer-data").textContent));
  form.hidden = false;
  document.getElementById("explorer-note").hidden = true;
  await explorer.changed(explorer.part("scale"));
  document.documentElement.dataset.explorer = "ready";
}
