"""The search for the paper's set-up: distances known by hand, the table, the figure, and what the docs say of it."""

import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_tools import sheet
from made_up_runs import SETTINGS, SHIFT, merged, shift_row, write_run
from pages import assert_same_page

from ics import load_runs
from ics.analysis.fingerprint import SETUP, first_steps, papers_numbers, ranking, seed_noise, to_markdown
from ics.analysis.paper import paper_curves
from ics.analysis.scales import scales_with
from ics.errors import UserError
from ics.figures import fingerprint, style

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference" / "fingerprint"
EVIDENCE = ROOT / "results" / "evidence"
NEAREST = {
    "depth": "16",
    "head": "4096-4096",
    "head_norm": "first",
    "scaling": "bytes_centered",
    "init": "glorot_uniform",
    "penalty": "0.0005",
}
FIRST_STEP: dict[str, Any] = {
    "experiment": "fingerprint",
    "steps": 1,
    "model": {"depth": 16, "head": [512, 512], "head_norm": "none", "init": {"name": "glorot_uniform"}},
    "norm": {"eps": None},
}


def write_setup(root: Path, name: str, change: Mapping[str, Any], ratio: float, off: float, seeds: int = 1) -> None:
    """Runs with the paper's norms times a ratio and its cosines plus a difference, the seeds 10 % apart."""
    papers = papers_numbers().set_index(["arm", "lr", "layer", "quantity"])["paper"]
    for seed in range(seeds):
        for arm in ("standard", "batch"):
            for lr in (0.1, 0.01):
                norm = {"norm": {"name": "none" if arm == "standard" else arm}, "optimizer": {"lr": lr}, "seed": seed}
                l2 = papers[arm, lr, 5, "ics_l2"] * ratio * 1.1**seed
                rows = [shift_row(0, i, l2, papers[arm, lr, i, "ics_cosine"] + off) for i in (5, 10)]
                settings = merged(SETTINGS, FIRST_STEP, change, norm)
                write_run(root, f"{name}_{arm}_{lr}/seed{seed}", settings, {SHIFT: rows})


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    write_setup(root, "doubled", {"data": {"scaling": "unit"}}, 2.0, 0.0)
    write_setup(root, "turned", {"model": {"head": []}}, 1.0, -0.3)
    write_setup(root, "exact", {"model": {"depth": 19}}, 1.0, 0.0, seeds=3)
    write_run(root, "another/seed0")  # of another experiment
    return root


def test_there_are_twelve_published_numbers() -> None:
    papers = papers_numbers()
    assert papers.groupby("quantity").size().to_dict() == {"ics_cosine": 8, "ics_l2": 4}
    assert papers.groupby(["arm", "lr"]).size().tolist() == [3, 3, 3, 3]
    spike = papers[(papers["arm"] == "batch") & (papers["quantity"] == "ics_l2") & (papers["lr"] == 0.1)]
    assert spike["paper"].tolist() == [14.701]


def test_distances_by_hand(candidates: Path) -> None:
    ranked = ranking(first_steps(load_runs(candidates)))
    assert ranked["model.depth"].tolist() == ["19", "16", "16"]
    assert ranked["model.head"].tolist() == ["512-512", "none", "512-512"]
    assert ranked["data.scaling"].tolist() == ["standardize", "standardize", "unit"]
    assert ranked["seeds"].tolist() == [3, 1, 1]
    log = np.log(1.1) * np.sqrt(4 / 12)  # of one seed from the next
    assert ranked["distance"].to_numpy() == pytest.approx([log, 0.3 * np.sqrt(8 / 12), np.log(2) * np.sqrt(4 / 12)])
    assert (ranked["low"][0], ranked["high"][0]) == pytest.approx((0, 2 * log), abs=1e-12)
    assert ranked["ics_cosine #10 batch 0.01"].tolist()[1] == pytest.approx(0.10538 - 0.3)


def test_seeds_are_compared_with_one_another(candidates: Path) -> None:
    steps = first_steps(load_runs(candidates))
    best, *others = (setup for _, setup in ranking(steps).iterrows())
    assert seed_noise(steps, best) == pytest.approx(np.log(1.1) * np.sqrt(4 / 12))  # 1, 1 and 2 times this
    assert all(np.isnan(seed_noise(steps, setup)) for setup in others)


