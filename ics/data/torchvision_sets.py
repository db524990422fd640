"""CIFAR-10 and MNIST in the files that torchvision downloads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat

from ics.data.dataset import DATASETS, Dataset
from ics.data.images import Images, image_dataset
from ics.data.scaling import Scaling
from ics.errors import UserError
from ics.registry import Count

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 sums of the unpacked files; torchvision knows those of the archives only."""


@DATASETS.register("cifar10")
def cifar10(
    seed: int,
    device: torch.device,
    root: str = "data",
    download: bool = False,
    scaling: Scaling = "standardize",
    gain: PositiveFloat = 1,
    limit: Count | None = None,
) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 colour images of 32×32 pixels in ten classes.

    Args:
        seed: of the choice that `limit` makes.
        device: where the images are held.
        root: folder that holds, or is to hold, `cifar-10-batches-py`.
        download: fetch missing files.
        scaling: see `ics.data.scaling.scaler`.
        gain: what the scaled images are multiplied by.
        limit: train on this many images only.

    Raises:
        UserError: files are missing or damaged, or the download failed.
    """
    from torchvision.datasets import CIFAR10  # here, because the import takes a second

    lists = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    sums = {f"{CIFAR10.base_folder}/{name}": md5 for name, md5 in lists}

    def images(files: Any) -> Images:
        return Images(files.data.transpose(0, 3, 1, 2), np.asarray(files.targets))  # stored as (N, H, W, C)

    train, test = map(images, _read("cifar10", CIFAR10, Path(root), download, sums))
    return image_dataset("cifar10", train, test, 10, scaling, gain, limit, seed, device)


@DATASETS.register("mnist")
def mnist(
    seed: int,
    device: torch.device,
    root: str = "data",
    download: bool = False,
    scaling: Scaling = "standardize",
    gain: PositiveFloat = 1,
    limit: Count | None = None,
) -> Dataset:
    """MNIST: 60,000 + 10,000 grey images of 28×28 pixels in ten classes.

    Args:
        seed: of the choice that `limit` makes.
        device: where the images are held.
        root: folder that holds, or is to hold, `MNIST/raw`.
        download: fetch missing files.
        scaling: see `ics.data.scaling.scaler`.
        gain: what the scaled images are multiplied by.
        limit: train on this many images only.

    Raises:
        UserError: files are missing or damaged, or the download failed.
    """
    from torchvision.datasets import MNIST

    sums = {f"MNIST/raw/{name}": md5 for name, md5 in MNIST_MD5.items()}

    def images(files: Any) -> Images:
        return Images(files.data.unsqueeze(1).numpy(), files.targets.numpy())

    train, test = map(images, _read("mnist", MNIST, Path(root), download, sums))
    return image_dataset("mnist", train, test, 10, scaling, gain, limit, seed, device)


def _read(name: str, kind: Any, root: Path, download: bool, md5_sums: Mapping[str, str]) -> tuple[Any, Any]:
    """The training and the test split by torchvision's class, every file having been checked.

    Raises:
        UserError: the download failed; files are missing or damaged: names each of them.
    """
    from torchvision.datasets.utils import check_integrity

    folder = root.expanduser()
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
    return kind(folder, train=True), kind(folder, train=False)
