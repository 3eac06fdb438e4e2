"""A study: folds keep patients apart, scores say what they were measured on."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from engines.bundle import shipped_bundles
from engines.segments import Segment, SeriesType
from tests.support.training_cases import bright_spot_case, tiny_recipe
from training.card import FAILURES, NEVER_TESTED, contact_sheet, manifest_scores, write_card
from training.cases import CaseKind
from training.errors import CheckpointError, MissingWeightsError, NoSamplesError, RecipeError
from training.judging import REAL, REAL_WITH_UNSURE, evaluate_study, write_evaluation
from training.loop import train
from training.pool import Split, write_pool_case
from training.recipe import Keep, Ships
from training.shipping import describe_data, describe_protocol
from training.slices import store_cases, variants
from training.sources import Sources, folds
from training.study import (
    Study,
    load_network,
    load_shipped,
    shipped_folders,
    split_cases,
    train_study,
)

PATIENTS = ("ms3seg_1", "ms3seg_2", "simvent_3", "simvent_4")


def quiet(_: str) -> None:
    """Announce nothing."""


def write_nifti(path: Path, array: np.ndarray) -> None:
    """Write (slices, rows, columns) as a NIfTI file of 1 x 1 x 4 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0).astype(np.int16), np.diag([1.0, 1.0, 4.0, 1.0]))
    nibabel.save(image, path)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Four labelled patients, one simulated test case, two folds, trained for a few steps."""
    folder = tmp_path_factory.mktemp("study")
    for number, name in enumerate(PATIENTS):
        case = bright_spot_case(name, seed=number)
        image, mask = case.volumes[SeriesType.T2_FLAIR].array, case.masks[Segment.WMH].array
        label = mask.astype(np.int16)
        if name.startswith("simvent"):
            label[0, 5:9, 20:24] = 3
        for file, array in {"flair": image, "t1": image, "label": label, "brain_mask": image > 20}.items():
            write_nifti(folder / "mri" / name / f"{file}.nii.gz", array)
    write_pool_case(folder / "pool" / "WMH" / Split.TEST, bright_spot_case("9", seed=9), Segment.WMH)
    study = Study(tiny_recipe(folds=2), Sources(folder / "mri", folder / "pool"), folder / "runs")
    train_study(study, None, quiet)
    return study


def test_folds_spread_data_sets_and_hold_every_patient_once() -> None:
    assert folds(["b_2", "a_1", "b_1", "a_2", "a_1"], 2) == [("a_1", "b_1"), ("a_2", "b_2")]


def test_more_folds_than_patients_are_refused_before_anything_is_prepared(study, tmp_path) -> None:
    more = Study(study.recipe.model_copy(update={"folds": 5}), study.sources, tmp_path)
    with pytest.raises(RecipeError, match=r"segmentors\.WMH\.folds: 5 folds of 4 patients"):
        train_study(more, None, quiet)
    assert list(tmp_path.iterdir()) == []


def test_folds_without_a_patient_name_the_folder_before_anything_is_prepared(study, tmp_path) -> None:
    nobody = Study(study.recipe, replace(study.sources, mri=tmp_path / "typo"), tmp_path / "runs")
    with pytest.raises(NoSamplesError, match=r"tiny, WMH, folds of real patients: no case found in .*typo;"):
        train_study(nobody, None, quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_cases_that_is_not_there_is_told(study) -> None:
    told: list[str] = []
    train_study(study, None, told.append)
    assert "there is no simulated case to learn from: the other kinds take its share of the batches" in told
    assert not [line for line in told if "no real case" in line]


def test_an_evaluation_without_a_case_names_the_folders_and_writes_nothing(study, tmp_path) -> None:
    recipe = study.recipe.model_copy(update={"folds": 0})
    sources = Sources(study.sources.mri, tmp_path / "empty")
    with pytest.raises(NoSamplesError, match=r"or held-out ones: no case found in .*mri, .*empty;"):
        evaluate_study(Study(recipe, sources, study.root), quiet)


def test_pretraining_without_a_made_case_names_the_pool(study, tmp_path) -> None:
    recipe = study.recipe.model_copy(update={"pretraining": study.recipe.schedule})
    with pytest.raises(NoSamplesError, match=rf"with real labels: no case found in {study.sources.pool};"):
        train_study(Study(recipe, study.sources, tmp_path), None, quiet)


def test_no_fold_learns_from_a_scan_of_its_own_patients(study) -> None:
    for number, held_out in enumerate(study.held_out()):
        data = json.loads((study.folder / f"fold_{number}" / "data.json").read_text())
        learned = {case["patient"] for case in data["cases"] if case["use"] == "training"}
        assert learned == set(PATIENTS) - set(held_out)
        assert set(held_out) <= {case["patient"] for case in data["cases"] if case["use"] == "validation"}


def test_patients_who_decide_when_to_stop_are_neither_learned_from_nor_scored(study, tmp_path) -> None:
    schedule = study.recipe.schedule.model_copy(update={"keep": Keep.DICE})
    recipe = study.recipe.model_copy(update={"schedule": schedule})
    cases = [bright_spot_case(name, CaseKind.REAL, seed=n) for n, name in enumerate("abc")]
    prepared = store_cases(cases, recipe, tmp_path)
    groups = [("patient_a",), ("patient_b",), ("patient_c",)]
    splits = [split_cases(recipe, prepared, groups, number) for number in (0, 2, None)]
    assert [[[case.name for case in part] for part in split] for split in splits] == [
        [["c"], ["b"]],
        [["b"], ["a"]],
        [["b", "c"], ["a"]],
    ]
    learned, watched = split_cases(study.recipe, prepared, groups, 0)  # keeps the last weights
    assert [case.name for case in learned] == ["b", "c"]
    assert [case.name for case in watched] == ["a"]


def test_the_final_network_learns_from_all_patients(study) -> None:
    data = json.loads((study.folder / "final" / "data.json").read_text())
    assert {case["patient"] for case in data["cases"]} == set(PATIENTS)


def test_every_real_case_is_scored_once_and_test_cases_apart(study, tmp_path) -> None:
    evaluation, predictions = evaluate_study(study, quiet)
    assert sorted(score.case for score in evaluation.scores[REAL]) == sorted(PATIENTS)
    assert [score.case for score in evaluation.scores[REAL_WITH_UNSURE]] == ["simvent_3", "simvent_4"]
    assert [score.case for score in evaluation.scores["simulated, test"]] == ["9"]
    assert len(predictions) == 5
    write_evaluation(evaluation, tmp_path / "evaluation.json")
    assert json.loads((tmp_path / "evaluation.json").read_text())["summaries"][REAL]["cases"] == 4


def test_all_cases_are_also_scored_without_optional_series(study) -> None:
    recipe = study.recipe.model_copy(
        update={
            "inputs": (SeriesType.T2_FLAIR, SeriesType.T1),
            "optional_inputs": (SeriesType.T1,),
            "schedule": study.recipe.schedule.model_copy(update={"epochs": 1}),
        }
    )
    both = Study(recipe, study.sources, study.root / "both")
    train_study(both, None, quiet)
    evaluation, predictions = evaluate_study(both, quiet)
    assert evaluation.summaries["simulated, test"].cases == 1
    assert evaluation.parts["simulated, test, without T1"].cases == 1
    assert evaluation.parts[f"{REAL}, without T1"].cases == 4
    assert len(predictions) == 5


def test_each_round_looks_at_the_false_alarms_of_the_one_before(study) -> None:
    later = study.recipe.schedule.model_copy(update={"epochs": 1})
    recipe = study.recipe.model_copy(update={"mining": (later, later), "folds": 0})
    thrice = Study(recipe, study.sources, study.root / "thrice")
    train_study(thrice, None, quiet)
    final = thrice.folder / "final"
    rounds = [final / "round_1", final / "round_2", final]
    assert [json.loads((one / "data.json").read_text())["steps"] for one in rounds] == [12, 4, 4]
    learned = {
        case["sha256"]
        for case in json.loads((final / "data.json").read_text())["cases"]
        if case["use"] == "training"
    }
    assert [set(np.load(one / "alarms.npz").files) for one in rounds[:2]] == [learned, learned]
    assert "on from 12 and 4 steps of earlier rounds" in describe_protocol(thrice)
    mixed = Study(recipe.model_copy(update={"ships": Ships.ROUNDS}), study.sources, study.root / "thrice")
    biases = [load_network(one, thrice.recipe).head.bias for one in rounds]
    torch.testing.assert_close(load_shipped(thrice).head.bias, biases[2])
    torch.testing.assert_close(load_shipped(mixed).head.bias, (biases[1] + biases[2]) / 2)
    assert "the mean of those of its last 2 rounds" in describe_protocol(mixed)


def test_scores_and_card_say_what_they_were_measured_on(study) -> None:
    evaluation, predictions = evaluate_study(study, quiet)
    scores = manifest_scores(evaluation)
    assert {score.on for score in scores if REAL in score.on and "unsure" not in score.on} == {
        f"{REAL}: 4 cases with lesions, 0 without, of 4 heads"
    }
    card = write_card(study.recipe, evaluation, describe_data(study), describe_protocol(study))
    assert "2-fold cross-validation over patients" in card
    assert "8 real scans" in card  # four patients, each with and without skull
    assert "multiple sclerosis" in card
    assert "asked at least 0.70" in card
    assert contact_sheet(predictions, evaluation).size == (1200, 400)


def test_weights_of_another_architecture_are_refused(study) -> None:
    network = study.recipe.network.model_copy(update={"channels": (8, 16)})
    told = r"final/recipe\.yaml: was begun with network.channels \[8, 8\], the recipe says \[8, 16\]"
    with pytest.raises(CheckpointError, match=told):
        load_network(study.folder / "final", study.recipe.model_copy(update={"network": network}))
    (study.folder / "final" / "recipe.yaml").rename(study.folder / "final" / "kept.yaml")
    with pytest.raises(CheckpointError, match=r"weights\.pt"):
        load_network(study.folder / "final", study.recipe.model_copy(update={"network": network}))
    (study.folder / "final" / "kept.yaml").rename(study.folder / "final" / "recipe.yaml")


def test_weights_that_a_kill_left_uncalibrated_are_not_served(study, tmp_path) -> None:
    recipe = study.recipe.model_copy(update={"folds": 0})
    begun = Study(recipe, study.sources, tmp_path)
    train_study(begun, None, quiet)
    final = begun.folder / "final"
    longer = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"epochs": 4})})
    cases = (variant for case in study.sources.real(Segment.WMH) for variant in variants(case))
    train(longer, store_cases(cases, recipe, tmp_path / "prepared"), [], final)
    with pytest.raises(MissingWeightsError, match=r"calibration\.json: train first, to the end"):
        load_network(final, longer)
    train_study(Study(longer, study.sources, tmp_path), None, quiet)
    load_network(final, longer)


def test_simulated_cases_are_read_from_their_split_only(study) -> None:
    names = [case.name for case in study.sources.made(Segment.WMH, Split.TEST, [CaseKind.SIMULATED])]
    assert names == ["9"]
    assert not list(study.sources.made(Segment.WMH, Split.TRAIN, [CaseKind.SIMULATED]))
    assert not list(study.sources.made(Segment.WMH, Split.TEST, [CaseKind.PAINTED]))


def test_folds_start_from_cases_of_nobody_with_real_labels_and_their_mean_is_shipped(study, tmp_path) -> None:
    painted = bright_spot_case("8", CaseKind.PAINTED, seed=8)
    of_a_fold = replace(painted, name="9", provenance=replace(painted.provenance, patient=PATIENTS[0]))
    for case in (bright_spot_case("7", seed=7), painted, of_a_fold):
        write_pool_case(tmp_path / "pool" / "WMH" / Split.TRAIN, case, Segment.WMH)
    schedule = study.recipe.schedule.model_copy(update={"epochs": 1})
    kinds = dict.fromkeys(CaseKind, 1.0)
    recipe = tiny_recipe(folds=2, schedule=schedule, pretraining=schedule, ships=Ships.FOLDS, sources=kinds)
    other = Study(recipe, Sources(study.sources.mri, tmp_path / "pool"), tmp_path / "runs")
    train_study(other, None, quiet)
    data = json.loads((other.folder / "pretrained" / "data.json").read_text())
    learned = {case["patient"] for case in data["cases"] if case["use"] == "training"}
    assert learned == {"patient_7", "patient_8"}
    assert not (other.folder / "final").exists()
    alarms = set(np.load(other.folder / "pretrained" / "alarms.npz").files)
    for folder in shipped_folders(other):
        cases = json.loads((folder / "data.json").read_text())["cases"]
        assert {case["sha256"] for case in cases if case["use"] == "training"} <= alarms
    biases = [load_network(folder, recipe).head.bias for folder in shipped_folders(other)]
    torch.testing.assert_close(load_shipped(other).head.bias, (biases[0] + biases[1]) / 2)
    assert "after 4 steps on cases of nobody with real labels" in describe_protocol(other)
    told = "The networks went on from"
    assert told not in describe_protocol(other)
    path = other.folder / "pretrained" / "data.json"
    path.write_text(json.dumps(data | {"begun_with": "csvd-wmh 0.7.0", "steps": 3}), encoding="utf-8")
    assert f"{told} csvd-wmh 0.7.0" in describe_protocol(other)
    assert "after 3 steps on cases of nobody with real labels" in describe_protocol(
        other
    )  # as they were, not as planned


def test_a_card_says_nothing_of_how_the_point_of_another_bundle_was_chosen(study) -> None:
    told = ", at an operating point for which none was scored."
    assert told in describe_protocol(study)
    assert told not in describe_protocol(study, point_was_kept=True)


def test_a_card_says_from_which_bundle_a_training_went_on(study) -> None:
    path = study.folder / "final" / "data.json"
    before = path.read_text(encoding="utf-8")
    assert "were trained on" not in describe_protocol(study)
    path.write_text(json.dumps(json.loads(before) | {"begun_with": "csvd-wmh 0.2.0"}), encoding="utf-8")
    assert "The weights of csvd-wmh 0.2.0 were trained on." in describe_protocol(study)
    assert "if that had learned from these patients, their scores say nothing" in describe_protocol(study)
    path.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("segment", list(Segment))
def test_a_shipped_card_warns_as_the_next_one_would(segment) -> None:
    card = (shipped_bundles() / segment.lower() / "card.md").read_text(encoding="utf-8")
    assert f"## Never tested\n{NEVER_TESTED[segment]}\n" in card
    assert f"## Known failures\n{FAILURES[segment]}\n" in card


def test_cases_of_two_data_sets_with_one_name_are_two(study) -> None:
    path = study.folder / "final" / "data.json"
    before = path.read_text(encoding="utf-8")
    data = json.loads(before)
    other = data["cases"][0] | {"dataset": "elsewhere"}
    path.write_text(json.dumps(data | {"cases": [*data["cases"], other]}), encoding="utf-8")
    assert "9 real scans" in describe_data(study)
    path.write_text(before, encoding="utf-8")
