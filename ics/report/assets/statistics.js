// Medians and bands over seeds, by the rule of ics/analysis/seeds.py.
const FEW = 5;

function quantile(sorted, share) {
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

// One entry per step: n, median, low, high; null where no seed has a value.
function overSeeds(curves, length) {
  const columns = Array.from({ length }, (_, step) =>
    curves.map((curve) => curve[step]).filter(Number.isFinite).sort((a, b) => a - b));
  const many = Math.max(0, ...columns.map((values) => values.length)) > FEW;
  return columns.map((values) => ({
    n: values.length,
    median: values.length ? quantile(values, 0.5) : null,
    low: values.length ? quantile(values, many ? 0.1 : 0) : null,
    high: values.length ? quantile(values, many ? 0.9 : 1) : null,
  }));
}

// A number with three digits, as the tables of the page write it.
function written(exact) {
  if (exact === null || !Number.isFinite(exact)) return "–";
  const value = Number(exact.toPrecision(3));
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return value.toExponential(2).replace("e+", "e").replace(/-/g, "−");
  }
  const places = size === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places })
    .replace("-", "−");
}
