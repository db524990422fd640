"""The distance to the paper: exact on copies of its curves that are shifted and scaled."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_tools import sheet, words
from made_up_paper import copies
from made_up_runs import SETTINGS, SHIFT, TRAINING, merged, shift_rows, training_rows, write_run

from ics.analysis import load_runs
from ics.analysis.distance_report import nearness, to_markdown
from ics.analysis.paper import paper_curves, paper_points
from ics.analysis.paper_distance import COLUMNS, PENALTY, WINDOWS, paper_distance


def scaled(quantity: str, seed: int, values: Any) -> Any:
    """Three seeds: the paper's values times 1, 2, 4; of what is compared by difference, plus 0, 0.03, 0.05."""
    by_difference = "percent" in quantity or "cosine" in quantity or "change" in quantity
    return values + (0.0, 0.03, 0.05)[seed] if by_difference else values * (1.0, 2.0, 4.0)[seed]


@pytest.fixture(scope="module")
def distances(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("runs")
    for model in ("vgg", "dln"):
        copies(root, model, seeds=(0, 1, 2), change=scaled)
    return paper_distance(load_runs(root))


def rows_of(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    for name, value in wanted.items():
        table = table[(table[name] == value).fillna(False)]
    return table


@pytest.mark.parametrize("figure", ["1a", "1b", "3a", "3b", "8a", "10a", "10b", "10c", "12b", "12c", "12d", "13a"])
def test_copies_are_as_far_as_they_were_moved(distances: pd.DataFrame, figure: str) -> None:
    rows = rows_of(distances, figure=figure, common_factor=1.0)
    if figure.startswith("3"):  # its training curves are drawn elsewhere as well, and copied from there
        rows = rows[rows["quantity"].str.startswith("ics")]
    assert len(rows) > 3
    log = rows["measure"] == "log10 ratio"
    expected = np.where(log, math.log10(2), 0.03)
    np.testing.assert_allclose(rows["distance"], expected, atol=1e-9)
    np.testing.assert_allclose(rows["distance_low"], 0, atol=1e-9)
    np.testing.assert_allclose(rows["distance_high"], np.where(log, math.log10(4), 0.05), atol=1e-9)
    np.testing.assert_allclose(rows["ours"], np.where(log, 2 * rows["paper"], rows["paper"] + 0.03), rtol=1e-9)
    assert (rows["share_inside"] == 1).all()  # the band begins on the paper's curve
    assert (rows["seeds"] == 3).all()


def test_how_far_apart_the_papers_own_runs_are(distances: pd.DataFrame) -> None:
    accuracy = rows_of(distances, quantity="train_accuracy_percent", arm="standard", lr=0.1, window="1k–3k")
    of_figure = dict(zip(accuracy["figure"], accuracy["paper"], strict=True))
    assert of_figure["1a"] == pytest.approx(of_figure["5a"], abs=0.01)  # one run
    apart = abs(of_figure["1a"] - of_figure["3a"])  # two
    assert apart > 0.5
    np.testing.assert_allclose(accuracy["papers_spread"], apart, atol=0.01)
    assert rows_of(distances, quantity="ics_l2")["papers_spread"].isna().all()  # shown once
    assert f"(100%, paper's own ±{apart:.2g})" in to_markdown(distances)


def test_windows_are_those_of_the_paper(distances: pd.DataFrame) -> None:
    rows = rows_of(distances, figure="3a", lr=0.1, layer=5, arm="batch", quantity="ics_l2")
    assert rows["window"].tolist() == ["step 0", "100–1k", "1k–3k", "all"]  # ours end at step 2,000
    assert rows["points"].tolist() == [1, 9, 11, 21]
    rows = rows_of(distances, figure="3b", lr=1e-6, layer=9, arm="batch", quantity="ics_l2")
    assert rows["window"].tolist() == ["step 0", "50–500", "500–2k", "2k–5k", "all"]
    assert rows["points"].tolist() == [1, 9, 30, 1, 41]


def test_the_paper_in_its_windows_agrees_with_what_was_read_off() -> None:
    points = paper_points(paper_curves("3a", lr=0.1, layer=5))
    found = {
        (quantity, window): [
            float(own.loc[own["step"].between(first, end, inclusive="left"), "value"].median())
            for own in (rows[rows["arm"] == arm] for arm in ("standard", "batch"))
        ]
        for quantity, rows in points.groupby("quantity")
        for window, (first, end) in WINDOWS["vgg"].items()
    }
    assert found["ics_l2", "step 0"] == pytest.approx([0.041, 14.7], rel=0.02)
    assert found["ics_l2", "1k–3k"] == pytest.approx([0.83, 0.98], rel=0.05)
    assert found["ics_l2", "10k–15k"] == pytest.approx([0.43, 0.82], rel=0.01)
    assert found["ics_cosine", "3k–5k"] == pytest.approx([0.55, 0.58], abs=0.02)


def test_points_on_a_straight_stretch_are_filled_in() -> None:
    curve = paper_curves("3a", quantity="ics_l2", lr=0.1, layer=5)
    curve = curve[curve["arm"] == "batch"]
    filled = paper_points(curve)
    assert filled["step"].tolist() == list(range(0, 15001, 100))
    assert len(curve) < len(filled)
    kept = filled[filled["step"].isin(curve["step"])]
    assert kept["value"].tolist() == curve["value"].tolist()
    (gap,) = np.flatnonzero(np.diff(curve["step"]) > 100)[:1]
    start, end = curve.iloc[gap], curve.iloc[gap + 1]
    middle = filled[filled["step"] == start["step"] + 100]["value"].iloc[0]
    share = 100 / (end["step"] - start["step"])
    assert middle == pytest.approx(start["value"] ** (1 - share) * end["value"] ** share)  # straight on a log axis


def test_an_axis_without_numbers_is_compared_up_to_a_power_of_ten(tmp_path: Path) -> None:
    copies(tmp_path, "vgg", seeds=(0, 1), change=lambda q, _, v: 800 * v if q == "ics_l2" else v,
           rates=[0.1], arms=["none", "batch"], last_step=500)  # fmt: skip
    rows = paper_distance(load_runs(tmp_path))
    right = rows_of(rows, figure="3a", quantity="ics_l2", layer=10)
    assert (right["common_factor"] == 1000).all()
    np.testing.assert_allclose(right["distance"], math.log10(0.8), atol=1e-9)
    left = rows_of(rows, figure="3a", quantity="ics_l2", layer=5)
    assert (left["common_factor"] == 1).all()
    np.testing.assert_allclose(left["distance"], math.log10(800), atol=1e-9)
    assert "times 1000: the paper's axis has no numbers" in to_markdown(rows)


def test_the_band_decides_what_is_inside(tmp_path: Path) -> None:
    # Seeds at twice and four times the paper's norm: it lies outside their band; with one seed there is none.
    some: dict[str, Any] = {"arms": ["batch"], "rates": [0.1], "last_step": 500}
    copies(tmp_path / "two", "vgg", (0, 1), lambda q, s, v: v * (2, 4)[s] if q == "ics_l2" else v, **some)
    copies(tmp_path / "one", "vgg", **some)
    two, one = (paper_distance(load_runs(tmp_path / name)) for name in ("two", "one"))
    assert (rows_of(two, figure="3a", quantity="ics_l2", layer=5)["share_inside"] == 0).all()
    assert (rows_of(two, figure="3a", quantity="ics_cosine")["share_inside"] == 1).all()
    assert one["share_inside"].isna().all()
    assert (rows_of(one, figure="3a", quantity="ics_l2", layer=5)["distance"] == 0).all()


def test_a_run_measured_at_other_steps_is_read_between_them(tmp_path: Path) -> None:
    rows = {
        TRAINING: training_rows([1.0, 1.0], [0, 150], [0.1, 0.4]),
        SHIFT: shift_rows([1.0, 1.0], steps=[0, 150]),
    }
    write_run(tmp_path, settings=merged(SETTINGS, {"norm": {"name": "batch"}}), rows=rows)
    found = rows_of(paper_distance(load_runs(tmp_path)), figure="1a", arm="batch", window="100–1k")
    assert found["ours"].tolist() == [pytest.approx(30.0)]  # at step 100, where the paper has its point
    assert found["points"].tolist() == [1]


def test_scales_are_kept_apart_and_other_networks_left_out(tmp_path: Path) -> None:
    some: dict[str, Any] = {"arms": ["batch"], "rates": [0.1], "last_step": 500}
    copies(tmp_path, "vgg", **some)
    half = {"experiment": "half", "model": {"width": 0.5}}
    copies(tmp_path, "vgg", change=lambda _, __, values: 2 * values, settings=half, **some)
    write_run(tmp_path, "mlp/seed0", merged(SETTINGS, {"model": {"name": "mlp"}}))
    rows = rows_of(paper_distance(load_runs(tmp_path)), figure="4c")
    assert rows.groupby("scale")["distance"].median().to_dict() == {
        "cifar10_vgg16_w0.5": pytest.approx(math.log10(2)),
        "cifar10_vgg16_w1": 0.0,
    }


def test_a_diverged_run_counts_as_guessing(tmp_path: Path) -> None:
    rows = {TRAINING: training_rows([1.0, math.inf], [0, 100], [0.3, 0.3])}
    write_run(tmp_path, "a/seed0", merged(SETTINGS, {"seed": 0}), rows, state="diverged")
    write_run(tmp_path, "a/seed1", merged(SETTINGS, {"seed": 1}), {TRAINING: training_rows([1.0] * 3, [0, 100, 200])})
    rows_ = rows_of(paper_distance(load_runs(tmp_path)), figure="1a", arm="batch", window="100–1k")
    paper = rows_["paper"].iloc[0]
    assert rows_["distance_high"].tolist() == [pytest.approx(50 - paper)]
    assert rows_["distance_low"].tolist() == [pytest.approx((30 + 10) / 2 - paper)]


def test_nothing_to_compare_is_an_empty_table(tmp_path: Path) -> None:
    write_run(tmp_path, settings=merged(SETTINGS, {"optimizer": {"lr": 0.3}}))
    table = paper_distance(load_runs(tmp_path))
    assert table.empty
    assert list(table.columns) == list(COLUMNS)


def test_the_penalty_is_missing_only_where_the_runs_leave_it_out(tmp_path: Path) -> None:
    for name, penalty in (("with", True), ("without", None)):
        asked = {"measure": {"landscape": {"penalty": penalty}}}
        copies(tmp_path / name, "vgg", arms=["none", "batch"], rates=[0.1], last_step=200, settings=asked)
    runs = {name: load_runs(tmp_path / name) for name in ("with", "without")}
    notes = {name: set(rows_of(paper_distance(of), quantity="loss_range")["note"]) for name, of in runs.items()}
    assert notes == {"with": {""}, "without": {PENALTY}}
    said = {name: "contains an ℓ₂ penalty" in words(sheet("fig4", of)) for name, of in runs.items()}
    assert said == {"with": False, "without": True}


def test_the_report_names_what_differs(distances: pd.DataFrame) -> None:
    text = to_markdown(distances)
    assert "## VGG-16, width ×1, on cifar10, 15,000 steps" in text
    assert "| 3a | ics_l2 | 0.1 | #5 | batch | ×2.0 (100%) |" in text
    assert "the paper's loss contains an l2 penalty" in text
    assert text == to_markdown(distances)


def test_how_near_a_scale_comes_in_one_line() -> None:
    row = {"window": "all", "arm": "batch", "scale_title": "S", "lr": 1e-6, "measure": "difference"}
    accuracy = {"quantity": "train_accuracy_percent", "distance": 3.0, "papers_spread": 2.0}
    rows = [
        row | accuracy,
        row | accuracy | {"distance": -4.0, "papers_spread": float("nan")},
        row | accuracy | {"distance": 99.0, "window": "step 0"},
        row | accuracy | {"distance": 99.0, "arm": "noisy_batch"},
        row | {"quantity": "ics_l2", "measure": "log10 ratio", "distance": float(np.log10(2)), "papers_spread": 9.0},
        row | {"quantity": "ics_l2", "measure": "log10 ratio", "distance": -float(np.log10(2))},
    ]
    assert nearness(pd.DataFrame(rows)).splitlines()[2:] == ["| S | 1e-6 | ±3.5 | ×2.0 | – | ±2.0 |"]
