"""The paper's figures beside Figure 3: the same bytes each time, and what is drawn is what was measured."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_tools import dots, entries, lines, saved, sheet, sheets, words
from made_up_paper import copies

from ics.analysis import load_runs
from ics.analysis.claims.words import rate
from ics.analysis.histograms import Pooled
from ics.analysis.load import Runs
from ics.analysis.paper import paper_curves
from ics.figures import activations, axes, landscape, style
from ics.figures.catalogue import MissingRuns, select
from ics.figures.curves import clipped, draw_curves, draw_ranges
from ics.figures.many import draw_many
from ics.figures.sheet import Sheet, handle

FIGURES = {
    "fig1": "cifar10_vgg16_w1",
    "fig2": "cifar10_vgg16_w1",
    "fig4": "cifar10_vgg16_w1",
    "fig5a": "cifar10_vgg16_w1",
    "fig5b": "gaussian-normal_25x10",
    "fig6": "cifar10_vgg16_w1",
    "fig8a": "cifar10_vgg16_w1",
    "fig8b": "cifar10_vgg16_w1",
    "fig9": "gaussian-normal_25x10",
    "fig10": "gaussian-normal_25x10",
    "fig11": "cifar10_vgg16_w1",
    "fig12": "cifar10_vgg16_w1",
    "fig13": "gaussian-normal_25x10",
}
ONE_OF_EACH_KIND = ("fig1", "fig3b", "fig4", "fig5b", "fig8a", "fig9", "fig11")


@pytest.fixture(scope="module")
def runs(paper_like: Path) -> Runs:
    return load_runs(paper_like)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(runs: Runs, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "PNG_DPI", 60)  # for speed
    files = saved(name, runs, tmp_path)
    assert [path.name for path in files] == [f"{name}_{FIGURES[name]}.{ending}" for ending in ("png", "pdf")]


def test_a_figure_needs_the_networks_it_is_about(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", arms=["none", "batch"], rates=[0.1], last_step=300)
    runs = load_runs(tmp_path)
    for name in ("fig2", "fig5a", "fig6", "fig8a", "fig12"):  # noisy BatchNorm, ℓp norms
        with pytest.raises(MissingRuns):
            sheets(name, runs)
    assert len(sheets("fig11", runs)) == 1


def test_scales_have_a_figure_each(tmp_path: Path) -> None:
    some: dict[str, Any] = {"arms": ["none", "batch"], "rates": [0.1], "last_step": 300}
    copies(tmp_path, "vgg", **some)
    copies(tmp_path, "vgg", settings={"experiment": "half", "model": {"width": 0.5}}, **some)
    assert sorted(sheets("fig11", load_runs(tmp_path))) == ["fig11_cifar10_vgg16_w0.5", "fig11_cifar10_vgg16_w1"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", arms=["batch"], rates=[0.1], settings={"steps": 2}, last_step=2)
    runs = load_runs(tmp_path)
    canvas = sheet("fig3a", runs)
    assert "standard: the paper's alone" in entries(canvas)
    runs["shift"].loc[:, "l2"] = math.inf
    texts = [[text.get_text() for text in panel.texts] for panel in sheet("fig3a", runs).axes]
    assert [text for panel in texts for text in panel] == ["no finite value"]  # layer 10, where the paper has no scale
    bar = sheet("fig11", load_runs(_pair(tmp_path / "pair"))).axes[-1]
    assert len({tick.get_text() for tick in bar.get_yticklabels()}) == len(bar.get_yticks())


def _pair(root: Path) -> Path:
    copies(root, "vgg", arms=["none", "batch"], rates=[0.1], settings={"steps": 2}, last_step=2)
    return root


def test_runs_of_one_step_are_no_training(tmp_path: Path) -> None:
    copies(tmp_path, "dln", settings={"steps": 1}, last_step=1)
    with pytest.raises(MissingRuns, match="runs of a single step"):
        sheets("fig3b", load_runs(tmp_path))


def test_the_landscape_as_it_is_drawn(runs: Runs) -> None:
    canvas = sheet("fig4", runs)
    loss, _, beta = canvas.axes
    # Two seeds at once and twice the paper's values: the medians of both edges lie at one and a half times them.
    curve = paper_curves("4a", quantity="loss_range")
    theirs = curve[curve["arm"] == "standard"]
    starts = [height[0] for height in lines(loss, "-")]
    for edge in ("low", "high"):
        assert any(start == pytest.approx(1.5 * theirs[edge].iloc[0], rel=0.01) for start in starts)
        assert any(height[0] == theirs[edge].iloc[0] for height in lines(loss, "--"))
    assert lines(beta, ":") == [[20.0, 20.0]]  # 2 / learning rate
    markers = [line for line in beta.get_lines() if line.get_marker() == "o"]
    assert [float(y) for y in markers[0].get_ydata()] == [20.0, 20.0, 20.0]  # the sharpness is at the edge
    assert "Figure 4. VGG-16, width ×1, on cifar10, 15,000 steps, lr 0.1" in words(canvas)
    assert "How to read" in words(canvas)
    assert "contains an ℓ₂ penalty" in words(canvas)


def test_drift_starts_where_it_is_above_zero(runs: Runs) -> None:
    canvas = sheet("fig8b", runs)
    (line, *_) = canvas.axes[0].get_lines()
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (100, pytest.approx(0.15))  # units at 0.1 and 0.2 away from 0
    assert [panel.get_title() for panel in canvas.axes[:3]] == ["Layer #2", "Layer #9", "Layer #13"]


def test_gradient_distances_are_medians_over_seeds(runs: Runs) -> None:
    ((_, found),) = select("fig11")[0].find(runs)
    table = landscape.gradient_distances(found).set_index(["arm", "step", "factor"])["gradient_distance"]
    rows = runs["landscape"]
    rows = rows[(rows["arm"] == "batch") & (rows["model.name"] == "vgg") & (rows["seed"] == 0)]
    rows = rows[(rows["step"] == 0) & (rows["factor"] == 4.0) & (rows["direction"] == "gradient")]
    assert table["batch", 0, 4.0] == pytest.approx(1.5 * rows["gradient_distance"].iloc[0])
    assert len(table.index.unique("step")) == 21


# ---- Curves ----


def empty_axes(scale: str = "linear") -> Any:
    return Sheet("title", [], "notes", body=2).add_subplot(yscale=scale)


def test_a_range_and_where_it_diverged() -> None:
    rows = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "arm": "batch",
            "step": [0, 1, 0, 1],
            "low": [1.0, 2.0, 3.0, 4.0],
            "high": [5.0, 9.0, 7.0, math.inf],
            "status": ["done", "done", "diverged", "diverged"],
        }
    )
    panel = empty_axes()
    draw_ranges(panel, rows)
    assert sorted(lines(panel, "-")) == [[2.0, 3.0], [6.0, 9.0]]  # medians of the finite values
    assert dots(panel) == [(0.0, 7.0)]
    outer, inner = (shade.get_paths()[0].vertices[:, 1] for shade in panel.collections[:2])
    assert (outer.min(), outer.max()) == (1.0, 9.0)
    assert (inner.min(), inner.max()) == (2.0, 9.0)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_lines_break_where_there_is_nothing_and_lonely_points_are_dots(scale: str) -> None:
    values = [4.0, 2.0, math.nan, 3.0, math.nan if scale == "linear" else 0.0, 1.0, 5.0]
    rows = pd.DataFrame({"run": "a", "arm": "batch", "step": range(7), "value": values, "status": "done"})
    panel = empty_axes(scale)
    draw_curves(panel, rows)
    assert lines(panel) == [pytest.approx([4, 2]), pytest.approx([3]), pytest.approx([1, 5])]
    assert dots(panel) == [(3.0, 3.0)]


def test_numbers_on_axes_are_short() -> None:
    assert [axes.power_of_ten(value) for value in (1e-12, 1, 3e4, 1.2e5)] == ["10⁻¹²", "10⁰", "3·10⁴", "1.2·10⁵"]
    assert [axes.plain(value) for value in (-200.0, 0.05)] == ["−200", "0.05"]
    assert [rate(value) for value in (0.1, 1e-6, 5e-10)] == ["0.1", "1e-6", "5e-10"]
    for low, high in ((1.0, 1.3), (2e4, 3e5), (0.04, 4.0), (0.03, 9.0), (1e-20, 1e9)):
        panel = empty_axes("log")
        panel.set_ylim(low, high)
        axes.log_ticks(panel)
        labels = [text.get_text() for text in panel.get_yticklabels()]
        inside = [label for label, at in zip(labels, panel.get_yticks(), strict=True) if low <= at <= high]
        assert 2 <= len(inside) <= 8
        assert len(set(inside)) == len(inside)
        assert all(len(label) <= 8 for label in inside)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("short")
    for model in ("vgg", "dln"):
        copies(root, model, settings={"steps": 100}, last_step=100)
    return load_runs(root)


@pytest.mark.parametrize("name", ["fig3a", "fig3b", *FIGURES])
def test_no_number_lies_on_a_label_however_short_the_runs(short: Runs, name: str) -> None:
    canvas = sheet(name, short)
    canvas.draw_without_rendering()
    for axis in (axis for panel in canvas.axes for axis in (panel.xaxis, panel.yaxis)):
        low, high = sorted(axis.get_view_interval())
        written = [(tick.get_loc(), tick.label1) for tick in axis.get_major_ticks()]
        shown = [text for at, text in written if low <= at <= high and text.get_visible() and text.get_text()]
        numbers = [text.get_window_extent() for text in shown]
        assert all(box.x0 >= 0 and box.x1 <= canvas.bbox.x1 for box in numbers)
        if axis.label.get_text().strip():
            label = axis.label.get_window_extent()
            assert label.x0 >= 0
            assert not any(label.overlaps(box) for box in numbers)


# ---- Ridgelines ----


def histogram(run: str, lows: list[float], width: float, counts: list[int], below: int = 0) -> pd.DataFrame:
    rows = [{"run": run, "low": low, "high": low + width, "count": n} for low, n in zip(lows, counts, strict=True)]
    return pd.DataFrame([{"run": run, "low": -math.inf, "high": min(lows), "count": below}, *rows])


def test_a_histogram_is_a_density() -> None:
    one = Pooled(histogram("a", [0.0, 1.0, 3.0], 1.0, [20, 60, 10], below=10))
    # Middles at 0.5, 1.5, 2.5 (empty), 3.5; 0.2, 0.6, 0 and 0.1 of the values per unit.
    assert one.at(np.array([0.5, 1.5, 2.5, 3.5, 1.0, 5.0])).tolist() == pytest.approx([0.2, 0.6, 0, 0.1, 0.4, 0])
    assert one.quantiles(0.1, 0.3, 0.6) == pytest.approx((0.0, 1.0, 1.5))


def test_seeds_with_other_bins_count_equally() -> None:
    narrow, wide = histogram("a", [0.0, 0.25], 0.25, [5, 5]), histogram("b", [-4.0, 0.0], 4.0, [500, 500])
    both = Pooled(pd.concat([narrow, wide]))
    assert both.at(np.array([0.25])) == pytest.approx((2 + 0.125) / 2, rel=0.01)
    assert both.quantiles(0.25)[0] == pytest.approx(0.0)  # half of b's lie below, nothing of a's
    with pytest.raises(ValueError, match="without any finite bin"):
        Pooled(pd.DataFrame([{"run": "a", "low": -math.inf, "high": 0.0, "count": 3}]))


def test_ridges_from_top_to_bottom() -> None:
    parts = [histogram("a", [-1.0 - shift, 0.0 + shift], 1.0, [5, 5 + shift]) for shift in range(3)]
    rows = pd.concat([part.assign(step=100 * number) for number, part in enumerate(parts)])
    panel = empty_axes()
    activations.draw_ridges(panel, rows, "#1F4E9E", labelled=True)
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert dict(zip(panel.get_yticks(), labels, strict=True)) == {2: "0", 1: "100", 0: "200"}  # time runs downwards
    heights = lines(panel)
    bases = [float(np.min(height)) for height in heights]
    assert bases == [2, 1, 0]
    for height, base in zip(heights, bases, strict=True):
        assert np.max(height) == pytest.approx(base + activations.OVERLAP)


def test_steps_and_ticks_of_ridges() -> None:
    assert activations.evenly([300, 0, 100], 11) == [0, 100, 300]
    many = activations.evenly(range(0, 15001, 500), 11)
    assert len(many) == 11
    assert (many[0], many[-1]) == (0, 15000)
    for low, high in ((-3.1, 3.2), (0.0, 0.017), (-120.0, 50.0), (2.0, 2.001)):
        ticks = axes.inner_ticks(low, high)
        assert 1 <= len(ticks) <= 3
        assert all(low < tick < high for tick in ticks)


# ---- Sheets, many at a time ----


def test_curves_are_cut_where_they_are_drawn() -> None:
    steps, values = clipped(np.array([0, 100]), np.array([1.0, 100.0]), 50, log=True)
    assert (steps.tolist(), values.tolist()) == ([0, 50], [1.0, pytest.approx(10.0)])
    steps, values = clipped(np.array([0, 100]), np.array([1.0, 100.0]), 500, log=False)
    assert (steps.tolist(), values.tolist()) == ([0, 100], [1.0, 100.0])


def test_a_long_legend_takes_two_lines_and_stays_on_the_sheet() -> None:
    entries = [handle(f"a rather long name of an arm, number {number}") for number in range(4)]
    with style.style():
        canvas = Sheet("title", [entries], "notes", body=1.0)
        canvas.draw_without_rendering()
        assert len(canvas.legends) == 2
        for legend in canvas.legends:
            assert legend.get_window_extent().x1 <= canvas.bbox.x1


def test_many_figures_at_once_are_the_same_to_the_byte(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "PNG_DPI", 40)
    figures = [figure for name in (*ONE_OF_EACH_KIND, "mnist_mlp") for figure in select(name)]

    def drawn(processes: int) -> Any:
        folder = tmp_path / str(processes)
        *files, missing = draw_many(figures, runs, lambda stem, one: style.save(one, folder / stem), processes)
        assert isinstance(missing, MissingRuns)
        return str(missing), [path.read_bytes() for result in files for pair in result for path in pair]

    assert drawn(1) == drawn(2)
