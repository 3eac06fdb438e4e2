"""Calibration: what is fitted, and that it reaches the network's logits."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from tests.support.training_cases import bright_spot_case, tiny_recipe
from training import networks
from training.calibration import (
    BINS,
    LIMIT,
    Calibration,
    count_logits,
    fit,
    read_calibration,
    write_calibration,
)
from training.errors import MissingWeightsError
from training.slices import store_cases


def bin_of(logit: float) -> int:
    return int((logit + LIMIT) * BINS / (2 * LIMIT))


def test_logits_that_claim_too_much_are_brought_to_the_observed_shares() -> None:
    # of 1000 pixels with logit -4 one is lesion, of 1000 with logit 4 one half: log(1/999) and 0 are right
    counts = np.zeros((2, BINS), dtype=np.int64)
    counts[:, bin_of(-4.0)] = 999, 1
    counts[:, bin_of(4.0)] = 500, 500
    found = fit(counts)
    assert expit(found.scale * 4.025 + found.shift) == pytest.approx(0.5, abs=0.01)
    assert expit(found.scale * -3.975 + found.shift) == pytest.approx(0.001, rel=0.05)


def test_without_lesions_nothing_is_changed() -> None:
    counts = np.zeros((2, BINS), dtype=np.int64)
    counts[0, 5] = 10
    assert fit(counts) == Calibration(1.0, 0.0)


@pytest.mark.parametrize("fold", [1, 2])
def test_a_folded_calibration_scales_and_shifts_every_logit(fold) -> None:
    torch.manual_seed(0)
    recipe = tiny_recipe()
    network = networks.build(recipe.network.model_copy(update={"fold": fold}), 3).eval()
    slices = torch.randn(2, 3, 32, 32)
    expected = 0.5 * network(slices) - 2.0
    Calibration(0.5, -2.0).fold_into(network)
    torch.testing.assert_close(network(slices), expected, atol=1e-5, rtol=1e-5)


def test_every_pixel_that_teaches_is_counted_once(tmp_path) -> None:
    network = networks.build(tiny_recipe().network, 3).eval()
    cases = store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    counts = count_logits(network, cases)
    lesion = int(cases[0].targets.sum())
    assert counts.sum(axis=1).tolist() == [6 * 32 * 32 - lesion, lesion]


def test_what_was_written_is_read_and_what_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no .*calibration\.json: train first, to the end"):
        read_calibration(tmp_path)
    write_calibration(Calibration(0.5, -1.0), tmp_path)
    assert read_calibration(tmp_path) == Calibration(0.5, -1.0)
