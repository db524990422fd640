"""The page: the records of the claims, figures, distances and runs, put into the template."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import QUESTION
from ics.analysis.distance_report import curve_tables, size
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.analysis.paper_distance import ALL
from ics.errors import UserError
from ics.figures.catalogue import MissingRuns, select
from ics.report import verdicts
from ics.report.answer import MEASURES, answer, outcome
from ics.report.explorer import explorer_data
from ics.report.findings import origins_findings
from ics.report.images import draw_images
from ics.report.maps import maps
from ics.report.origin import origins
from ics.report.runtime import needed, packed, runtime, runtime_version

MAX_BYTES = 3_000_000

_FILTERS: dict[str, Any] = {
    name: getattr(words, name)
    for name in ("statement", "statistic", "claimed", "found", "papers_curves", "papers_effect", "mark", "rate")
} | {"quote": verdicts.quote, "outcome": outcome, "size": size, "thousands": "{:,}".format}


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
    phases, details = verdicts.by_phase(claims[~headline & judged])
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
        findings=origins_findings(claims),
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
