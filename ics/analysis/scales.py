"""Runs that may share a figure or a table's row: only their norm, learning rate and seed differ."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Real
from typing import Any

import pandas as pd

from ics.analysis.load import Runs
from ics.errors import UserError

_SAME = ("data_label", "steps", "batch_size", "augment")
_SAME_GROUPS = ("model.", "data.", "optimizer.")
_COMPARED = ["norm.name", "optimizer.lr", "seed"]
_FREE = {"optimizer.lr", "data.root", "data.download"}
# How much is measured, not what: runs that differ in these can be compared.
_FREE_OPTIONS = {"every", "also", "layers", "units", "bins", "directions", "seed", "samples", "iterations", "tolerance"}


# Setting `model.name` -> the settings in which runs of the paper's own size, on its own data, agree. The paper says no
# depth for VGG; 16 fits best.
PAPERS_OWN: dict[str, dict[str, float | str]] = {
    "vgg": {"data_label": "cifar10", "model.depth": 16, "model.width": 1, "batch_size": 128, "steps": 15_000},
    "deep_linear": {
        "data.target": "normal",
        "data.samples": 1000,
        "model.depth": 25,
        "model.width": 10,
        "steps": 10_000,
    },
}


SEARCH = "fingerprint_training"
"""The experiment that trains the set-ups which may be the paper's."""

# What VGG's set-up has that fits the paper's first step (docs/method.md), and others do not.
FOUND = {"data.scaling": "per_image", "model.init.name": "he_normal_fan_out", "model.head": (512,)}


def has_found_setup(run: "pd.Series[Any]") -> bool:
    """Whether a run's set-up is the one that fits the paper's first step."""
    return all(run.get(name) == value for name, value in FOUND.items())


@dataclass(frozen=True)
class Scale:
    """Runs of one scale.

    Attributes:
        slug: for file names.
        title: for people; it begins with the network.
        runs: their rows of `Runs.settings`, one per norm, learning rate, seed and whatever else is compared.
        setup: the slug without the number of steps: a run is the beginning of a longer one of the same set-up.
    """

    slug: str
    title: str
    runs: pd.DataFrame
    setup: str = ""

    @cached_property
    def network(self) -> str:
        """The kind of network, for people."""
        return _network(self.runs.iloc[0])

    @cached_property
    def is_papers_own(self) -> bool:
        """Whether the runs have the paper's own size and data."""
        run = self.runs.iloc[0]
        own = PAPERS_OWN.get(str(run["model.name"]), {})
        return bool(own) and all(run.get(name) == value for name, value in own.items())

    @cached_property
    def lacks_penalty(self) -> bool:
        """Whether the loss along the gradient is without the penalty in the paper's, which only VGG has."""
        holds = self.runs.get("measure.landscape.penalty", pd.Series(dtype=object)).eq(True).any()
        return self.runs["model.name"].iloc[0] == "vgg" and not holds

    def layers(self, papers: Sequence[int], rows: pd.DataFrame, column: str = "layer") -> dict[int, int]:
        """The paper's layer numbers → ours that stand for them, of what every run of `rows` shows.

        The same numbers if all of them are there, else the nearest in relative depth: layers 5 and 10 of 16 are 3 and 7
        of 11. Two of the paper's layers may fall on one of ours.
        """
        there, run = common_layers(rows, column), self.runs.iloc[0]
        if set(papers) <= set(there):
            return {number: number for number in papers}
        theirs, ours = float(PAPERS_OWN[str(run["model.name"])]["model.depth"]), int(run["model.depth"])
        return {number: min(there, key=lambda index: abs(index - number / theirs * ours)) for number in papers}


def common_layers(rows: pd.DataFrame, column: str = "layer_index") -> list[int]:
    """The layers that every run measured; all there are if no layer is common to all runs."""
    pairs = rows[["run", column]].drop_duplicates()
    runs = pairs[column].value_counts().sort_index()  # by how many each was measured
    return (runs.index[runs == pairs["run"].nunique()].tolist() or runs.index.tolist()) if len(runs) else []


def split_by_scale(
    settings: pd.DataFrame,
    sweep: Collection[str] = (),
    measures: Collection[str] = ("shift",),
    named: dict[str, str] | None = None,
) -> Iterator[Scale]:
    """Sorts runs into groups that can be compared.

    Args:
        settings: rows of `Runs.settings`.
        sweep: settings beside the norm and the learning rate that a figure compares.
        measures: quantities whose options must be the same (but for how much of them was measured).
        named: settings that the names of the scales have in any case.

    Raises:
        UserError: two runs of a group would be taken for seeds of one another, but their norms have other
            options.
    """
    for options, runs in _groups(settings, sweep, measures):
        _refuse_other_norm_options(runs.drop(columns=[name for name in sweep if name in runs]))
        setup, title = _names(runs.iloc[0])
        said = (named or {}) | options
        length = f"_steps-{said.pop('steps')}" if "steps" in said else ""  # which the title says anyway
        for name, value in said.items():
            setup, title = f"{setup}_{name.split('.')[-1]}-{value}", f"{title}, {name} {value}"
        slug = "".join(c if c.isalnum() or c in "-_." else "-" for c in setup + length)
        # The same run made twice, for two experiments, is one run.
        yield Scale(slug, title, runs.drop_duplicates([*_COMPARED, *sweep]), setup)


