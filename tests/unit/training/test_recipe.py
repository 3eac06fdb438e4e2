"""Recipes: every shipped one loads, and a wrong key is named."""

import pytest

from engines.segments import Segment
from tests.support.training_cases import TINY_YAML, write_tiny_recipe
from training.errors import RecipeError
from training.recipe import load_recipe, shipped_recipes


def test_the_shipped_recipes_are_those_of_the_documentation() -> None:
    assert set(shipped_recipes()) == {"best", "csvd-2020", "wmh-flair-384", "u-resnet", "unet-3d"}


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


@pytest.mark.parametrize("comparator", ["u-resnet", "unet-3d"])
def test_comparators_have_the_data_and_the_budget_of_the_published_network(comparator) -> None:
    published, other = load_recipe("wmh-flair-384"), load_recipe(comparator)
    for block in ("schedule", "augmentation", "loss", "segmentors", "seed"):
        assert getattr(other, block) == getattr(published, block)
    assert other.preprocessing.pixel_grid == published.preprocessing.pixel_grid
    assert other.network.channels == published.network.channels


def test_the_published_flair_recipe_names_its_augmentations() -> None:
    recipe = load_recipe("wmh-flair-384")
    changed = {name for name, value in recipe.augmentation if value not in (0.0, 1.0)}
    assert changed == {"rotation_deg", "scale", "shift", "flip", "brightness", "offset", "noise"}
    assert recipe.schedule.weight_decay == 0  # Adam
    assert (recipe.loss.overlap_weight, recipe.loss.entropy_weight, recipe.loss.focal_gamma) == (0, 1, 0)
    assert (recipe.preprocessing.fit, recipe.preprocessing.normalisation) == ("pad_crop", "z_score")


def test_the_published_four_segmentor_recipe_takes_its_published_series_and_stop_rule() -> None:
    recipe = load_recipe("csvd-2020")
    lacune = recipe.for_segment(Segment.LACUNE)
    assert lacune.inputs == ("T1", "T2_FLAIR")
    assert lacune.optional_inputs == ("T2_FLAIR",)
    assert lacune.channels == 2
    assert (lacune.schedule.overfit_score, lacune.schedule.overfit_lead) == (0.98, 0.15)
    assert {segment: recipe.for_segment(segment).inputs[0] for segment in recipe.segmentors} == {
        "WMH": "T2_FLAIR", "LACUNE": "T1", "INFARCT": "DWI_B1000", "MICROBLEED": "T2_STAR",
    }  # fmt: skip
    preprocessing = recipe.preprocessing
    assert (preprocessing.pixel_grid, preprocessing.fit) == ((224, 224), "pad_resize")
    assert preprocessing.normalisation == "white_matter_peak"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param("batch: 4", "batch: 4, speed: 9", "schedule.speed", id="unknown-key"),
        pytest.param("flip: 0.5", "flip: 1.5", "augmentation.flip", id="impossible-value"),
        pytest.param("version: 1.0.0\n", "", "version", id="missing-key"),
        pytest.param("[T2_FLAIR]", "[T9]", "segmentors.WMH.inputs.0", id="unknown-series"),
        pytest.param("[T2_FLAIR]", "T2_FLAIR", "segmentors.WMH.inputs", id="no-list"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, key) -> None:
    path = write_tiny_recipe(tmp_path, TINY_YAML.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert caught.value.key == key
    assert "tuple" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("grid", "crop", "key"),
    [
        pytest.param("[34, 34]", 0, "preprocessing.pixel_grid", id="grid"),
        pytest.param("[36, 36]", 16, "augmentation.crop", id="window"),
    ],
)
def test_sizes_that_the_network_can_not_halve_are_refused(tmp_path, grid, crop, key) -> None:
    text = TINY_YAML.replace("[32, 32]", grid).replace("fold: 2", "fold: 3")
    path = write_tiny_recipe(tmp_path, text.replace("flip: 0.5", f"flip: 0.5, crop: {crop}"))
    with pytest.raises(RecipeError, match=rf"tiny\.yaml: {key} must be multiples of 6"):
        load_recipe(str(path))


