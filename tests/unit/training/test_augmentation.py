"""Augmentation: repeatable, and images and targets move together."""

import pytest
import torch

from training.augmentation import augment
from training.losses import IGNORE
from training.recipe import AugmentationSettings

EVERYTHING = AugmentationSettings(
    rotation_deg=20, scale=1.4, shear=0.1, shift=0.1, flip=0.5, gamma=0.2, brightness=0.1, offset=0.05,
    bias_field=0.2, noise=0.1, blur=2.0, neighbour_drop=0.5, crop=32,
)  # fmt: skip


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four slices with neighbours, a bright square that is the lesion, and an ignored one beside it."""
    targets = torch.zeros(4, 1, 64, 64, dtype=torch.uint8)
    targets[:, :, 20:30, 20:30] = 1
    targets[:, :, 40:50, 20:30] = IGNORE
    return 1.0 + (targets == 1).float().repeat(1, 3, 1, 1), targets


def chance(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_settings_a_batch_stays_as_it_is() -> None:
    images, targets = batch()
    changed, labels = augment(images, targets, AugmentationSettings(), 0, chance())
    torch.testing.assert_close(changed, images, atol=1e-5, rtol=0)
    assert torch.equal(labels, targets)


def test_the_same_seed_repeats_every_change() -> None:
    images, targets = batch()
    first, second = (augment(images, targets, EVERYTHING, 1, chance()) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_another_seed_changes_the_batch_otherwise() -> None:
    images, targets = batch()
    assert not torch.equal(
        augment(images, targets, EVERYTHING, 1, chance(1))[0],
        augment(images, targets, EVERYTHING, 1, chance(2))[0],
    )


def test_lesions_move_with_their_image() -> None:
    images, targets = batch()
    settings = AugmentationSettings(rotation_deg=30, scale=1.3, shift=0.1, flip=0.5, shear=0.1)
    moved, labels = augment(images, targets, settings, 0, chance())
    bright = moved[:, 1:2] > 1.5
    different = (bright != (labels == 1)).sum()
    assert different <= 0.1 * bright.sum()


def test_ignored_pixels_stay_ignored_and_no_other_value_appears() -> None:
    images, targets = batch()
    _, labels = augment(images, targets, EVERYTHING.model_copy(update={"crop": 0}), 1, chance())
    assert set(labels.unique().tolist()) == {0, 1, IGNORE}


def test_a_window_has_the_size_asked_for_and_mostly_holds_the_lesion() -> None:
    images, targets = batch()
    holds = 0
    for seed in range(20):
        changed, labels = augment(images, targets, AugmentationSettings(crop=32), 0, chance(seed))
        assert changed.shape == (4, 3, 32, 32)
        holds += int((labels == 1).any(dim=(1, 2, 3)).sum())
    assert holds > 0.7 * 80


def test_a_window_shows_the_turned_image_where_its_lesion_went() -> None:
    images, targets = batch()
    settings = AugmentationSettings(rotation_deg=30, scale=1.3, shift=0.1, flip=0.5, shear=0.1, crop=32)
    moved, labels = augment(images, targets, settings, 0, chance())
    bright = moved[:, 1:2] > 1.5
    assert bright.any()
    assert (bright != (labels == 1)).sum() <= 0.1 * bright.sum()


def test_dropped_neighbours_become_the_slice_itself() -> None:
    images = torch.arange(3.0).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    targets = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    changed, _ = augment(images, targets, AugmentationSettings(neighbour_drop=1.0), 1, chance())
    torch.testing.assert_close(changed, torch.ones(2, 3, 32, 32))


def test_dropped_inputs_are_blank_and_the_first_stays() -> None:
    images, targets = torch.ones(2, 6, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    changed, _ = augment(images, targets, AugmentationSettings(input_drop=1.0), 1, chance())
    assert changed[:, :3].min() == pytest.approx(1.0, abs=1e-5)
    assert changed[:, 3:].abs().max() == 0


def test_later_inputs_are_shifted_as_a_whole_and_the_first_stays() -> None:
    images = torch.rand(4, 2, 32, 32, generator=chance())
    targets = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    changed, _ = augment(images, targets, AugmentationSettings(input_shift=2), 0, chance())
    torch.testing.assert_close(changed[:, :1], images[:, :1], atol=1e-4, rtol=0)
    places = [(row, column) for row in range(-2, 3) for column in range(-2, 3)]
    found = [
        [p for p in places if torch.allclose(torch.roll(image[1:], p, (1, 2)), moved[1:], atol=1e-4)]
        for image, moved in zip(images, changed, strict=True)
    ]
    assert all(len(matches) == 1 for matches in found)
    assert len({matches[0] for matches in found}) > 1


def test_the_exponent_keeps_white_matter() -> None:
    images, targets = torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    changed, _ = augment(images, targets, AugmentationSettings(gamma=0.5), 0, chance())
    torch.testing.assert_close(changed, images)
