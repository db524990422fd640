"""Data sets that need no files, scaling, subsets, and what a person can get wrong."""

from typing import Any

import numpy as np
import pytest
import torch
from measuring import random_states
from sklearn.datasets import load_digits

from ics.data import DATASETS, Dataset
from ics.data.images import balanced_subset, channel_statistics, scaler
from ics.data.seeding import generator

CPU = torch.device("cpu")


def get(name: str, seed: int = 0, **options: Any) -> Dataset:
    return DATASETS.build({"name": name, **options}, seed=seed, device=CPU)


# --- digits ----------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_with_every_fifth_for_testing() -> None:
    data, source = get("digits"), load_digits()
    assert (data.label, data.task, data.outputs, data.input_shape) == (
        "digits",
        "classification",
        10,
        (1, 8, 8),
    )
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert data.train.inputs.dtype == torch.uint8 and data.train.targets.dtype == torch.int64
    np.testing.assert_array_equal(data.test.inputs[:, 0].numpy(), np.rint(source.images[4::5] * 255 / 16))
    np.testing.assert_array_equal(data.test.targets.numpy(), source.target[4::5])
    np.testing.assert_array_equal(data.train.targets.numpy(), np.delete(source.target, np.s_[4::5]))


def test_digits_are_upscaled_bilinearly() -> None:
    centres = (np.arange(32) + 0.5) / 4 - 0.5  # of the new pixels, in old pixels; the rim is repeated
    distance = np.abs(np.clip(centres, 0, 7)[:, None] - np.arange(8))
    weight = np.maximum(0, 1 - distance)  # (32, 8)
    expected = weight @ (load_digits().images[4::5] * 255 / 16) @ weight.T
    upscaled = get("digits", size=32).test.inputs
    assert upscaled.dtype == torch.uint8 and upscaled.shape == (359, 1, 32, 32)
    assert np.abs(upscaled[:, 0].numpy() - expected).max() <= 0.5


# --- the Gaussian regression -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["normal", "uniform"])
def test_gaussian_is_linear_with_one_matrix_for_both_splits(target: str) -> None:
    data = get("gaussian", target=target)
    assert (data.task, data.outputs, data.input_shape) == ("regression", 10, (10,))
    assert data.train.inputs.shape == data.test.targets.shape == (1000, 10)
    assert data.train.inputs.dtype == data.train.targets.dtype == torch.float32
    a = torch.linalg.lstsq(data.train.inputs, data.train.targets).solution
    torch.testing.assert_close(data.test.inputs @ a, data.test.targets, atol=1e-4, rtol=1e-4)
    assert not torch.equal(data.train.inputs, data.test.inputs)
    if target == "uniform":
        assert a.min() >= 0 and a.max() <= 1 and a.mean().item() == pytest.approx(0.5, abs=0.1)
    else:
        assert a.min() < -1 and a.mean().abs() < 0.3 and a.std().item() == pytest.approx(1, abs=0.2)
    assert data.train.inputs.mean().abs() < 0.03
    assert data.train.inputs.std().item() == pytest.approx(1, abs=0.03)
    assert data.transform(data.train.inputs) is data.train.inputs


def test_gaussian_depends_on_the_seed_alone_and_takes_its_sizes() -> None:
    torch.manual_seed(1)
    first = get("gaussian", seed=3)
    torch.manual_seed(2)
    again, other, uniform = (
        get("gaussian", seed=3),
        get("gaussian", seed=4),
        get("gaussian", 3, target="uniform"),
    )
    assert torch.equal(first.train.targets, again.train.targets)
    assert torch.equal(first.train.inputs, uniform.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)
    assert get("gaussian", samples=7, dim=3).train.inputs.shape == (7, 3)


# --- scaling ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    """Three channels of different mean and spread."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(
        np.stack([rng.integers(0, high, (50, 6, 5)) for high in (256, 128, 20)], axis=1).astype(np.uint8)
    )


def test_channel_statistics_are_exact(photos: torch.Tensor) -> None:
    mean, std = channel_statistics(photos)
    pixels = photos.double().numpy()
    np.testing.assert_allclose(mean.flatten().numpy(), pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.flatten().numpy(), pixels.std((0, 2, 3)), rtol=1e-6)


