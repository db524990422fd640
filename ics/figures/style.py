"""The look all figures share: seaborn's theme at the size of print, one colour per arm, files the same to the byte."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ics.files import write_atomically

PNG_DPI = 200

_LAYOUT = ("GDEF", "GPOS", "GSUB", "kern")

_FONT = "DejaVu Sans"  # comes with matplotlib, so looks the same everywhere; has ℓ₂, ‖, ∠ and ′
_SCALE = 0.78  # of seaborn's sizes for a paper: 7.5 points for labels
_RC: dict[str, Any] = {
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # where it is anyway; looking for a better place takes a tenth of the time
    "axes.titlepad": 5,
    "axes.labelpad": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 3,
    "ytick.major.pad": 3,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "hatch.linewidth": 0.35,
    "lines.linewidth": 0.8,
    "lines.solid_joinstyle": "round",
    "pdf.fonttype": 42,  # embeds TrueType: text stays text
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
COLOURS = {name: arm.colour for name, arm in ARMS.items()}
"""The arms' palette."""

GREY = "#444444"
"""Of what a legend says of all arms."""

BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}
PAPER: dict[str, Any] = {"linewidth": 0.65, "linestyle": (0, (3.5, 1.5)), "zorder": 1.9}  # below our lines
IDEAL: dict[str, Any] = {"linewidth": 0.9, "linestyle": ":", "color": "#333333"}


def darker(colour: str) -> tuple[float, ...]:
    """The same hue for the paper's dashed curve, told apart from ours where they lie on one another."""
    return tuple(0.6 * channel for channel in to_rgb(colour))


@contextmanager
def style() -> Iterator[None]:
    """The shared style and nothing of the user's own; hold it while drawing and saving."""
    with mpl.rc_context():
        mpl.rcdefaults()
        sns.set_theme("paper", "ticks", font=_FONT, font_scale=_SCALE, color_codes=False, rc=_RC)
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.pdf`, the same bytes at any time of day, and returns the two."""
    from fontTools.subset import Options  # loaded with the first PDF anyway

    # The glyphs of a PDF have places: what fonts know of layout is of no use in one, and takes half the time to cut.
    Options._drop_tables_default = sorted({*getattr(Options, "_drop_tables_default", ()), *_LAYOUT})
    stem.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"png": {"Software": None}, "pdf": dict.fromkeys(("CreationDate", "Producer", "Creator"))}
    files = []
    for ending, none in metadata.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format=ending, dpi=PNG_DPI, metadata=none)
        files.append(stem.with_name(f"{stem.name}.{ending}"))
        write_atomically(files[-1], drawn.getvalue())
    return files
