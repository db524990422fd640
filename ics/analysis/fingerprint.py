"""The set-up that the paper leaves open, told by all that its figures show of the first step."""

from collections.abc import Callable
from itertools import combinations
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.distance_report import NEAR, nearness
from ics.analysis.load import Runs
from ics.analysis.markdown import number, records_table, table
from ics.analysis.measured import QUANTITIES, Measured
from ics.analysis.paper import paper_curves
from ics.analysis.paper_distance import distance_frame, distances_of
from ics.analysis.scales import SEARCH, Scale, text
from ics.errors import UserError

EXPERIMENT = "fingerprint"
RATE = 0.1
COMPARED = 3  # set-ups whose numbers stand beside the paper's

SETUP = {
    "model.head": "fully connected",
    "model.head_norm": "BN on them",
    "data.scaling": "input",
    "data.gain": "times",
    "weights": "initial weights",
}
"""The settings that make a set-up, and what people call them; the weights are those of convolutions and of the head."""

FIGURES = ("3a", "4a", "4b", "4c")
SHOWN = {
    "ics_l2": ["value"],
    "ics_cosine": ["value"],
    "loss_range": ["low", "high"],
    "gradient_predictiveness_range": ["low", "high"],
    "effective_beta_smoothness": ["value"],
}
"""Quantity -> the edges that the paper shows."""

NUMBER = ["arm", "quantity", "layer", "edge"]
"""What tells the published numbers apart; the edge is that of a range, and "value" where the paper shows none."""

FORMULA = (
    "distance = √(mean of e² over the sixteen numbers), e = ln(ours / paper), and ours − paper for a cosine, all with "
    "the same weight"
)

HEAD = """# The paper's set-up by its first step

One update from the initial weights of the standard network and of BatchNorm at the learning rate {rate:g}: the shift
of layers 5 and 10, and loss, gradient predictiveness and β along the gradient. {count} set-ups at full width, nearest
to the paper first; {seeds} each, every one with other initial weights and another batch of {data}. Medians over the
seeds, in brackets their range.

{formula}. λ is the penalty's factor that would give the set-up the paper's penalty at step 0, its loss less ln 10.

Two seeds of one set-up are {noise} from one another (median over the pairs).

"""

TRAINED = """## Trained on

The nearest set-ups for the paper's first 1,000 steps, one seed: the root mean square of their distances from the
paper's curves, of the standard network's and BatchNorm's. Accuracy is that of a batch before its update.

"""


def papers_numbers() -> pd.DataFrame:
    """The published numbers of step 0 whose axis has numbers: columns of `NUMBER`, and `paper`."""
    curves = paper_curves(lr=RATE)
    mine = curves["figure"].isin(FIGURES) & (curves["model"] == "vgg") & curves["axis_labelled"]
    return _numbers(curves[mine & curves["quantity"].isin(SHOWN)], [], "paper")


def papers_penalty() -> float:
    """What the penalty adds to the paper's loss at step 0: the standard network, which knows nothing yet, has ln 10."""
    papers = papers_numbers()
    loss = papers[(papers["quantity"] == "loss_range") & (papers["arm"] == "standard")]["paper"]
    return float(loss.mean() - np.log(10))