def test_scalings_are_what_their_names_say(photos: torch.Tensor) -> None:
    pixels = photos.float()
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), unbiased=False, keepdim=True)
    expected = {
        "standardize": (pixels - mean) / std,
        "unit": pixels / 255,
        "bytes_centered": pixels - mean,
        "binary": (pixels > 127).float(),
        "none": pixels,
    }
    for name, images in expected.items():
        scaled = scaler(name, photos)(photos)  # type: ignore[arg-type]
        assert scaled.dtype == torch.float32
        torch.testing.assert_close(scaled, images, atol=1e-4, rtol=1e-5)
        assert torch.equal(scaler(name, photos, gain=28)(photos), scaled * 28)  # type: ignore[arg-type]
    assert scaler("unit", photos)(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).unique().tolist() == [1.0]
    assert scaler("binary", photos)(torch.tensor([0, 127, 128, 255], dtype=torch.uint8)).tolist() == [
        0,
        0,
        1,
        1,
    ]


def test_a_constant_channel_survives_standardising() -> None:
    black = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    assert torch.equal(scaler("standardize", black)(black), torch.zeros(4, 1, 2, 2))


def test_per_image_is_tensorflows_per_image_standardization(photos: torch.Tensor) -> None:
    scaled = scaler("per_image", photos)(photos)
    for image, found in zip(photos.double(), scaled, strict=True):
        deviation = max(image.std(correction=0).item(), image.numel() ** -0.5)
        torch.testing.assert_close(found.double(), (image - image.mean()) / deviation, atol=1e-5, rtol=1e-5)
    flat = torch.full((1, 3, 2, 2), 7, dtype=torch.uint8)
    assert torch.equal(scaler("per_image", photos)(flat), torch.zeros(1, 3, 2, 2))


def test_scaling_uses_the_training_images_and_leaves_the_bytes_alone() -> None:
    data = get("digits", limit=100)
    before = data.train.inputs.clone()
    scaled = data.transform(data.train.inputs)
    assert scaled.mean().abs() < 1e-5 and scaled.std(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(data.train.inputs, before)
    assert data.transform(data.test.inputs).mean().abs() > 1e-4


# --- subsets ---------------------------------------------------------------------------------------------


def test_limit_takes_balanced_classes_by_seed() -> None:
    whole, part = get("digits"), get("digits", limit=100)
    assert part.train.targets.bincount().tolist() == [10] * 10
    assert len(part.test) == len(whole.test)
    known = {image.numpy().tobytes() for image in whole.train.inputs}
    assert {image.numpy().tobytes() for image in part.train.inputs} <= known
    assert torch.equal(part.train.inputs, get("digits", limit=100).train.inputs)
    assert not torch.equal(part.train.inputs, get("digits", seed=1, limit=100).train.inputs)


def test_subsets_are_as_balanced_as_can_be_and_nested() -> None:
    classes = np.array([0] * 3 + [1] * 50 + [2] * 50)
    chosen = balanced_subset(classes, 23, seed=0)
    assert len(set(chosen)) == 23 and list(chosen) == sorted(chosen)
    assert np.bincount(classes[chosen]).tolist() == [3, 10, 10]
    assert set(balanced_subset(classes, 9, seed=0)) < set(chosen)
    assert len(set(balanced_subset(classes, 103, seed=0))) == 103


# --- random state ----------------------------------------------------------------------------------------


def test_loading_leaves_every_random_state_alone() -> None:
    before = random_states()
    get("digits", limit=10, size=32)
    get("gaussian")
    assert random_states() == before


def test_streams_differ_by_purpose_and_by_each_part_of_the_key() -> None:
    keys = [("order", 0, 0), ("order", 0, 1), ("order", 1, 0), ("order", 1), ("subset", 0, 0)]
    draws = [generator(*key).integers(0, 2**62) for key in keys]
    assert len(set(draws)) == len(draws)
    assert generator("order", 1, 2).integers(2**62) == generator("order", 1, 2).integers(2**62)
