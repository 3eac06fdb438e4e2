"""Evaluations side by side: paired differences over patients, and what cannot be compared."""

import json
import resource

import pytest
from typer.testing import CliRunner

from training.cli import app
from training.comparison import comparison_table, read_evaluations
from training.errors import ComparisonError


def write(folder, dice: dict[str, float], false: int = 0) -> None:
    """Write an evaluation of cases that are named patient-scan, each with two of two lesions found."""
    lesions = {"hits": 2, "missed": 0, "right": 2, "false": false}
    rows = [
        {
            "case": case,
            "patient": case.split("-")[0],
            "dice": value,
            "any_overlap": lesions,
            "dataset": "own",
            "digests": {"T2_FLAIR": f"image of {case}", "labels": f"labels of {case}"},
        }
        for case, value in dice.items()
    ]
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps({"cases": {"real, cross-validated": rows}}))


@pytest.fixture
def folders(tmp_path):
    write(tmp_path / "a", {"1-x": 0.5, "1-y": 0.7, "2-x": 0.4, "3-x": 0.3, "4-x": 0.8})
    write(tmp_path / "b", {"1-x": 0.7, "1-y": 0.7, "2-x": 0.6, "3-x": 0.6, "4-x": 0.8}, false=1)
    return [tmp_path / "a", tmp_path / "b"]


def test_differences_are_paired_over_patients(folders) -> None:
    """Patients: 0.6, 0.4, 0.3, 0.8 and 0.7, 0.6, 0.6, 0.8; differences 0.1, 0.2, 0.3, 0; t(3) = 3.1824."""
    table = comparison_table(read_evaluations(folders))
    rows = {(row[1], row[2]): row[3:] for row in table.rows}
    assert rows["Dice", str(folders[0])] == (4, pytest.approx(0.525), None, None, None, None, None)
    *numbers, better = rows["Dice", str(folders[1])]
    assert numbers == pytest.approx([4, 0.675, 0.15, 0.129099, -0.055426, 0.355426], abs=1e-5)
    assert better == "3 of 4"
    assert rows["false lesions", str(folders[1])][-1] == "0 of 4"
    assert rows["lesion F1", str(folders[1])][1:3] == (pytest.approx(0.8), pytest.approx(-0.2))


def test_two_patients_have_no_interval(tmp_path) -> None:
    write(tmp_path / "a", {"1-x": 0.5, "2-x": 0.4})
    write(tmp_path / "b", {"1-x": 0.6, "2-x": 0.4})
    rows = comparison_table(read_evaluations([tmp_path / "a", tmp_path / "b"])).rows
    assert rows[1][3:] == (2, pytest.approx(0.5), pytest.approx(0.05), None, None, None, "1 of 2")


def test_other_cases_are_refused_by_name(folders, tmp_path) -> None:
    write(tmp_path / "c", {"1-x": 0.5, "5-x": 0.4})
    with pytest.raises(ComparisonError, match=r"c \"real\" has other cases than .*1-y"):
        read_evaluations([folders[0], tmp_path / "c"])
    with pytest.raises(ComparisonError, match=r"none has no evaluation\.json"):
        read_evaluations([folders[0], tmp_path / "none"])


def change(folder, name: str, **changes: object) -> None:
    """Change the row of a case; a key that becomes None is dropped."""
    path = folder / "evaluation.json"
    (rows,) = json.loads(path.read_text())["cases"].values()
    for row in rows:
        if row["case"] == name:
            row.update(changes)
    kept = [{key: value for key, value in row.items() if value is not None} for row in rows]
    path.write_text(json.dumps({"cases": {"real, cross-validated": kept}}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {"dataset": "theirs"}, r"has other cases than .* \(1-x of own, 1-x of theirs\)", id="set"
        ),
        pytest.param({"digests": {"labels": "new"}}, "has another labels of 1-x of own than", id="labels"),
        pytest.param({"digests": {"T2_FLAIR": "new"}}, "has another T2_FLAIR of 1-x of own than", id="image"),
        pytest.param({"patient": "9"}, "has another patient of 1-x of own than", id="patient"),
        pytest.param({"digests": None}, "does not say what its cases hold; evaluate each", id="unknown"),
    ],
)
def test_cases_of_one_name_that_are_not_the_same_are_refused(folders, changes, told) -> None:
    change(folders[1], "1-x", **changes)
    with pytest.raises(ComparisonError, match=told):
        read_evaluations(folders)


def test_an_image_that_one_network_does_not_see_may_be_lacking(folders) -> None:
    change(folders[1], "1-x", digests={"labels": "labels of 1-x", "T1": "t1 of 1-x"})
    assert len(read_evaluations(folders)) == 2


def test_cases_of_two_data_sets_with_one_name_are_two(folders) -> None:
    for folder in folders:
        change(folder, "2-x", case="1-x", dataset="theirs")
    first, _ = read_evaluations(folders)
    assert len(first.cases["real"]) == 5


def test_the_command_prints_a_table_and_writes_all_digits(folders, tmp_path) -> None:
    told = CliRunner().invoke(app, ["compare", *map(str, folders), "--csv", str(tmp_path / "c.csv")])
    assert told.exit_code == 0, told.output
    assert f"| Dice | {folders[1]} | 4 | 0.675 | 0.150 | 0.129 | -0.055 | 0.355 | 3 of 4 |" in told.output
    assert "3 of 4" in (tmp_path / "c.csv").read_text()


def test_a_full_disk_names_the_file_that_there_is_no_room_for(folders, tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        told = CliRunner().invoke(app, ["compare", *map(str, folders), "--csv", str(tmp_path / "c.csv")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.exit_code == 1
    assert f"{tmp_path / 'c.csv'}: " in told.output
    assert "MB free, 1 MB needed; free space" in told.output


def test_what_was_stopped_says_what_goes_on_and_what_begins_anew(folders, monkeypatch) -> None:
    def interrupted(_folders) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.cli.read_evaluations", interrupted)
    told = CliRunner().invoke(app, ["compare", *map(str, folders)])
    assert told.exit_code == 130
    assert "a training from its last checkpoint, a simulation after its last case" in told.output
