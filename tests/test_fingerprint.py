"""The search for the paper's set-up: distances known by hand, the table, the figure, and what the docs say of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_tools import sheet
from made_up_runs import SETTINGS, SHIFT, TRAINING, filled, merged, shift_row, write_run
from pages import assert_same_page
from programs import ROOT, program

from ics import load_runs
from ics.analysis.fingerprint import (
    first_steps,
    papers_numbers,
    papers_penalty,
    ranking,
    seed_noise,
    to_markdown,
    training_distances,
)
from ics.analysis.paper import paper_curves
from ics.analysis.scales import SEARCH, scales_with
from ics.errors import UserError
from ics.quantities.landscape import Landscape

REFERENCE = ROOT / "results" / "reference" / "fingerprint"
EVIDENCE = ROOT / "results" / "evidence"
FIRST_STEP: dict[str, Any] = {
    "experiment": "fingerprint",
    "steps": 1,
    "model": {"depth": 16, "head": [512], "head_norm": "first", "init": {"name": "he_normal", "linear": None}},
    "norm": {"eps": None},
}
LANDSCAPE = Landscape.table


def write_setup(root: Path, name: str, change: Mapping[str, Any], ratio: float, off: float, seeds: int = 1) -> None:
    """Runs with the paper's numbers times a ratio, its cosines plus a difference; the seeds' shift 10 % apart."""
    papers = papers_numbers().astype({"layer": object}).set_index(["arm", "quantity", "layer", "edge"])["paper"]
    for seed in range(seeds):
        for arm in ("standard", "batch"):
            norm = {"norm": {"name": "none" if arm == "standard" else arm}, "optimizer": {"lr": 0.1}, "seed": seed}
            of = papers[arm]
            l2 = of["ics_l2", 5, "value"] * ratio * 1.1**seed
            shift = [shift_row(0, i, l2, of["ics_cosine", i, "value"] + off) for i in (5, 10)]
            loss, change_of_g = of["loss_range"], of["gradient_predictiveness_range"]
            beta = of["effective_beta_smoothness"].item()
            ends = [("gradient", edge, loss.droplevel(0)[edge] * ratio, change_of_g.droplevel(0)[edge] * ratio)
                    for edge in ("low", "high")]  # fmt: skip
            landscape = [landscape_row("origin", 0, np.log(10) + papers_penalty() / 2, 0, 0)]
            landscape += [landscape_row("gradient", i, *end[2:], beta * ratio) for i, end in enumerate(ends, start=1)]
            settings = merged(SETTINGS, FIRST_STEP, change, norm)
            start = [{"step": 0, "epoch": 0, "loss": np.log(10), "accuracy": 0.1, "lr": 0.1}]
            tables = {SHIFT: shift, LANDSCAPE: landscape, TRAINING: start}
            write_run(root, f"{name}_{arm}/seed{seed}", settings, tables)


def landscape_row(direction: str, factor: float, loss: float, change: float, beta: float) -> dict[str, Any]:
    own = {"step": 0, "direction": direction, "factor": factor, "loss": loss}
    return filled(LANDSCAPE, 0.0, **own, gradient_distance_sum=change, effective_beta=beta)


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    write_setup(root, "doubled", {"data": {"scaling": "unit", "gain": 28.0}}, 2.0, 0.0)
    write_setup(root, "turned", {"model": {"head": []}}, 1.0, -0.3)
    write_setup(root, "exact", {"model": {"init": {"linear": {"name": "lecun_uniform"}}}}, 1.0, 0.0, seeds=3)
    write_run(root, "another/seed0")  # of another experiment
    return root


def test_there_are_sixteen_published_numbers_and_a_penalty() -> None:
    papers = papers_numbers()
    assert papers.groupby("arm").size().to_dict() == {"batch": 8, "standard": 8}
    spike = papers[(papers["arm"] == "batch") & (papers["quantity"] == "ics_l2")]
    assert spike["paper"].tolist() == [14.701]
    assert papers_penalty() == pytest.approx((4.2667 + 4.2882) / 2 - np.log(10))


def test_distances_by_hand(candidates: Path) -> None:
    ranked = ranking(first_steps(load_runs(candidates)))
    assert ranked["weights"].tolist() == ["he_normal, lecun_uniform", "he_normal", "he_normal"]
    assert ranked["model.head"].tolist() == ["512", "none", "512"]
    assert ranked["data.scaling"].tolist() == ["standardize", "standardize", "unit"]
    assert ranked["data.gain"].tolist() == ["1", "1", "28"]
    assert ranked["seeds"].tolist() == [3, 1, 1]
    log = np.log(1.1) * np.sqrt(2 / 16)  # of one seed from the next, in the two norms alone
    turned, doubled = 0.3 * np.sqrt(4 / 16), np.log(2) * np.sqrt(12 / 16)
    assert ranked["distance"].to_numpy() == pytest.approx([log, turned, doubled])
    assert ranked["distance_batch"].to_numpy() == pytest.approx([log, turned, doubled])
    assert (ranked["low"][0], ranked["high"][0]) == pytest.approx((0, 2 * log), abs=1e-12)
    assert ranked["batch ics_cosine #10"].tolist()[1] == pytest.approx(0.011078 - 0.3)
    assert ranked["standard loss_range high"].tolist()[2] == pytest.approx(2 * 4.2882)
    assert ranked["penalty_factor"].to_numpy() == pytest.approx(1e-3)  # half the paper's penalty at 5e-4


def test_seeds_are_compared_with_one_another(candidates: Path) -> None:
    steps = first_steps(load_runs(candidates))
    assert seed_noise(steps) == pytest.approx(np.log(1.1) * np.sqrt(2 / 16))  # of three pairs, 1, 1 and 2 times this
    assert np.isnan(seed_noise(steps[steps["seed"] == 0]))


def test_a_seed_without_all_numbers_does_not_count_and_no_gradient_is_infinitely_far(tmp_path: Path) -> None:
    write_setup(tmp_path, "lame", {}, 1.0, 0.0, seeds=2)
    (tmp_path / "lame_batch" / "seed1" / "shift.csv").write_text(",".join(SHIFT.header) + "\n")
    write_setup(tmp_path, "dead", {"data": {"scaling": "none"}}, 1.0, float("nan"))
    ranked = ranking(first_steps(load_runs(tmp_path)))
    assert ranked["data.scaling"].tolist() == ["standardize", "none"]
    assert ranked["seeds"].tolist() == [1, 1]
    assert ranked["distance"].tolist() == [0, np.inf]


def test_two_results_of_one_setup_and_seed_are_refused(candidates: Path) -> None:
    same = {"model": {"init": {"linear": {"name": "lecun_uniform"}}}}
    write_setup(candidates, "again", same, 1.0, 0.0)  # the same once more is no harm
    assert ranking(first_steps(load_runs(candidates)))["seeds"].tolist() == [3, 1, 1]
    write_setup(candidates, "other", same | {"batch_size": 64}, 1.5, 0.0)
    with pytest.raises(
        UserError, match=r"runs again_\S+ and other_\S+ have the same set-up and seed, and other results"
    ):
        first_steps(load_runs(candidates))


def test_the_markdown_ranks_and_compares(candidates: Path) -> None:
    runs = load_runs(candidates)
    lines = to_markdown(first_steps(runs), runs).splitlines()
    assert (
        "| 1 | 512 | first | standardize | 1 | he_normal, lecun_uniform | 0.034 [0, 0.067] | 0.034 | 0.034 | 0.00100 |"
        in lines
    )
    assert "| number | paper | rank 1 | rank 2 | rank 3 |" in lines
    assert "| standard ics_cosine #5 | 0.923 | 0.923 | 0.623 | 0.923 |" in lines
    assert sum(line.startswith("|") for line in lines) == 2 + 3 + 2 + 16


def test_trained_setups_are_compared_with_the_papers_curves_and_are_no_scale(candidates: Path) -> None:
    papers = paper_curves("2", lr=0.1, quantity="train_accuracy_percent")
    for head, off in ((256, 3.0), (512, -4.0)):
        for arm in ("standard", "batch"):
            own = papers[papers["arm"] == arm].sort_values("step")
            steps = [
                {"step": step, "epoch": 0, "loss": 1.0, "accuracy": (value + off) / 100, "lr": 0.1}
                for step, value in zip(own["step"], own["value"], strict=True)
            ]
            change = {"experiment": SEARCH, "steps": 15000, "model": {"head": [head]}, "norm": {"name": arm}}
            norm = {"norm": {"name": "none" if arm == "standard" else arm}}
            write_run(candidates, f"{head}_{arm}/seed0", merged(SETTINGS, FIRST_STEP, change, norm), {TRAINING: steps})
    runs = load_runs(candidates)
    trained = training_distances(runs)
    accuracy = trained[(trained["figure"].str.startswith("2")) & (trained["window"] == "all")]
    assert set(zip(accuracy["scale_title"].str[:32], accuracy["distance"].round(6), strict=True)) == {
        ("width ×0.25; fully connected 256", 3),
        ("width ×0.25; fully connected 512", -4),
    }
    lines = to_markdown(first_steps(runs), runs).splitlines()
    (line,) = [line for line in lines if line.startswith("| width ×0.25; fully connected 256;")]
    assert line.split(" | ")[1] == "0.1" and line.split(" | ")[2].startswith("±3.")
    (scale,) = scales_with(runs, "vgg", "training")
    assert scale.runs["run"].tolist() == ["another/seed0"]


def test_the_script_writes_both_tables_or_says_what_is_missing(
    candidates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, out = program("fingerprint"), tmp_path / "out"
    assert main(["--runs", str(candidates), "--out", str(out)]) == 0
    assert pd.read_csv(out / "fingerprint.csv")["rank"].tolist() == [1, 2, 3]
    assert (out / "fingerprint.md").read_text().startswith("# The paper's set-up")
    write_run(tmp_path / "none")
    assert main(["--runs", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "make some with: python scripts/train.py -m experiment=fingerprint runs=" in capsys.readouterr().err


def test_the_figure_shows_the_distances_and_the_errors(candidates: Path) -> None:
    steps = first_steps(load_runs(candidates))
    distance, errors = sheet("fingerprint", load_runs(candidates)).axes
    dots = [list(line.get_xdata()) for line in distance.get_lines()]
    ranked = ranking(steps)
    for name, drawn in zip(("distance_standard", "distance_batch", "distance"), dots, strict=True):
        assert drawn == pytest.approx(ranked[name].tolist())
    (colours,) = errors.collections
    drawn = np.asarray(colours.get_array()).reshape(3, 16)
    assert sorted(drawn[1]) == pytest.approx([-0.3] * 4 + [0] * 12, abs=1e-12)
    assert sorted(drawn[2]) == pytest.approx([0] * 4 + [np.log(2)] * 12, abs=1e-12)
    labels = [label.get_text() for label in errors.get_xticklabels()]
    assert labels[:8] == labels[8:] and {"ℓ₂ #5", "cos #10", "loss high", "β"} <= set(labels)
    words = {text.get_text() for text in distance.texts}
    assert {"head", "512", "none", "0 to 1", "28", "He"} <= words


def test_a_single_step_is_no_curve_of_another_figure(candidates: Path) -> None:
    (scale,) = scales_with(load_runs(candidates), "vgg", "shift")
    assert scale.runs["run"].tolist() == ["another/seed0"]


# --- the committed runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    return first_steps(load_runs(REFERENCE))


def test_the_committed_table_is_made_from_the_committed_runs(committed: pd.DataFrame) -> None:
    text = to_markdown(committed, load_runs(REFERENCE))
    assert_same_page((EVIDENCE / "fingerprint.md").read_text(encoding="utf-8"), text)


def test_the_docs_say_what_the_runs_say(committed: pd.DataFrame) -> None:
    text = " ".join((ROOT / "docs" / "method.md").read_text(encoding="utf-8").split())
    ranked = ranking(committed).set_index(["model.head", "model.head_norm", "data.scaling", "data.gain", "weights"])
    answer = ranked.loc["512", "first", "per_image", "1", "he_normal_fan_out, lecun_uniform"]
    low, distance, high = answer["low"], answer["distance"], answer["high"]
    assert f"is at {distance:.2f} [{low:.2f}, {high:.2f}], three seeds" in text and answer["seeds"] == 3
    assert f"λ comes out at {short(answer['penalty_factor'])}" in text
    small, large = (
        [ranked.loc["512", "first", "per_image", gain, weights] for gain in (fitting, "1")]
        for weights, fitting in (("he_normal", "0.05"), ("glorot_uniform", "28"))
    )
    fits = "at {:.2f} and {:.2f}".format(*(one["distance"] for one in (small[0], large[0])))
    plain = "{:.1f} and {:.1f}".format(*(one["distance"] for one in (small[1], large[1])))
    assert f"{fits}; as they are, at {plain}" in text
    assert "{} and {}".format(*(short(one["penalty_factor"]) for one in (small[0], large[0]))) in text
    stated = ranked.xs("bytes_centered", level="data.scaling")["distance"]
    assert f"at {stated.min():.2f} to {stated.max():.2f}" in text and len(stated) == 4


def short(value: float) -> str:
    return f"{value:.2e}".replace("e-0", "e-")
