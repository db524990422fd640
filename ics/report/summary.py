"""The parts of the project's Markdown pages that runs decide: written between markers, so that no number is typed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pandas as pd

from ics.analysis.claims import covariate_shift, words
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.claims.judge import evaluate
from ics.analysis.claims.words import Row
from ics.analysis.load import Runs
from ics.analysis.markdown import number, records_table, table
from ics.analysis.measured import QUANTITIES
from ics.analysis.select import select
from ics.analysis.specifications import BY_STEP, INCREASED, REDUCED, SHIFT, UNDECIDED, by_definition
from ics.errors import UserError
from ics.figures import catalogue
from ics.figures.style import ARMS
from ics.report.answer import MEASURES, answer, evidence, origins_tables, outcome
from ics.tables import Table

MAIN = ("training", "evaluation", "shift")
AFFORDABLE = 30
"""Seeds: more are not worth planning."""

# What the README shows first: claim -> by which quantity.
FIRST = {
    CLAIM: "ics_l2",
    "bn_trains_faster": "train_accuracy_percent",
    "noisy_nearly_matches_bn": "train_accuracy_percent",
}
# A claim with what the runs, and the paper's own curves, say of it.
_VERDICTS: dict[str, Callable[[Row], Any]] = {
    "claim": words.statement,
    "runs": itemgetter("scale_title"),
    "seeds": itemgetter("n"),
    **{name: words.CELLS[name] for name in ("true if", "effect", "verdict", "the paper's curves")},
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
        before, found, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if not (found and ends):
            raise UserError(f"the page has no place for {name!r}; put {begin} and {end} where it belongs")
        text = f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"
    return text


def answer_line(claims: pd.DataFrame) -> str:
    """The answer, from `claims_table`."""
    found = answer(claims)
    return f"**{found.short}** {found.sentence}"


def readings_line(readings: pd.DataFrame) -> str:
    """Where every reading of `specifications` that decides says the same, and where the answer hangs on the reading."""
    alike, apart = [], []
    for network, lr, _, said in _said(readings[readings["definition"] == SHIFT], "network"):
        where = f"{network} (learning rate {words.rate(lr)})"
        smaller, larger, of = said[REDUCED], said[INCREASED], f"of {said.total():,} readings"
        if smaller and larger:
            apart.append(f"{where}, smaller in {smaller:,} and larger in {larger:,} {of}")
        elif smaller or larger:
            alike.append(f"{where}, {'smaller' if smaller else 'larger'} in {smaller + larger:,} {of}")
    parts = [("Every reading that decides says the same", alike), ("It depends on the reading", apart)]
    return " ".join(f"{begins}: {'; '.join(found)}." for begins, found in parts if found)


def readings_table(readings: pd.DataFrame) -> str:
    """How many readings say what, network by network and definition by definition, by step and by progress."""
    by_step = readings["alignment"] == BY_STEP
    lines: dict[tuple[str, ...], list[str]] = {}
    for rows in (readings[by_step], readings[~by_step]):
        for title, lr, definition, said in _said(rows, "scale_title"):
            counts = [f"{count:,}" for count in (said[REDUCED], said[INCREASED], said[UNDECIDED], said.total())]
            lines.setdefault((title, words.rate(lr), f"`{definition}`"), []).append(" / ".join(counts))
    header = ["network", "learning rate", "definition", "by step", "by progress"]
    return table(header, [[*network, *counts] for network, counts in lines.items()])


def definitions_table(runs: Runs) -> str:
    """The shift by every reading of the definition that was measured on the same runs, norm by norm."""
    headline = [claim for claim in covariate_shift.claims() if claim.name == CLAIM and claim.headline]
    arms = ("standard", "batch", "noisy_batch")
    alone = [replace(claim, arm=arm, against=None) for arm in arms for claim in headline]
    found = pd.concat([evaluate(alone, by).assign(by=name) for name, by in by_definition(runs).items()])
    found = found[found["n"] > 0].sort_values("arm", key=lambda column: column.map(arms.index), kind="stable")
    parts = []
    for (title, lr), mine in found.groupby(["scale_title", "lr"], sort=False):
        if mine["by"].nunique() > 1:
            lines = []
            for (arm, by), rows in mine.groupby(["arm", "by"], sort=False):
                cells = {row["quantity"]: words.found(row) for row in rows.to_dict("records")}
                lines.append([ARMS[str(arm)].label, f"`{by}`", *(cells.get(name, "–") for name in MEASURES)])
            head = f"{title}, learning rate {words.rate(float(str(lr)))}, {mine['n'].max()} seeds:\n\n"
            parts.append(head + table(["norm", "definition", *MEASURES.values()], lines))
    return "\n".join(parts)


def _said(readings: pd.DataFrame, name: str) -> Iterator[tuple[str, float, str, Counter[str]]]:
    """By network (named by a column), rate and definition: what readings of two pairs or more say."""
    for (network, lr, of), mine in readings[readings["n"] > 1].groupby([name, "lr", "definition"], sort=False):
        yield str(network), float(str(lr)), str(of), Counter(mine["change"])


def power_table(claims: pd.DataFrame) -> str:
    """Which claims a few more seeds would decide."""
    rows = evidence(claims)
    rows = rows[rows["seeds_to_decide"] <= AFFORDABLE].sort_values("seeds_to_decide", kind="stable")
    columns = {name: _VERDICTS[name] for name in ("claim", "runs", "effect")} | {
        "of": lambda row: QUANTITIES[row["quantity"]].label,
        "seeds now": lambda row: row["n"],
        "would decide": lambda row: f"{row['seeds_to_decide']:.0f}",
    }
    return records_table(rows.to_dict("records"), columns)


def first_table(claims: pd.DataFrame, readings: pd.DataFrame) -> str:
    """What the runs say of the claims that matter most, one row for each network and learning rate."""

    def every(row: Row) -> str:
        of = {"scale": row["scale"], "lr": row["lr"], "quantity": row["quantity"], "definition": SHIFT}
        mine = select(readings, **of).query("n > 1")
        if row["claim"] != CLAIM or mine.empty:
            return "–"
        low, high = (words.effect({"effect": end, "unit": row["unit"]}) for end in mine["effect"].agg(["min", "max"]))
        said = Counter(mine["change"])
        return f"{low} to {high}; smaller in {said[REDUCED]}, larger in {said[INCREASED]} of {len(mine)}"

    judged = evidence(claims).sort_values("n", key=lambda n: n < 2, kind="stable")  # one seed decides nothing
    rows = pd.concat(
        [judged[(judged["claim"] == name) & (judged["quantity"] == quantity)] for name, quantity in FIRST.items()]
    )
    # Of VGG the largest network comes first, of the deep linear network's two targets the one that the paper states.
    return records_table(
        rows.drop_duplicates(["claim", "network", "lr"]).to_dict("records"),
        {
            "the paper says": lambda row: row["text"],
            "network, learning rate": lambda row: f"{row['network']}, {words.rate(row['lr'])}",
            "ours": lambda row: f"{words.found(row)}, n = {row['n']}",
            "verdict": _VERDICTS["verdict"],
            "every reading": every,
            "the paper's curves": words.papers_effect,
        },
    )


def shift_table(claims: pd.DataFrame) -> str:
    """What batch normalisation does to the shift, network by network, beside the paper's own curves."""

    def cell(row: Row | None) -> str:
        if row is None:
            return "–"
        return f"{words.found(row)}, n = {row['n']}; paper {words.papers_effect(row)}: **{outcome(row)}**"

    lines = [[title, words.rate(lr), *map(cell, rows)] for title, lr, rows in answer(claims).settings]
    return table(["network", "learning rate", *MEASURES.values()], lines)


