"""Every reading of the shift, on made-up runs with known effects, and on the committed ones."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_runs import DLN, SETTINGS, SHIFT, TRAINING, merged, shift_row, training_rows, write_run

from ics.analysis import load_runs
from ics.analysis.claims import covariate_shift
from ics.analysis.claims.claim import EARLY, LATE, WHOLE
from ics.analysis.claims.interval import Estimate, Range, estimate, judge, seeds_to_decide, t_quantile
from ics.analysis.load import Runs
from ics.analysis.progress import by_progress
from ics.analysis.specifications import (
    BY_ACCURACY,
    BY_LOSS,
    BY_STEP,
    COLUMNS,
    INCREASED,
    MEAN,
    MEAN_LOG,
    MEDIAN,
    NO_VALUE,
    REDUCED,
    STATISTICS,
    UNDECIDED,
    change,
    differences,
    specifications,
)
from ics.report.summary import readings_line, readings_table

ROOT = Path(__file__).parents[1]
L2, COSINE, RELATIVE = (
    claim
    for claim in covariate_shift.claims()
    if claim.headline and claim.name == covariate_shift.CLAIM and claim.lr == 0.1
)
STEPS = range(0, 2000, 100)


def study(
    root: Path,
    shifts: dict[str, Any],
    losses: dict[str, Any],
    settings: dict[str, Any],
    other: dict[str, float] | None = None,
) -> Runs:
    """Runs of both networks: norm -> ‖G − G′‖₂ and loss by share of the training; BatchNorm's spread over seeds.

    With `other`, norm -> factor, a second table has the shift times a factor.
    """
    base = merged(SETTINGS, {"steps": 2000, "model": {"depth": 16}}, settings)
    at = np.array(STEPS) / 2000
    for norm, (seed, spread) in product(shifts, enumerate((-0.02, -0.01, 0.01, 0.02))):
        own = merged({k: v for k, v in base.items() if k != "norm"}, {"seed": seed, "norm": {"name": norm}})
        shift, loss = shifts[norm](at) * 10 ** (spread * (norm == "batch")), losses[norm](at)
        accuracy = 1 - loss / 4 if settings == {} else np.full(len(at), np.nan)
        rows = [shift_row(s, layer, y, 0.5) for s, y in zip(STEPS, shift, strict=True) for layer in (1, 5, 9, 10, 17)]
        tables = {TRAINING: training_rows(loss, STEPS, accuracy), SHIFT: rows}
        if other is not None:
            tables[replace(SHIFT, name="shift_other")] = [row | {"l2": row["l2"] * other[norm]} for row in rows]
        write_run(root, f"made/{norm}/seed{seed}", own, tables)
    return load_runs(root)


def said(readings: pd.DataFrame, statistic: str, alignment: str, phase: str = WHOLE.name) -> set[str]:
    """What the readings of ‖G − G′‖₂ say, over all layers."""
    mine = readings[(readings["quantity"] == "ics_l2") & (readings["phase"] == phase)]
    return set(mine.loc[(mine["statistic"] == statistic) & (mine["alignment"] == alignment), "change"])


def same(at: Any) -> Any:
    return 3 * np.exp(-2 * at)


def test_a_shift_that_only_the_mean_sees(tmp_path: Path) -> None:
    shifts = {"none": lambda at: 1 + 0 * at, "batch": lambda at: np.where(at < 0.1, 1000.0, 1.0)}
    readings = specifications(study(tmp_path, shifts, {"none": same, "batch": same}, {}))
    assert said(readings, MEAN, BY_STEP) == said(readings, MEAN_LOG, BY_STEP) == {INCREASED}
    assert said(readings, MEDIAN, BY_STEP) == {UNDECIDED}
    assert said(readings, MEDIAN, BY_STEP, LATE.name) == said(readings, MEAN, BY_STEP, LATE.name) == {UNDECIDED}
    assert said(readings, MEDIAN, BY_STEP, EARLY.name) == {INCREASED}


@pytest.mark.parametrize("settings", [{}, merged(DLN, {"experiment": "made"})])
def test_a_shift_that_only_progress_sees(tmp_path: Path, settings: dict[str, Any]) -> None:
    """BatchNorm trains three times as fast. The shift falls with the loss, to a third of the standard network's."""
    losses = {"none": same, "batch": lambda at: same(3 * at)}
    shifts = {"none": lambda at: same(at), "batch": lambda at: same(at)}
    readings = specifications(study(tmp_path, shifts, losses, settings))
    for statistic in (MEDIAN, MEAN, MEAN_LOG):
        assert said(readings, statistic, BY_STEP) == {UNDECIDED}
        assert said(readings, statistic, BY_LOSS) == {INCREASED}
        assert said(readings, statistic, BY_ACCURACY) == ({INCREASED} if settings == {} else set())
    assert said(readings, MEDIAN, BY_LOSS, LATE.name) == {NO_VALUE}  # the standard network never gets there


