"""Image folders: what is read, when it is decoded again, what a person can get wrong."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ics.data import DATASETS, Dataset, image_folder
from ics.errors import UserError

CACHE = ".ics-cache.npz"


def pixels(seed: int, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> np.ndarray:
    width, height = size
    shape = (height, width) if mode == "L" else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """train: three cats, two dogs; test: one of each. Colour PNGs of 6×4 pixels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "pets"
    names = [
        "train/cat/a",
        "train/cat/b",
        "train/cat/c",
        "train/dog/a",
        "train/dog/b",
        "test/cat/z",
        "test/dog/z",
    ]
    for seed, name in enumerate(names):
        save(folder / f"{name}.png", pixels(seed))
    return folder


def read(folder: Path, **options: Any) -> Dataset:
    return DATASETS.build({"name": "image_folder", "root": str(folder), **options}, seed=0, device=torch.device("cpu"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded so far."""
    files: list[Path] = []
    original = image_folder._read

    def spy(path: Path) -> Any:
        files.append(path)
        return original(path)

    monkeypatch.setattr(image_folder, "_read", spy)
    return files


def test_images_and_classes_come_in_alphabetical_order(root: Path) -> None:
    data = read(root)
    assert (data.label, data.task, data.outputs, data.input_shape) == ("pets", "classification", 2, (3, 4, 6))
    assert data.train.targets.tolist() == [0, 0, 0, 1, 1] and data.test.targets.tolist() == [0, 1]
    both = torch.cat([data.train.inputs, data.test.inputs])
    for seed, image in enumerate(both):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels(seed))
    assert read(root, label="pets-png").label == "pets-png"


def test_grey_images_have_one_channel_unless_some_are_coloured(root: Path) -> None:
    for path in root.glob("*/*/*.png"):
        save(path, pixels(9, "L"))
    grey = read(root)
    assert grey.input_shape == (1, 4, 6)
    np.testing.assert_array_equal(grey.train.inputs[0, 0].numpy(), pixels(9, "L"))
    save(root / "test/dog/z.png", pixels(6))
    mixed = read(root)
    assert mixed.input_shape == (3, 4, 6)
    assert all(np.array_equal(mixed.train.inputs[0, c].numpy(), pixels(9, "L")) for c in range(3))
    np.testing.assert_array_equal(mixed.test.inputs[1].permute(1, 2, 0).numpy(), pixels(6))


def test_other_files_are_passed_over(root: Path) -> None:
    (root / "train/cat/Thumbs.db").write_bytes(b"?")
    (root / "train/cat/._a.png").write_bytes(b"?")
    (root / "train/.cache").mkdir()
    (root / "train/notes.txt").write_text("hello")
    assert len(read(root).train) == 5


def test_images_in_folders_inside_count_and_other_files_are_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(root / "train/cat/0/deep/a.PNG", pixels(8))
    (root / "train/cat/0/film.gif").write_bytes(b"?")
    data = read(root)
    assert data.train.targets.tolist() == [0, 0, 0, 0, 1, 1]
    np.testing.assert_array_equal(data.train.inputs[0].permute(1, 2, 0).numpy(), pixels(8))
    assert "train/cat: 1 files are left out, such as" in caplog.text and "0/film.gif: no images" in caplog.text


def test_a_link_back_adds_nothing_and_the_folder_may_be_the_current_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]
) -> None:
    (root / "train/cat/again").symlink_to(root / "train/cat", target_is_directory=True)
    assert len(read(root).train) == 5
    monkeypatch.chdir(root)
    assert len(read(Path()).train) == 5 and len(decoded) == 7  # from the cache


def test_without_a_home_there_is_no_second_cache(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", "~no-such-person/cache")
    (root / CACHE).mkdir()  # nothing can be written in its place
    assert len(read(root).train) == 5
    assert "cannot be kept" in caplog.text and not [*(tmp_path / "here").iterdir()]


# --- the cache -------------------------------------------------------------------------------------------


def test_a_second_load_decodes_nothing(root: Path, decoded: list[Path]) -> None:
    first = read(root)
    assert len(decoded) == 7 and (root / CACHE).is_file()
    second = read(root, scaling="unit", limit=2)
    assert len(decoded) == 7
    assert torch.equal(second.test.inputs, first.test.inputs)
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [CACHE]  # nothing left beside


@pytest.mark.parametrize("change", ["content", "size", "time", "new file", "renamed", "removed"])
def test_changed_files_are_noticed(root: Path, decoded: list[Path], change: str) -> None:
    read(root)
    decoded.clear()
    path = root / "train/cat/a.png"
    if change == "content":
        save(path, pixels(99))
    elif change == "size":
        time = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes() + b"trailing bytes, which the decoder does not mind")
        os.utime(path, ns=(time, time))
    elif change == "time":
        os.utime(path, ns=(0, 0))
    elif change == "new file":
        save(root / "train/cat/d.png", pixels(99))
    elif change == "renamed":
        path.rename(path.with_name("aa.png"))
    else:
        path.unlink()
    data = read(root)
    assert len(decoded) == len(data.train) + len(data.test)
    if change == "content":
        np.testing.assert_array_equal(data.train.inputs[0].permute(1, 2, 0).numpy(), pixels(99))


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "flipped bit", "pickled"])
def test_a_damaged_cache_is_decoded_again(root: Path, decoded: list[Path], damage: str) -> None:
    first = read(root)
    decoded.clear()
    cache = root / CACHE
    content = bytearray(cache.read_bytes())
    if damage == "empty":
        cache.write_bytes(b"")
    elif damage == "noise":
        cache.write_bytes(b"noise" * 100)
    elif damage == "cut":
        cache.write_bytes(content[: len(content) // 2])
    elif damage == "flipped bit":
        content[content.find(first.train.inputs[0].numpy().tobytes()) + 5] ^= 1
        cache.write_bytes(content)
    else:
        with np.load(cache) as file, cache.with_suffix(".new").open("wb") as new:
            np.savez(new, key=file["key"], array=np.array([object()], dtype=object))
        cache.with_suffix(".new").replace(cache)
    assert torch.equal(read(root).train.inputs, first.train.inputs)
    assert len(decoded) == 7
    read(root)
    assert len(decoded) == 7  # and kept again


def test_the_cache_moves_home_where_the_folder_cannot_be_written(
    root: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    (root / CACHE).mkdir()  # a file cannot be renamed onto a folder, not even by root
    read(root)
    assert len(list((tmp_path / "home" / "ics").glob("*.npz"))) == 1
    read(root)
    assert len(decoded) == 7
    other = tmp_path / "elsewhere" / "pets"
    shutil.copytree(root, other)
    read(other)
    assert len(list((tmp_path / "home" / "ics").glob("*.npz"))) == 2  # one for each folder


def test_without_any_place_to_write_it_still_loads_and_says_so(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / CACHE).mkdir()
    (tmp_path / "home").write_text("a file where the cache folder would be")
    assert len(read(root).train) == 5
    assert "cannot be kept" in caplog.text


# --- what a person can get wrong -------------------------------------------------------------------------


DOG = "train/dog/b.png"
DEEP = Image.fromarray(np.full((4, 6), 40_000, dtype=np.uint16))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "the folder .*/pets/train is missing; data.root must hold images as train/<class>/"),
        (lambda root: shutil.rmtree(root / "train"), "the folder .*/pets/train is missing"),
        (lambda root: shutil.rmtree(root / "test"), "the folder .*/pets/test is missing"),
        (
            lambda root: shutil.rmtree(root / "train/dog"),
            r"/pets/train must hold .* at least two classes, not 1: \['cat'\]",
        ),
        (lambda root: (root / "test/dog/z.png").unlink(), "/pets/test/dog holds no images"),
        (lambda root: save(root / "train/fox/a.png", pixels(0)), "/pets/train/fox has no counterpart .*/pets/test/fox"),
        (lambda root: save(root / "test/fox/a.png", pixels(0)), "/pets/test/fox has no counterpart .*/pets/train/fox"),
        (
            lambda root: save(root / "test/cat/z.png", pixels(0, size=(5, 4))),
            "/pets/test/cat/z.png has 5x4 pixels and .*/pets/train/cat/a.png 6x4",
        ),
        (lambda root: (root / DOG).write_text("not an image"), "/pets/train/dog/b.png cannot be read as an image"),
        (
            lambda root: (root / DOG).write_bytes((root / DOG).read_bytes()[:-40]),
            "/pets/train/dog/b.png cannot be read as an image",
        ),
        (lambda root: DEEP.save(root / DOG), "/pets/train/dog/b.png has more than 8 bits"),
    ],
)
def test_mistakes_give_one_line_that_names_the_place(root: Path, damage: Any, message: str) -> None:
    damage(root)
    with pytest.raises(UserError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)
    assert not (root / CACHE).exists()
