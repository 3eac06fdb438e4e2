"""Every shipped recipe: built, trained for a few steps, resumed, and the comparators exported."""

import json

import numpy as np
import pytest
import torch

from engines.segments import Segment
from tests.support.training_cases import bright_spot_case
from training import networks
from training.cases import Case, CaseKind
from training.export import check_parity, write_onnx
from training.loop import train
from training.recipe import SegmentRecipe, load_recipe
from training.slices import store_cases

SHIPPED = [
    ("best", Segment.WMH),
    ("csvd-2020", Segment.LACUNE),
    ("wmh-flair-384", Segment.WMH),
    ("u-resnet", Segment.WMH),
    ("unet-3d", Segment.WMH),
]


def small(name: str, segment: Segment) -> SegmentRecipe:
    """Return a shipped recipe with its own network, on slices of 32 pixels and for four steps."""
    recipe = load_recipe(name).for_segment(segment)
    grid = recipe.preprocessing.model_copy(update={"pixel_grid": (32, 32)})
    schedule = recipe.schedule.model_copy(update={"batch": 2, "epoch_steps": 2, "epochs": 2})
    augmentation = recipe.augmentation.model_copy(update={"crop": 0})
    changes = {"preprocessing": grid, "schedule": schedule, "augmentation": augmentation}
    return recipe.model_copy(update={**changes, "sources": {CaseKind.SIMULATED: 1.0}})


def case_of(recipe: SegmentRecipe, number: int) -> Case:
    """Return a case with the recipe's Series but the optional ones, and its lesion."""
    spot = bright_spot_case(str(number), seed=number)
    (volume,), (mask,) = spot.volumes.values(), spot.masks.values()
    return Case(spot.name, {recipe.inputs[0]: volume}, {recipe.segment: mask}, spot.provenance)


@pytest.mark.parametrize(("name", "segment"), SHIPPED)
def test_a_recipe_trains_and_resumes(name, segment, tmp_path) -> None:
    recipe = small(name, segment)
    cases = store_cases([case_of(recipe, n) for n in range(2)], recipe, tmp_path / "store")
    train(recipe, cases[:1], cases[1:], tmp_path / "run", stop_after=3)
    train(recipe, cases[:1], cases[1:], tmp_path / "run")
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [epoch["number"] for epoch in history] == [0, 1]
    assert all(0 < epoch["loss"] < 20 for epoch in history)


@pytest.mark.parametrize("name", ["u-resnet", "unet-3d"])
def test_a_comparator_is_exported_within_the_size_of_a_bundle(name, tmp_path) -> None:
    recipe = small(name, Segment.WMH)
    torch.manual_seed(0)
    network = networks.build(recipe.network, recipe.channels)
    write_onnx(network, recipe, tmp_path / "model.onnx")  # refuses files above the limit
    slices = np.random.default_rng(0).random((3, recipe.channels, 32, 32), dtype=np.float32)
    check_parity(network, tmp_path / "model.onnx", slices)
