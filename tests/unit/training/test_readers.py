"""Reader studies: agreement and variance by hand and against scipy, tables of a small study, bad input."""

import csv
import unicodedata

import nibabel
import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from training.cli import app
from training.errors import ReaderStudyError
from training.grading import Grade, GradeRule
from training.reader_report import write_reader_report
from training.reader_study import read_study
from training.statistics import compare_groups, kendall_w


def test_kendalls_w_by_hand() -> None:
    # sums of ranks 4, 6, 8, 12, mean 7.5: S = 35, W = 12 * 35 / (9 * 60)
    found = kendall_w([[1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 3, 4]])
    assert found.w == pytest.approx(420 / 540)
    assert found.chi2 == pytest.approx(3 * 3 * 420 / 540)


@pytest.mark.parametrize("seed", range(3))
def test_kendalls_w_is_that_of_friedmans_test_with_ties(seed) -> None:
    ratings = np.random.default_rng(seed).integers(0, 4, size=(4, 9))
    friedman = stats.friedmanchisquare(*ratings.T)
    found = kendall_w(ratings)
    assert found.chi2 == pytest.approx(friedman.statistic)
    assert found.p == pytest.approx(friedman.pvalue)


@pytest.mark.parametrize("ratings", [[[1, 2, 3]], [[1], [2]], [[1, 1, 1], [2, 2, 2]]])
def test_there_is_no_agreement_of_one_or_on_nothing(ratings) -> None:
    assert kendall_w(ratings) is None


def test_analysis_of_variance_by_hand() -> None:
    # means 2, 3, 7 about 4; between 3 * (4 + 1 + 9) / 2 = 21; within (2 + 2 + 2) / 6 = 1
    found = compare_groups({"a": [1, 2, 3], "b": [2, 3, 4], "c": [6, 7, 8]})
    assert found.f == pytest.approx(21.0)
    first = found.pairs[0]
    assert (first.first, first.second, first.difference) == ("a", "b", -1.0)
    # Tukey's table: q(0.05; 3, 6) = 4.339, so half an interval is 4.339 * sqrt(1 / 3)
    assert first.upper - first.difference == pytest.approx(4.339 * np.sqrt(1 / 3), abs=2e-3)


def test_groups_without_variance_can_not_be_compared() -> None:
    assert compare_groups({"a": [1, 1], "b": [2, 2]}) is None


@pytest.mark.parametrize(
    ("score", "grade"), [(1.0, "I"), (0.75, "I"), (0.74, "II"), (0.3, "III"), (0.0, "IV")]
)
def test_grades_go_by_their_bounds(score, grade) -> None:
    assert GradeRule().grade(score) is Grade(grade)


