"""A report of made-up runs, with few and coarse figures so that it is quickly made."""

from pathlib import Path

import pytest
from made_up_paper import copies

from ics.analysis.claims import catalogue
from ics.analysis.claims.catalogue import claims_table
from ics.analysis.load import load_runs
from ics.analysis.paper_distance import paper_distance
from ics.figures.catalogue import Figure, select
from ics.report import images, page

FIGURES = ("answer", "fig2", "fig3", "fig4")  # of fig2, there are no runs


def write_runs(root: Path) -> None:
    """Three seeds of standard and BatchNorm networks: the first is the paper's curve."""
    for model in ("vgg", "dln"):
        copies(
            root,
            model,
            (0, 1, 2),
            lambda quantity, seed, values: values if "cosine" in quantity else values * (1 + seed),
            arms=("none", "batch"),
            last_step=400,
        )


def quick(patch: pytest.MonkeyPatch) -> None:
    """Few figures, and coarse ones."""

    def few(_: str) -> list[Figure]:
        return [figure for name in FIGURES for figure in select(name)]

    patch.setattr(page, "select", few)
    patch.setattr(images, "QUALITIES", ((60, 16, 1000),))


def built(root: Path) -> str:
    """The page of some runs."""
    runs = load_runs(root)
    return page.build(runs, claims_table(runs, catalogue.names()), paper_distance(runs))[0]
