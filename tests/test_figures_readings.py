"""The specification curve and the maps of every layer show what the tables hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_tools import entries, saved, sheet, sheets, words
from made_up_runs import SETTINGS, SHIFT, TRAINING, merged, shift_row, training_rows, write_run
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex

from ics.analysis import load_runs
from ics.analysis.load import Runs
from ics.analysis.specifications import REDUCED, specifications
from ics.figures.catalogue import MissingRuns
from ics.figures.every_layer import DIVERGING, binned
from ics.figures.specifications import COLOURS

STEPS = range(0, 200, 20)


FACTORS = {1: (1.0,) * 3, 5: (2.0,) * 3, 9: (4.0, 1.0, 0.25), 10: (0.5,) * 3}


def runs_of(root: Path, factors: Mapping[int, Sequence[float]] = FACTORS, shift: float = 1.0) -> Runs:
    """BatchNorm's ‖G − G′‖₂ is so many times the standard network's, by layer and seed; all times `shift`."""
    for norm in ("none", "batch"):
        for seed in range(3):
            own = merged({k: v for k, v in SETTINGS.items() if k != "norm"}, {"seed": seed, "norm": {"name": norm}})
            own = merged(own, {"model": {"depth": 16}})
            rows = [
                shift_row(step, layer, (factor[seed] if norm == "batch" else 1.0) * shift * (1 + seed), 0.5)
                for step in STEPS
                for layer, factor in factors.items()
            ]
            losses = 2 * np.exp(-np.array(STEPS) / 100)
            tables = {TRAINING: training_rows(losses, STEPS, 1 - losses / 3), SHIFT: rows}
            write_run(root, f"made/{norm}/seed{seed}", own, tables)
    return load_runs(root)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return runs_of(tmp_path_factory.mktemp("runs"))


def test_the_curve_shows_every_reading_in_order(runs: Runs) -> None:
    canvas = sheet("specifications", runs)
    readings = specifications(runs)
    assert len(canvas.axes) == 6  # a curve and a matrix for every measure
    for axes, quantity in zip(canvas.axes[::2], ("ics_l2", "ics_cosine", "ics_relative_l2"), strict=True):
        mine = readings[readings["quantity"] == quantity]
        drawn = [line for line in axes.get_lines() if line.get_marker() == "."]
        points = sorted((x, y) for line in drawn for x, y in zip(*line.get_data(), strict=True))
        ratio = axes.get_yscale() == "log"
        expected = np.sort(10 ** mine["effect"] if ratio else mine["effect"])
        np.testing.assert_allclose([y for _, y in points], expected)
        assert [x for x, _ in points] == list(range(len(mine)))
        (rule,) = [line for line in axes.get_lines() if line.get_marker() == "D"]
        (headline,) = mine.loc[mine["headline"] == 1, "effect"]
        assert rule.get_ydata() == pytest.approx([10**headline if ratio else headline])
        reduced = next(line for line in drawn if to_hex(line.get_color()) == COLOURS[REDUCED].lower())
        assert len(reduced.get_xdata()) == (mine["change"] == REDUCED).sum()


def test_the_matrix_marks_each_choice_once(runs: Runs) -> None:
    canvas = sheet("specifications", runs)
    mine = specifications(runs).query("quantity == 'ics_l2'")
    marks = [line for line in canvas.axes[1].get_lines() if line.get_marker() == "|"]
    places = pd.Series(np.concatenate([line.get_ydata() for line in marks]))
    columns = np.concatenate([line.get_xdata() for line in marks])
    assert sorted(columns) == sorted(np.repeat(range(len(mine)), 4))  # layers, statistic, phase, alignment
    assert places.value_counts().tolist().count(len(mine) // 3) == 6  # three statistics, three alignments
    labels = [text.get_text() for text in canvas.axes[1].get_yticklabels()]
    assert labels[:3] == ["#5 and #10", "all but the first", "one layer"]
    assert labels[-3:] == ["by step", "by loss", "by accuracy"]


def test_the_maps_show_every_layer_and_where_seeds_disagree(runs: Runs) -> None:
    (canvas,) = sheets("every_layer", runs).values()
    assert "hatched where the seeds do not all agree" in words(canvas)
    assert entries(canvas) == ["seeds disagree on the sign"]
    difference = canvas.axes[5 + 3]  # ‖G − G′‖₂: two networks and their scale, the difference and its scale
    mesh = next(c for c in difference.collections if isinstance(c, QuadMesh))
    values = np.asarray(mesh.get_array()).reshape(3, -1)  # layers 5, 9, 10
    np.testing.assert_allclose(values, np.log10([[2.0], [1.0], [0.5]]) * np.ones((1, values.shape[1])), atol=1e-12)
    less = mesh.get_cmap()(mesh.norm(np.log10(0.5)))
    assert less[:3] == pytest.approx(DIVERGING(1.0)[:3], abs=0.02)  # a smaller distance is less shift
    assert mesh.get_cmap()(mesh.norm(0.0))[:3] == pytest.approx((1, 1, 1), abs=0.02)  # no difference is white
    (hatched,) = (patch.get_path() for patch in difference.patches)
    assert hatched.get_extents().extents.tolist() == [0, 1, values.shape[1], 2]  # the second row, layer 9
    assert (hatched.codes == hatched.MOVETO).sum() == values.shape[1]


def test_networks_without_any_shift_are_drawn(tmp_path: Path) -> None:
    still = runs_of(tmp_path, shift=0.0)
    assert len(sheet("specifications", still).axes) == 2  # the cosine's
    assert len(sheet("every_layer", still).axes) == 10


def test_the_first_layer_alone_says_nothing(tmp_path: Path) -> None:
    first = runs_of(tmp_path, {1: (1.0,) * 3})
    assert specifications(first).empty
    for name in ("specifications", "every_layer"):
        with pytest.raises(MissingRuns):
            sheets(name, first)


def test_cells_are_medians_of_their_steps() -> None:
    rows = pd.DataFrame({"arm": "batch", "seed": 0, "layer": [2, 2, 2, 2, 1], "step": [0, 1, 2, 5, 0],
                         "value": [1.0, 10.0, 100.0, 0.0, 7.0]})  # fmt: skip
    cells = binned(pd.concat([rows, rows.assign(arm="standard", value=100.0)]), 200, log=True)
    assert list(cells["batch"].columns) == [0, 4]
    assert cells["batch"].loc[(0, 2), 0] == 1.0
    assert cells["difference"].loc[(0, 2), 0] == -1.0
    assert np.isnan(cells["batch"].loc[(0, 2), 4])  # no shift at all has no logarithm


@pytest.mark.parametrize("name", ["specifications", "every_layer"])
def test_the_files_are_the_same_each_time(name: str, runs: Runs, tmp_path: Path) -> None:
    first, again = (saved(name, runs, tmp_path / folder) for folder in ("a", "b"))
    assert [path.suffix for path in first] == [".png", ".pdf"]
    assert [one.read_bytes() for one in first] == [two.read_bytes() for two in again]
