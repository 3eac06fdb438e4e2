"""False alarms: which ones they are, where they lie, and that training looks at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.training_cases import bright_spot_case, tiny_recipe
from training.augmentation import augment
from training.cases import CaseKind
from training.errors import CheckpointError
from training.losses import FALSE_ALARM, IGNORE
from training.mining import MOST_ALARMS, false_alarms, with_alarms
from training.recipe import AugmentationSettings
from training.sampling import Sampler
from training.slices import PreparedCase, store_cases

NO, YES = -5.0, 5.0


def prepared(targets: np.ndarray) -> PreparedCase:
    images = np.zeros((len(targets), 1, *targets.shape[1:]), np.float16)
    return PreparedCase("case", "patient", CaseKind.SIMULATED, "", "", images, targets, "digest", "geometry")


def test_an_alarm_that_touches_a_lesion_or_unlabelled_pixels_is_not_false() -> None:
    targets = np.zeros((2, 16, 16), np.uint8)
    targets[0, 2, 2], targets[1, 12, 12] = 1, IGNORE
    logits = np.full((2, 1, 16, 16), NO, np.float32)
    logits[0, 0, 2, 2:5] = YES  # half of it is the lesion
    logits[1, 0, 12, 11:13] = YES
    logits[1, 0, 4, 5], logits[1, 0, 5, 6] = 2.0, 3.0  # one part, touching by a corner
    assert false_alarms(logits, prepared(targets)).tolist() == [[1, 5, 6]]


def test_the_surest_alarms_of_a_slice_are_kept() -> None:
    logits = np.full((1, 1, 32, 32), NO, np.float32)
    places = [(row, column) for row in range(0, 32, 8) for column in range(0, 32, 8)]
    for height, (row, column) in enumerate(places):
        logits[0, 0, row, column] = height
    found = false_alarms(logits, prepared(np.zeros((1, 32, 32), np.uint8)))
    assert found[:, 1:].tolist() == [list(place) for place in places[: -MOST_ALARMS - 1 : -1]]


def test_slices_with_an_alarm_are_drawn_more_often_and_marked() -> None:
    case = prepared(np.zeros((20, 16, 16), np.uint8))
    alarmed = replace(case, alarms=np.array([[3, 4, 5]]))
    drawn = Sampler([alarmed], {CaseKind.SIMULATED: 1.0}, 0.5, seed=0).draw(0, 200)[1]
    marked = drawn[:, 0, 4, 5] == FALSE_ALARM
    assert 0.5 < marked.mean() < 0.75  # ALARM_SHARE, and one slice in twenty by chance
    assert (drawn[~marked] == 0).all()
    assert not case.targets.any()


def test_windows_are_laid_around_alarms_which_teach_that_there_is_no_lesion() -> None:
    images, targets = torch.zeros(64, 1, 128, 128), torch.zeros(64, 1, 128, 128, dtype=torch.uint8)
    images[:, :, 100, 20] = 1.0
    targets[:, :, 100, 20] = FALSE_ALARM
    windows, answers = augment(
        images, targets, AugmentationSettings(crop=32), 0, torch.Generator().manual_seed(0)
    )
    assert (windows.amax((1, 2, 3)) > 0.2).float().mean() > 0.6  # by chance one in sixteen
    assert not answers.any()


class Blind(nn.Module):
    """A network that takes everything bright for a lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * (x[:, 1:2] - 1.5)


def test_alarms_are_found_once_and_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    cases = store_cases([bright_spot_case("a", lesion=True)], tiny_recipe(), tmp_path)
    unlabelled = [replace(case, targets=np.zeros_like(case.targets)) for case in cases]
    path = tmp_path / "alarms.npz"
    (found,) = with_alarms(Blind(), unlabelled, path)
    assert set(found.alarms[:, 0]) == {2, 3}  # the slices with the bright square
    (again,) = with_alarms(nn.Identity(), unlabelled, path)
    np.testing.assert_array_equal(again.alarms, found.alarms)
    path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="remove it"):
        with_alarms(Blind(), unlabelled, path)