def test_no_effect_at_all(tmp_path: Path) -> None:
    readings = specifications(study(tmp_path, {"none": same, "batch": same}, {"none": same, "batch": same}, {}))
    assert set(readings["change"]) == {UNDECIDED}
    assert list(readings) == list(COLUMNS)
    assert len(readings) == (3 + 2 + 3) * 4 * 6 * 3  # statistics of the measures, phases, layers, alignments
    assert readings["headline"].sum() == 3
    assert set(readings["layers"]) == {"5 10", "all", "5", "9", "10", "17"}
    assert readings_table(readings).splitlines()[2].endswith("| 0 / 0 / 192 / 192 | 0 / 0 / 384 / 384 |")
    assert readings_line(readings) == ""


def test_a_shift_that_only_another_definition_sees(tmp_path: Path) -> None:
    alike, other = {"none": same, "batch": same}, {"none": 1.0, "batch": 100.0}
    readings = specifications(study(tmp_path, alike, alike, {}, other))
    by_definition = readings[readings["quantity"] == "ics_l2"].groupby("definition", sort=False)
    assert by_definition["change"].unique().map(set).to_dict() == {"shift": {UNDECIDED}, "shift_other": {INCREASED}}
    assert readings.groupby("definition")["headline"].sum().to_dict() == {"shift": 3, "shift_other": 0}


def test_without_runs_there_are_no_readings() -> None:
    assert specifications(None).empty


def test_the_headline_rule_errs_as_often_as_it_says() -> None:
    """1,000 studies without effect, with five seeds of twenty steps and two layers, by the rule and by no change."""
    studies, seeds = 1000, 5
    noise = np.random.default_rng(1)
    index = pd.MultiIndex.from_product(
        [range(studies), ["standard", "batch"], range(seeds), [5, 10], range(20)],
        names=["study", "arm", "seed", "layer", "step"],
    )
    of_run = np.repeat(noise.normal(size=(studies, 2, seeds)), 40)
    rows = index.to_frame(index=False).assign(value=10 ** (0.2 * of_run + 0.3 * noise.normal(size=len(index))))
    found = L2.statistic.of_layers(rows, 20, ["study", "arm", "seed"])
    arms = found.groupby(["arm", "study", "seed"])["value"].mean().unstack()
    effects = (arms.loc["batch"] - arms.loc["standard"]).to_numpy()
    by_chance = 3 * np.sqrt(0.05 * 0.95 / studies)
    estimates = [estimate(of_study.tolist()) for of_study in effects]
    signs = [change(one, L2.unit) for one in estimates]
    assert np.mean([sign != UNDECIDED for sign in signs]) == pytest.approx(0.05, abs=by_chance)
    assert np.mean([judge(one, L2.holds) is False for one in estimates]) <= 0.05 + by_chance
    at_the_end = [estimate((of_study + L2.holds.low).tolist()) for of_study in effects]
    assert np.mean([judge(one, L2.holds) is not None for one in at_the_end]) <= 0.05 + by_chance


def test_the_example_of_the_page() -> None:
    """The numbers of docs/method.md."""
    both = {"standard": ([10, 30, 50], [1, 4, 2]), "batch": ([10, 50, 90], [8, 2, 1])}
    progress, rows = (
        pd.DataFrame(
            [
                {"arm": arm, "seed": 0, "layer": 2, "step": step, "value": float(value)}
                for arm, own in both.items()
                for step, value in zip((0, 100, 200), own[column], strict=True)
            ]
        )
        for column in (0, 1)
    )
    aligned = by_progress(rows, progress.drop(columns="layer"), ("batch", "standard"), 200)
    assert sorted(aligned["step"]) == sorted([*range(51), *range(51)])
    assert aligned.groupby("arm")["value"].value_counts().to_dict() == {
        ("batch", 2.0): 50,
        ("batch", 8.0): 1,
        ("standard", 4.0): 25,
        ("standard", 2.0): 25,
        ("standard", 1.0): 1,
    }
    expected = {MEDIAN: (1, 1), MEAN: (11 / 7, 108 / 151), MEAN_LOG: (2 ** (1 / 3), 2 ** (-22 / 51))}
    by_step, by_level = (
        differences([L2], of.rename(columns={"value": "ics_l2"}), 200, [2]).loc[WHOLE.name] for of in (rows, aligned)
    )
    for name in STATISTICS:
        ratios = [10 ** found.at[0, (name, "ics_l2", 2)] for found in (by_step, by_level)]
        assert ratios == pytest.approx(expected[name])


