"""The figures as images for the page: drawn by the figure modules, as sharp as the page's size allows."""

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.transforms import Bbox
from PIL import Image

from ics.analysis.load import Runs
from ics.figures.catalogue import Figure, MissingRuns
from ics.figures.many import draw_many
from ics.figures.sheet import Sheet

# Dots per inch and number of colours; lines on white need few.
QUALITIES = ((170, 64), (140, 48), (115, 32), (90, 16))
MAX_BYTES = 1_500_000
"""Of all images together, as text in the page."""

_AIR = 0.03  # inches between the title and the cut


def draw_images(figures: Sequence[Figure], runs: Runs | None) -> tuple[list[dict[str, Any]], list[MissingRuns]]:
    """Draws all figures that there are runs for.

    Returns:
        A record for each at each scale, in order: id (name of its file, for links), figure, title, how_to_read (the
        sentences that belong below it), image (a PNG as `data:` address), width and height (in CSS pixels). All are of
        the best of `QUALITIES` with which they fit into `MAX_BYTES` (of the last one, if they do not). And what is
        missing.
    """
    missing, pictures = [], []
    for figure, result in zip(figures, draw_many(figures, runs, _picture), strict=True):
        if isinstance(result, MissingRuns):
            missing.append(result)
        else:
            pictures += [(figure, *picture) for picture in result]
    lengths = [sum(len(images[number]) for *_, images in pictures) for number in range(len(QUALITIES))]
    best = next((number for number, length in enumerate(lengths) if length <= MAX_BYTES), len(QUALITIES) - 1)
    drawn = [words | {"figure": figure, "image": images[best]} for figure, words, images in pictures]
    return drawn, missing


def _picture(stem: str, sheet: Sheet) -> tuple[dict[str, Any], list[str]]:
    """A sheet without its words: what a record says of it, and an image of every quality."""
    top, bottom = (text.get_window_extent().get_points()[:, 1] / sheet.dpi for text in (sheet.title, sheet.notes))
    width, high, low = sheet.get_figwidth(), top[0] - _AIR, bottom[1]
    sheet.title.remove()
    sheet.notes.remove()
    png = io.BytesIO()
    box = Bbox([[0, low], [width, high]])
    quickly = {"compress_level": 1}
    sheet.savefig(png, dpi=QUALITIES[0][0], bbox_inches=box, pad_inches=0, pil_kwargs=quickly)
    drawn = Image.open(png).convert("RGB")
    images = [f"data:image/png;base64,{base64.b64encode(_png(drawn, *q)).decode()}" for q in QUALITIES]
    title, how_to_read = sheet.words
    size = {"width": round(width * 96), "height": round((high - low) * 96)}
    name = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
    return {"id": name, "title": title, "how_to_read": how_to_read} | size, images


def _png(image: Image.Image, dpi: int, colours: int) -> bytes:
    """An image that was drawn with the best quality, in a lesser one."""
    best = QUALITIES[0][0]
    if dpi != best:
        image = image.resize([round(side * dpi / best) for side in image.size], Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Median cut, the default, would give thin lines and small marks the colour of something larger.
    image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
