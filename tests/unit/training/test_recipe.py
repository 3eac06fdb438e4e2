"""Recipes: every shipped one loads, and a wrong key is named."""

import pytest

from engines.segments import Segment
from tests.support.training_cases import TINY_YAML, write_tiny_recipe
from training.errors import RecipeError
from training.recipe import load_recipe, shipped_recipes


def test_the_shipped_recipes_are_the_three_of_the_documentation() -> None:
    assert set(shipped_recipes()) == {"best", "csvd-2020", "wmh-flair-384"}


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_resolves_its_segmentors(name) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    for segment in recipe.segmentors:
        assert recipe.for_segment(segment).segment is segment


def test_the_published_flair_recipe_has_its_published_numbers() -> None:
    recipe = load_recipe("wmh-flair-384").for_segment(Segment.WMH)
    assert recipe.network.channels == (16, 32, 64, 128, 256)
    assert recipe.preprocessing.pixel_grid == (384, 384)
    schedule = recipe.schedule
    assert (schedule.batch, schedule.epochs, schedule.learning_rate) == (32, 200, 3e-4)
    assert (schedule.plateau_epochs, schedule.plateau_factor, schedule.patience_epochs) == (30, 0.9, 60)


def test_the_published_four_segmentor_recipe_takes_its_published_series_and_stop_rule() -> None:
    recipe = load_recipe("csvd-2020")
    lacune = recipe.for_segment(Segment.LACUNE)
    assert lacune.inputs == ("T1", "T2_FLAIR")
    assert lacune.optional_inputs == ("T2_FLAIR",)
    assert lacune.channels == 2
    assert (lacune.schedule.overfit_score, lacune.schedule.overfit_lead) == (0.98, 0.15)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param("batch: 4", "batch: 4, speed: 9", "schedule.speed", id="unknown-key"),
        pytest.param("flip: 0.5", "flip: 1.5", "augmentation.flip", id="impossible-value"),
        pytest.param("version: 1.0.0\n", "", "version", id="missing-key"),
        pytest.param("[T2_FLAIR]", "[T9]", "segmentors.WMH.inputs.0", id="unknown-series"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, key) -> None:
    path = write_tiny_recipe(tmp_path, TINY_YAML.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert caught.value.key == key


def test_a_pixel_grid_that_the_network_can_not_halve_is_refused(tmp_path) -> None:
    path = write_tiny_recipe(tmp_path, TINY_YAML.replace("[32, 32]", "[34, 34]"))
    with pytest.raises(RecipeError, match="multiples of 4"):
        load_recipe(str(path))


def test_an_unreadable_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="wmh-flair-384"):
        load_recipe("no-such-recipe")


def test_a_segment_that_a_recipe_lacks_is_named() -> None:
    with pytest.raises(RecipeError, match=r"segmentors\.LACUNE"):
        load_recipe("wmh-flair-384").for_segment(Segment.LACUNE)
