"""The set-up that the paper leaves open, told by its first step: whose shift comes nearest to the paper's."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.markdown import number, table
from ics.analysis.paper import all_paper_points
from ics.errors import UserError

EXPERIMENT = "fingerprint"

SETUP = {
    "model.depth": "depth",
    "model.head": "fully connected",
    "model.head_norm": "BN on them",
    "data.scaling": "input",
    "model.init.name": "initial weights",
    "optimizer.weight_decay": "penalty",
}
"""The settings that make a set-up, and what people call them."""

NUMBER = ["arm", "lr", "layer", "quantity"]
"""What tells the published numbers apart."""

FORMULA = (
    "distance = √(mean of e² over the twelve numbers), e = ln(ours / paper) for ‖G − G′‖₂ and ours − paper for a "
    "cosine, all with the same weight"
)

HEAD = """# The paper's set-up by its first step

One update from the initial weights, and what it does to the gradients of layers 5 and 10 of the standard network and of
BatchNorm at two learning rates: {count} set-ups, nearest to the paper first; {seeds} each, every one with other initial
weights and another batch of {data}. Medians over the seeds, in brackets their range.

{formula}.

Two seeds of the nearest set-up are {noise} from one another (median over the pairs).

"""


def papers_numbers() -> pd.DataFrame:
    """The published numbers at step 0 whose axis has numbers: columns of `NUMBER`, and `paper`."""
    points = all_paper_points()
    shift = points[points["quantity"].isin(["ics_l2", "ics_cosine"]) & (points["model"] == "vgg")]
    first = shift[(shift["step"] == 0) & shift["axis_labelled"]]
    return first.rename(columns={"value": "paper"})[[*NUMBER, "paper"]].astype({"layer": "int64"})


def first_steps(runs: Runs) -> pd.DataFrame:
    """Our numbers beside the paper's.

    Args:
        runs: all there are; only those of the experiment count.

    Returns:
        One row for each published number, set-up and seed: the columns of `SETUP` as text, seed, those of `NUMBER`,
        paper, ours, error (see `FORMULA`). No rows where there are no such runs. A seed without them all is left out.

    Raises:
        UserError: two runs of the same set-up and seed have other results.
    """
    names = [*SETUP, "seed", *NUMBER]
    if "shift" not in runs or not {"experiment", "norm.name", *SETUP} <= set(runs.settings):
        return pd.DataFrame(columns=[*names, "paper", "ours", "error"])
    shift = runs["shift"]
    shift = shift[(shift["experiment"] == EXPERIMENT) & (shift["step"] == 0)]
    measured = shift.assign(
        **{name: shift[name].map(_text).astype(object) for name in SETUP},
        arm=shift["arm"].astype(str),
    ).rename(columns={"optimizer.lr": "lr", "layer": "layer_name", "layer_index": "layer"})
    long = measured.rename(columns={"l2": "ics_l2", "cosine": "ics_cosine"}).melt(
        ["run", *SETUP, "seed", "arm", "lr", "layer"], ["ics_l2", "ics_cosine"], "quantity", "ours"
    )
    long = long.drop_duplicates([*names, "ours"])
    _refuse_two_results(long, names)
    papers = papers_numbers()
    beside = long.merge(papers, on=NUMBER)
    complete = beside.groupby([*SETUP, "seed"])["ours"].transform("size") == len(papers)
    beside = beside[complete]
    return beside.assign(error=_errors(beside["ours"], beside["paper"], beside["quantity"]))[
        [*names, "paper", "ours", "error"]
    ].reset_index(drop=True)


def ranking(steps: pd.DataFrame) -> pd.DataFrame:
    """The set-ups, nearest to the paper first.

    Args:
        steps: from `first_steps`.

    Returns:
        One row per set-up: rank (from 1), the columns of `SETUP`, seeds, distance (median over the seeds), low, high
        (their range), and the median of each number, named like "ics_l2 #5 standard 0.1".
    """
    distances = steps.assign(square=steps["error"] ** 2).groupby([*SETUP, "seed"])["square"].mean() ** 0.5
    found = distances.groupby(list(SETUP)).agg(["size", "median", "min", "max"])
    found.columns = ["seeds", "distance", "low", "high"]
    numbers = steps.assign(number=steps[NUMBER].apply(name_of, axis=1)).pivot_table(
        "ours", list(SETUP), "number", "median", sort=False
    )
    ranked = found.join(numbers).sort_values("distance", kind="stable").reset_index()
    ranked.insert(0, "rank", range(1, len(ranked) + 1))
    return ranked


def seed_noise(steps: pd.DataFrame, setup: pd.Series) -> float:
    """How far two seeds of a set-up are from one another: the median over the pairs, by the same formula.

    Args:
        steps: from `first_steps`.
        setup: a row of `ranking`.

    Returns:
        nan where there is one seed only.
    """
    own = steps[(steps[list(SETUP)] == setup[list(SETUP)]).all(axis=1)]
    seeds = [rows.set_index(NUMBER).sort_index() for _, rows in own.groupby("seed")]
    pairs = [
        float(np.sqrt((_errors(a["ours"], b["ours"], a.index.get_level_values("quantity")) ** 2).mean()))
        for a, b in combinations(seeds, 2)
    ]
    return float(np.median(pairs)) if pairs else float("nan")


def name_of(row: Any) -> str:
    """A published number's name: "ics_l2 #5 standard 0.1"."""
    return f"{row['quantity']} #{row['layer']} {row['arm']} {row['lr']:g}"


