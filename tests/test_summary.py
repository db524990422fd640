"""The numbers in the Markdown pages are those of the committed tables."""

import contextlib
import runpy
from pathlib import Path

import pandas as pd
import pytest
from pages import assert_same_page

from ics.analysis.claims import catalogue
from ics.analysis.claims.table import claims_table
from ics.analysis.load import load_runs
from ics.errors import UserError
from ics.quantities import QUANTITIES
from ics.report.summary import beside_table, contradicted_table, insert, shift_table

ROOT = Path(__file__).parents[1]


def test_a_part_is_put_between_its_markers() -> None:
    page = "before\n<!-- a -->\nold | \\1\n<!-- /a -->\nafter <!-- b --><!-- /b -->"
    new = insert(page, {"a": "new \\1", "b": "B\n"})
    assert new == "before\n<!-- a -->\n\nnew \\1\n\n<!-- /a -->\nafter <!-- b -->\n\nB\n\n<!-- /b -->"
    assert insert(new, {"a": "new \\1", "b": "B\n"}) == new


def test_a_page_without_the_place_is_refused() -> None:
    with pytest.raises(UserError, match="no place for 'c'; put <!-- c -->"):
        insert("<!-- c -->", {"c": ""})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("×1.34, 5 of 5,000", True),
        ("×1.37, 5 of 5,000", False),
        ("×1.35, 6 of 5,000", False),
        ("−1.35, 5 of 5,000", False),
    ],
)
def test_pages_are_compared_but_for_the_last_decimal(other: str, same: bool) -> None:
    with contextlib.nullcontext() if same else pytest.raises(AssertionError):
        assert_same_page(other, "×1.35, 5 of 5,000")


def claim(**changes: object) -> dict[str, object]:
    row = {
        "claim": "bn_does_not_reduce_ics",
        "text": "BatchNorm does not reduce it",
        "headline": 1,
        "scale": "somewhere",
        "scale_title": "VGG somewhere",
        "lr": 0.1,
        "effect_is": "median over the steps of the log10 of ‖G − G′‖₂; batch minus standard",
        "unit": "log10 ratio",
        "effect": 0.30103,
        "low": 0.0,
        "high": 1.0,
        "n": 3,
        "verdict": "supported",
        "papers_curves": "agree",
        "papers_effect": -1.0,
    }
    return row | changes


def test_the_table_of_the_shift() -> None:
    rows = [
        claim(),
        claim(effect_is="… of ‖G − G′‖₂ / ‖G‖₂", verdict="contradicted", papers_curves="not shown", effect=-1.0),
        claim(scale="digits_x", n=9),  # a check of the machinery, no evidence
        claim(headline=0, n=8),
    ]
    text = shift_table(pd.DataFrame(rows))
    assert text.startswith("**In 1 of the 2 comparisons that these runs decide.**")
    cells = "| VGG somewhere | 0.1 | 3 | ×2.00 [×1.00 to ×10.0] (paper ×0.100): **not reduced** | – | ×0.100"
    assert cells in text
    assert text.count("VGG somewhere") == 1
    assert "**reduced** |" in text


def test_the_table_of_other_claims() -> None:
    bounds = {"claimed_low": 0.0, "claimed_high": float("nan")}
    other = claim(claim="bn_trains_faster", text="faster", unit="percentage points", **bounds)
    rows = pd.DataFrame([claim(), other, {**other, "claim": "other", "verdict": "contradicted"}])
    line = "| faster (learning rate 0.1) | VGG somewhere | 3 | ≥ 0 | 0.301 points [0 to 1.00] | **{}** | agree: −1.00 |"
    assert beside_table(rows).splitlines()[2:] == [line.format("supported")]
    assert contradicted_table(rows).splitlines()[2:] == [line.format("contradicted")]


def test_the_pages_say_what_the_committed_tables_say() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "evidence.py"))["pages"]
    runs = load_runs(ROOT / "results" / "reference")
    for path, text in pages(runs, claims_table(runs, catalogue.names())).items():
        assert_same_page(path.read_text(encoding="utf-8"), text)  # if not, run: make figures


def test_every_table_that_can_be_measured_is_on_the_page() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert [name for name in QUANTITIES if f"## `{name}.csv`" not in text] == []
