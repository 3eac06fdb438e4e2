"""The folder of an evaluation: tables with every number, and pictures that can be opened."""

import csv

import numpy as np
import pytest
from PIL import Image

from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment
from engines.volume import Grid, Volume
from training.cases import CaseKind
from training.evaluation import Prediction, score_case
from training.judging import Evaluation
from training.published import PUBLISHED
from training.report import write_report
from training.summary import summarise
from training.tables import Table

GRID = Grid((1, 40, 40), np.eye(4)[[2, 1, 0, 3]])


def prediction(name: str, found: float, size: int) -> Prediction:
    """Return a case with a square lesion of ``size`` mm, found with a probability."""
    reference, probability = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, np.float32)
    reference[0, 4 : 4 + size, 4 : 4 + size] = True
    probability[0, 4 : 4 + size, 4 : 5 + size] = found
    image = Volume(probability, GRID)
    return Prediction(name, name, CaseKind.REAL, image, image, Volume(reference, GRID))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    spec = PostprocessingSpec(threshold=0.5)
    cases = [prediction("a", 0.9, 4), prediction("b", 0.9, 10), prediction("c", 0.2, 20)]
    scores = {"real, cross-validated": [score_case(case, spec) for case in cases]}
    folder = tmp_path_factory.mktemp("report")
    summaries = {name: summarise(group) for name, group in scores.items()}
    write_report(Evaluation(spec, summaries, scores), Segment.WMH, folder)
    return folder


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_means_over_patients(folder) -> None:
    (pixels,) = rows(folder / "pixels.csv")
    # 16 of 16 + 20, 100 of 100 + 110, nothing of 400
    assert float(pixels["Dice"]) == pytest.approx((32 / 36 + 200 / 210 + 0) / 3)
    # each square is rated above everything else but the column beside it, which ties
    areas = [1 - side / 2 / (1600 - side * side) for side in (4, 10, 20)]
    assert float(pixels["AUC"]) == pytest.approx(np.mean(areas))
    (lesions,) = rows(folder / "lesions.csv")
    assert float(lesions["sensitivity"]) == pytest.approx(2 / 3)
    # 2 of 3 lesions found, nothing false: pooled 2 x 2 / (4 + 1), of the cases 1, 1 and 0
    assert float(lesions["F1"]) == pytest.approx(4 / 5)
    assert float(lesions["mean F1 of cases"]) == pytest.approx(2 / 3)
    assert float(lesions["40% precision"]) == 1.0


def test_sizes_have_a_row_each(folder) -> None:
    small, medium, large = rows(folder / "sizes.csv")
    assert (small["size"], small["lesions"], float(small["Dice"])) == ("small", "1", pytest.approx(32 / 36))
    assert (medium["size"], float(medium["40% Dice"])) == ("medium", 1.0)
    assert (large["size"], float(large["lesion F1"])) == ("large", 0.0)


def test_every_case_has_a_row(folder) -> None:
    assert [row["case"] for row in rows(folder / "cases.csv")] == ["a", "b", "c"]


def test_volumes_have_bias_and_limits(folder) -> None:
    (volumes,) = rows(folder / "volumes.csv")
    # found minus reference: 4, 10 and -400 mm3
    assert float(volumes["bias ml"]) == pytest.approx(-0.386 / 3)


def test_published_scores_stand_beside(folder) -> None:
    text = (folder / "report.md").read_text()
    assert "| LST-LPA | simvent cases, labels 1 and 3, five patients | 0.567 |" in text
    assert "0.53 / 0.82 / 0.96" in text


@pytest.mark.parametrize("name", ["bland_altman", "roc", "sizes", "cases"])
def test_plots_are_pictures(folder, name) -> None:
    with Image.open(folder / f"{name}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("segment", list(Segment))
def test_every_segment_has_published_scores(segment) -> None:
    assert any("method paper" in point.sentence() for point in PUBLISHED[segment])


def test_what_was_not_measured_is_a_dash_and_an_empty_cell(tmp_path) -> None:
    table = Table(("name", "value"), (("a", None), ("b", 12.345), ("c", 0.5)))
    assert table.markdown()[2:] == ["| a | – |", "| b | 12.3 |", "| c | 0.500 |"]
    table.write_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == ["name,value", "a,", "b,12.345", "c,0.5"]
