"""The command line: one recipe from a pool to a bundle, and errors as sentences."""

import json

import pytest
from typer.testing import CliRunner

from engines.bundle import load_bundle
from engines.segments import Segment
from tests.support.training_cases import TINY_YAML, bright_spot_case, write_tiny_recipe
from training.cli import app
from training.pool import Split, write_pool_case


@pytest.fixture
def places(tmp_path):
    for number, split in enumerate([Split.TRAIN] * 4 + [Split.VALIDATION] + [Split.TEST] * 2):
        case = bright_spot_case(str(number), lesion=number != 6, seed=number)
        write_pool_case(tmp_path / "pool" / "WMH" / split, case, Segment.WMH)
    common = [
        "--mri",
        tmp_path / "none",
        "--pool",
        tmp_path / "pool",
        "--runs",
        tmp_path / "runs",
        "--threads",
        1,
    ]
    return tmp_path, [str(write_tiny_recipe(tmp_path)), *map(str, common)]


def test_a_recipe_goes_from_pool_to_bundle(places) -> None:
    folder, arguments = places
    runner = CliRunner()
    trained = runner.invoke(app, ["run", *arguments])
    assert trained.exit_code == 0, trained.output
    evaluated = runner.invoke(app, ["evaluate", *arguments])
    assert "simulated, test" in evaluated.output
    summary = json.loads((folder / "runs/tiny/WMH/evaluation.json").read_text())["summaries"][
        "simulated, test"
    ]
    assert (summary["cases"], summary["free_cases"]) == (1, 1)
    exported = runner.invoke(app, ["export", *arguments, "--bundles", str(folder / "bundles")])
    assert exported.exit_code == 0, exported.output
    manifest = load_bundle(folder / "bundles" / "wmh").manifest
    assert any(score.name == "dice" and "simulated, test" in score.on for score in manifest.scores)
    card = (folder / "bundles" / "wmh" / "card.md").read_text()
    assert "Not measured" in card  # no real case was there to hold the target against
    assert "4 simulated scans" in card
    assert (folder / "bundles" / "wmh" / "cases.png").is_file()


def test_a_wrong_key_ends_with_its_name_and_exit_code_1(places) -> None:
    folder, arguments = places
    write_tiny_recipe(folder, TINY_YAML.replace("flip: 0.5", "flop: 0.5"))
    result = CliRunner().invoke(app, ["run", *arguments])
    assert result.exit_code == 1
    assert "augmentation.flop" in result.output


def test_evaluation_without_training_names_the_missing_weights(places) -> None:
    result = CliRunner().invoke(app, ["evaluate", *places[1]])
    assert result.exit_code == 1
    assert "weights.pt" in result.output.replace("\n", "")


def test_an_empty_pool_is_named(places) -> None:
    folder, arguments = places
    result = CliRunner().invoke(app, ["run", *arguments, "--pool", str(folder / "empty")])
    assert result.exit_code == 1
    assert "no case found" in result.output.replace("\n", " ")


def test_data_sets_are_told_complete_or_what_they_lack(tmp_path) -> None:
    text = "{name: own, licence: none, source: us, series: {T1: '{case}/t1.nii.gz'}, cases: ['p*']}"
    (tmp_path / "own.yaml").write_text(text)
    told = CliRunner().invoke(app, ["data", "--mri", str(tmp_path)])
    assert told.exit_code == 0
    assert "own: no case in" in told.output
    (tmp_path / "p1").mkdir()
    told = CliRunner().invoke(app, ["data", "--mri", str(tmp_path)])
    assert told.exit_code == 1
    assert "own: p1/t1.nii.gz is missing" in told.output
    (tmp_path / "p1" / "t1.nii.gz").touch()
    assert "own: complete, 1 cases" in CliRunner().invoke(app, ["data", "--mri", str(tmp_path)]).output


def test_one_command_trains_evaluates_and_exports(places) -> None:
    folder, arguments = places
    common = ["ship", arguments[0], "--data", str(folder / "none"), *arguments[3:]]
    shipped = CliRunner().invoke(app, [*common, "--bundles", str(folder / "bundles")])
    assert shipped.exit_code == 0, shipped.output
    assert load_bundle(folder / "bundles" / "wmh").manifest.scores
    assert (folder / "runs" / "tiny" / "WMH" / "report" / "report.md").is_file()


def test_the_shipped_recipes_are_listed() -> None:
    assert "wmh-flair-384" in CliRunner().invoke(app, ["recipes"]).output
