"""The page: the records of the claims, figures, distances and runs, put into the template."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import END, PHASES, START, WHOLE
from ics.analysis.claims.covariate_shift import QUESTION
from ics.analysis.claims.words import Row
from ics.analysis.distance_report import curve_tables, size
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.analysis.paper_distance import ALL
from ics.errors import UserError
from ics.figures.catalogue import MissingRuns, select
from ics.report.answer import MEASURES, answer, origins_tables, outcome
from ics.report.explorer import explorer_data
from ics.report.images import draw_images
from ics.report.maps import maps
from ics.report.origin import origins
from ics.report.runtime import needed, packed, runtime, runtime_version

MAX_BYTES = 3_000_000

QUOTES = {
    "bn_does_not_reduce_ics": "Models with BatchNorm have similar, or even worse, internal covariate shift",
    "standard_dln_has_no_ics": "the standard network experiences almost no ICS for the entirety of training",
    "bn_dln_gradients_uncorrelated": "for BatchNorm it appears that G and G′ are almost uncorrelated",
    "noise_prevents_training": "prevents it from training entirely",
    "noisy_less_stable": "has qualitatively less stable distributions than even the standard, non-BatchNorm network",
}
"""Claim -> the paper's words (arXiv 1805.11604v3), where its own curves or our runs may not bear it out."""

_ALIKE = ["claim", "text", "lr", "quantity", "arm", "against", "layers", "effect_is", "scale"]


def quote(row: Row) -> str:
    """The paper's own words, where its curves or our runs say otherwise and the words are known."""
    otherwise = row["papers_curves"] == "disagree" or row["holds"] == 0
    return QUOTES.get(row["claim"], "") if otherwise else ""


_FILTERS: dict[str, Any] = {
    name: getattr(words, name)
    for name in ("statement", "statistic", "claimed", "found", "papers_curves", "papers_effect", "mark", "rate")
} | {"quote": quote, "outcome": outcome, "size": size, "thousands": "{:,}".format}


def build(runs: Runs | None, claims: pd.DataFrame, distances: pd.DataFrame | None) -> tuple[str, list[MissingRuns]]:
    """The page.

    Args:
        runs: what there is; None if nothing.
        claims: judged by these runs, from `claims_table`.
        distances: of their curves to the paper's, from `paper_distance`; None without runs.

    Returns:
        The HTML, the same to the byte for the same CSV files; and the figures that have no runs.

    Raises:
        UserError: the extra is not installed, runs cannot be told apart, or the page would be too large.
    """
    templates = needed("jinja2")
    environment = templates.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=templates.StrictUndefined
    )
    environment.filters |= _FILTERS
    figures, missing = draw_images(select("all"), runs)
    headline, judged = claims["headline"] == 1, claims["n"] > 0
    phases, details = by_phase(claims[~headline & judged])
    explorer, drawn_maps = explorer_data(runs), maps(runs)
    html: str = environment.from_string(_asset("report.html.j2")).render(
        question=QUESTION,
        answer=answer(claims),
        measures=list(MEASURES.values()),
        verdicts=claims[headline & judged].to_dict("records"),
        counts=claims.loc[headline & judged, "verdict"].value_counts().to_dict(),
        phases=phases,
        details=details,
        no_runs=claims[headline & ~judged & claims["scale"].isna()].to_dict("records"),
        figures=figures,
        missing=[problem.args[0] for problem in missing],
        distances=list(_distances(distances)) if distances is not None else [],
        origins=origins(runs),
        unfinished=len(runs.skipped) if runs is not None else 0,
        explorer=packed(json.dumps(explorer, separators=(",", ":"))) if explorer["scales"] else "",
        findings=[(header, lines) for header, lines in origins_tables(claims) if lines],
        maps=packed(json.dumps(drawn_maps, separators=(",", ":"))) if drawn_maps else "",
        runtime=packed(runtime()) if explorer["scales"] or drawn_maps else "",
        runtime_version=runtime_version(),
        style=_asset("style.css"),
        script=_asset("page.js"),
    )
    length = len(html.encode())
    if length > MAX_BYTES:
        raise UserError(f"the page would have {length:,} bytes, more than {MAX_BYTES:,}; give it fewer runs")
    return html, missing


def by_phase(details: pd.DataFrame) -> tuple[list[str], list[list[Row | None]]]:
    """The phases that any of the details is about, in order; for each group that differs only in it a row per phase.

    None stands for a phase that was not computed.
    """
    phases = [p.name for p in (START, WHOLE, *PHASES, END) if (details["phase"] == p.name).any()]
    groups = details.groupby(_ALIKE, sort=False, dropna=False)
    of_phases = [{row["phase"]: row for row in rows.to_dict("records")} for _, rows in groups]
    return phases, [[found.get(phase) for phase in phases] for found in of_phases]


def _distances(distances: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, Any]], list[Any]]]:
    """Scale by scale: its title, a record for every panel and quantity over all steps, and the table of all curves."""
    whole = distances[distances["window"] == ALL]
    for title, scale in distances.groupby("scale_title", sort=False):
        panels = whole[whole["scale_title"] == title].groupby(["number", "figure", "quantity"], sort=False)
        records = [
            {
                "figure": figure,
                "quantity": QUANTITIES[str(quantity)].label,
                "curves": len(rows.drop_duplicates(["lr", "layer", "arm"])),
                "typical": rows["distance"].abs().median(),
                "farthest": rows["distance"].abs().max(),
                "measure": rows["measure"].iloc[0],
                "inside": rows["share_inside"].mean(),
            }
            for (_, figure, quantity), rows in sorted(panels, key=lambda panel: panel[0][:2])
        ]
        yield str(title), records, list(curve_tables(scale))


def _asset(name: str) -> str:
    return (files("ics.report") / "assets" / name).read_text(encoding="utf-8")