def first_steps(runs: Runs) -> pd.DataFrame:
    """Our numbers beside the paper's.

    Args:
        runs: all there are; only those of the experiment at `RATE` count.

    Returns:
        One row for each published number, set-up and seed: the columns of `SETUP` as text, seed, those of `NUMBER`,
        paper, ours, error (see `FORMULA`), penalty_factor (λ, see `HEAD`). No rows where there are no such runs. A seed
        without all numbers is left out.

    Raises:
        UserError: two runs of the same set-up and seed have other results.
    """
    names = [*SETUP, "seed", *NUMBER]
    columns = [*names, "paper", "ours", "error", "penalty_factor"]
    settings = runs.settings
    if "experiment" not in settings or not {"shift", "landscape", "training"} <= set(runs):
        return pd.DataFrame(columns=columns)
    mine = settings[(settings["experiment"] == EXPERIMENT) & np.isclose(settings["optimizer.lr"], RATE, atol=0)]
    if mine.empty:
        return pd.DataFrame(columns=columns)
    setups = _setups(mine)
    measured = Measured(runs, Scale("", "", mine))
    curves = [measured.curve(name).assign(quantity=name) for name in SHOWN if QUANTITIES[name].table in runs]
    long = _numbers(pd.concat(curves, ignore_index=True), ["run", "seed"], "ours")
    papers = papers_numbers()
    beside = long.merge(papers, on=NUMBER).merge(setups, on="run").merge(_penalties(runs, mine), on="run")
    beside = _complete(beside, ["run"], len(papers) // 2).drop_duplicates([*names, "ours"])
    _refuse_two_results(beside, names)
    beside = _complete(beside, [*SETUP, "seed"], len(papers))
    errors = _errors(beside["ours"], beside["paper"], beside["quantity"])
    return beside.assign(error=errors)[columns].reset_index(drop=True)


def ranking(steps: pd.DataFrame) -> pd.DataFrame:
    """The set-ups, nearest to the paper first.

    Args:
        steps: from `first_steps`.

    Returns:
        One row per set-up: rank (from 1), the columns of `SETUP`, seeds, distance (median over the seeds), low, high
        (their range), distance_standard and distance_batch (of each arm's numbers), penalty_factor, and the median of
        each number, named like "standard ics_l2 #5".
    """
    squares = steps.assign(square=steps["error"] ** 2)
    setup = list(SETUP)
    distances = squares.groupby([*setup, "seed"])["square"].mean() ** 0.5
    found = distances.groupby(setup).agg(seeds="size", distance="median", low="min", high="max")
    arms = (squares.groupby([*setup, "seed", "arm"])["square"].mean() ** 0.5).groupby([*setup, "arm"]).median()
    found = found.join(arms.unstack("arm")[["standard", "batch"]].add_prefix("distance_"))
    of_standard = steps[steps["arm"] == "standard"]
    found = found.join(of_standard.groupby(setup)["penalty_factor"].median())
    numbers = steps.assign(number=steps[NUMBER].apply(name_of, axis=1))
    ranked = found.join(numbers.pivot_table("ours", setup, "number", "median", sort=False))
    ranked = pd.DataFrame(ranked).sort_values("distance", kind="stable").reset_index()
    ranked.insert(0, "rank", range(1, len(ranked) + 1))
    return ranked


def training_distances(runs: Runs) -> pd.DataFrame:
    """How far the set-ups that were trained are from the paper's curves, like `paper_distance`."""
    mine = runs.settings[runs.settings["experiment"] == SEARCH] if "experiment" in runs.settings else pd.DataFrame()
    if mine.empty:
        return distance_frame([])
    curves = paper_curves()
    points = curves[(curves["model"] == "vgg") & curves["quantity"].isin(NEAR)]
    setups = _setups(mine).merge(mine[["run", "model.width"]], on="run")
    records = []
    for (width, *setup), own in setups.groupby(["model.width", *SETUP], sort=False):
        named = (f"{words} {value}" for words, value in zip(SETUP.values(), setup, strict=True))
        title = "; ".join([f"width ×{width:g}", *named])
        measured = Measured(runs, Scale("", title, mine[mine["run"].isin(own["run"])]))
        records += [{"scale": title, "scale_title": title} | record for record in distances_of(measured, points)]
    return distance_frame(records)


def seed_noise(steps: pd.DataFrame) -> float:
    """How far two seeds of a set-up are from one another, by `FORMULA`: the median over all pairs; nan without any."""
    pairs = []
    for _, own in steps.groupby(list(SETUP)):
        seeds = [rows.set_index(NUMBER)["ours"].sort_index() for _, rows in own.groupby("seed")]
        for a, b in combinations(seeds, 2):
            errors = _errors(a, b, a.index.get_level_values("quantity"))
            pairs.append(float(np.sqrt((errors**2).mean())))
    return float(np.median(pairs)) if pairs else float("nan")


def name_of(row: Any) -> str:
    """A published number's name: "standard ics_l2 #5", "batch loss_range low"."""
    which = f" #{row['layer']}" if pd.notna(row["layer"]) else ""
    edge = "" if row["edge"] == "value" else f" {row['edge']}"
    return f"{row['arm']} {row['quantity']}{which}{edge}"


def seeds_in_words(ranked: pd.DataFrame) -> str:
    """How many seeds a set-up has: "3 seeds"."""
    few, many = ranked["seeds"].min(), ranked["seeds"].max()
    return f"{many} seed{'s' if many > 1 else ''}" if few == many else f"{few} to {many} seeds"


def images(runs: Runs) -> str:
    """What the experiment's data are called."""
    mine = runs.settings[runs.settings["experiment"] == EXPERIMENT]
    return ", ".join(sorted(mine["data_label"].astype(str).unique()))


def to_markdown(steps: pd.DataFrame, runs: Runs) -> str:
    """The ranking for people, the numbers of the nearest set-ups beside the paper's, and `training_distances`."""
    ranked = ranking(steps)
    columns: dict[str, Callable[[Any], Any]] = {
        "rank": itemgetter("rank"),
        **{words: itemgetter(name) for name, words in SETUP.items()},
        "distance": lambda row: f"{number(row['distance'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]",
        "of standard": lambda row: number(row["distance_standard"], 2),
        "of BN": lambda row: number(row["distance_batch"], 2),
        "λ": lambda row: number(row["penalty_factor"]),
    }
    head = HEAD.format(
        count=len(ranked),
        rate=RATE,
        seeds=seeds_in_words(ranked),
        data=images(runs),
        formula=FORMULA[0].upper() + FORMULA[1:],
        noise=number(seed_noise(steps), 2),
    )
    first = records_table(ranked.to_dict("records"), columns)
    nearest = ranked.head(COMPARED)
    numbers = [
        [name_of(row), number(row["paper"], 3), *(number(value, 3) for value in nearest[name_of(row)])]
        for row in papers_numbers().to_dict("records")
    ]
    ranks = [f"rank {rank}" for rank in nearest["rank"]]
    text = f"{head}{first}\n## The numbers\n\n{table(['number', 'paper', *ranks], numbers)}"
    trained = training_distances(runs)
    return f"{text}\n{TRAINED}{nearness(trained)}" if len(trained) else text


def _setups(settings: pd.DataFrame) -> pd.DataFrame:
    """run -> the columns of `SETUP`, as text."""
    gain = settings["data.gain"].fillna(1.0) if "data.gain" in settings else 1.0
    convolutions = settings["model.init.name"].astype(object)
    head = settings.get("model.init.linear.name", convolutions).astype(object).fillna(convolutions)
    both = [one if one == two else f"{one}, {two}" for one, two in zip(convolutions, head, strict=True)]
    full = settings.assign(**{"data.gain": gain}, weights=both)
    return full[["run"]].assign(**{name: full[name].astype(object).map(text).replace("", "none") for name in SETUP})


def _penalties(runs: Runs, settings: pd.DataFrame) -> pd.DataFrame:
    """run -> the penalty's factor with which it would have the paper's penalty at step 0."""
    start, landscape = runs["training"], runs["landscape"]
    plain = start[start["step"] == 0].set_index("run")["loss"]
    origin = landscape[(landscape["step"] == 0) & (landscape["direction"] == "origin")].set_index("run")["loss"]
    mine = settings.set_index("run")
    added = origin.reindex(mine.index) - plain.reindex(mine.index)
    with np.errstate(divide="ignore"):
        factor = mine["optimizer.weight_decay"].astype(float) * papers_penalty() / added
    return factor.rename("penalty_factor").reset_index()


def _numbers(curves: pd.DataFrame, of_run: list[str], name: str) -> pd.DataFrame:
    """Curves -> their first step: one row per number, which stands in a column of that name."""
    first = curves[curves["step"] == 0].astype({"layer": "Int64"})
    parts = [
        first[first["quantity"] == quantity].melt([*of_run, "arm", "quantity", "layer"], edges, "edge", name)
        for quantity, edges in SHOWN.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _complete(rows: pd.DataFrame, by: list[str], numbers: int) -> pd.DataFrame:
    return rows[rows.groupby(by, observed=True)["ours"].transform("size") == numbers]


def _errors(ours: pd.Series, theirs: pd.Series, quantity: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """See `FORMULA`; infinite where there is no gradient, and so no cosine."""
    a, b = ours.to_numpy(dtype=float), theirs.to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(np.asarray(quantity) == "ics_cosine", a - b, np.log(a / b))
    return np.where(np.isnan(errors), np.inf, errors)


def _refuse_two_results(rows: pd.DataFrame, names: list[str]) -> None:
    twice = rows[rows.duplicated(names, keep=False)].sort_values(names, kind="stable")
    if len(twice):
        one, two = twice["run"].astype(str).iloc[:2]
        raise UserError(
            f"runs {one} and {two} have the same set-up and seed, and other results; keep them in separate folders"
        )
