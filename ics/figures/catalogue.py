"""All figures by name, what a figure is, and how any is drawn. A new one joins in one line."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import pandas as pd

from ics.analysis.load import Runs
from ics.errors import UserError
from ics.figures.sheet import Sheet
from ics.figures.style import style

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """One figure, or one lettered part of it.

    Attributes:
        name: "fig3a".
        experiment: makes the runs it is drawn from.
        find: what it is drawn from, once for every scale of the runs, and the name of its file, without an ending;
            nothing where the runs it needs are not there.
        draw: makes the figure of what was found.
        options: of the experiment, beside its name.
    """

    name: str
    experiment: str
    find: Callable[[Runs], Iterable[tuple[str, Any]]]
    draw: Callable[[Any], Sheet]
    options: str = ""

    @property
    def command(self) -> str:
        """Makes the runs."""
        return f"python scripts/train.py -m experiment={self.experiment} {self.options}".strip()


class MissingRuns(UserError):
    """A figure cannot be drawn yet; the message has the command that makes its runs."""


# name -> where it is defined; loaded when asked for.
FIGURES = {
    "answer": "ics.figures.answer:ANSWER",
    "specifications": "ics.figures.specifications:SPECIFICATIONS",
    "every_layer": "ics.figures.every_layer:EVERY_LAYER",
    "fig1": "ics.figures.training:FIG1",
    "fig2": "ics.figures.training:FIG2",
    "fig3a": "ics.figures.shift:FIG3A",
    "fig3b": "ics.figures.shift:FIG3B",
    "fig4": "ics.figures.landscape:FIG4",
    "fig5a": "ics.figures.training:FIG5A",
    "fig5b": "ics.figures.training:FIG5B",
    "fig6": "ics.figures.activations:FIG6",
    "fig8a": "ics.figures.activations:FIG8A",
    "fig8b": "ics.figures.activations:FIG8B",
    "fig9": "ics.figures.activations:FIG9",
    "fig10": "ics.figures.landscape:FIG10",
    "fig11": "ics.figures.landscape:FIG11",
    "fig12": "ics.figures.landscape:FIG12",
    "fig13": "ics.figures.landscape:FIG13",
    "mnist_mlp": "ics.laboratory.figures.mnist_mlp:MNIST_MLP",
    "init_scale": "ics.laboratory.figures.init_scale:INIT_SCALE",
    "ioffe_szegedy": "ics.laboratory.figures.ioffe_szegedy:IOFFE_SZEGEDY",
    "running_stats": "ics.laboratory.figures.running_stats:RUNNING_STATS",
    "fingerprint": "ics.figures.fingerprint:FINGERPRINT",
    "origins": "ics.figures.origins:ORIGINS",
    "widths": "ics.figures.widths:WIDTHS",
}
WHOLE = {"fig3": ("fig3a", "fig3b"), "fig5": ("fig5a", "fig5b"), "fig8": ("fig8a", "fig8b"), "all": tuple(FIGURES)}
"""What stands for several."""


def select(name: str) -> list[Figure]:
    """The figures of that name: a part ("fig3a"), a figure with all its parts ("fig3"), or "all".

    Raises:
        UserError: there is none.
    """
    if name not in {*FIGURES, *WHOLE}:
        raise UserError(f"no figure {name!r}; there are {', '.join(sorted({*FIGURES, *WHOLE}))}")
    places = [FIGURES[part].split(":") for part in WHOLE.get(name, (name,))]
    return [getattr(import_module(module), figure) for module, figure in places]


def find(figure: Figure, runs: Runs | None) -> Iterator[tuple[str, Any]]:
    """What a figure is drawn from, once for every scale of the runs, and the name of its file.

    Raises:
        MissingRuns: the runs are not there.
        UserError: they cannot be told apart.
    """
    nothing = True
    for stem, found in figure.find(runs) if runs is not None else ():
        yield stem, found
        nothing = False
    if nothing:
        unfinished = len(runs.skipped) if runs is not None else 0
        some = f" (unfinished ones are left out: {unfinished})" if unfinished else ""
        if runs is not None and runs.settings.get("steps", pd.Series()).eq(1).any():
            some += " (runs of a single step are no course of training)"
        raise MissingRuns(f"the runs for {figure.name} are missing{some}; make them with: {figure.command}")


def draw(figure: Figure, stem: str, found: Any, use: Callable[[str, Sheet], T]) -> T:
    """Draws one sheet of what `find` gave, and what its use gives, such as saving it under that name."""
    with style():
        sheet = figure.draw(found)
        sheet.finish()
        return use(stem, sheet)
