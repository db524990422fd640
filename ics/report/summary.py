"""The parts of the project's Markdown pages that runs decide: written between markers, so that no number is typed."""

import re
from collections.abc import Mapping

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.markdown import number, table
from ics.errors import UserError
from ics.figures.catalogue import FIGURES, select
from ics.report.answer import Row, answer, evidence, outcome
from ics.report.origin import Origin
from ics.tables import Table

MAIN = ("training", "evaluation", "shift")
# What the README shows first: claim -> by which quantity.
FIRST = {
    CLAIM: "ics_l2",
    "bn_trains_faster": "train_accuracy_percent",
    "noisy_nearly_matches_bn": "train_accuracy_percent",
}


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


def answer_line(claims: pd.DataFrame) -> str:
    """The answer.

    Args:
        claims: from `claims_table`.
    """
    found = answer(claims)
    return f"**{found.short}** {found.sentence}"


def first_table(claims: pd.DataFrame) -> str:
    """What the runs say of the claims that matter most, one row for each network and learning rate."""
    judged = evidence(claims)
    rows = pd.concat(
        [judged[(judged["claim"] == name) & (judged["quantity"] == quantity)] for name, quantity in FIRST.items()]
    )
    # Of the deep linear network's two targets the one that the paper states comes first.
    rows = rows.drop_duplicates(["claim", "network", "lr"])
    lines = [
        [
            str(row["text"]),
            f"{row['network']}, {words.rate(row['lr'])}",
            f"{words.found(row)}, n = {row['n']}",
            f"**{row['verdict']}**",
            words.papers_effect(row),
        ]
        for row in rows.to_dict("records")
    ]
    return table(["the paper says", "network, learning rate", "ours", "verdict", "the paper's curves"], lines)


def shift_table(claims: pd.DataFrame) -> str:
    """What batch normalisation does to the shift, network by network, beside the paper's own curves."""
    found = answer(claims)
    lines = [[title, rate, *map(_cell, cells)] for title, rate, cells in found.settings]
    return table(["network", "learning rate", *found.measures], lines)


def beside_table(claims: pd.DataFrame) -> str:
    """What else the runs say of the paper's claims, the most asked ones."""
    return _verdicts(pd.DataFrame(answer(claims).beside))


def not_borne_out_table(claims: pd.DataFrame) -> str:
    """What the runs do not bear out, but for the answer's own claim."""
    rows = evidence(claims)
    return _verdicts(rows[(rows["holds"] == 0) & (rows["claim"] != CLAIM)])


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
            words.found(row),
            f"**{row['verdict']}**",
            words.papers_curves(row),
        ]
        for row in rows.to_dict("records")
    ]
    return table(["claim", "runs", "seeds", "true if", "effect", "verdict", "the paper's curves"], lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{words.found(row)}, n = {row['n']}; paper {words.papers_effect(row)}: **{outcome(row)}**"
