"""The answer's figure: every mark is a row of the claims table, and the shaded part is what its rule calls reduced."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_tools import saved, sheet
from made_up_paper import copies
from matplotlib.axes import Axes

from ics.analysis import load_runs
from ics.analysis.claims.catalogue import claims_table
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.load import Runs
from ics.figures import answer
from ics.figures.catalogue import MissingRuns


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    for model in ("vgg", "dln"):
        copies(root, model, (0, 1, 2), lambda q, s, v: v * (1 + 0.1 * s * len(q) % 1), arms=("none", "batch"))
    return load_runs(root)


def panels(runs: Runs) -> list[Axes]:
    canvas = sheet("answer", runs)
    canvas.draw_without_rendering()
    axes: list[Axes] = canvas.axes
    return axes


def marks(axes: Axes, marker: str) -> list[float]:
    drawn = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == marker]
    return [float(x) for [x] in drawn if not np.isnan(x)]  # type: ignore[misc]


def test_the_marks_are_the_claims(runs: Runs) -> None:
    claims = claims_table(runs, [CLAIM])
    lines = {"vgg": 2, "deep_linear": 2}
    for row, model in enumerate(lines):
        for axes, quantity in zip(panels(runs)[3 * row : 3 * row + 3], answer.PANELS, strict=True):
            pair = "layers #5 and #10" if model == "vgg" else "layers #9 and #17"
            mine = claims[(claims["quantity"] == quantity) & claims["effect_is"].str.contains(pair)]
            assert len(mine) == 4 * lines[model]
            log = mine["unit"].iloc[0] == "log10 ratio"
            for found, column in ((marks(axes, "o"), "effect"), (marks(axes, "D"), "papers_as_far")):
                of = mine if column == "effect" else mine[mine["headline"] == 1]
                expected = 10 ** of[column] if log else of[column]
                np.testing.assert_allclose(sorted(found), sorted(expected.dropna()), rtol=1e-12)


@pytest.mark.parametrize("column", range(3))
def test_the_shaded_part_is_what_the_rule_calls_reduced(runs: Runs, column: int) -> None:
    axes = panels(runs)[column]
    (shade,) = axes.patches
    (left, right), limits = shade.get_extents().transformed(axes.transData.inverted()).intervalx, axes.get_xlim()
    ends = (limits[0], 10**-0.1) if column != 1 else (0.05, limits[1])
    assert (left, right) == pytest.approx(ends)


def test_marks_do_not_leave_the_panel_and_words_not_the_sheet(runs: Runs) -> None:
    for axes in panels(runs):
        low, high = axes.get_xlim()
        assert all(low < mark < high for mark in marks(axes, "o"))
    figure: Any = axes.get_figure()
    assert len(figure.texts) == 2  # title and notes
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.texts)


def test_one_seed_has_marks_without_intervals(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", arms=["none", "batch"], rates=[0.1], last_step=300)
    one = load_runs(tmp_path)
    assert [len(marks(axes, "o")) for axes in panels(one)] == [2, 2, 2]  # all steps and early ones: there are no others
    assert all(np.isnan(line.get_segments()).all() for axes in panels(one) for line in axes.collections)  # type: ignore[attr-defined]
    files = saved("answer", one, tmp_path / "out")
    assert [path.name for path in files] == ["answer.png", "answer.pdf"]
    again = saved("answer", one, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_it_needs_networks_of_both_kinds(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", arms=["batch"], rates=[0.1], last_step=300)
    with pytest.raises(MissingRuns, match="experiment=fig3_vgg scale=cpu$"):
        sheet("answer", load_runs(tmp_path))
