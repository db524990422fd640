"""The figures: the same bytes each time, scales kept apart, and a command where runs are missing."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_tools import dots, entries, lines, sheet, words
from made_up_runs import DLN, SETTINGS, SHIFT, TRAINING, merged, shift_rows, training_rows, write_run
from matplotlib.colors import to_rgb
from programs import ROOT, program

from ics.analysis import load_runs
from ics.analysis.scales import split_by_scale
from ics.errors import UserError
from ics.figures import style
from ics.figures.catalogue import FIGURES, MissingRuns, select
from ics.figures.curves import thinned

main = program("figures")
OF_ONE_SIZE = {
    "fig3b", "fig5b", "fig9", "fig10", "fig13", "mnist_mlp", "init_scale", "ioffe_szegedy", "running_stats",
    "fingerprint",
}  # fmt: skip

# ---- Drawing ----


def test_both_parts_are_drawn(paper_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "first"
    assert main(["fig3", "--runs", str(paper_like), "--out", str(first)]) == 0
    printed = capsys.readouterr().out.split()
    names = sorted(path.name for path in first.iterdir())
    assert names == [
        "fig3_dln_gaussian-normal_25x10.pdf",
        "fig3_dln_gaussian-normal_25x10.png",
        "fig3_vgg_cifar10_vgg16_w1.pdf",
        "fig3_vgg_cifar10_vgg16_w1.png",
    ]
    assert sorted(printed) == sorted(str(first / name) for name in names)
    assert (first / names[1]).read_bytes()[:4] == b"\x89PNG"
    assert b"/FontFile2" in (first / names[0]).read_bytes()  # fonts are embedded


def test_what_is_drawn(tmp_path: Path) -> None:
    for seed, l2 in enumerate((1.0, 2.0, 9.0)):
        rows = {
            TRAINING: training_rows([1.0, 1.0], [0, 100], [0.25 + 0.1 * seed, 0.75]),
            SHIFT: shift_rows([l2, 10 * l2], [0.5, math.nan], [0, 100]),
        }
        write_run(tmp_path, f"v/batch/seed{seed}", merged(SETTINGS, {"seed": seed}), rows)
    canvas = sheet("fig3a", load_runs(tmp_path))
    training, l2_5, cosine_5, l2_10, _ = canvas.axes
    assert lines(training, "-") == [[35.0, 75.0]]
    assert lines(l2_5, "-") == [pytest.approx([2.0, 20.0])]
    band = l2_5.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1.0
    assert band[:, 1].max() == 90.0
    assert l2_5.get_yscale() == "log"
    assert lines(cosine_5, "-") == [[0.5]]  # and no line on to where there is no cosine
    assert dots(cosine_5) == [(0.0, 0.5)]
    # The paper's curves: dashed; none where its axis has no numbers.
    (start,) = [y[0] for y in lines(l2_5, "--") if y[0] > 1]
    assert start == pytest.approx(14.7, rel=0.01)
    assert lines(l2_10, "--") == []
    assert "VGG-11, width ×0.25, on digits, 200 steps" in words(canvas)
    assert "How to read" in words(canvas)
    assert "for layer #10 has no numbers" in words(canvas)
    assert entries(canvas) == [
        "BatchNorm (3 seeds)",
        "paper: digitised, VGG on CIFAR-10, one run",
        "standard: the paper's alone",
        "ideal",
    ]


def test_another_learning_rate_has_its_row_without_the_papers_curve(tmp_path: Path) -> None:
    for lr in (0.1, 0.5):
        write_run(tmp_path, f"v/batch_lr{lr}/seed0", merged(SETTINGS, {"optimizer": {"lr": lr}}))
    canvas = sheet("fig3a", load_runs(tmp_path))
    assert len(canvas.axes) == 10
    dashed = [len(lines(axes, "--")) for axes in canvas.axes]
    assert dashed == [0, 0, 0, 0, 0, 2, 2, 2, 0, 2]


def test_diverged_runs_are_marked(tmp_path: Path) -> None:
    rows = {TRAINING: training_rows([3.0, math.inf]), SHIFT: shift_rows([1.0])}
    write_run(tmp_path, "d/none/seed0", merged(SETTINGS, DLN, {"norm": {"name": "none"}}), rows, state="diverged")
    canvas = sheet("fig3b", load_runs(tmp_path))
    assert dots(canvas.axes[0]) == [(0.0, pytest.approx(3.0))] * 2  # a cross at a lonely point
    assert "diverged here" in entries(canvas)


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ([5, 10], ["Layer #5, conv5", "Layer #10, conv10"]),
        (range(1, 12), ["Layer #5, conv5", "Layer #10, conv10"]),
        # relative depth: 5/16 and 10/16 of 11
        (range(1, 10), ["Layer #3, conv3 (paper: #5)", "Layer #7, conv7 (paper: #10)"]),
        ([4], ["Layer #4, conv4 (paper: #10)"]),
    ],
)
def test_layers_are_the_papers_or_at_the_same_relative_depth(tmp_path: Path, measured: Any, chosen: Any) -> None:
    rows = {TRAINING: training_rows([1.0]), SHIFT: shift_rows([1.0], layers=measured)}
    write_run(tmp_path, rows=rows)
    canvas = sheet("fig3a", load_runs(tmp_path))
    titles = [axes.get_title() for axes in canvas.axes if axes.get_title()]
    assert titles == chosen


def test_long_curves_are_thinned_to_the_papers_density() -> None:
    rows = pd.DataFrame({"run": "r", "step": range(15000)})
    assert thinned(rows)["step"].tolist() == list(range(0, 15000, 100))
    odd = pd.DataFrame({"run": "r", "step": range(0, 10000, 7)})
    assert len(thinned(odd)) == 200


# ---- Scales ----


def test_scales_are_kept_apart(tmp_path: Path) -> None:
    for i, change in enumerate(
        [
            {},
            {"model": {"width": 0.5}},
            {"data": {"name": "cifar10"}},
            {"optimizer": {"weight_decay": 0.0}},
            {"steps": 400},
            {"measure": {"shift": {"every": 50}}},  # measured more often: the same scale
        ]
    ):
        for norm in ("none", "batch"):
            write_run(tmp_path, f"r{i}/{norm}/seed0", merged(SETTINGS, change, {"norm": {"name": norm}, "seed": i}))
    write_run(tmp_path, "d/none/seed0", merged(SETTINGS, DLN, {"norm": {"name": "none"}}))
    settings = load_runs(tmp_path).settings
    scales = {scale.slug: scale for scale in split_by_scale(settings[settings["model.name"] == "vgg"])}
    common = "digits_vgg11_w0.25"
    assert set(scales) == {
        f"{common}_weight_decay-0.0005_steps-200",
        f"{common}_weight_decay-0.0005_steps-400",
        f"{common}_weight_decay-0_steps-200",
        "digits_vgg11_w0.5",
        "cifar10_vgg11_w0.25",
    }
    assert len(scales[f"{common}_weight_decay-0.0005_steps-200"].runs) == 4
    assert "weight_decay" in scales[f"{common}_weight_decay-0_steps-200"].title
    assert [s.slug for s in split_by_scale(settings[settings["model.name"] == "deep_linear"])] == [
        "gaussian-normal_25x10"
    ]


def test_the_set_up_that_fits_the_first_step_has_a_name(tmp_path: Path) -> None:
    found = {"data": {"scaling": "per_image"}, "model": {"init": {"name": "he_normal_fan_out"}, "head": [512]}}
    write_run(tmp_path, "found/seed0", merged(SETTINGS, found))
    write_run(tmp_path, "other/seed0")
    scales = {scale.slug: scale.title for scale in split_by_scale(load_runs(tmp_path).settings)}
    assert set(scales) == {"digits_vgg11_w0.25", "digits_vgg11_w0.25_found"}
    assert ", set-up found by the first step, " in scales["digits_vgg11_w0.25_found"]


def test_a_setting_that_only_some_runs_have_loses_none(tmp_path: Path) -> None:
    write_run(tmp_path, "a/seed0")
    write_run(tmp_path, "b/seed0", merged(SETTINGS, {"data": {"limit": 100}}))
    scales = list(split_by_scale(load_runs(tmp_path).settings))
    assert [scale.runs["run"].tolist() for scale in scales] == [["b/seed0"], ["a/seed0"]]


def test_a_run_made_for_two_experiments_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path, "fig3/seed0")
    write_run(tmp_path, "quick/seed0", merged(SETTINGS, {"experiment": "quick"}))
    (scale,) = split_by_scale(load_runs(tmp_path).settings)
    assert scale.runs["run"].tolist() == ["fig3/seed0"]


def test_other_norm_options_are_no_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a/seed0")
    write_run(tmp_path, "b/seed1", merged(SETTINGS, {"seed": 1, "norm": {"eps": 0.1}}))
    message = "runs a/seed0 and b/seed1 would be one curve, but differ in norm.eps of norm batch; keep them"
    with pytest.raises(UserError, match=message):
        list(split_by_scale(load_runs(tmp_path).settings))


# ---- What is missing ----


def test_missing_runs_name_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    nowhere = ["--runs", str(tmp_path / "nowhere"), "--out", str(out)]
    for asked in ("fig3", "all"):
        assert main([asked, *nowhere]) == 2
        told = capsys.readouterr().err
        assert "python scripts/train.py -m experiment=fig3_vgg" in told
        assert "python scripts/train.py -m experiment=fig3_dln" in told
    write_run(tmp_path / "runs")
    write_run(tmp_path / "runs", "fig3_dln/none/seed0", merged(SETTINGS, DLN), state="running")
    some = ["--runs", str(tmp_path / "runs"), "--out", str(out)]
    assert main(["fig3b", *some]) == 2
    told = capsys.readouterr().err
    assert "the runs for fig3b are missing (unfinished ones are left out: 1); make them with:" in told
    assert "warning: 1 of 2 runs left out: 1 running" in told
    assert main(["fig3", *some]) == 2  # half of it is drawn, and the rest is named
    assert len(capsys.readouterr().out.split()) == 2
    assert main(["all", *some]) == 0
    assert "left out: the runs for fig3b are missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_what_makes_its_runs(name: str, tmp_path: Path) -> None:
    write_run(tmp_path, "other/seed0", merged(SETTINGS, {"model": {"name": "mlp"}, "experiment": "other"}))
    (figure,) = select(name)
    with pytest.raises(MissingRuns, match=f"make them with: {figure.command}$"):
        sheet(name, load_runs(tmp_path))
    scale = "" if name in OF_ONE_SIZE else " scale=cpu,half" if name == "widths" else " scale=cpu"
    assert figure.command == f"python scripts/train.py -m experiment={figure.experiment}{scale}"


def test_runs_without_the_settings_or_tables_are_no_runs_of_the_figure(tmp_path: Path) -> None:
    write_run(tmp_path, "a/seed0", {"seed": 0, "data": {"name": "digits"}})
    with pytest.raises(MissingRuns):
        sheet("fig3a", load_runs(tmp_path))
    write_run(tmp_path, "b/seed0", rows={TRAINING: training_rows([1.0])})
    with pytest.raises(MissingRuns):
        sheet("fig3a", load_runs(tmp_path, tables=["training"]))


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fig99"]) == 2
    known = sorted({"all", "fig3", "fig5", "fig8", *FIGURES})
    assert capsys.readouterr().err == f"error: no figure 'fig99'; there are {', '.join(known)}\n"
    (write_run(tmp_path) / "training.csv").write_text("step\n")
    assert main(["fig3", "--runs", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("warning: ")
    assert "training.csv:1: the columns are step; tables.json has step, epoch" in told
    assert "no finished run" in told


# ---- Catalogue and style ----


def test_the_catalogue() -> None:
    assert [figure.name for figure in select("all")] == list(FIGURES)
    assert [figure.name for figure in select("fig3")] == ["fig3a", "fig3b"]
    experiments = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    for figure in select("all"):
        assert figure.experiment in experiments


# Machado, Oliveira, Fernandes 2009: how linear RGB looks to eyes that lack one kind of cone.
_EYES = {
    "all cones": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eyes: str) -> Any:
    """CIE Lab, in which a distance of 2 is just visible."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ @ np.clip(_EYES[eyes] @ linear, 0, 1) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", _EYES)
@pytest.mark.parametrize(
    "together",
    [("noisy_batch", "noise_only"), ("l1", "l2", "linf"), ("layer", "group", "batch_by_hand")],
)
def test_arms_drawn_together_are_told_apart_by_all_eyes(together: tuple[str, ...], eyes: str) -> None:
    for one, other in itertools.combinations(("standard", "batch", *together), 2):
        distance = np.linalg.norm(lab(style.ARMS[one].colour, eyes) - lab(style.ARMS[other].colour, eyes))
        assert distance > 15, (one, other)
