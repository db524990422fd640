"""The claims: intervals and verdicts by hand, on runs made for them, and on the paper's own curves."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_paper import LANDSCAPE, copies
from made_up_runs import DLN, EVALUATION, SETTINGS, SHIFT, TRAINING, filled, merged, shift_row, training_rows, write_run
from programs import ROOT, program

from ics.analysis import load_runs
from ics.analysis.claims import report, words
from ics.analysis.claims.catalogue import THEORY, all_claims, names
from ics.analysis.claims.claim import ALL_LAYERS, EARLY, LATE, START, WHOLE, Claim, Statistic
from ics.analysis.claims.interval import Estimate, Range, estimate, judge, t_quantile, verdict
from ics.analysis.claims.judge import COLUMNS, evaluate
from ics.analysis.claims.training import SPEED
from ics.analysis.measured import measured_by
from ics.analysis.paper import paper_curves
from ics.analysis.scales import Scale

main = program("claims")


# ---- Intervals ----


@pytest.mark.parametrize(
    ("degrees", "tabled"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (30, 2.04227), (1000, 1.96234)],
)
def test_t_quantiles_are_those_of_the_tables(degrees: int, tabled: float) -> None:
    assert t_quantile(degrees) == pytest.approx(tabled, rel=1e-5)


def test_intervals_of_few_equal_and_infinite_values() -> None:
    assert estimate([]).n == 0
    assert math.isnan(estimate([3.0]).low)
    assert estimate([3.0, 3.0]) == Estimate(3.0, 3.0, 3.0, 2)
    assert estimate([math.inf] * 3) == Estimate(math.inf, math.inf, math.inf, 3)
    assert math.isnan(estimate([math.inf, 1.0]).low)


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [
        (0.0, 1.0, True),
        (0.1, 2.0, None),
        (-0.1, 0.5, None),
        (1.1, 2.0, False),
        (-2.0, -0.1, False),
        (-2.0, 2.0, None),
        (math.nan, math.nan, None),
    ],
)
def test_what_an_interval_decides(low: float, high: float, holds: bool | None) -> None:
    assert judge(Estimate((low + high) / 2, low, high, 3), Range(0.0, 1.0)) is holds
    assert judge(Estimate((low + high) / 2, low, high, 1), Range(0.0, 1.0)) is None


def test_only_runs_of_the_papers_own_size_and_data_contradict_it() -> None:
    assert [verdict(holds, papers_own=True) for holds in (True, False, None)] == [
        "supported",
        "contradicted",
        "undecided",
    ]
    assert [verdict(holds, papers_own=False) for holds in (True, False, None)] == [
        "borne out",
        "not borne out at this scale",
        "undecided",
    ]


PAPERS = {
    "data_label": "cifar10",
    "steps": 15_000,
    "batch_size": 128.0,
    "model.name": "vgg",
    "model.depth": 16.0,
    "model.width": 1.0,
}


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ({}, True),
        ({"data_label": "cifar10-jpeg"}, False),
        ({"model.width": 0.25}, False),
        ({"steps": 5000}, False),
        ({"model.name": "mlp"}, False),
    ],
)
def test_the_papers_own_size_and_data(other: dict[str, object], own: bool) -> None:
    assert Scale("s", "t", pd.DataFrame([PAPERS | other])).is_papers_own is own


# ---- Statistics ----


def test_a_statistic_takes_its_phase_and_layers() -> None:
    rows = pd.DataFrame(
        [(step, layer, 10.0 ** (layer + (step > 0) + (step > 50))) for step in (0, 10, 60, 100) for layer in (1, 2, 4)],
        columns=["step", "layer", "value"],
    )

    def of(statistic: Statistic, rows: pd.DataFrame, steps: int) -> list[float]:
        return statistic.of_layers(rows.assign(seed=0), steps, ["seed"])["value"].tolist()

    assert of(Statistic("ics_l2", "median", START, (2,), scale="log10"), rows, 100) == [1, 2, 4]
    assert of(Statistic("ics_l2", "mean", EARLY, (2, 4), scale="log10"), rows, 100) == [2, 3, 5]
    assert of(Statistic("ics_l2", "median", LATE, (4,), scale="log10"), rows, 100) == [3, 4, 6]
    assert of(Statistic("ics_l2", "median", LATE, (4,)), rows[rows["step"] < 50], 100) == []
    flips = pd.DataFrame({"step": [0, 1, 2], "layer": 5, "value": [-0.9, 0.9, math.nan]})
    assert of(Statistic("ics_cosine", "median", layers=(5,), scale="abs"), flips, 2) == [0.9]
    shades = pd.DataFrame({"step": [0, 1], "low": [1.0, 1.0], "high": [3.0, math.inf]})
    assert of(Statistic("loss_range", "median", START, edge="width"), shades, 1) == [2]
    assert of(Statistic("loss_range", "last", edge="width"), shades, 1) == [math.inf]


# ---- Verdicts on runs ----


def accuracies(root: Path, norm: str, of_seeds: Iterable[float], lr: float = 0.1, **options: Any) -> None:
    """Runs with the same training and test accuracy (0 to 1) all the way."""
    for seed, accuracy in enumerate(of_seeds):
        settings = merged(SETTINGS, {"seed": seed, "norm": {"name": norm}, "optimizer": {"lr": lr}})
        settings = merged(settings, options.get("settings", {}))
        rows = {
            TRAINING: training_rows([1.0] * 3, [0, 100, 199], [accuracy] * 3),
            EVALUATION: [{"step": 200, "split": "test", "loss": 1.0, "accuracy": accuracy}],
        }
        write_run(root, f"{options.get('name', 'v')}/{norm}_lr{lr}/seed{seed}", settings, rows)


def verdicts(root: Path, *claims: str) -> pd.DataFrame:
    chosen = [claim for claim in all_claims() if claim.name in claims and claim.headline and claim.model == "vgg"]
    return evaluate(chosen, load_runs(root))


def test_a_paired_verdict_by_hand(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.50, 0.60, 0.70, 0.10])  # the fourth seed has no partner
    accuracies(tmp_path, "batch", [0.60, 0.72, 0.84])
    (row,) = verdicts(tmp_path, "bn_trains_faster").to_dict("records")
    assert row["effect"] == pytest.approx(12)
    # Standard deviation 2, standard error 2/√3, times 4.30265.
    assert row["low"] == pytest.approx(12 - 4.30265 * 2 / math.sqrt(3), rel=1e-5)
    assert row["high"] == pytest.approx(12 + 4.30265 * 2 / math.sqrt(3), rel=1e-5)
    assert (row["n"], row["verdict"], row["unit"]) == (3, "borne out", "percentage points")
    assert (row["holds"], row["papers_own"], row["network"], row["data"]) == (1, 0, "VGG-11", "digits")
    assert (row["quantity"], row["phase"]) == ("train_accuracy_percent", "all steps")
    assert row["value"] == pytest.approx(72)
    assert row["value_against"] == pytest.approx(60)
    assert row["interval"] == "Student's t, paired by seed"
    assert row["papers_curves"] == "agree"
    shown = paper_curves("1a", quantity="train_accuracy_percent", lr=0.1)
    as_far = shown[shown["step"] <= 200].groupby("arm")["value"].mean()  # the runs have 200 steps
    assert row["papers_as_far"] == pytest.approx(as_far["batch"] - as_far["standard"])
    assert row["rule"].startswith("holds if the whole 95% t-interval over the seeds is at least 0")
    accuracies(tmp_path, "noisy_batch", [0.59, 0.71, 0.60])
    noisy = verdicts(tmp_path, "noisy_nearly_matches_bn", "noisy_beats_standard").set_index("claim")
    assert noisy["effect"].tolist() == pytest.approx([-26 / 3, 10 / 3])
    assert noisy["verdict"].tolist() == ["undecided", "undecided"]


def test_the_other_way_round_is_not_borne_out(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.60, 0.72, 0.84])
    accuracies(tmp_path, "batch", [0.50, 0.60, 0.70])
    table = verdicts(tmp_path, "bn_trains_faster", "bn_generalises_better")
    assert table["verdict"].tolist() == ["not borne out at this scale"] * 2


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.5])
    accuracies(tmp_path, "batch", [0.9])
    (row,) = verdicts(tmp_path, "bn_trains_faster").to_dict("records")
    assert (row["n"], row["verdict"], row["note"]) == (1, "undecided", "one seed decides nothing")
    assert row["effect"] == pytest.approx(40)
    assert math.isnan(row["low"])


def test_seeds_without_partners_decide_nothing(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.5, 0.5])
    accuracies(tmp_path, "batch", [0.9, 0.9], settings={"seed": 7})
    (row,) = verdicts(tmp_path, "bn_trains_faster").to_dict("records")
    assert (row["n"], row["verdict"], row["note"]) == (0, "undecided", "no two runs of the same seed")


def test_diverged_runs_count_as_guessing(tmp_path: Path) -> None:
    for seed in range(3):
        settings = merged(SETTINGS, {"seed": seed, "norm": {"name": "none"}, "optimizer": {"lr": 0.5}})
        rows = {TRAINING: training_rows([2.3, math.inf], [0, 1], [0.9, 0.9])}
        write_run(tmp_path, f"v/none_lr0.5/seed{seed}", settings, rows, state="diverged")
    accuracies(tmp_path, "batch", [0.80, 0.82, 0.84], lr=0.5)
    table = verdicts(tmp_path, "standard_fails_at_high_rate", "bn_trains_at_high_rate").set_index("claim")
    fails = table.loc["standard_fails_at_high_rate"]
    assert (fails["effect"], fails["verdict"], fails["note"]) == (10.0, "borne out", "3 of 3 runs of standard diverged")
    assert table.loc["bn_trains_at_high_rate", "verdict"] == "borne out"
    accuracies(tmp_path, "noise_only", [0.10, 0.11, 0.12])
    (row,) = verdicts(tmp_path, "noise_prevents_training").to_dict("records")
    assert row["verdict"] == "borne out"
    assert row["papers_curves"] == "not shown"


def test_a_diverged_run_on_ones_own_data_counts_as_an_untrained_network(tmp_path: Path) -> None:
    own: dict[str, Any] = {"data": {"name": "rings"}}
    for seed in range(2):
        settings = merged(SETTINGS, own, {"seed": seed, "norm": {"name": "none"}})
        rows = {TRAINING: training_rows([1.0, math.inf], [0, 100], [0.4, 0.4])}
        write_run(tmp_path, f"v/none/seed{seed}", settings, rows, state="diverged")
        settings = merged(settings, {"norm": {"name": "batch"}})
        rows = {TRAINING: training_rows([1.0] * 3, [0, 100, 199], [0.6, 0.9, 0.9])}
        write_run(tmp_path, f"v/batch/seed{seed}", settings, rows)
    (row,) = verdicts(tmp_path, "bn_trains_faster").to_dict("records")
    assert row["n"] == 2
    assert row["value_against"] == pytest.approx(
        (40 + 40 + 50) / 3
    )  # at the last step 50 %: all networks' mean at step 0


def test_the_gradients_change_is_summed_over_tensors_where_a_run_has_that(tmp_path: Path) -> None:
    for norm, summed in (("none", math.nan), ("batch", 7.0)):
        distances = {"gradient_distance": 2.0, "gradient_distance_sum": summed}
        point = filled(LANDSCAPE, math.nan, step=0, direction="gradient", factor=1.0, **distances)
        write_run(tmp_path, f"v/{norm}", merged(SETTINGS, {"norm": {"name": norm}}), {LANDSCAPE: [point]})
    (measured,) = measured_by(load_runs(tmp_path), "vgg", "landscape")
    curve = measured.curve("gradient_predictiveness_range")
    assert dict(zip(curve["arm"], curve["high"], strict=True)) == {"standard": 2.0, "batch": 7.0}


def test_a_diverged_deep_linear_network_has_an_infinite_loss(tmp_path: Path) -> None:
    for norm in ("none", "batch"):
        for seed in range(2):
            settings = merged(SETTINGS, DLN, {"seed": seed, "norm": {"name": norm}})
            lost = norm == "none"
            losses = [9.0, math.inf] if lost else [9.0, 5.0, 1.0]
            rows = {TRAINING: training_rows(losses, [0, 100, 200][: len(losses)])}
            write_run(tmp_path, f"d/{norm}/seed{seed}", settings, rows, state="diverged" if lost else "done")
    claims = [c for c in all_claims() if c.name == "bn_trains_faster" and c.model == "deep_linear"]
    (row,) = evaluate(claims, load_runs(tmp_path)).to_dict("records")
    assert (row["effect"], row["n"], row["verdict"]) == (-math.inf, 2, "borne out")


def test_a_network_that_does_not_train_is_said_to(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.1, 0.1])
    accuracies(tmp_path, "batch", [0.9, 0.8])
    (row,) = verdicts(tmp_path, "bn_trains_faster").to_dict("records")
    assert row["note"] == "runs of standard do not train (training accuracy up to 20 %)"


def test_scales_have_rows_of_their_own(tmp_path: Path) -> None:
    accuracies(tmp_path, "none", [0.5, 0.5])
    accuracies(tmp_path, "batch", [0.8, 0.9])
    half = {"name": "half", "settings": {"model": {"width": 0.5}}}
    accuracies(tmp_path, "none", [0.8, 0.9], **half)
    accuracies(tmp_path, "batch", [0.1, 0.1], **half)
    table = verdicts(tmp_path, "bn_trains_faster").set_index("scale")
    assert table["effect"].to_dict() == {
        "digits_vgg11_w0.25": pytest.approx(35),
        "digits_vgg11_w0.5": pytest.approx(-75),
    }


def test_layers_that_stand_for_the_papers_are_named(tmp_path: Path) -> None:
    for norm, l2 in (("none", 1.0), ("batch", 10.0)):
        for seed in range(2):
            settings = merged(SETTINGS, {"seed": seed, "norm": {"name": norm}})
            rows = {
                TRAINING: training_rows([1.0]),
                SHIFT: [shift_row(0, layer, l2 * layer if layer > 1 else 0.0, 0.1) for layer in range(1, 10)],
            }
            write_run(tmp_path, f"v/{norm}/seed{seed}", settings, rows)
    claims = [claim for claim in all_claims() if claim.name == "bn_spike_at_init" and claim.lr == 0.1]
    table = evaluate(claims, load_runs(tmp_path))
    spike, all_layers, aligned, _ = table.to_dict("records")
    assert spike["effect"] == pytest.approx(1.0)
    assert spike["verdict"] == "borne out"
    assert spike["note"] == "our layers #3 for the paper's #5, #7 for the paper's #10"
    assert all_layers["effect"] == pytest.approx(1.0)  # the first layer, 0 in both, is left out
    assert aligned["effect"] == pytest.approx(0.1)
    assert spike["papers_curves"] == aligned["papers_curves"] == "agree"


def test_what_the_paper_says_and_what_its_curves_show() -> None:
    table = evaluate([claim for claim in all_claims() if claim.headline], None).set_index(["claim", "lr"])
    assert (table["verdict"] == "undecided").all()
    assert (table["n"] == 0).all()
    said = table["papers_curves"].groupby(level=[0, 1]).agg(set)
    assert said["bn_trains_faster", 0.1] == said["noisy_less_stable", 0.1] == {"agree"}
    assert said["noise_prevents_training", 0.1] == {"not shown"}
    assert said["standard_dln_has_no_ics", 1e-6] == {"disagree", "not shown"}
    assert said["bn_dln_gradients_uncorrelated", 1e-6] == {"disagree"}
    assert said["bn_smaller_beta", 0.1] == {"disagree"}
    assert said["bn_does_not_reduce_ics", 0.1] == {"agree", "not shown"}
    assert said["bn_does_not_reduce_ics", 0.01] == {"disagree", "not shown"}
    effects = table["papers_effect"].groupby(level=[0, 1]).first()
    assert float(effects["bn_generalises_better", 0.1]) == pytest.approx(2.9, abs=0.1)
    assert float(effects["bn_spike_at_init", 0.1]) == pytest.approx(2.2, abs=0.2)  # about 150 times larger


def test_copies_of_the_paper_give_the_papers_effects(tmp_path: Path) -> None:
    short = {"steps": 15000}
    copies(tmp_path, "vgg", seeds=(0, 1), rates=[0.1], arms=("none", "batch", "noisy_batch"), settings=short,
           last_step=15000)  # fmt: skip
    wanted = {"bn_trains_faster", "bn_does_not_reduce_ics", "bn_smaller_loss_variation", "noisy_less_stable"}
    claims = [c for c in all_claims() if c.name in wanted and c.model == "vgg" and c.lr == 0.1]
    table = evaluate(claims, load_runs(tmp_path))
    shown = table[(table["papers_curves"] != "not shown") & (~table["quantity"].str.contains("random"))]
    assert len(shown) > 20
    assert table["papers_own"].eq(1).all()
    assert set(table["verdict"]) <= {"supported", "contradicted", "undecided"}
    for column in ("papers_effect", "papers_as_far"):
        assert shown["effect"].tolist() == pytest.approx(shown[column].tolist(), abs=0.02)


# ---- The catalogue ----


def test_every_claim_has_what_it_needs() -> None:
    experiments = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    for claim in all_claims():
        assert claim.experiment.split()[0] in experiments
        assert claim.place
        assert words.effect_is(claim)
        assert "holds if the whole" in words.rule(claim)
    keys = [(c.name, c.lr, c.model, c.statistic, c.arm, c.against) for c in all_claims()]
    assert len(set(keys)) == len(keys)


def test_the_issues_claims_are_there() -> None:
    assert {
        "bn_trains_faster", "bn_generalises_better", "bn_trains_at_high_rate", "standard_fails_at_high_rate",
        "noisy_nearly_matches_bn", "noisy_beats_standard", "noisy_less_stable", "noise_prevents_training",
        "bn_does_not_reduce_ics", "bn_spike_at_init", "standard_dln_has_no_ics", "bn_dln_gradients_uncorrelated",
        "bn_smaller_loss_variation", "bn_gradients_more_predictive", "bn_smaller_beta", "lp_as_good_as_bn",
        "theorem_4_1", "theorem_4_2", "lemma_4_5",
    } <= set(names())  # fmt: skip
    shift = [c for c in all_claims() if c.name == "bn_does_not_reduce_ics" and c.model == "vgg" and c.lr == 0.1]
    assert {c.statistic.quantity for c in shift} == {"ics_l2", "ics_cosine", "ics_relative_l2"}
    assert {c.statistic.layers for c in shift} == {(5, 10), (5,), (10,), ALL_LAYERS}
    assert len({c.statistic.phase for c in shift}) == 4


def test_a_claim_in_words() -> None:
    claim = Claim("n", "t", "p", "vgg", 0.1, SPEED, "batch", "standard", Range(-5.0, 5.0), "fig1 scale=cpu")
    assert words.effect_is(claim) == (
        "mean over the steps of the training accuracy (%); batch minus standard, paired by seed"
    )
    assert "is from −5 to 5 (percentage points)" in words.rule(claim)
    assert claim.command == "python scripts/train.py -m experiment=fig1 scale=cpu"
    assert claim.statistic.phase is WHOLE


# ---- The program ----


@pytest.fixture(scope="module")
def few_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    copies(root, "vgg", seeds=(0, 1), rates=[0.1], arms=("none", "batch"), last_step=1000)
    return root


def test_the_tables_are_the_same_to_the_byte(
    few_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("first", "second"):
        assert main(["--runs", str(few_runs), "--out", str(tmp_path / folder)]) == 0
    told = capsys.readouterr()
    names_ = ["claims.csv", "claims.md", "paper_distance.csv", "paper_distance.md"]
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == names_
    assert told.out.split() == [str(tmp_path / folder / name) for folder in ("first", "second") for name in names_]
    for name in names_:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert "bn_trains_at_high_rate" in told.err
    assert f"python scripts/train.py -m experiment=fig1 scale=cpu runs={few_runs}" in told.err
    table = pd.read_csv(tmp_path / "first" / "claims.csv")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["verdict"]) == {"supported", "contradicted", "undecided"}
    text = (tmp_path / "first" / "claims.md").read_text()
    for part in ("# The paper's claims", "## No runs yet", "## Details", "## Rules", "Theorem 4.2"):
        assert part in text


def test_claims_by_name_go_to_the_screen(few_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bn_trains_faster", "lemma_4_5", "--runs", str(few_runs)]) == 0
    assert main(["bn_trains_faster", "noisy_less_stable", "--runs", str(few_runs)]) == 2
    told = capsys.readouterr()
    assert "| BatchNorm trains faster (learning rate 0.1) |" in told.out
    assert "| Lemma 4.5 |" in told.out


def test_missing_runs_name_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--runs", str(tmp_path / "nowhere"), "--out", str(tmp_path)]
    assert main(["noisy_less_stable", *nowhere]) == 2
    assert "python scripts/train.py -m experiment=fig2 scale=cpu" in capsys.readouterr().err
    assert main(["distance", *nowhere]) == 2
    told = capsys.readouterr().err
    assert "python scripts/train.py -m experiment=fig3_vgg scale=cpu" in told
    assert "python scripts/train.py -m experiment=fig3_dln" in told
    assert main(nowhere) == 2
    assert (tmp_path / "claims.csv").exists()  # the theorems need no runs
    capsys.readouterr()
    assert main(["bn_is_magic", *nowhere]) == 2
    assert capsys.readouterr().err.startswith("error: no claim 'bn_is_magic'; there are all, ")


def test_the_report_has_no_row_without_its_rule(few_runs: Path) -> None:
    table = evaluate([claim for claim in all_claims() if claim.headline], load_runs(few_runs))
    text = report.to_markdown(table)
    for name in table["claim"].unique():
        assert f"- `{name}`: " in text
    assert THEORY[0] not in text
