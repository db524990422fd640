"""The figures as images for the page: drawn by the figure modules, as sharp as the page's size allows."""

import base64
import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.transforms import Bbox
from PIL import Image

from ics.analysis.load import Runs
from ics.figures.catalogue import Figure, MissingRuns
from ics.figures.many import draw_many
from ics.figures.sheet import Sheet
from ics.processes import begun, cores

# Dots per inch, number of colours (lines on white need few), and about how long an image is then, as text.
QUALITIES = ((170, 64, 90_000), (140, 48, 66_000), (115, 32, 47_000), (90, 16, 26_000))
MAX_BYTES = 1_500_000
"""Of all images together, about."""

_AIR = 0.03  # inches between the title and the cut


def draw_images(figures: Sequence[Figure], runs: Runs | None) -> tuple[list[dict[str, Any]], list[MissingRuns]]:
    """Draws all figures that there are runs for.

    Returns:
        A record for each at each scale, in order: id (name of its file, for links), figure, title, how_to_read (the
        sentences that belong below it), image (as `data:` address), width and height (in CSS pixels). All are of
        the best of `QUALITIES` in which so many fit into `MAX_BYTES`, else the last. And what is missing.
    """
    missing, pictures = [], []
    for figure, result in zip(figures, draw_many(figures, runs, _picture), strict=True):
        if isinstance(result, MissingRuns):
            missing.append(result)
        else:
            pictures += [({"figure": figure} | words, drawn) for words, drawn in result]
    dpi, colours, _ = next((one for one in QUALITIES if one[-1] * len(pictures) <= MAX_BYTES), QUALITIES[-1])

    def finished(some: list[tuple[dict[str, Any], bytes]]) -> list[str]:
        return [_encoded(drawn, dpi, colours) for _, drawn in some]

    share = max(1, -(-len(pictures) // cores()))
    shares = [begun(partial(finished, pictures[at : at + share])) for at in range(0, len(pictures), share)]
    images = [image for result in shares for image in result()]
    return [words | {"image": image} for (words, _), image in zip(pictures, images, strict=True)], missing


def _picture(stem: str, sheet: Sheet) -> tuple[dict[str, Any], bytes]:
    """A sheet without its words: what a record says of it, and its image in the best quality, quickly packed."""
    top, bottom = (text.get_window_extent().get_points()[:, 1] / sheet.dpi for text in (sheet.title, sheet.notes))
    width, high, low = sheet.get_figwidth(), top[0] - _AIR, bottom[1]
    sheet.title.remove()
    sheet.notes.remove()
    png = io.BytesIO()
    box = Bbox([[0, low], [width, high]])
    sheet.savefig(png, dpi=QUALITIES[0][0], bbox_inches=box, pad_inches=0, pil_kwargs={"compress_level": 1})
    title, how_to_read = sheet.words
    size = {"width": round(width * 96), "height": round((high - low) * 96)}
    name = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
    return {"id": name, "title": title, "how_to_read": how_to_read} | size, png.getvalue()


def _encoded(drawn: bytes, dpi: int, colours: int) -> str:
    """An image that was drawn in the best quality, in the wanted one, as an address."""
    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    best = QUALITIES[0][0]
    if dpi != best:
        image = image.resize([round(side * dpi / best) for side in image.size], Image.Resampling.LANCZOS)
    # Median cut, the default, would give thin lines and small marks the colour of something larger.
    few = image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).convert("RGB")
    packed = io.BytesIO()
    few.save(packed, "WEBP", lossless=True, quality=50, method=4)  # a quarter smaller than PNG, in half the time
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
