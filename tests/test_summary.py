"""The numbers in the Markdown pages are those of the committed tables."""

import contextlib
import runpy
from pathlib import Path

import pandas as pd
import pytest
from pages import assert_same_page

from ics.analysis.claims import catalogue
from ics.analysis.claims.catalogue import claims_table
from ics.analysis.load import load_runs
from ics.analysis.specifications import specifications
from ics.errors import UserError
from ics.quantities import QUANTITIES
from ics.report.answer import evidence
from ics.report.summary import (
    answer_line,
    beside_table,
    first_table,
    insert,
    not_borne_out_table,
    power_table,
    readings_line,
    readings_table,
    shift_table,
)

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
        "data": "somewhere",
        "network": "VGG",
        "scale": "vgg",
        "scale_title": "VGG somewhere",
        "setup": "vgg",
        "steps": 1000,
        "phase": "whole",
        "arm": "batch",
        "against": "standard",
        "layers": "5 10",
        "lr": 0.1,
        "quantity": "ics_l2",
        "unit": "log10 ratio",
        "effect": 0.30103,
        "low": 0.0,
        "high": 1.0,
        "n": 3,
        "holds": 1,
        "verdict": "borne out",
        "papers_curves": "agree",
        "papers_effect": -1.0,
        "papers_as_far": -1.0,
    }
    return row | changes


def reading(**changes: object) -> dict[str, object]:
    shared = {name: claim()[name] for name in ("network", "scale", "scale_title", "lr", "quantity", "n")}
    return shared | {"definition": "shift", "alignment": "step", "effect": 1.0, "change": "increased"} | changes


def test_the_table_of_the_shift() -> None:
    rows = [
        claim(),
        claim(quantity="ics_cosine", unit="cosine", papers_as_far=0.5),
        claim(quantity="ics_relative_l2", holds=0, papers_effect=float("nan"), effect=-1.0),
        claim(data="digits", n=9),  # a check of the machinery, no evidence
        claim(headline=0, n=8),
    ]
    cells = [
        "VGG somewhere",
        "0.1",
        "×2.00 [×1.00 to ×10.0], n = 3; paper ×0.100: **not reduced**",
        "0.301 [0 to 1.00], n = 3; paper 0.500, in all −1.00: **not reduced**",
        "×0.100 [×1.00 to ×10.0], n = 3; paper –: **reduced**",
    ]
    assert shift_table(pd.DataFrame(rows)).splitlines()[2:] == [f"| {' | '.join(cells)} |"]
    assert answer_line(pd.DataFrame(rows)).startswith("**Mostly not.** In 2 of the 3 comparisons")


def test_shorter_runs_of_a_setup_are_no_evidence_beside_longer_ones() -> None:
    one, three, longer = claim(n=1, steps=9000, effect=9.0), claim(), claim(steps=2000, effect=2.0)
    elsewhere = claim(setup="other", effect=3.0, scale_title="other")
    for rows in ([one, three, longer, elsewhere], [longer, elsewhere, three, one]):
        assert evidence(pd.DataFrame(rows))["effect"].sort_values().tolist() == [2.0, 3.0]
        assert answer_line(pd.DataFrame(rows)).startswith("**No.** In all 2 comparisons")


def test_the_first_table_has_a_row_for_each_network_and_rate() -> None:
    rows = [
        claim(claim="noisy_nearly_matches_bn", text="noisy", quantity="train_accuracy_percent"),
        claim(),
        claim(scale_title="VGG elsewhere", setup="elsewhere", effect=9.0),
        claim(quantity="ics_cosine"),
        claim(lr=0.01),
    ]
    read = [
        reading(),
        reading(effect=-1.0, change="reduced"),
        reading(effect=9.0, n=1),
        reading(quantity="ics_cosine"),
    ]
    lines = first_table(pd.DataFrame(rows), pd.DataFrame(read)).splitlines()[2:]
    ours = "×2.00 [×1.00 to ×10.0], n = 3 | **borne out** | {} | ×0.100 |"
    every = "×0.100 to ×10.0; smaller in 1, larger in 1 of 2"
    told = "| BatchNorm does not reduce it | VGG,"
    assert lines == [
        f"{told} 0.1 | {ours.format(every)}",
        f"{told} 0.01 | {ours.format('–')}",
        f"| noisy | VGG, 0.1 | {ours.format('–')}",
    ]


def test_where_the_answer_hangs_on_the_reading() -> None:
    apart = [reading(), reading(change="reduced", alignment="training loss"), reading(change="undecided")]
    alike = [reading(lr=0.01), reading(lr=0.01, change="undecided"), reading(lr=0.01, change="reduced", n=1)]
    readings = pd.DataFrame([*apart, *alike])
    assert readings_line(readings) == (
        "Every reading that decides says the same: VGG (learning rate 0.01), larger in 1 of 2 readings. "
        "It depends on the reading: VGG (learning rate 0.1), smaller in 1 and larger in 1 of 3 readings."
    )
    assert readings_table(readings).splitlines()[2] == (
        "| VGG somewhere | 0.1 | `shift` | 0 / 1 / 1 / 2 | 1 / 0 / 0 / 1 |"
    )


def test_the_seeds_that_would_decide() -> None:
    found = float("nan"), 20.0, 9.0, float("inf")
    rows = [claim(seeds_to_decide=n, lr=10.0**-i) for i, n in enumerate(found)]
    lines = power_table(pd.DataFrame(rows)).splitlines()[2:]
    assert [line.split(" | ")[-1] for line in lines] == ["9 |", "20 |"]


def test_the_table_of_other_claims() -> None:
    bounds = {"claimed_low": 0.0, "claimed_high": float("nan")}
    other = claim(claim="bn_trains_faster", text="faster", unit="percentage points", **bounds)
    rows = pd.DataFrame([claim(), other, {**other, "claim": "other", "holds": 0, "verdict": "not borne out"}])
    cells = "| faster (learning rate 0.1) | VGG somewhere | 3 | ≥ 0 | 0.301 points [0 to 1.00]"
    line = cells + " | **{}** | agree: −1.00 points |"
    assert beside_table(rows).splitlines()[2:] == [line.format("borne out")]
    assert not_borne_out_table(rows).splitlines()[2:] == [line.format("not borne out")]


def test_the_pages_say_what_the_committed_tables_say() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "evidence.py"))["pages"]
    runs = load_runs(ROOT / "results" / "reference")
    for path, text in pages(runs, claims_table(runs, catalogue.names()), specifications(runs)).items():
        assert_same_page(path.read_text(encoding="utf-8"), text)  # if not, run: make figures


def test_every_table_that_can_be_measured_is_on_the_page() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    ours = [name for name, made in QUANTITIES._builders.items() if made.__module__.startswith("ics.")]  # no plugin's
    assert len(ours) > 5 and [name for name in ours if f"## `{name}.csv`" not in text] == []
