"""The paper's figures beside Figure 3: the same bytes each time, and what is drawn is what was measured."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_paper import ACTIVATIONS, ALL, HISTOGRAM, LANDSCAPE, copies
from made_up_runs import SETTINGS, TRAINING, merged, training_rows, write_run
from matplotlib.figure import Figure as Canvas

from ics.analysis import load_runs
from ics.analysis.histograms import pooled
from ics.analysis.load import Runs
from ics.errors import UserError
from ics.figures import fig8, fig11, landscape, ridgeline, style
from ics.figures.catalogue import MissingRuns, draw, select
from ics.figures.curves import draw_range
from ics.figures.figure_runs import clipped, find
from ics.figures.many import draw_many
from ics.figures.sheet import Sheet, arm_handle

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
ONE_OF_EACH_KIND = ("fig1", "fig4", "fig5b", "fig8a", "fig9", "fig11")


@pytest.fixture(scope="module")
def paper_like(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    for model in ("vgg", "dln"):
        copies(root, model, (0, 1), lambda q, s, v: v + 3 * s if "percent" in q else v * (1 + s))
    return load_runs(root)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_the_same_to_the_byte(
    paper_like: Runs, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "PNG_DPI", 60)  # for speed
    (figure,) = select(name)
    first = draw(figure, paper_like, tmp_path / "first")
    assert [path.name for path in first] == [f"{name}_{FIGURES[name]}.{ending}" for ending in ("png", "pdf")]
    if name not in ONE_OF_EACH_KIND:
        return
    second = draw(figure, paper_like, tmp_path / "second")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_what_makes_its_runs(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, "other/seed0", merged(SETTINGS, {"model": {"name": "mlp"}}))
    (figure,) = select(name)
    scale = " scale=cpu" if FIGURES[name].startswith("cifar") else ""
    with pytest.raises(MissingRuns, match=f"make them with: {figure.command}$"):
        draw(figure, load_runs(tmp_path), tmp_path)
    assert figure.command == f"python scripts/train.py -m experiment={figure.experiment}{scale}"


def test_a_figure_needs_the_networks_it_is_about(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", arms=["none", "batch"], rates=[0.1], last_step=300)
    runs = load_runs(tmp_path)
    for name in ("fig2", "fig5a", "fig6", "fig8a", "fig12"):  # noisy BatchNorm, ℓp norms
        (figure,) = select(name)
        with pytest.raises(MissingRuns):
            draw(figure, runs, tmp_path)
    assert len(draw(*select("fig11"), runs, tmp_path / "out")) == 2


def test_scales_have_a_figure_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "PNG_DPI", 40)
    some: dict[str, Any] = {"arms": ["none", "batch"], "rates": [0.1], "last_step": 300}
    copies(tmp_path, "vgg", **some)
    copies(tmp_path, "vgg", settings={"experiment": "half", "model": {"width": 0.5}}, **some)
    files = draw(*select("fig11"), load_runs(tmp_path), tmp_path / "out")
    assert sorted(path.stem for path in files[::2]) == ["fig11_cifar10_vgg16_w0.5", "fig11_cifar10_vgg16_w1"]


def only(runs: Runs, model: str, figure: str, tables: tuple[str, ...], arms: tuple[str, ...], rate: float) -> Any:
    (found,) = find(runs, figure, model, ("training", *tables), arms, (rate,), arms)
    return found


def drawn(figure: Any, *arguments: Any) -> Canvas:
    with style.style():
        sheet = figure._figure(*arguments)
        assert isinstance(sheet, Sheet)
        return sheet.figure


def lines(axes: Any, linestyle: str) -> list[list[float]]:
    return [[float(y) for y in line.get_ydata()] for line in axes.get_lines() if line.get_linestyle() == linestyle]


def test_the_landscape_as_it_is_drawn(paper_like: Runs) -> None:
    runs = only(paper_like, "vgg", "4", ("landscape",), landscape.ARMS, 0.1)
    with style.style():
        canvas = landscape.VGG.sheet(runs).figure
    loss, _, beta = canvas.axes
    # Two seeds at once and twice the paper's values: the medians of both edges lie at one and a half times them.
    theirs = runs.theirs("loss_range", "standard", 0.1)
    (low, high) = lines(loss, "-")[:2]
    assert low[0] == pytest.approx(1.5 * theirs["low"].iloc[0], rel=0.01)
    assert high[5] == pytest.approx(1.5 * theirs["high"].iloc[5], rel=0.01)
    assert lines(loss, "--")[0][0] == theirs["low"].iloc[0]
    assert lines(beta, ":") == [[20.0, 20.0]]  # 2 / learning rate
    markers = [line for line in beta.get_lines() if line.get_marker() == "o"]
    assert [float(y) for y in markers[0].get_ydata()] == [20.0, 20.0, 20.0]  # the sharpness is at the edge
    texts = " ".join(text.get_text().replace("\n", " ") for text in canvas.texts)
    assert "Figure 4. VGG-16, width ×1, on cifar10, 15,000 steps, lr 0.1" in texts
    assert "How to read" in texts
    assert "contains an ℓ₂ penalty" in texts


def test_drift_starts_where_it_is_above_zero(paper_like: Runs) -> None:
    runs = only(paper_like, "vgg", "8b", ("moments",), fig8.NEEDED, 0.1)
    canvas = drawn(fig8, fig8._B, runs)
    first = canvas.axes[0]
    (line, *_) = first.get_lines()
    assert math.isnan(line.get_ydata()[0])
    assert line.get_ydata()[1] == pytest.approx(0.15)  # units at 0.1 and 0.2 away from step 0
    assert [axes.get_title() for axes in canvas.axes[:3]] == ["Layer #2", "Layer #9", "Layer #13"]


def test_gradient_distances_are_medians_over_seeds(paper_like: Runs) -> None:
    runs = only(paper_like, "vgg", "11", ("landscape",), fig11.ARMS, 0.1)
    table = fig11.gradient_distances(runs, "batch").set_index(["step", "factor"])["gradient_distance"]
    theirs = load_first(paper_like, "batch")
    assert table[0, 4.0] == pytest.approx(1.5 * theirs)
    assert len(table.index.unique("step")) == 21


def load_first(runs: Runs, norm: str) -> float:
    rows = runs["landscape"]
    rows = rows[(rows["norm.name"] == norm) & (rows["model.name"] == "vgg") & (rows["seed"] == 0)]
    rows = rows[(rows["step"] == 0) & (rows["factor"] == 4.0) & (rows["direction"] == "gradient")]
    return float(rows["gradient_distance"].iloc[0])


def test_a_range_and_where_it_diverged() -> None:
    rows = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "step": [0, 1, 0, 1],
            "low": [1.0, 2.0, 3.0, 4.0],
            "high": [5.0, 9.0, 7.0, math.inf],
            "status": ["done", "done", "diverged", "diverged"],
        }
    )
    with style.style():
        axes = style.new_figure(2).add_subplot()
        draw_range(axes, rows, "#000000")
    assert lines(axes, "-") == [[2.0, 3.0], [6.0, 9.0]]  # medians of the finite values
    cross = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xydata()[0]) for line in cross] == [[0.0, 7.0]]
    outer, inner = (collection.get_paths()[0].vertices[:, 1] for collection in axes.collections)
    assert (outer.min(), outer.max()) == (1.0, 9.0)
    assert (inner.min(), inner.max()) == (2.0, 9.0)


# ---- Ridgelines ----


def histogram(run: str, lows: list[float], width: float, counts: list[int], below: int = 0) -> pd.DataFrame:
    rows = [{"run": run, "low": low, "high": low + width, "count": n} for low, n in zip(lows, counts, strict=True)]
    return pd.DataFrame([{"run": run, "low": -math.inf, "high": min(lows), "count": below}, *rows])


def test_a_histogram_is_a_density() -> None:
    one = pooled(histogram("a", [0.0, 1.0, 3.0], 1.0, [20, 60, 10], below=10))
    # Middles at 0.5, 1.5, 2.5 (empty), 3.5; 0.2, 0.6, 0 and 0.1 of the values per unit.
    assert one.at(np.array([0.5, 1.5, 2.5, 3.5, 1.0, 5.0])).tolist() == pytest.approx([0.2, 0.6, 0, 0.1, 0.4, 0])
    assert one.quantiles(0.1, 0.3, 0.6) == pytest.approx((0.0, 1.0, 1.5))


def test_seeds_with_other_bins_count_equally() -> None:
    narrow, wide = histogram("a", [0.0, 0.25], 0.25, [5, 5]), histogram("b", [-4.0, 0.0], 4.0, [500, 500])
    both = pooled(pd.concat([narrow, wide]))
    assert both.at(np.array([0.25])) == pytest.approx((2 + 0.125) / 2, rel=0.01)
    assert both.quantiles(0.25)[0] == pytest.approx(0.0)  # half of b's lie below, nothing of a's
    with pytest.raises(ValueError, match="without any finite bin"):
        pooled(pd.DataFrame([{"run": "a", "low": -math.inf, "high": 0.0, "count": 3}]))


def test_ridges_from_top_to_bottom() -> None:
    parts = [histogram("a", [-1.0 - shift, 0.0 + shift], 1.0, [5, 5 + shift]) for shift in range(3)]
    rows = pd.concat([part.assign(step=100 * number) for number, part in enumerate(parts)])
    with style.style():
        axes = style.new_figure(2).add_subplot()
        ridgeline.draw_ridges(axes, rows, "#1F4E9E", labelled=True)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert dict(zip(axes.get_yticks(), labels, strict=True)) == {2: "0", 1: "100", 0: "200"}  # time runs downwards
    heights = [line.get_ydata() for line in axes.get_lines()]
    bases = [float(np.min(height)) for height in heights]
    assert bases == [2, 1, 0]
    for height, base in zip(heights, bases, strict=True):
        assert np.max(height) == pytest.approx(base + ridgeline.OVERLAP)


def test_steps_and_ticks_of_ridges() -> None:
    assert ridgeline.chosen_steps([300, 0, 100]) == [0, 100, 300]
    many = ridgeline.chosen_steps(range(0, 15001, 500))
    assert len(many) == ridgeline.RIDGES
    assert (many[0], many[-1]) == (0, 15000)
    for low, high in ((-3.1, 3.2), (0.0, 0.017), (-120.0, 50.0), (2.0, 2.001)):
        ticks = ridgeline.inner_ticks(low, high)
        assert 1 <= len(ticks) <= 3
        assert all(low < tick < high for tick in ticks)


# ---- Sheets, many at a time ----


def test_curves_are_cut_where_they_are_drawn() -> None:
    steps, values = clipped(np.array([0, 100]), np.array([1.0, 100.0]), 50, log=True)
    assert (steps.tolist(), values.tolist()) == ([0, 50], [1.0, pytest.approx(10.0)])
    steps, values = clipped(np.array([0, 100]), np.array([1.0, 100.0]), 500, log=False)
    assert (steps.tolist(), values.tolist()) == ([0, 100], [1.0, 100.0])


def test_a_long_legend_takes_two_lines_and_stays_on_the_sheet() -> None:
    entries = [arm_handle(f"a rather long name of an arm, number {number}", "#000000") for number in range(4)]
    with style.style():
        sheet = Sheet("title", [entries], "notes", body=1.0)
        canvas = sheet.figure
        canvas.canvas.draw()
        assert len(canvas.legends) == 2
        for legend in canvas.legends:
            assert legend.get_window_extent().x1 <= canvas.bbox.x1


def test_many_figures_at_once_are_the_same_files(
    paper_like: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "PNG_DPI", 40)
    figures = [*select("fig5a"), *select("fig6"), *select("fig11"), *select("mnist_mlp")]
    one = list(draw_many(figures, paper_like, tmp_path / "one", processes=1))
    two = list(draw_many(figures, paper_like, tmp_path / "two", processes=2))
    assert isinstance(one[-1], MissingRuns)
    assert str(one[-1]) == str(two[-1])
    for these, those in zip(one[:-1], two[:-1], strict=True):
        assert not isinstance(these, MissingRuns)
        assert not isinstance(those, MissingRuns)
        assert [path.read_bytes() for path in these] == [path.read_bytes() for path in those]


def test_runs_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    rows = {TRAINING: training_rows([1.0])}
    for seed, eps in ((0, 1e-5), (1, 0.1)):
        settings = merged(SETTINGS, {"seed": seed, "norm": {"name": "batch", "eps": eps}})
        write_run(tmp_path, f"v/batch/seed{seed}", settings, rows)
    with pytest.raises(UserError, match=r"differ in norm\.eps"):
        draw(*select("fig5a"), load_runs(tmp_path), tmp_path)


def test_the_made_up_tables_are_the_real_ones() -> None:
    from ics.quantities.activations import Activations
    from ics.quantities.histogram import Histogram
    from ics.quantities.landscape import Landscape
    from ics.quantities.moments import Moments
    from ics.quantities.sharpness import Sharpness

    for made_up, real in zip(ALL, (Landscape, Activations, Moments, Histogram, Sharpness), strict=True):
        assert [(c.name, c.kind, c.nan) for c in made_up.columns] == [
            (c.name, c.kind, c.nan) for c in real.table.columns
        ]
        assert made_up.key == real.table.key
    assert {LANDSCAPE.name, ACTIVATIONS.name, HISTOGRAM.name} == {"landscape", "activations", "histogram"}
