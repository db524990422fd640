"""The batch source: pure, complete, and augmented within bounds."""

from itertools import islice

import numpy as np
import pytest
import torch
from measuring import random_states
from torch import Tensor

from ics.data import Batches, Split
from ics.data.batches import crop_and_flip
from ics.errors import UserError


def numbered(n: int) -> Split:
    """Sample i is the number i and has the target i, so that mix-ups show."""
    return Split(torch.arange(float(n)).view(n, 1), torch.arange(n))


def images(n: int = 10, channels: int = 3) -> Split:
    pixels = np.random.default_rng(0).integers(1, 256, (n, channels, 12, 9), dtype=np.uint8)
    return Split(torch.from_numpy(pixels), torch.arange(n))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    steps = [7, 0, 23, 8, 7, 1]
    jumping, fresh = Batches(numbered(50), 8, seed=3), {}
    for step in steps:
        torch.manual_seed(step)
        fresh[step] = Batches(numbered(50), 8, seed=3)[step]
        x, y = jumping[step]
        assert torch.equal(x, fresh[step][0]) and torch.equal(y, fresh[step][1])
    assert not torch.equal(fresh[0][1], Batches(numbered(50), 8, seed=4)[0][1])


def test_every_sample_comes_once_an_epoch_with_its_target() -> None:
    batches = Batches(numbered(48), 8, seed=0)
    assert batches.steps_per_epoch == 6
    orders = []
    for epoch in range(3):
        taken = [batches[epoch * 6 + i] for i in range(6)]
        assert all(torch.equal(x[:, 0].long(), y) for x, y in taken)
        orders.append(torch.cat([y for _, y in taken]).tolist())
        assert sorted(orders[-1]) == list(range(48))
    assert orders[0] != orders[1] != orders[2] != list(range(48))


def test_the_last_incomplete_batch_is_dropped() -> None:
    batches = Batches(numbered(50), 8, seed=0)
    assert batches.steps_per_epoch == 6
    assert [batches.epoch(step) for step in (0, 5, 6, 11, 12)] == [0, 0, 1, 1, 2]
    epoch = torch.cat([batches[step][1] for step in range(6, 12)])
    assert len(epoch.unique()) == 48
    left_out = {
        frozenset(range(50)) - set(torch.cat([batches[6 * e + i][1] for i in range(6)]).tolist()) for e in range(4)
    }
    assert len(left_out) > 1  # not the same samples each time


def test_epochs_of_neighbouring_seeds_are_unrelated() -> None:
    a, b = Batches(numbered(50), 50, seed=0), Batches(numbered(50), 50, seed=1)
    orders = {tuple(batches[step][1].tolist()) for batches in (a, b) for step in range(5)}
    assert len(orders) == 10


def test_the_whole_set_comes_in_its_stored_order() -> None:
    batches = Batches(numbered(5), None, seed=0)
    assert batches.steps_per_epoch == 1 and batches.epoch(3) == 3
    for step in (0, 9):
        assert batches[step][1].tolist() == [0, 1, 2, 3, 4]


def test_iteration_has_no_end() -> None:
    assert len(list(islice(Batches(numbered(6), 3, seed=0), 7))) == 7


def test_batches_are_transformed() -> None:
    x, y = Batches(numbered(6), 3, seed=0, transform=lambda inputs: inputs * 10)[0]
    assert torch.equal(x[:, 0], 10.0 * y)


def test_no_random_state_is_touched() -> None:
    before = random_states()
    Batches(images(), 4, seed=0, augment=True)[5]
    assert random_states() == before


# --- augmentation ----------------------------------------------------------------------------------------


def windows(image: Tensor) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the zero-padded image, flipped or not, by its content."""
    _, height, width = image.shape
    padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)))
    found = {}
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + height, left : left + width]
            found[crop.tobytes()] = (top, left, False)
            found[crop[:, :, ::-1].tobytes()] = (top, left, True)
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_crops_of_the_padded_ones(channels: int) -> None:
    split = images(n=400, channels=channels)
    out = crop_and_flip(split.inputs, np.random.default_rng(0))
    assert out.shape == split.inputs.shape and out.dtype == torch.uint8
    seen = [windows(image)[new.numpy().tobytes()] for image, new in zip(split.inputs, out, strict=True)]
    tops, lefts, flips = zip(*seen, strict=True)
    assert set(tops) == set(lefts) == set(range(9))  # 0 to 8, both ends reached
    assert 150 < sum(flips) < 250
    assert len(set(seen)) > 100  # each image has its own


def test_augmentation_is_pure_and_new_at_each_step() -> None:
    def batches(seed: int = 0) -> Batches:
        return Batches(images(), None, seed, augment=True)

    first = batches()
    x = first[4][0]
    assert not torch.equal(x, first[5][0]) and not torch.equal(x, batches(seed=1)[4][0])
    assert torch.equal(x, batches()[4][0])
    assert torch.equal(first.split.inputs, images().inputs)


def test_images_are_padded_before_they_are_scaled() -> None:
    x, _ = Batches(images(), None, 0, transform=lambda bytes_: bytes_.float() - 100, augment=True)[0]
    assert x.min() == -100  # padding is black, not the mean; the images themselves hold no zero


# --- what a person can get wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [11, 0, -1])
def test_an_impossible_batch_size_names_both_numbers(size: int) -> None:
    with pytest.raises(UserError, match=f"batch of {size} cannot be taken from 10 training samples"):
        Batches(numbered(10), size, seed=0)


def test_a_batch_may_be_the_whole_split() -> None:
    assert sorted(Batches(numbered(10), 10, seed=0)[3][1].tolist()) == list(range(10))


def test_features_cannot_be_augmented() -> None:
    with pytest.raises(UserError, match="only images can be augmented"):
        Batches(numbered(10), 2, seed=0, augment=True)


def test_steps_count_from_zero() -> None:
    with pytest.raises(IndexError):
        Batches(numbered(10), 2, seed=0)[-1]