def test_a_seed_without_all_numbers_does_not_count_and_no_gradient_is_infinitely_far(tmp_path: Path) -> None:
    write_setup(tmp_path, "lame", {}, 1.0, 0.0, seeds=2)
    (tmp_path / "lame_batch_0.1" / "seed1" / "shift.csv").write_text(",".join(SHIFT.header) + "\n")
    write_setup(tmp_path, "dead", {"optimizer": {"weight_decay": 0.0}}, 0.0, float("nan"))
    ranked = ranking(first_steps(load_runs(tmp_path)))
    assert ranked["optimizer.weight_decay"].tolist() == ["0.0005", "0"]
    assert ranked["seeds"].tolist() == [1, 1]
    assert ranked["distance"].tolist() == [0, np.inf]


def test_two_results_of_one_setup_and_seed_are_refused(candidates: Path) -> None:
    write_setup(candidates, "again", {"model": {"depth": 19}}, 1.0, 0.0)  # the same once more is no harm
    assert ranking(first_steps(load_runs(candidates)))["seeds"].tolist() == [3, 1, 1]
    write_setup(candidates, "other", {"model": {"depth": 19}, "batch_size": 64}, 1.5, 0.0)
    with pytest.raises(
        UserError, match=r"runs again_\S+ and other_\S+ have the same set-up and seed, and other results"
    ):
        first_steps(load_runs(candidates))


def test_the_markdown_begins_with_the_paper(candidates: Path) -> None:
    lines = to_markdown(first_steps(load_runs(candidates)), "digits").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert "**paper**" in table[2]
    assert "| 0.041 / 0.92, 0.75 | 15 / 0.01, 0.01 | 0.012 / 0.99, 0.98 | 14 / 0.06, 0.11 |" in table[2]
    assert table[3].startswith("| 1 | 19 | 512-512 | none | standardize | glorot_uniform | 0.0005 | 0.055 [0, 0.11] |")
    assert len(table) == 2 + 1 + 3


def test_the_script_writes_both_tables_or_says_what_is_missing(candidates: Path, tmp_path: Path) -> None:
    def script(runs: Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "scripts/fingerprint.py", "--runs", str(runs), "--out", str(tmp_path / "out")]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    done = script(candidates)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "out" / "fingerprint.csv")["rank"].tolist() == [1, 2, 3]
    assert (tmp_path / "out" / "fingerprint.md").read_text().startswith("# The paper's set-up")
    write_run(tmp_path / "none")
    missing = script(tmp_path / "none")
    assert missing.returncode == 2
    assert "make some with: python scripts/train.py -m experiment=fingerprint runs=" in missing.stderr


def test_the_figure_shows_the_numbers(candidates: Path) -> None:
    steps = first_steps(load_runs(candidates))
    figure = sheet("fingerprint", load_runs(candidates))
    distance, l2, _, cosine = figure.axes
    (dots,) = distance.get_lines()
    assert list(dots.get_xdata()) == pytest.approx(ranking(steps)["distance"].tolist())
    drawn = {round(float(line.get_xdata()[0]), 6) for line in l2.get_lines() if len(line.get_xdata()) == 2}
    assert drawn == {14.701, 14.28, 0.040553, 0.011572}  # the paper's
    orange = [line for line in cosine.get_lines() if line.get_color() == style.ARMS["standard"].colour]
    assert list(orange[0].get_xdata()) == pytest.approx([0.75248, 0.45248, 0.75248])
    words = {text.get_text() for text in distance.texts}
    assert {"VGG", "19", "512-512", "none", "0 to 1"} <= words


def test_a_single_step_is_no_curve_of_another_figure(candidates: Path) -> None:
    (scale,) = scales_with(load_runs(candidates), "vgg", ["shift"])
    assert scale.runs["run"].tolist() == ["another/seed0"]


def test_runs_of_other_experiments_are_not_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    assert list(fingerprint.FINGERPRINT.find(load_runs(tmp_path / "runs"))) == []


# --- the committed runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    return first_steps(load_runs(REFERENCE))