def origins_found(claims: pd.DataFrame) -> str:
    """Where the shift comes from."""
    return "\n".join(table(header, lines) for header, lines in origins_tables(claims))


def beside_table(claims: pd.DataFrame) -> str:
    """What else the runs say of the paper's claims, the most asked ones."""
    return records_table(answer(claims).beside, _VERDICTS)


def not_borne_out_table(claims: pd.DataFrame) -> str:
    """What the runs do not bear out, but for the answer's own claim."""
    rows = evidence(claims)
    return records_table(rows[(rows["holds"] == 0) & (rows["claim"] != CLAIM)].to_dict("records"), _VERDICTS)


def figures_table() -> str:
    """Every figure with the command that makes its runs."""
    figures = [figure for name in catalogue.FIGURES for figure in catalogue.select(name)]
    return records_table(figures, {"figure": lambda one: one.name, "its runs": lambda one: f"`{one.command}`"})


def schemas_tables(schemas: Mapping[str, Table]) -> str:
    """Every CSV table of `Runs.schemas` with the meaning of its columns, the three main ones first."""
    columns = {
        "column": lambda column: f"`{column.name}`",
        "kind": lambda column: f"{column.kind} or nan" if column.nan else column.kind,
        "meaning": lambda column: column.meaning,
    }
    names = [*(name for name in MAIN if name in schemas), *sorted(set(schemas) - set(MAIN))]
    return "\n".join(
        f"## `{name}.csv`\n\nOne row per {', '.join(f'`{column}`' for column in schemas[name].key)}.\n\n"
        + records_table(schemas[name].columns, columns)
        for name in names
    )


def origins_table(origins: list[dict[str, Any]]) -> str:
    """Where the committed runs come from, of `ics.report.origin`: data, seeds, machine, time."""
    return records_table(
        origins,
        {
            "experiment": lambda one: f"`{one['experiment']}`",
            "network": itemgetter("network"),
            "data": itemgetter("data"),
            "norms": lambda one: ", ".join(one["arms"]),
            "rates": lambda one: ", ".join(map(words.rate, one["rates"])),
            "runs": lambda one: f"{one['runs']}, {one['diverged']} diverged" if one["diverged"] else one["runs"],
            "seeds": lambda one: one["seeds"],
            "machine": lambda one: "; ".join(one["hardware"]),
            "versions": lambda one: "; ".join(one["versions"]),
            "commit": lambda one: "; ".join(one["commit"]),
            "hours": lambda one: number(one["hours"], 2),
        },
    )
