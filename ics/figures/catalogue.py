"""All figures by name. A new one joins in one line."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ics.analysis.load import Runs
from ics.errors import UserError


@dataclass(frozen=True)
class Figure:
    """One figure, or one lettered part of it.

    Attributes:
        name: "fig3a".
        experiment: makes the runs it is drawn from.
        how_to_read: a sentence or two, printed below the figure.
        draw: writes files into a folder and returns them; none when the runs it needs are not there.
        options: of the experiment, beside its name.
    """

    name: str
    experiment: str
    how_to_read: str
    draw: Callable[[Runs, Path], list[Path]]
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
    "fig1": "ics.figures.fig1:FIG1",
    "fig2": "ics.figures.fig2:FIG2",
    "fig3a": "ics.figures.fig3:FIG3A",
    "fig3b": "ics.figures.fig3:FIG3B",
    "fig4": "ics.figures.landscape:FIG4",
    "fig5a": "ics.figures.fig5:FIG5A",
    "fig5b": "ics.figures.fig5:FIG5B",
    "fig6": "ics.figures.activations:FIG6",
    "fig8a": "ics.figures.fig8:FIG8A",
    "fig8b": "ics.figures.fig8:FIG8B",
    "fig9": "ics.figures.activations:FIG9",
    "fig10": "ics.figures.landscape:FIG10",
    "fig11": "ics.figures.fig11:FIG11",
    "fig12": "ics.figures.lp_landscape:FIG12",
    "fig13": "ics.figures.lp_landscape:FIG13",
    "mnist_mlp": "ics.figures.mnist_mlp:MNIST_MLP",
    "init_scale": "ics.figures.init_scale:INIT_SCALE",
    "ioffe_szegedy": "ics.figures.ioffe_szegedy:IOFFE_SZEGEDY",
    "running_stats": "ics.figures.running_stats:RUNNING_STATS",
    "fingerprint": "ics.figures.fingerprint:FINGERPRINT",
}


def select(name: str) -> list[Figure]:
    """The figures of that name: a part ("fig3a"), a figure with all its parts ("fig3"), or "all".

    Raises:
        UserError: there is none.
    """
    names = [n for n in FIGURES if name in (n, _whole(n), "all")]
    if not names:
        known = sorted({*FIGURES, *map(_whole, FIGURES), "all"})
        raise UserError(f"no figure {name!r}; there are {', '.join(known)}")
    return [_load(FIGURES[n]) for n in names]


def draw(figure: Figure, runs: Runs | None, folder: Path) -> list[Path]:
    """Draws one figure.

    Args:
        figure: from `select`.
        runs: what there is; None if nothing.
        folder: where the files go.

    Returns:
        The files written.

    Raises:
        MissingRuns: the runs are not there.
    """
    files = figure.draw(runs, folder) if runs is not None else []
    if not files:
        unfinished = len(runs.skipped) if runs is not None else 0
        some = f" (unfinished ones are left out: {unfinished})" if unfinished else ""
        raise MissingRuns(f"the runs for {figure.name} are missing{some}; make them with: {figure.command}")
    return files


def _whole(name: str) -> str:
    """The figure that a lettered part belongs to: fig3a is part of fig3."""
    return re.sub(r"(?<=\d)[a-h]$", "", name)


def _load(place: str) -> Figure:
    module, name = place.split(":")
    figure: Figure = getattr(import_module(module), name)
    return figure
