"""The figure of the widths shows BatchNorm beside standard, pair by pair, width by width."""

from pathlib import Path

import numpy as np
import pytest
from figure_tools import entries, sheet, sheets
from made_up_runs import SETTINGS, SHIFT, TRAINING, merged, shift_row, training_rows, write_run

from ics.analysis import load_runs
from ics.analysis.load import Runs
from ics.figures.catalogue import MissingRuns

SETUP = {
    "experiment": "vgg",
    "model": {"depth": 16, "head": [512], "init": {"name": "he_normal_fan_out"}},
    "data": {"name": "cifar10", "scaling": "per_image"},
    "optimizer": {"lr": 0.1},
}


def runs_of(root: Path, factors: dict[tuple[float, int], float], setup: object = None) -> Runs:
    """(width, last step) → how many times the standard network's ‖G − G′‖₂ BatchNorm's is; its cosine is 0.2 larger."""
    for (width, last), factor in factors.items():
        for norm in ("none", "batch"):
            for seed in range(2):
                steps = range(0, last, 20)
                own = {"seed": seed, "steps": last, "norm": {"name": norm}, "model": {"width": width}}
                settings = merged({k: v for k, v in SETTINGS.items() if k != "norm"}, SETUP, own, setup or {})
                one = (factor, 0.7) if norm == "batch" else (1.0, 0.5)
                rows = [shift_row(step, layer, one[0] * (1 + seed), one[1]) for step in steps for layer in (1, 5, 10)]
                tables = {TRAINING: training_rows(np.ones(len(steps)), steps, np.ones(len(steps))), SHIFT: rows}
                write_run(root, f"vgg/w{width}_{last}/{norm}/seed{seed}", settings, tables)
    return load_runs(root)


def test_each_width_has_its_line_and_the_longer_of_two_runs_counts(tmp_path: Path) -> None:
    canvas = sheet("widths", runs_of(tmp_path, {(0.25, 200): 2.0, (0.25, 100): 8.0, (1.0, 100): 4.0}))
    assert [text for text in entries(canvas) if "width" in text] == ["width ×0.25 (2 seeds)", "width ×1 (2 seeds)"]
    ratios, cosines = canvas.axes[:2], canvas.axes[2:]
    for panels, expected in ((ratios, {2.0: 180, 4.0: 80}), (cosines, {0.2: 180})):
        for axes in panels:
            lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2 and line.get_linestyle() == "-"]
            assert len(lines) == 2
            ends = {round(float(line.get_ydata()[0]), 9): int(max(line.get_xdata())) for line in lines}
            assert ends.keys() == expected.keys()
            assert all(ends[value] == last for value, last in expected.items() if len(expected) == 2)
    assert ratios[0].get_ylim() == ratios[1].get_ylim()


@pytest.mark.parametrize("setup", [None, {"data": {"scaling": "bytes_centered"}}])
def test_one_width_or_another_set_up_is_no_figure(tmp_path: Path, setup: object) -> None:
    factors = {(0.25, 100): 2.0} | ({(1.0, 100): 2.0} if setup else {})
    with pytest.raises(MissingRuns):
        sheets("widths", runs_of(tmp_path, factors, setup))