def save(path, *boxes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = np.zeros((20, 20, 2), np.uint8)
    for box in boxes:
        label[box] = 1
    nibabel.save(nibabel.Nifti1Image(label, np.diag([1.0, 1.0, 5.0, 1.0])), path)


SQUARE, OTHER = np.s_[2:6, 2:6, 0], np.s_[12:16, 12:16, 1]


@pytest.fixture
def folder(tmp_path):
    """Two cases of one and two squares; reader a finds all, b half a square, the model one."""
    save(tmp_path / "reference/p1.nii.gz", SQUARE)
    save(tmp_path / "reference/p2.nii.gz", SQUARE, OTHER)
    save(tmp_path / "readers/a/p1.nii.gz", SQUARE)
    save(tmp_path / "readers/a/p2.nii.gz", SQUARE, OTHER)
    save(tmp_path / "readers/b/p1.nii.gz", np.s_[2:4, 2:6, 0])
    save(tmp_path / "readers/b/p2.nii.gz", np.s_[2:4, 2:6, 0])
    save(tmp_path / "model/p1.nii.gz", SQUARE)
    save(tmp_path / "model/p2.nii.gz", np.s_[17:19, 2:4, 0])
    (tmp_path / "times.csv").write_text("reader,case,seconds\na,p1,100\na,p2,300\nb,p1,50\nmodel,p1,4\n")
    return tmp_path


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_have_readers_their_mean_and_the_model(folder) -> None:
    write_reader_report(read_study(folder), folder / "report")
    a, b, mean, model = rows(folder / "report" / "scores.csv")
    assert [row["reader"] for row in (a, b, mean, model)] == ["a", "b", "mean of readers", "model"]
    assert float(a["Dice"]) == 1.0
    # b: 2 * 8 / (8 + 16) and 2 * 8 / (8 + 32); two of three lesions touched
    assert float(b["Dice"]) == pytest.approx((2 / 3 + 0.4) / 2)
    assert float(b["region F1"]) == pytest.approx(0.8)
    assert float(mean["region F1"]) == pytest.approx(0.9)
    assert (float(a["seconds"]), float(b["seconds"]), float(model["seconds"])) == (200, 50, 4)
    assert float(model["false per case"]) == 0.5
    grades = rows(folder / "report" / "grades.csv")
    assert [grades[1][grade] for grade in ("I", "II", "III", "IV")] == ["0", "1", "1", "0"]
    concordance = rows(folder / "report" / "concordance.csv")
    assert concordance[0]["of"] == "volume found"
    # a ranks p2 above p1, b finds the same on both: R = 2.5, 3.5, S = 0.5, 12 S / (4 * 6 - 2 * 6)
    assert float(concordance[0]["W"]) == pytest.approx(0.5)


def test_a_case_without_a_lesion_tells_of_false_lesions_alone(folder) -> None:
    before = write_reader_report(read_study(folder), folder / "report") and rows(folder / "report/scores.csv")
    save(folder / "reference/p3.nii.gz")
    for reader, marked in (("readers/a", ()), ("readers/b", (SQUARE,)), ("model", ())):
        save(folder / reader / "p3.nii.gz", *marked)
    write_reader_report(read_study(folder), folder / "report")
    after = rows(folder / "report" / "scores.csv")
    assert [row["false per lesion-free case"] for row in after] == ["0.0", "1.0", "0.5", "0.0"]
    for one, other in zip(before, after, strict=True):
        assert {k: v for k, v in one.items() if "free" not in k} == {
            k: v for k, v in other.items() if "free" not in k
        }
    assert [row["cases"] for row in rows(folder / "report" / "concordance.csv")] == ["3", "3", "2", "3"]


def test_grades_of_experts_and_another_rule_win(folder) -> None:
    (folder / "grades.csv").write_text("reader,case,grade\nb,p1,I\n")
    (folder / "study.yaml").write_text("grades: {score: lesion_f1, bounds: [0.9, 0.6, 0.3]}\n")
    study = read_study(folder)
    assert [reading.grade for reading in study.of("b")] == ["I", "II"]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        pytest.param("study.yaml", "colour: red", "colour", id="unknown-key"),
        pytest.param("study.yaml", "grades: {bounds: [0.2, 0.5, 0.7]}", "grades", id="bounds-that-rise"),
        pytest.param("times.csv", "reader,case,seconds\nzoe,p1,3\n", "line 2: unknown", id="unknown-reader"),
        pytest.param("times.csv", "reader,case,seconds\na,p1,3\na,p1,4\n", "line 3: a second", id="twice"),
        pytest.param("times.csv", "reader,case,seconds\na,p1,long\n", "'long', expected", id="no-number"),
        pytest.param("grades.csv", "reader,case,grade\na,p1,V\n", "'V', expected I, II", id="no-grade"),
        pytest.param("readers/a/p1.nii.gz", "no image", "cannot be read", id="unreadable"),
    ],
)
def test_what_is_wrong_is_named(folder, file, content, problem) -> None:
    (folder / file).write_text(content)
    with pytest.raises(ReaderStudyError, match=problem) as caught:
        read_study(folder)
    assert caught.value.place == folder / file