@lru_cache(maxsize=64)
def scales_with(runs: Runs, model: str, *tables: str) -> tuple[Scale, ...]:
    """The scales of a network's runs that have all of certain tables, under the same names whatever the tables.

    Those nearest to the paper's come first: its set-up, then the widest, then the longest.

    Raises:
        UserError: see `split_by_scale`.
    """
    settings = runs.settings
    if not {"model.name", "model.depth", "optimizer.lr", "seed", "steps", *_COMPARED} <= set(settings):
        return ()
    have = set.intersection(*(set(runs[table]["run"].unique()) if table in runs else set() for table in tables))
    scales: list[Scale] = []
    for of_group, group in _of_network(runs, model):
        measured = group[group["run"].isin(have)]
        scales += split_by_scale(measured, measures=tables, named=of_group) if len(measured) else ()
    return tuple(sorted(scales, key=_smallness))


def _smallness(scale: Scale) -> tuple[bool, float, int]:
    run = scale.runs.iloc[0]
    width = run.get("model.width")
    return not has_found_setup(run), -float(width) if isinstance(width, Real) else 0.0, -int(run["steps"])


@lru_cache(maxsize=16)
def _of_network(runs: Runs, model: str) -> list[tuple[dict[str, str], pd.DataFrame]]:
    # Neither a single step nor a run of the search for the paper's set-up, which has a table of its own.
    searched = runs.settings.get("experiment", pd.Series("", runs.settings.index)) == SEARCH
    settings = runs.settings[(runs.settings["model.name"] == model) & (runs.settings["steps"] > 1) & ~searched]
    return list(_groups(settings, (), ())) if len(settings) else []


def _groups(
    settings: pd.DataFrame, sweep: Collection[str], measures: Collection[str]
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Runs that can be compared, and the settings that tell them from others of the same usual name."""
    fixed = [n for n in map(str, settings) if _is_fixed(n, measures) and n not in sweep]
    fixed = [n for n in fixed if settings[n].nunique(dropna=False) > 1]  # texts take their time
    texts = settings[fixed].astype(object).map(text)
    varying = [name for name in sorted(fixed) if texts[name].nunique() > 1]
    groups = [runs for _, runs in settings.groupby([texts[name] for name in varying])] if varying else [settings]
    for runs in groups:
        namesakes = pd.concat([other for other in groups if _names(other.iloc[0])[0] == _names(runs.iloc[0])[0]])
        distinct = [name for name in varying if texts.loc[namesakes.index, name].nunique() > 1]
        yield {name: str(texts.at[runs.index[0], name]) for name in distinct}, runs


def _is_fixed(name: str, measures: Collection[str]) -> bool:
    if name.startswith("measure."):
        _, quantity, *option = name.split(".", 2)
        return quantity in measures and not _FREE_OPTIONS & set(option)
    return name in _SAME or (name.startswith(_SAME_GROUPS) and name not in _FREE)


def _network(run: pd.Series) -> str:
    depth = text(run.get("model.depth"))
    kinds = {"vgg": f"VGG-{depth}", "deep_linear": f"{depth}-layer deep linear network"}
    return kinds.get(str(run["model.name"]), str(run["model.name"]))


def _names(run: pd.Series) -> tuple[str, str]:
    """Short and long name of a run's scale."""
    data, network = text(run["data_label"]), _network(run)
    steps = f"{run['steps']:,} steps" if "steps" in run else "any number of steps"
    depth, width = text(run.get("model.depth")), text(run.get("model.width"))
    match str(run["model.name"]):
        case "vgg":
            slug, which = ("_found", ", set-up found by the first step") if has_found_setup(run) else ("", "")
            return f"{data}_vgg{depth}_w{width}{slug}", f"{network}, width ×{width}{which}, on {data}, {steps}"
        case "deep_linear":
            target = text(run.get("data.target"))
            law = {"normal": "N(0, 1)", "uniform": "U(0, 1)"}.get(target, target)
            return (
                f"{data}-{target}_{depth}x{width}",
                f"{network}, width {width}, target A ~ {law}, {steps}",
            )
        case other:
            return f"{data}_{other}", f"{other} on {data}, {steps}"


def text(value: Any) -> str:
    """A setting as people write it: 512-512, 0.5."""
    if isinstance(value, tuple):
        return "-".join(map(text, value))
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)


def _refuse_other_norm_options(runs: pd.DataFrame) -> None:
    options = [str(name) for name in runs if str(name).startswith("norm.") and name != "norm.name"]
    for name, same in runs.groupby("norm.name", observed=True):
        texts = same[options].map(text)
        for option in options:
            other = texts[option] != texts[option].iloc[0]
            if other.any():
                one, two = same["run"].iloc[0], same["run"][other].iloc[0]
                raise UserError(
                    f"runs {one} and {two} would be one curve, but differ in {option} of norm {name}; "
                    "keep them in separate folders and draw each with --runs"
                )