def seeds_in_words(ranked: pd.DataFrame) -> str:
    """How many seeds a set-up has: "3 seeds"."""
    few, many = ranked["seeds"].min(), ranked["seeds"].max()
    return f"{many} seeds" if few == many else f"{few} to {many} seeds"


def images(runs: Runs) -> str:
    """What the experiment's data are called."""
    mine = runs.settings[runs.settings["experiment"] == EXPERIMENT]
    return ", ".join(sorted(mine["data_label"].astype(str).unique()))


def to_markdown(steps: pd.DataFrame, data: str) -> str:
    """The ranking for people, the paper's numbers in its first line.

    Args:
        steps: from `first_steps`.
        data: what the images are called.
    """
    ranked, papers = ranking(steps), papers_numbers()
    cells = [(arm, lr) for lr in (0.1, 0.01) for arm in ("standard", "batch")]
    columns = [f"{arm} {lr:g}: ℓ₂ #5 / cos #5, cos #10" for arm, lr in cells]
    theirs = {name_of(row): float(row["paper"]) for row in papers.to_dict("records")}
    lines = [["", "**paper**", *[""] * (len(SETUP) - 1), "0", *(_cell(theirs, *cell) for cell in cells)]]
    for row in ranked.to_dict("records"):
        distance = f"{number(row['distance'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]"
        setup = [str(row[name]) for name in SETUP]
        lines.append([str(row["rank"]), *setup, distance, *(_cell(row, *cell) for cell in cells)])
    head = HEAD.format(
        count=len(ranked),
        seeds=seeds_in_words(ranked),
        data=data,
        formula=FORMULA[0].upper() + FORMULA[1:],
        noise=number(seed_noise(steps, ranked.iloc[0]), 2),
    )
    return head + table(["rank", *SETUP.values(), "distance", *columns], lines)


def _cell(row: dict[Any, Any], arm: str, lr: float) -> str:
    of = f"{arm} {lr:g}"
    return f"{number(row[f'ics_l2 #5 {of}'], 2)} / {row[f'ics_cosine #5 {of}']:.2f}, {row[f'ics_cosine #10 {of}']:.2f}"


def _errors(ours: pd.Series, theirs: pd.Series, quantity: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """See `FORMULA`; infinite where there is no gradient, and so no cosine."""
    a, b = ours.to_numpy(dtype=float), theirs.to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(np.asarray(quantity) == "ics_l2", np.log(a / b), a - b)
    return np.where(np.isnan(errors), np.inf, errors)


def _text(value: Any) -> str:
    """A setting as people write it: 512-512, 5e-4."""
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def _refuse_two_results(rows: pd.DataFrame, names: list[str]) -> None:
    twice = rows[rows.duplicated(names, keep=False)].sort_values(names, kind="stable")
    if len(twice):
        one, two = twice["run"].astype(str).iloc[:2]
        raise UserError(
            f"runs {one} and {two} have the same set-up and seed, and other results; keep them in separate folders"
        )
