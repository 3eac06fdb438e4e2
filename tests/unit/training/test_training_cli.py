"""The command line: one recipe from a pool to a bundle, and errors as sentences."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from engines.bundle import load_bundle, shipped_bundles, write_manifest
from engines.segments import Segment, SeriesType
from tests.support.onnx_models import write_threshold_bundle
from tests.support.simulation_data import write_simulation_data
from tests.support.training_cases import TINY_YAML, bright_spot_case, write_tiny_recipe
from training.card import FAILURES, KEPT_POINT, UNKNOWN_FAILURES, UNTRIED
from training.cli import app
from training.pool import Split, write_pool_case
from training.rescoring import SAME_WEIGHTS, protocol_of


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
    bundles = folder / "bundles[1]"
    exported = runner.invoke(app, ["export", *arguments, "--bundles", str(bundles)])
    assert exported.exit_code == 0, exported.output
    assert f"{bundles / 'wmh'}: tiny-wmh 1.0.0" in exported.output
    manifest = load_bundle(bundles / "wmh").manifest
    assert any(score.name == "dice" and "simulated, test" in score.on for score in manifest.scores)
    card = (bundles / "wmh" / "card.md").read_text()
    assert "Not measured" in card  # no real case was there to hold the target against
    assert "4 simulated scans" in card
    assert (bundles / "wmh" / "cases.png").is_file()

    def keep(point_of: str) -> Result:
        bundle = str(shipped_bundles() / point_of)
        return runner.invoke(
            app, ["export", *arguments, "--bundles", str(folder / "kept"), "--point-of", bundle]
        )

    refused = keep("infarct")
    assert refused.exit_code == 1
    assert "finds INFARCT, not WMH" in " ".join(refused.output.split())
    assert not (folder / "kept").exists()
    kept = keep("wmh")
    assert kept.exit_code == 0, kept.output
    point = load_bundle(folder / "kept" / "wmh").manifest.postprocessing
    shipped = load_bundle(shipped_bundles() / "wmh").manifest.postprocessing
    assert point == shipped != manifest.postprocessing
    assert KEPT_POINT in (folder / "kept" / "wmh" / "card.md").read_text()
    assert KEPT_POINT not in card


@pytest.fixture
def hospital(tmp_path):
    """Four patients of an own data set, and a recipe that learns from them alone."""
    text = "{name: own, licence: ethics 7, source: us, series: {T2_FLAIR: '{case}/f.nii.gz'}, cases: ['p*'],"
    text += "labels: {WMH: {file: '{case}/l.nii.gz', values: [1], known: [1]}}}"
    (tmp_path / "own.yaml").write_text(text)
    for number in range(4):
        add_patient(tmp_path, f"p{number}", number)
    recipe = TINY_YAML.replace("simulated: 1.0}", "real: 1.0}\n    folds: 2").replace(
        "name: tiny", "name: mine"
    )
    options = {"mri": ".", "pool": "none", "runs": "runs"}
    places = [part for name, folder in options.items() for part in (f"--{name}", str(tmp_path / folder))]
    (tmp_path / "recipes").mkdir()
    return tmp_path, [str(write_tiny_recipe(tmp_path / "recipes", recipe)), *places, "--threads", "1"]


def add_patient(folder, name: str, seed: int) -> None:
    case = bright_spot_case(name, seed=seed)
    (folder / name).mkdir()
    image = case.volumes[SeriesType.T2_FLAIR]
    for kind, array in (("f", image.array), ("l", case.masks[Segment.WMH].array.astype(np.uint8))):
        affine = np.diag([-1.0, -1, 1, 1]) @ image.grid.affine[:, [2, 1, 0, 3]]
        nibabel.save(nibabel.Nifti1Image(array.T, affine), folder / name / f"{kind}.nii.gz")


def test_a_hospital_exports_what_it_trained_on_its_own_patients(hospital) -> None:
    folder, arguments = hospital
    trained = CliRunner().invoke(app, ["run", *arguments])
    assert trained.exit_code == 0, trained.output
    lines = [line for line in trained.output.splitlines() if line.startswith("WMH step 40 of 40: loss")]
    assert len(lines) == 3  # two folds and the final one: a log file has a line for each epoch
    assert "validation Dice" in lines[0]
    told = CliRunner().invoke(app, ["export", *arguments, "--bundles", str(folder / "bundles")])
    assert told.exit_code == 0, told.output
    bundle = load_bundle(folder / "bundles" / "wmh")
    assert bundle.manifest.name == "mine-wmh"
    assert "not stated" in bundle.manifest.licence
    assert "4 real scans, labelled by people (own: ethics 7)" in bundle.manifest.training_data
    card = (folder / "bundles" / "wmh" / "card.md").read_text()
    assert "The proof slices (samples.npz) are of the held-out scan p" in card
    for foreign in ("sclerosis", "openms", "Simulated and painted test cases"):
        assert foreign not in card
    add_patient(folder, "p1b", 9)
    grown = CliRunner().invoke(app, ["run", *arguments])
    assert grown.exit_code == 1
    assert "learned from other cases: 1 are new or changed" in grown.output
    leaking = CliRunner().invoke(app, ["evaluate", *arguments])
    assert leaking.exit_code == 1
    assert "learned from p3, whom it would be scored on" in leaking.output


def test_a_scan_that_is_there_under_two_patients_is_refused(hospital) -> None:
    folder, arguments = hospital
    add_patient(folder, "p8", 1)
    told = CliRunner().invoke(app, ["run", *arguments])
    assert told.exit_code == 1
    assert "Case p8: has the image and label of p1, who is another patient (p1)" in told.output


def test_a_bundle_from_elsewhere_is_scored_on_own_patients(tmp_path) -> None:
    """Brighter than 1.5 times white matter is lesion: the spots are twice as bright as what is around."""
    manifest = {"name": "own", "licence": "l", "source": "us", "series": {"T2_FLAIR": "{case}/f.nii.gz"}}
    label = {"file": "{case}/l.nii.gz", "values": [1], "known": [1]}
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({**manifest, "labels": {"WMH": label}, "cases": ["p*"]})
    )
    for number in range(3):
        add_patient(tmp_path, f"p{number}", number)
    bundle = write_threshold_bundle(tmp_path / "theirs")
    before = {path.name: path.read_bytes() for path in bundle.folder.iterdir()}
    command = ["score", str(bundle.folder), "--mri", str(tmp_path), "--runs", str(tmp_path / "runs")]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    place = tmp_path / "runs" / f"{bundle.manifest.name}-{bundle.manifest.version}" / "WMH"
    summary = json.loads((place / "evaluation.json").read_text())["summaries"]["real"]
    assert (summary["cases"], summary["lesion_f1"]) == (3, 1.0)
    assert summary["dice"] > 0.8
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == before
    compared = CliRunner().invoke(app, ["compare", str(place), str(place)])
    assert f"| real | lesion F1 | {place} | 3 | 1.000 | 0.000 |" in compared.output
    nobody = CliRunner().invoke(app, ["score", str(bundle.folder), "--mri", str(tmp_path / "none")])
    assert "no case found in" in nobody.output


def test_a_file_that_can_not_be_written_ends_with_its_name(places) -> None:
    folder, arguments = places
    (folder / "file").touch()
    result = CliRunner().invoke(app, ["run", *arguments, "--runs", str(folder / "file")])
    assert result.exit_code == 1
    assert f"{folder / 'file'}" in result.output
    assert "cannot be used: Not a directory" in result.output


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
    told = CliRunner().invoke(app, ["data", "--mri", str(tmp_path)])
    assert (told.exit_code, "own: Case p1: t1.nii.gz cannot be read" in told.output) == (1, True)
    image = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "p1" / "t1.nii.gz")
    (tmp_path / "own.yaml").rename(tmp_path / "own.yml")
    assert "own: complete, 1 cases" in CliRunner().invoke(app, ["data", "--mri", str(tmp_path)]).output
    told = CliRunner().invoke(app, ["data", "--mri", str(tmp_path / "typo")])
    assert (told.exit_code, "typo is no folder" in told.output) == (1, True)


def test_one_command_trains_evaluates_and_exports(places) -> None:
    folder, arguments = places
    common = ["ship", arguments[0], "--data", str(folder / "none"), *arguments[3:]]
    shipped = CliRunner().invoke(app, [*common, "--bundles", str(folder / "bundles")])
    assert shipped.exit_code == 0, shipped.output
    assert load_bundle(folder / "bundles" / "wmh").manifest.scores
    assert (folder / "runs" / "tiny" / "WMH" / "report" / "report.md").is_file()


def test_one_command_simulates_first(tmp_path) -> None:
    data = write_simulation_data(tmp_path / "data")
    recipe = write_tiny_recipe(tmp_path, TINY_YAML.replace("WMH", "INFARCT").replace("T2_FLAIR", "DWI_B1000"))
    places = [["--pool", "pool"], ["--runs", "runs"], ["--bundles", "bundles"]]
    options = [part for name, folder in places for part in (name, str(tmp_path / folder))]
    command = ["ship", str(recipe), "--data", str(data), "--cases", "2", "--workers", "1", "--threads", "1"]
    shipped = CliRunner().invoke(app, [*command, *options])
    assert shipped.exit_code == 0, shipped.output
    made = [len(list((tmp_path / "pool" / "INFARCT" / split).glob("*.npz"))) for split in Split]
    assert made == [2, 1, 1]
    assert "2 simulated scans" in (tmp_path / "bundles" / "infarct" / "card.md").read_text()


def test_a_bundle_is_scored_again_and_keeps_its_weights(places) -> None:
    folder, arguments = places
    runner, bundle = CliRunner(), folder / "bundles" / "wmh"
    assert runner.invoke(app, ["ship", arguments[0], "--data", str(folder / "none"), *arguments[3:],
                               "--bundles", str(bundle.parent)]).exit_code == 0  # fmt: skip
    before = load_bundle(bundle).manifest
    protocol = "Trained for 40 steps of 4 slices in 2 epochs"
    assert protocol in (bundle / "card.md").read_text()
    for version in ("1.0.1", "1.0.2"):
        told = runner.invoke(
            app, ["rescore", arguments[0], str(bundle), "--version", version, *arguments[1:5]]
        )
        assert told.exit_code == 0, told.output
    after = load_bundle(bundle).manifest
    assert (after.version, after.model.sha256) == ("1.0.2", before.model.sha256)
    assert after.postprocessing == before.postprocessing
    for one, other in zip(before.scores, after.scores, strict=True):
        assert other.value == pytest.approx(one.value, abs=1e-3)
    card = (bundle / "card.md").read_text()
    assert card.count("The weights are those of") == 1
    assert f"{SAME_WEIGHTS.format('1.0.1', '1.0.1')} {protocol}" in card
    assert "simulated, test, with skull" in card
    by_hand = "The operating point is that of 0.5.1; that it was kept was decided afterwards."
    (bundle / "card.md").write_text(card.replace("in 2 epochs.", f"in 2 epochs. {KEPT_POINT} {by_hand}"))
    for options, tells in ((["--keep-point"], True), ([], False)):
        told = runner.invoke(
            app, ["rescore", arguments[0], str(bundle), "--version", "1.0.2", *arguments[1:5], *options]
        )
        assert told.exit_code == 0, told.output
        told_of = (bundle / "card.md").read_text()
        assert [KEPT_POINT in told_of, by_hand in told_of] == [tells, tells]
        assert "in 2 epochs. " in told_of
        assert UNTRIED not in told_of
    foreign = told_of.replace(FAILURES[Segment.WMH], UNKNOWN_FAILURES)
    (bundle / "card.md").write_text(foreign)
    told = runner.invoke(app, ["rescore", arguments[0], str(bundle), "--version", "1.0.2", *arguments[1:5]])
    assert told.exit_code == 0, told.output
    assert UNTRIED in (bundle / "card.md").read_text()
    elsewhere = after.postprocessing.model_copy(update={"min_lesion_ml": 9.0})
    write_manifest(bundle, after.model_copy(update={"postprocessing": elsewhere}))
    told = runner.invoke(app, ["rescore", arguments[0], str(bundle), "--version", "1.0.2", *arguments[1:5]])
    assert told.exit_code == 1
    assert "has to become another" in told.output.replace("\n", " ")


@pytest.mark.parametrize("heading", ["## How it was trained\n", ""], ids=["now", "earlier"])
def test_a_card_keeps_how_its_weights_were_trained(tmp_path: Path, heading: str) -> None:
    point = "Recipe `mine` 1.0.0; threshold 0.5, smallest lesion 12 mm3."
    sections = (
        "# WMH on T2_FLAIR",
        f"{heading}{point} Trained for 40 steps.",
        "## Scores\nFrom 12 mm3. No more.",
    )
    (card := tmp_path / "card.md").write_text("\n\n".join(sections))
    assert protocol_of(card) == "Trained for 40 steps."


def test_a_bundle_of_another_segment_is_not_scored(places) -> None:
    told = CliRunner().invoke(
        app, ["rescore", places[1][0], str(shipped_bundles() / "lacune"), "--version", "9"]
    )
    assert told.exit_code == 1
    assert "LACUNE" in told.output


def test_the_shipped_recipes_are_listed() -> None:
    assert "wmh-flair-384" in CliRunner().invoke(app, ["recipes"]).output
