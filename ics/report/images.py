"""The figures as images for the page: drawn by the figure modules, as sharp as the page's size allows."""

import base64
import io
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure, MissingRuns
from ics.figures.many import draw_many

# Dots per inch and number of colours; lines on white need few.
QUALITIES = ((170, 64), (140, 48), (115, 32), (90, 16))
MAX_BYTES = 1_500_000
"""Of all images together, as text in the page."""

_AIR = 0.03  # inches between the title and the cut


@dataclass(frozen=True)
class Drawn:
    """One figure at one scale.

    Attributes:
        id: name of its file, for links.
        figure: which one it is.
        title: what the figure calls itself.
        how_to_read: the sentences that belong below it.
        image: a PNG as `data:` address.
        width: in CSS pixels.
        height: in CSS pixels.
    """

    id: str
    figure: Figure
    title: str
    how_to_read: str
    image: str
    width: int
    height: int


def draw_images(figures: Sequence[Figure], runs: Runs | None) -> tuple[list[Drawn], list[MissingRuns]]:
    """Draws all figures that there are runs for.

    Args:
        figures: from `select`.
        runs: what there is; None if nothing.

    Returns:
        The figures, in order, all of the best of `QUALITIES` with which they fit into `MAX_BYTES` (of the last one, if
        they do not); and what is missing.
    """
    with tempfile.TemporaryDirectory() as folder, style.saved_by(_save):
        results = list(draw_many(figures, runs, Path(folder)))
        missing = [result for result in results if isinstance(result, MissingRuns)]
        files = [
            (figure, path)
            for figure, result in zip(figures, results, strict=True)
            if not isinstance(result, MissingRuns)
            for path in result
        ]
        for quality in range(len(QUALITIES)):
            drawn = [_read(figure, path, quality) for figure, path in files]
            if sum(len(one.image) for one in drawn) <= MAX_BYTES:
                break
    return drawn, missing


def _read(figure: Figure, path: Path, quality: int) -> Drawn:
    words: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    data = base64.b64encode(_png(path.with_suffix(".png"), *QUALITIES[quality])).decode()
    identity = re.sub(r"[^A-Za-z0-9_-]", "-", path.stem)
    return Drawn(identity, figure, image=f"data:image/png;base64,{data}", **words)


def _png(path: Path, dpi: int, colours: int) -> bytes:
    """An image that was drawn with the best quality, in a lesser one."""
    image = Image.open(path).convert("RGB")
    best = QUALITIES[0][0]
    if dpi != best:
        image = image.resize([round(side * dpi / best) for side in image.size], Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Median cut, the default, would give thin lines and small marks the colour of something larger.
    image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _save(figure: Canvas, stem: Path) -> list[Path]:
    """Writes what `_read` reads: the words in JSON, and an image without them."""
    title, notes = _take(figure, style.TITLE), _take(figure, style.NOTES)
    width, height = figure.get_size_inches()
    top = height if title is None else title[1].y0 - _AIR
    bottom = 0.0 if notes is None else notes[1].y1
    path = stem.with_name(f"{stem.name}.json")
    box = Bbox([[0, bottom], [width, top]])
    quickly = {"compress_level": 1}
    figure.savefig(path.with_suffix(".png"), dpi=QUALITIES[0][0], bbox_inches=box, pad_inches=0, pil_kwargs=quickly)
    found = {
        "title": title[0] if title else stem.name,
        "how_to_read": notes[0] if notes else "",
        "width": round(width * 96),
        "height": round((top - bottom) * 96),
    }
    path.write_text(json.dumps(found), encoding="utf-8")
    return [path]


def _take(figure: Canvas, kind: str) -> tuple[str, Bbox] | None:
    """Removes the title or the notes; what they said and where, in inches."""
    found = [text for text in figure.findobj(Text) if text.get_gid() == kind]
    if not found:
        return None
    (text,) = found
    assert isinstance(text, Text)
    box = text.get_window_extent()
    text.remove()
    return str(text.get_label()), Bbox(box.get_points() / figure.get_dpi())