def test_a_segmentor_can_see_finer_pixels_than_the_others(tmp_path) -> None:
    finer = """
    preprocessing: {pixel_grid: [48, 48], fit: pad_resize, normalisation: z_score, neighbours: 2}
    network: {channels: [8, 8], fold: 3}
"""
    recipe = load_recipe(str(write_tiny_recipe(tmp_path, TINY_YAML.rstrip() + finer)))
    resolved = recipe.for_segment(Segment.WMH)
    assert (resolved.preprocessing.pixel_grid, resolved.channels) == ((48, 48), 5)
    assert recipe.preprocessing.pixel_grid == (32, 32)


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        pytest.param("{channels: [8, 8], slab: 5}", "the 3 slices", id="more-slices-than-are-seen"),
        pytest.param("{channels: [8, 8], slab: 3, fold: 2}", "no fold", id="folded-in-3d"),
    ],
)
def test_a_slab_that_the_network_can_not_see_is_refused(tmp_path, network, problem) -> None:
    text = TINY_YAML.replace("{channels: [8, 8], fold: 2, deep_supervision: true}", network)
    with pytest.raises(RecipeError, match=problem):
        load_recipe(str(write_tiny_recipe(tmp_path, text)))


@pytest.mark.parametrize("change", ["gamma: 0.2", "bias_field: 0.1"])
def test_changes_that_need_air_at_zero_are_refused_where_intensities_have_mean_zero(tmp_path, change) -> None:
    text = TINY_YAML.replace("white_matter_peak", "z_score").replace("flip: 0.5", f"flip: 0.5, {change}")
    with pytest.raises(RecipeError, match="need intensities from 0 on"):
        load_recipe(str(write_tiny_recipe(tmp_path, text)))


def test_each_round_sees_batches_of_its_own(tmp_path) -> None:
    schedule = TINY_YAML.split("schedule: ")[1].splitlines()[0]
    path = write_tiny_recipe(tmp_path, TINY_YAML.rstrip() + f"\n    mining: [{schedule}, {schedule}]\n")
    rounds = load_recipe(str(path)).for_segment(Segment.WMH).rounds
    assert [one.seed for one in rounds] == [1, 2, 3]


@pytest.mark.parametrize(
    ("sources", "folds", "problem"),
    [
        pytest.param("{real: 1.0}", 0, "need 2 folds or more", id="real-cases-alone"),
        pytest.param("{real: 0.5, simulated: 0.5}", 1, "leaves nobody to learn from", id="one-fold"),
    ],
)
def test_folds_that_leave_nobody_to_score_or_to_learn_from_are_refused(
    tmp_path, sources, folds, problem
) -> None:
    text = TINY_YAML.replace("{simulated: 1.0}", f"{sources}\n    folds: {folds}")
    with pytest.raises(RecipeError, match=rf"segmentors\.WMH: .*{problem}"):
        load_recipe(str(write_tiny_recipe(tmp_path, text)))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        pytest.param("folds: 3\n    ships: folds", "2 folds and a pretraining", id="folds-without-a-start"),
        pytest.param("ships: rounds", "2 rounds of mining", id="rounds-without-mining"),
    ],
)
def test_means_are_shipped_only_of_weights_that_have_something_in_common(tmp_path, entry, problem) -> None:
    path = write_tiny_recipe(tmp_path, TINY_YAML + f"    {entry}\n")
    with pytest.raises(RecipeError, match=problem):
        load_recipe(str(path))


def test_an_unreadable_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="wmh-flair-384"):
        load_recipe("no-such-recipe")


def test_a_segment_that_a_recipe_lacks_is_named() -> None:
    with pytest.raises(RecipeError, match=r"segmentors\.LACUNE"):
        load_recipe("wmh-flair-384").for_segment(Segment.LACUNE)


def test_a_misspelt_key_is_named_before_what_it_leaves_out(tmp_path) -> None:
    path = write_tiny_recipe(tmp_path, TINY_YAML.replace("learning_rate", "lerning_rate"))
    with pytest.raises(
        RecipeError, match=r"schedule\.lerning_rate: Extra inputs .*schedule\.learning_rate"
    ) as told:
        load_recipe(str(path))
    assert told.value.key == "schedule.lerning_rate"


def test_a_recipe_that_is_not_there_gets_the_list_of_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"shipped are best, [a-z0-9, -]+$"):
        load_recipe("nothere")
