"""Images in folders named after their classes, and a cache of what was decoded."""

import hashlib
import json
import logging
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import PositiveFloat
from tqdm import tqdm

from ics.data.dataset import DATASETS, Dataset
from ics.data.images import Images, Scaling, image_dataset
from ics.errors import UserError
from ics.files import as_path
from ics.registry import Count

log = logging.getLogger(__name__)

CACHE = ".ics-cache.npz"
UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile)  # missing or damaged


SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}

Classes = dict[str, list[Path]]
"""The image files of each class, both in alphabetical order."""


@DATASETS.register("image_folder")
def image_folder(
    seed: int,
    device: torch.device,
    root: str,
    label: str | None = None,
    scaling: Scaling = "standardize",
    gain: PositiveFloat = 1,
    limit: Count | None = None,
) -> Dataset:
    """Images from `root/train/<class>/…` and `root/test/<class>/…`, however deep, all of one size.

    They are decoded once; afterwards a cache is read for as long as the files' names, sizes and times of change stay
    the same: in the folder or, where that cannot be written, in $XDG_CACHE_HOME/ics (by default ~/.cache/ics).

    Colour images have three channels; if all are grey, one.

    Args:
        root: the folder with `train` and `test` in it.
        label: the name that results carry; the folder's name by default.
        seed, device, scaling, gain, limit: see `ics.data.images.image_dataset`.

    Raises:
        UserError: a folder is missing or empty, there is one class only, the classes of train and test
            differ, or an image cannot be read or has another size than the rest.
    """
    folder = as_path(root)
    train, test = _classes(folder, "train"), _classes(folder, "test")
    if differing := sorted(train.keys() ^ test.keys()):
        name = differing[0]
        there, missing = ("train", "test") if name in train else ("test", "train")
        raise UserError(f"{folder / there / name} has no counterpart {folder / missing / name}")
    files = [path for classes in (train, test) for paths in classes.values() for path in paths]
    pixels = _decoded(folder, files)
    numbers = np.concatenate([np.repeat(np.arange(len(c)), [*map(len, c.values())]) for c in (train, test)])
    first = sum(map(len, train.values()))
    parts = Images(pixels[:first], numbers[:first]), Images(pixels[first:], numbers[first:])
    return image_dataset(label or folder.resolve().name, *parts, len(train), scaling, gain, limit, seed, device)


def _classes(root: Path, split: str) -> Classes:
    folder = root / split
    if not folder.is_dir():
        raise UserError(
            f"the folder {folder} is missing; "
            "data.root must hold images as train/<class>/NAME.jpg and test/<class>/NAME.jpg"
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        raise UserError(f"{folder} must hold one folder for each of at least two classes, not {len(names)}: {names}")
    return {name: _images(folder / name) for name in names}


def _images(folder: Path) -> list[Path]:
    """The images in a folder and in those inside, each once; hidden files and folders do not count."""
    images: list[str] = []
    others: list[str] = []
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := Path(place).resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                known = name[name.rfind(".") :].lower() in SUFFIXES
                (images if known else others).append(f"{place}/{name}")
    if not images:
        raise UserError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    if others:
        log.warning("%s: %d files are left out, such as %s: no images by their names", folder, len(others), others[0])
    return [*map(Path, sorted(images))]  # paths themselves take ten times as long to compare


def _decoded(root: Path, files: list[Path]) -> NDArray[np.uint8]:
    """The decoded images, from the cache where they have not changed since; else decoded, and kept if that can be."""
    above = len(root.parts)
    stats = [("/".join(path.parts[above:]), path.stat()) for path in files]
    listing = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    key = hashlib.sha256(listing.encode()).hexdigest()
    home = as_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ics"
    apart = [home / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.npz"] * home.is_absolute()
    places = [root / CACHE, *apart]
    pixels: NDArray[np.uint8]
    for path in places:
        with suppress(*UNREADABLE), np.load(path, allow_pickle=False) as file:
            if str(file["key"]) == key:
                pixels = file["array"]
                return pixels
    pixels = _decode(files)
    for path in places:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written beside and renamed, so that another process sees the whole file or none.
            with TemporaryDirectory(prefix=CACHE, dir=path.parent) as beside:
                written = Path(beside) / path.name
                np.savez(written, key=np.array(key), array=pixels)
                written.replace(path)
            return pixels
    log.warning("the decoded images of %s cannot be kept and will be decoded again next time", root)
    return pixels


def _decode(files: list[Path]) -> NDArray[np.uint8]:
    """All images as uint8 (N, C, H, W): grey if every one is, else in colour."""
    images: list[NDArray[np.uint8]] = []
    for path in tqdm(files, desc="decoding images", unit="image", disable=None, leave=False):
        image = _read(path)
        if images and image.shape[:2] != images[0].shape[:2]:
            (h, w), (height, width) = image.shape[:2], images[0].shape[:2]
            raise UserError(f"{path} has {w}x{h} pixels and {files[0]} {width}x{height}; all images must have one size")
        images.append(image)
    shape = (*images[0].shape[:2], max(image.shape[2] for image in images))
    pixels = np.empty((len(images), *shape), dtype=np.uint8)
    for place, image in zip(pixels, images, strict=True):
        place[:] = image  # a grey image among coloured ones fills all three channels
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _read(path: Path) -> NDArray[np.uint8]:
    """One image as uint8 (H, W, 1) or (H, W, 3)."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error
    if mode.startswith(("I", "F")):  # Pillow clips these to 255 without a word
        raise UserError(f"{path} has more than 8 bits per channel (mode {mode}); convert it to 8 bits")
    return np.atleast_3d(pixels)
