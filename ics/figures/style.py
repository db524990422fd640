"""The look all figures share: sizes for print, one colour per arm, files that are the same to the byte."""

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ics.files import write_atomically

WIDTH = 7.0
"""Inches: the text width of a two-column page."""

PNG_DPI = 200

TITLE, NOTES = "title", "notes"
"""The gid of a figure's title, and of the sentences below it; the label of the text is the words on one line."""

_CHARACTERS = {TITLE: 100, NOTES: 138}  # per line

Saver = Callable[[Figure, Path], list[Path]]

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so looks the same everywhere; has ℓ₂, ‖, ∠ and ′
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # where it is anyway; looking for a better place takes a tenth of the time
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "ytick.minor.size": 1.5,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.0,
    "lines.solid_joinstyle": "round",
    "pdf.fonttype": 42,  # embeds TrueType: text stays text
    "svg.hashsalt": "ics",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Arm:
    """How one normalisation is drawn in every figure."""

    label: str
    colour: str


# Arms that are drawn together stay apart for deutan, protan and tritan eyes: tests/test_figures.py holds it.
ARMS = {
    "standard": Arm("standard", "#D55E00"),
    "batch": Arm("BatchNorm", "#1F4E9E"),
    "noisy_batch": Arm("noisy BatchNorm", "#00A9B5"),
    "noise_only": Arm("standard + noise", "#7A4A2E"),
    "l1": Arm("ℓ₁ norm", "#9AA58C"),
    "l2": Arm("ℓ₂ norm", "#5A361A"),
    "linf": Arm("ℓ∞ norm", "#E878D0"),
    "layer": Arm("LayerNorm", "#B9A56B"),
    "group": Arm("GroupNorm", "#7A2340"),
    "batch_by_hand": Arm("BatchNorm by hand", "#8A2BE2"),
}

LINE: dict[str, Any] = {"linewidth": 0.8}
BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}
PAPER: dict[str, Any] = {"linewidth": 0.65, "linestyle": (0, (3.5, 1.5)), "zorder": 1.9}  # below our lines
IDEAL: dict[str, Any] = {"linewidth": 0.9, "linestyle": ":", "color": "#333333"}
DIVERGED: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4, "linestyle": "none"}


def darker(colour: str) -> tuple[float, ...]:
    """The same hue for the paper's dashed curve, told apart from ours where they lie on one another."""
    return tuple(0.6 * channel for channel in to_rgb(colour))


def number(value: float) -> str:
    """A learning rate as people write it: 0.1, 1e-6."""
    return f"{value:g}".replace("e-0", "e-")


@contextmanager
def style() -> Iterator[None]:
    """The shared style and nothing of the user's own; hold it while drawing and saving."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _RC))
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that many inches, without pyplot and so without any window."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def wrapped(kind: str, words: str) -> str:
    """A title or notes on as many lines as they take."""
    return textwrap.fill(words, _CHARACTERS[kind])


def add_title(figure: Figure, words: str) -> None:
    """The figure's title: in bold, above all."""
    _add(figure, TITLE, words, y=1 - 0.12 / figure.get_figheight(), va="top", weight="bold", fontsize=9)


def add_notes(figure: Figure, words: str) -> None:
    """The sentences below the panels."""
    _add(figure, NOTES, words, y=0.1 / figure.get_figheight(), va="bottom", fontsize=7)


def _add(figure: Figure, kind: str, words: str, y: float, **options: Any) -> None:
    figure.text(0.012, y, wrapped(kind, words), gid=kind, label=words, **options)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.pdf`, or what `saved_by` says; the same bytes at any time of day.

    Returns:
        The files.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    return _saver(figure, stem)


@contextmanager
def saved_by(saver: Saver) -> Iterator[None]:
    """While it is held, `save` calls another function, also in processes forked meanwhile."""
    global _saver
    before, _saver = _saver, saver
    try:
        yield
    finally:
        _saver = before


def _png_and_pdf(figure: Figure, stem: Path) -> list[Path]:
    metadata = {"png": {"Software": None}, "pdf": dict.fromkeys(("CreationDate", "Producer", "Creator"))}
    for ending, none in metadata.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format=ending, dpi=PNG_DPI, metadata=none)
        write_atomically(stem.with_name(f"{stem.name}.{ending}"), drawn.getvalue())
    return [stem.with_name(f"{stem.name}.{ending}") for ending in metadata]


_saver: Saver = _png_and_pdf
