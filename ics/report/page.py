"""The page: everything that is said on it, put into the template."""

import json
from importlib.resources import files
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import QUESTION
from ics.analysis.load import Runs
from ics.errors import UserError
from ics.figures.catalogue import MissingRuns, select
from ics.report import origin, verdicts
from ics.report.answer import answer, outcome
from ics.report.distances import summed_up
from ics.report.explorer import explorer_data
from ics.report.images import draw_images
from ics.report.packing import packed_bytes
from ics.report.runtime import needed, runtime, runtime_version

MAX_BYTES = 3_000_000

_SCRIPTS = ("data.js", "statistics.js", "chart.js", "explorer.js", "page.js")


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
    environment.globals["asset"] = _asset
    names = ("statement", "statistic", "claimed", "found", "papers_curves", "papers_effect", "mark")
    environment.filters |= {name: getattr(words, name) for name in names} | {
        "quote": verdicts.quote,
        "outcome": outcome,
    }
    figures, missing = draw_images(select("all"), runs)
    explorer = explorer_data(runs)
    detailed = verdicts.judged(claims, headline=False)
    headlines = verdicts.judged(claims, headline=True)
    html: str = environment.from_string(_asset("report.html.j2")).render(
        question=QUESTION,
        answer=answer(claims),
        verdicts=headlines,
        counts=verdicts.counted(headlines),
        details=verdicts.by_phase(detailed),
        phases=verdicts.phases_of(detailed),
        no_runs=verdicts.missing(claims),
        figures=figures,
        missing=[(problem.args[0]) for problem in missing],
        distances=summed_up(distances) if distances is not None else [],
        origins=origin.origins(runs),
        unfinished=len(runs.skipped) if runs is not None else 0,
        explorer=_json(explorer) if explorer["scales"] else "",
        runtime=packed_bytes(runtime().encode()) if explorer["scales"] else "",
        runtime_version=runtime_version(),
        scripts=[_asset(name) for name in _SCRIPTS],
    )
    size = len(html.encode())
    if size > MAX_BYTES:
        raise UserError(f"the page would have {size:,} bytes, more than {MAX_BYTES:,}; give it fewer runs")
    return html, missing


def _asset(name: str) -> str:
    return (files("ics.report") / "assets" / name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