def test_the_committed_table_is_made_from_the_committed_runs(committed: pd.DataFrame) -> None:
    assert_same_page((EVIDENCE / "fingerprint.md").read_text(encoding="utf-8"), to_markdown(committed, "cifar10-jpeg"))


def test_the_docs_say_what_the_runs_say(committed: pd.DataFrame) -> None:
    text = " ".join((ROOT / "docs" / "method.md").read_text().split())
    ranked = ranking(committed)
    changed = ranked.set_index(list(SETUP))
    assert (ranked["seeds"] == 3).all()

    def of(**change: str) -> pd.Series:
        return changed.loc[tuple((NEAREST | change).values())]

    def said(setup: pd.Series) -> str:
        return f"{setup['distance']:.2f} [{setup['low']:.2f}, {setup['high']:.2f}]"

    assert f"themselves about {seed_noise(committed, ranked.iloc[0]):.1f} apart" in text
    assert ranked["model.head"].tolist()[:2] == ["2048-2048", "4096-4096"]
    assert f"with VGG-13 the distance is {said(of(depth='13'))}, with VGG-19 {said(of(depth='19'))}" in text
    assert f"with inputs of unit variance {said(of(scaling='standardize'))}" in text
    assert f"with He's weights {said(of(init='he_uniform'))}" in text
    assert f"without subtracting it, {said(of(scaling='none'))}" in text
    assert f"not told apart: {said(of(init='glorot_normal'))}" in text
    assert f"{said(of(head='2048-2048'))} and {said(of())}" in text
    assert f"512-512 head without BN is at {said(of(head='512-512', head_norm='none'))}" in text
    assert f"without it, {said(of(penalty='0'))}" in text
    spikes = [of(head_norm=norm)["ics_l2 #5 batch 0.1"] for norm in ("none", "first", "all")]
    assert (
        "is {:.1f} with a 4096-4096 head without BN on it, {:.0f} with BN on the first layer, {:.0f}".format(*spikes)
        in text
    )
    nearest = of()
    papers = papers_numbers().set_index(["quantity", "layer", "arm", "lr"])["paper"]
    ratio = {arm: nearest[f"ics_l2 #5 {arm} 0.1"] / papers["ics_l2", 5, arm, 0.1] for arm in ("standard", "batch")}
    assert ratio["standard"] == pytest.approx(2 / 3, abs=0.05)  # "a third too small"
    assert ratio["batch"] == pytest.approx(5 / 4, abs=0.05)  # "a quarter too large"


def test_the_docs_say_what_the_papers_loss_says_of_the_penalty() -> None:
    text = " ".join((ROOT / "docs" / "method.md").read_text().split())
    loss = paper_curves("4a", quantity="loss_range")
    start = loss[(loss["step"] == 0) & (loss["arm"] == "standard")][["low", "high"]].mean(axis=1).item()
    excess = start - np.log(10)
    assert f"starts {excess:.2f} above ln 10" in text
    penalties = [2 * excess / squared_norm(hidden) for hidden in (4096, 2048, 512)]
    assert "λ = {} with a 4096-4096 head, {} with 2048-2048 and {} with 512-512".format(*map(short, penalties)) in text
    shrinking = [2 * 0.1 * penalty for penalty in penalties]
    assert "2 lr λ = {}, {} or {} a step".format(*map(short, shrinking)) in text
    late = loss[loss["step"] >= 5000]
    decay = {arm: -np.polyfit(rows["step"], np.log(rows["low"]), 1)[0] for arm, rows in late.groupby("arm")}
    assert f"by {short(decay['batch'])} (BN) and {short(decay['standard'])} (standard)" in text


def short(value: float) -> str:
    return f"{value:.1e}".replace("e-0", "e-")


def squared_norm(hidden: int) -> float:
    """Expected, of all weights of VGG-16 as Glorot draws them: the sum of 2 / (fan_in + fan_out)."""
    channels = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    convolutions = [(9 * before, 9 * after, 9) for before, after in pairwise(channels)]
    linear = [(before, after, 1) for before, after in pairwise([512, hidden, hidden, 10])]
    return sum(2 / (a + b) * a * b / kernel for a, b, kernel in convolutions + linear)
