// Unpacks what ics/report/packing.py packed; the constants are the same as there.
const MISSING = 0, ZERO = 1, FIRST = 2, PER_DECADE = 500, SMALLEST = -60, PER_UNIT = 2000, LEAST = -1;

// What can be shown; `of` computes one that is not stored from two that are.
const METRICS = {
  l2: {
    label: "‖G − G′‖₂", log: true, meaning: "2018",
    says: "How far a layer’s gradient moves when the layers before it are updated. No shift: 0.",
  },
  cosine: {
    label: "cos∠(G, G′)", log: false, meaning: "2018",
    says: "The direction of a layer’s gradient before and after that update. No shift: 1; opposite: −1.",
  },
  relative_l2: {
    label: "‖G − G′‖₂ / ‖G‖₂", log: true, meaning: "2018", of: ["l2", "grad_norm"],
    says: "The same distance in lengths of the gradient, so that large and small gradients can be compared.",
  },
  grad_norm: {
    label: "‖G‖₂", log: true, meaning: "2018",
    says: "The length of the gradient itself, before the update.",
  },
  input: {
    label: "W₁ / σ of the layer’s input", log: true, meaning: "2015",
    says: "The older meaning: how far the distribution of a layer’s input moves (Wasserstein distance, in standard " +
      "deviations) when the layers before it are updated, on the same batch.",
  },
};

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function decoded(name, bytes) {
  const count = bytes.length / 2;
  return Float64Array.from({ length: count }, (_, i) => {
    const code = bytes[i] + 256 * bytes[count + i];
    if (code === MISSING) return NaN;
    if (name === "cosine") return (code - FIRST) / PER_UNIT + LEAST;
    return code === ZERO ? 0 : 10 ** ((code - FIRST) / PER_DECADE + SMALLEST);
  });
}

// All numbers of a scale, by column; unpacked when the scale is first shown.
async function valuesOf(scale) {
  if (!scale.values) {
    const values = {};
    for (const [name, text] of Object.entries(scale.columns)) values[name] = decoded(name, await unpacked(text));
    for (const [name, metric] of Object.entries(METRICS)) {
      if (!metric.of) continue;
      const [above, below] = metric.of.map((column) => values[column]);
      if (above && below) values[name] = above.map((value, i) => value / below[i]);
    }
    scale.values = values;
  }
  return scale.values;
}

// One run's curve of one layer: a value per step.
function curveOf(scale, metric, series, layer) {
  const length = scale.steps.length;
  const start = (series * scale.layers.length + layer) * length;
  return scale.values[metric].subarray(start, start + length);
}
