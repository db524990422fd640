"""CIFAR-10 and MNIST: the files torchvision wants, and the real images where their archives are present."""

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST

from ics.data import DATASETS, Dataset
from ics.data.torchvision_sets import MNIST_MD5
from ics.errors import UserError

ARCHIVES = Path(__file__).parents[2] / "shared" / "data"


def archive(name: str) -> Path:
    path = ARCHIVES / name
    if not path.is_file():
        pytest.skip(f"needs the archive {path}")
    return path


def get(name: str, root: Path, **options: Any) -> Dataset:
    return DATASETS.build({"name": name, "root": str(root), **options}, seed=0, device=torch.device("cpu"))


# Python knows filters from 3.11.4 on, and warns of a missing one from 3.12 on.
DATA_ONLY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}

# --- the real images -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mnist")
    with tarfile.open(archive("mnist.tar.xz")) as tar:
        tar.extractall(root, **DATA_ONLY)
    return root


@pytest.fixture(scope="module")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four images of each class and split."""
    root = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(archive("cifar10-jpeg.tar.xz"), mode="r|xz") as tar:
        for member in tar:
            if member.isfile() and Path(member.name).stem < "0004":
                tar.extract(member, root, **DATA_ONLY)
    return root


def test_mnist_is_the_original(mnist_root: Path) -> None:
    for name, md5 in MNIST_MD5.items():
        assert hashlib.md5((mnist_root / "MNIST/raw" / name).read_bytes()).hexdigest() == md5
    data = get("mnist", mnist_root)
    assert (data.label, data.outputs, data.input_shape) == ("mnist", 10, (1, 28, 28))
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    raw = (mnist_root / "MNIST/raw/train-images-idx3-ubyte").read_bytes()[16:]
    assert data.train.inputs.numpy().tobytes() == raw
    assert data.train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    black, white = data.transform(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)).flatten().tolist()
    std = 1 / (white - black)  # the well-known mean and standard deviation
    assert -black * std == pytest.approx(0.1307, abs=5e-5)
    assert std == pytest.approx(0.3081, abs=5e-5)


def test_a_thousand_mnist_images(mnist_root: Path) -> None:
    data = get("mnist", mnist_root, limit=1000, scaling="binary")
    assert data.train.targets.bincount().tolist() == [100] * 10
    assert data.transform(data.train.inputs).unique().tolist() == [0, 1]


def test_a_damaged_mnist_file_is_named(mnist_root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in MNIST_MD5:
        (raw / name).symlink_to(mnist_root / "MNIST/raw" / name)
    (raw / "t10k-labels-idx1-ubyte").unlink()
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte \(damaged: delete it\);") as error:
        get("mnist", tmp_path)
    assert "train-images" not in str(error.value)


def test_cifar_jpegs_are_read_as_an_image_folder(cifar_root: Path) -> None:
    data = get("image_folder", cifar_root, label="cifar10-jpeg", scaling="bytes_centered")
    assert (data.label, data.outputs, data.input_shape) == ("cifar10-jpeg", 10, (3, 32, 32))
    assert len(data.train) == len(data.test) == 40
    assert data.train.targets.bincount().tolist() == [4] * 10
    scaled = data.transform(data.train.inputs)
    assert scaled.mean((0, 2, 3)).abs().max() < 1e-3 and scaled.std() > 40


# --- the files torchvision wants -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "cifar10",
            [
                f"cifar-10-batches-py/{file}"
                for file in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
            ],
        ),
        ("mnist", [f"MNIST/raw/{file}" for file in MNIST_MD5]),
    ],
)
def test_missing_files_are_listed_with_what_to_do(name: str, files: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        get(name, tmp_path)
    message = str(error.value)
    assert all(f"{tmp_path / file} (missing)" in message for file in files)
    assert "data.download=true" in message and "data.root" in message and "\n" not in message


def test_cifar10_has_its_channels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny CIFAR-10 in the original layout: a row of a batch is one image, channel by channel."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: Any) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    parts = [write(f"data_batch_{i}", {"data": rows[2 * i : 2 * i + 2], "labels": [i, 9 - i]}) for i in range(2)]
    test = write("test_batch", {"data": rows[4:], "labels": [3, 7]})
    meta = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "train_list", parts)
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    data = get("cifar10", tmp_path)
    assert (data.label, data.outputs, data.input_shape) == ("cifar10", 10, (3, 32, 32))
    np.testing.assert_array_equal(data.train.inputs.numpy().reshape(4, 3072), rows[:4])
    np.testing.assert_array_equal(data.test.inputs.numpy().reshape(2, 3072), rows[4:])
    assert data.train.targets.tolist() == [0, 9, 1, 8] and data.test.targets.tolist() == [3, 7]


@pytest.mark.parametrize(("name", "kind"), [("cifar10", CIFAR10), ("mnist", MNIST)])
def test_a_failed_download_is_one_line(name: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(kind, "download", offline)
    with pytest.raises(UserError, match=f"the download of {name} failed: no route to host"):
        get(name, tmp_path, download=True)
