"""CIFAR-10 and MNIST in the files that torchvision downloads."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveFloat

from ics.data.dataset import DATASETS, Dataset
from ics.data.images import Images, Scaling, image_dataset
from ics.errors import UserError
from ics.files import as_path
from ics.registry import Count

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 sums of the unpacked files; torchvision knows those of the archives only."""


def torchvision_set(
    name: Literal["cifar10", "mnist"],
    seed: int,
    device: torch.device,
    root: str = "data",
    download: bool = False,
    scaling: Scaling = "standardize",
    gain: PositiveFloat = 1,
    limit: Count | None = None,
) -> Dataset:
    """Images in ten classes: 50,000 + 10,000 of 32×32 pixels in colour (cifar10), 60,000 + 10,000 of 28×28 (mnist).

    Args:
        name: of the data set.
        root: folder that holds, or is to hold, `cifar-10-batches-py` or `MNIST/raw`.
        download: fetch missing files.
        seed, device, scaling, gain, limit: see `ics.data.images.image_dataset`.

    Raises:
        UserError: files are missing or damaged, or the download failed.
    """
    from torchvision.datasets import CIFAR10, MNIST  # here, because the import takes a second

    kind: Any = CIFAR10 if name == "cifar10" else MNIST
    sums = {f"MNIST/raw/{file}": md5 for file, md5 in MNIST_MD5.items()}
    if name == "cifar10":
        lists = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
        sums = {f"{CIFAR10.base_folder}/{file}": md5 for file, md5 in lists}
    folder = as_path(root)
    _check(name, kind, folder, download, sums)
    train, test = _images(kind(folder, train=True)), _images(kind(folder, train=False))
    return image_dataset(name, train, test, 10, scaling, gain, limit, seed, device)


DATASETS.register("cifar10")(partial(torchvision_set, "cifar10"))
DATASETS.register("mnist")(partial(torchvision_set, "mnist"))


def _images(files: Any) -> Images:
    """What torchvision read: (N, H, W, C) in colour, (N, H, W) in grey."""
    pixels = np.asarray(files.data)
    pixels = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    return Images(pixels, np.asarray(files.targets))


def _check(name: str, kind: Any, folder: Path, download: bool, md5_sums: Mapping[str, str]) -> None:
    """Fetch what is missing, if asked to; name every file that is missing or damaged then."""
    from torchvision.datasets.utils import check_integrity

    try:
        if download:  # does nothing where the files are there
            kind(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"the download of {name} failed: {error}; put its files into data.root by hand") from error
    wrong = [
        f"{path} ({'damaged: delete it' if path.exists() else 'missing'})"
        for path, md5 in ((folder / file, md5) for file, md5 in md5_sums.items())
        if not check_integrity(str(path), md5)
    ]
    if wrong:
        raise UserError(
            f"{name} needs these files: {', '.join(wrong)}; "
            "data.download=true fetches them, data.root=FOLDER looks elsewhere"
        )