def test_networks_that_learn_nothing_are_at_no_level() -> None:
    flat = pd.DataFrame({"arm": ["batch", "standard"], "seed": 0, "layer": 2, "step": 0, "value": 1.0})
    assert by_progress(flat, flat.drop(columns="layer"), ("batch", "standard"), 10).empty


def test_what_an_interval_says() -> None:
    up, down, none = Estimate(1, 0.5, 1.5, 3), Estimate(-1, -1.5, -0.5, 3), Estimate(0, -1, 1, 3)
    assert [change(one, L2.unit) for one in (up, down, none)] == [INCREASED, REDUCED, UNDECIDED]
    assert [change(one, COSINE.unit) for one in (up, down, none)] == [REDUCED, INCREASED, UNDECIDED]
    assert change(estimate([]), L2.unit) == NO_VALUE
    assert change(estimate([1.0]), L2.unit) == UNDECIDED


def test_as_many_seeds_as_are_said_would_decide() -> None:
    """With so many made-up seeds the rule decides in 80 % of 4,000 studies, with one fewer in less."""
    half = t_quantile(4) / np.sqrt(5)  # five seeds of spread 1
    claimed = Range(low=-1.0)
    n = int(seeds_to_decide(Estimate(-0.2, -0.2 - half, -0.2 + half, 5), claimed))
    values = np.random.default_rng(0).normal(-0.2, 1, (4000, n))
    share = np.mean([judge(estimate(row.tolist()), claimed) is True for row in values])
    fewer = np.mean([judge(estimate(row[:-2].tolist()), claimed) is True for row in values])
    assert 0.78 < share < 0.83
    assert fewer < share - 0.02
    assert seeds_to_decide(Estimate(-1.0, -2.0, 0.0, 5), claimed) == np.inf
    assert np.isnan(seeds_to_decide(estimate([1.0]), claimed))


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / "evidence" / "specifications.csv", dtype={"layers": str})


def test_the_committed_readings_hold_what_was_found(committed: pd.DataFrame) -> None:
    """VGG at 0.1: the verdict by ‖G − G′‖₂ hangs on the statistic."""
    mine = committed[committed["scale"] == "cifar10-jpeg_vgg16_w0.25"]
    vgg = mine[(mine["lr"] == 0.1) & (mine["layers"] == "5 10")]
    whole = vgg[(vgg["phase"] == WHOLE.name) & (vgg["alignment"] == BY_STEP)].set_index(["quantity", "statistic"])
    for statistic, numbers in ((MEDIAN, (0.884, 0.788, 0.991)), (MEAN_LOG, (1.27, 1.05, 1.53))):
        row = whole.loc["ics_l2", statistic]
        assert [float(f"{10 ** row[end]:.3g}") for end in ("effect", "low", "high")] == list(numbers)
    cosines = [float(f"{whole.loc[('ics_cosine', statistic), 'effect']:.3g}") for statistic in (MEDIAN, MEAN)]
    assert cosines == [0.143, 0.119]


def test_the_committed_readings_hold_the_headline_claims(committed: pd.DataFrame) -> None:
    claims = pd.read_csv(ROOT / "results" / "evidence" / "claims.csv", low_memory=False)
    claims = claims[(claims["claim"] == covariate_shift.CLAIM) & (claims["headline"] == 1) & (claims["n"] > 0)]
    keys, numbers = ["scale", "lr", "quantity"], ["effect", "low", "high", "n", "holds"]
    ours, theirs = (
        rows.set_index(keys)[numbers].sort_index() for rows in (committed[committed["headline"] == 1], claims)
    )
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-5)
