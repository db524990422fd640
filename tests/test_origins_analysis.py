"""What is made of `origins.csv`: the share of the near blocks, the claims, the figure."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from figure_tools import sheet
from made_up_runs import DLN, SETTINGS, filled, merged, write_run

from ics import load_runs
from ics.analysis.claims import origins
from ics.analysis.claims.judge import evaluate
from ics.analysis.markdown import number
from ics.quantities.shift import Origins

ROOT = Path(__file__).parents[1]
DEPTH = 5


def write_origins(root: Path, arm: str, seed: int, near: float, error: float, **sizes: float) -> None:
    """Runs in which the block next below has the share `near`, the others the rest; 1,000 steps."""
    rows: list[dict[str, Any]] = []
    for step in range(0, 1000, 50):
        for layer in range(2, DEPTH + 1):
            for cause in range(1, layer):
                share = near if cause == layer - 1 else (1 - near) / (layer - 2)
                rows.append(origin(step, cause, layer, share, error) | sizes)
            rows.append(origin(step, -1, layer, 1.0, error) | sizes)
    rows.sort(key=lambda row: (row["step"], row["cause_index"], row["layer_index"]))
    norm = {"norm": {"name": "none" if arm == "standard" else arm}, "seed": seed, "steps": 1000}
    settings = merged(SETTINGS, DLN, {"experiment": "origins_dln"}, norm)
    write_run(root, f"{arm}/seed{seed}", settings, {Origins.table: rows})


def origin(step: int, cause: int, layer: int, share: float, error: float) -> dict[str, Any]:
    own = {"step": step, "cause_index": cause, "layer_index": layer, "cause": "all", "layer": "linear"}
    return filled(Origins.table, 1.0, **own, share=share, linear_error=error, interaction=error)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(3):
        write_origins(tmp_path, "standard", seed, near=0.9, error=0.1 + 0.01 * seed)
        write_origins(tmp_path, "batch", seed, near=0.01 * seed, error=0.5)
    return tmp_path


def test_what_is_local_and_linear_is_told_from_what_is_not(runs: Path) -> None:
    table = evaluate(list(origins.claims()), load_runs(runs)).query("n == 3")
    holds = table.set_index(["claim", "arm", "phase"])["holds"].groupby(["claim", "arm"]).unique()
    assert holds["shift_is_local", "standard"].tolist() == [1]
    assert holds["shift_is_local", "batch"].tolist() == [0]
    assert holds["shift_is_linear", "standard"].tolist() == [1]
    assert holds["shift_is_linear", "batch"].tolist() == [0]
    local = table[(table["claim"] == "shift_is_local") & (table["arm"] == "standard")]
    # Layers 4 and 5 have more than two blocks below: 0.9 + 0.1/2 and 0.9 + 0.1/3.
    assert local["value"].to_numpy() == pytest.approx((0.95 + 0.9 + 0.1 / 3) / 2)


def test_a_spike_of_scale_alone_is_told_from_more(tmp_path: Path) -> None:
    """BN's shift is 100 times larger, its gradient 80 times, the outputs' change 10 times."""
    for arm, l2, gradient, change in (("standard", 1.0, 1.0, 1.0), ("batch", 100.0, 80.0, 10.0)):
        for seed in range(3):
            write_origins(tmp_path, arm, seed, 0.9, 0.1, l2=l2, gradient_norm=gradient, output_change=change)
    table = evaluate(list(origins.claims()), load_runs(tmp_path)).query("n == 3")
    spike = table[table["claim"] == "spike_is_scale"].set_index("quantity")[["effect", "holds"]]
    assert spike["effect"].tolist() == pytest.approx([math.log10(ratio) for ratio in (1.25, 1.25, 0.125)])
    assert spike["holds"].tolist() == [1, 1, 0]


def test_the_figure_shows_every_arm_at_both_ends_of_the_training(runs: Path) -> None:
    axes = sheet("origins", load_runs(runs)).axes
    titles = [panel.get_title() for panel in axes if panel.get_title()]
    assert titles == ["standard\nstart", "standard\nsecond half", "BatchNorm\nstart", "BatchNorm\nsecond half"]
    (maps,) = axes[1].collections
    assert maps.get_array().reshape(DEPTH - 1, DEPTH - 1)[3, 3] == pytest.approx(0.9)  # block 4 on layer 5


def test_the_page_says_what_the_claims_say() -> None:
    text = " ".join((ROOT / "results" / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(ROOT / "results" / "evidence" / "claims.csv").query("n == 3 and lr == 1e-6")
    said = table[table["claim"].isin(["shift_is_local", "shift_is_linear"]) & table["phase"].str.startswith("late")]
    assert len(said) == 4
    for effect, low, high in said[["effect", "low", "high"]].itertuples(index=False):
        assert f"{number(effect)} [{number(low)} to {number(high)}]" in text
