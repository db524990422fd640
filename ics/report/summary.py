"""The parts of the project's Markdown pages that runs decide: written between markers, so that no number is typed."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.markdown import number, table
from ics.errors import UserError
from ics.figures.catalogue import FIGURES, select
from ics.report.answer import BESIDE, MEASURES, OUTCOMES, answer, evidence, measure_of
from ics.report.origin import Origin
from ics.tables import Table

MAIN = ("training", "evaluation", "shift")


def insert(text: str, parts: Mapping[str, str]) -> str:
    """A page with its generated parts made anew.

    Args:
        text: the page; a part stands between `<!-- name -->` and `<!-- /name -->`.
        parts: name → Markdown.

    Raises:
        UserError: the page has no place for a part.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise UserError(f"the page has no place for {name!r}; put {begin} and {end} where it belongs")
        lines = f"{begin}\n\n{part.strip()}\n\n{end}"
        text = pattern.sub(lines.replace("\\", "\\\\"), text)
    return text


def shift_table(claims: pd.DataFrame) -> str:
    """The answer, and what batch normalisation does to the shift, network by network, beside the paper's own curves.

    Args:
        claims: from `claims_table`.
    """
    found = answer(claims)
    rows = evidence(claims)
    rows = rows[rows["claim"] == CLAIM]
    lines = []
    for (scale, lr), group in rows.groupby(["scale_title", "lr"], sort=False):
        cells = [_cell(group, measure) for measure in MEASURES]
        lines.append([str(scale), words.rate(float(str(lr))), str(int(group["n"].max())), *cells])
    header = [
        "network",
        "rate",
        "seeds",
        "‖G − G′‖₂: BN / standard",
        "cos∠(G, G′): BN − standard",
        "‖G − G′‖₂ / ‖G‖₂: BN / standard",
    ]
    return f"**{found.short}** {found.sentence}\n\n{table(header, lines)}"


def beside_table(claims: pd.DataFrame) -> str:
    """What else the runs say of the paper's claims, the most asked ones."""
    rows = evidence(claims)
    return _verdicts(rows[rows["claim"].isin(BESIDE)])


def contradicted_table(claims: pd.DataFrame) -> str:
    """What the runs do not bear out."""
    rows = evidence(claims)
    return _verdicts(rows[(rows["verdict"] == "contradicted") & (rows["claim"] != CLAIM)])


def figures_table() -> str:
    """Every figure with the command that makes its runs."""
    figures = [figure for name in FIGURES for figure in select(name)]
    return table(["figure", "its runs"], [[f.name, f"`{f.command}`"] for f in figures])


def schemas_tables(schemas: Mapping[str, Table]) -> str:
    """Every CSV table with the meaning of its columns, the three main ones first.

    Args:
        schemas: table name → its schema, as `Runs.schemas`.
    """
    names = [*(name for name in MAIN if name in schemas), *sorted(set(schemas) - set(MAIN))]
    return "\n".join(
        f"## `{name}.csv`\n\nOne row per {', '.join(f'`{column}`' for column in schemas[name].key)}.\n\n"
        + table(
            ["column", "kind", "meaning"],
            [[f"`{c.name}`", f"{c.kind} or nan" if c.nan else c.kind, c.meaning] for c in schemas[name].columns],
        )
        for name in names
    )


def origins_table(origins: list[Origin]) -> str:
    """Where the committed runs come from: data, seeds, machine, time."""
    lines = [
        [
            f"`{origin.experiment}`",
            origin.network,
            origin.data,
            origin.arms,
            origin.rates,
            f"{origin.runs}" + (f", {origin.diverged} diverged" if origin.diverged else ""),
            str(origin.seeds),
            origin.hardware,
            origin.versions,
            origin.commits,
            number(origin.hours, 2),
        ]
        for origin in origins
    ]
    columns = "experiment, network, data, norms, rates, runs, seeds, machine, versions, commit, hours"
    return table(columns.split(", "), lines)


def _verdicts(rows: pd.DataFrame) -> str:
    """Claims with what the runs, and the paper's own curves, say of them."""
    lines = [
        [
            words.statement(row),
            str(row["scale_title"]),
            str(int(row["n"])),
            words.claimed(row),
            f"{words.effect(row)} {words.interval(row)}".strip(),
            f"**{row['verdict']}**",
            words.papers_curves(row),
        ]
        for row in rows.to_dict("records")
    ]
    return table(["claim", "runs", "seeds", "true if", "effect", "verdict", "the paper's curves"], lines)


def _cell(rows: pd.DataFrame, measure: str) -> str:
    of = [row for row in rows.to_dict("records") if measure == measure_of(str(row["effect_is"]))]
    return "; ".join(map(_told, of)) or "–"


def _told(row: dict[Any, Any]) -> str:
    paper = "" if row["papers_curves"] == "not shown" else f" (paper {words.papers_curves(row).split(': ')[1]})"
    return f"{words.effect(row)} {words.interval(row)}{paper}: **{OUTCOMES[str(row['verdict'])]}**".replace("  ", " ")