def test_a_mask_that_is_missing_or_of_another_grid_is_named(folder) -> None:
    path = folder / "readers/b/p2.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 3), np.uint8), np.diag([1.0, 1, 5, 1])), path)
    with pytest.raises(ReaderStudyError, match=r"than the image of case p2 \(2 x 20 x 20\); resample"):
        read_study(folder)
    path.unlink()
    with pytest.raises(ReaderStudyError, match="0 masks of case p2"):
        read_study(folder)


def test_the_example_gives_a_whole_report(tmp_path) -> None:
    result = CliRunner().invoke(app, ["readers", str(tmp_path / "study"), "--example"])
    assert result.exit_code == 0, result.output
    assert "synthetic A" in result.output
    names = {path.name for path in (tmp_path / "study" / "report").iterdir()}
    assert names == {
        "report.md", "readers.png", "scores.csv", "grades.csv", "concordance.csv", "dice.csv", "seconds.csv",
        "cases.csv",
    }  # fmt: skip
    again = CliRunner().invoke(app, ["readers", str(tmp_path / "study"), "--example"])
    assert again.exit_code == 1
    assert "not empty" in again.output.replace("\n", " ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeffreader,case,seconds\r\na,p1,12.5\r\n", id="with-a-byte-order-mark"),
        pytest.param("\ufeffreader;case;seconds\r\na;p1;12,5\r\n", id="with-semicolons"),
        pytest.param("sep=;\r\nreader;case;seconds\r\na;p1;12,5\r\n", id="with-what-divides"),
        pytest.param("reader;case;seconds\r\na;p1;12,5\r\n;;\r\n;;\r\n", id="with-empty-lines"),
        pytest.param("Reader; Case; Seconds\na; p1; 12,5\n", id="with-capitals-and-spaces"),
    ],
)
def test_times_are_read_as_spreadsheets_write_them(folder, text) -> None:
    (folder / "times.csv").write_text(text, encoding="utf-8", newline="")
    reading = next(r for r in read_study(folder).of("a") if r.case == "p1")
    assert reading.seconds == 12.5


def test_a_line_is_counted_as_an_editor_does(folder) -> None:
    (folder / "times.csv").write_text("sep=;\nreader;case;seconds\n;;\nzoe;p1;3\n")
    with pytest.raises(ReaderStudyError, match=r"line 4: unknown reader or case \('zoe', 'p1'\)"):
        read_study(folder)


def test_an_umlaut_is_one_however_a_mac_writes_it(folder) -> None:
    (folder / "readers" / "a").rename(folder / "readers" / unicodedata.normalize("NFD", "Müller"))
    (folder / "times.csv").write_text("reader,case,seconds\nMüller,p1,12.5\n", encoding="utf-8")
    assert [reading.seconds for reading in read_study(folder).readings if reading.seconds] == [12.5]


def test_a_table_in_another_encoding_is_named(folder) -> None:
    (folder / "times.csv").write_bytes("reader,case,seconds\nMüller,p1,1\n".encode("latin-1"))
    with pytest.raises(ReaderStudyError, match="is not in UTF-8"):
        read_study(folder)


def test_a_mask_of_other_values_is_not_taken_for_empty(folder) -> None:
    path = folder / "readers" / "a" / "p1.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) * 255, image.affine), path)
    with pytest.raises(ReaderStudyError, match="it holds 255, and lesion is 1"):
        read_study(folder)


def test_a_case_without_reference_is_named_and_hidden_files_are_none(folder) -> None:
    (folder / "readers" / ".hidden").mkdir()
    (folder / "reference" / "._p1.nii.gz").touch()
    assert read_study(folder).people
    path = folder / "readers" / "a" / "p1.nii.gz"
    path.with_name("pp1.nii.gz").write_bytes(path.read_bytes())
    with pytest.raises(ReaderStudyError, match=r"pp1\.nii\.gz: there is no such case in reference/"):
        read_study(folder)
