"""Pictures are drawn once they are needed, once, and are then those that would have been drawn at once."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from node.evaluations import Result
from node.results.errors import KeptFindingsError
from node.results.forms import Form, form_of
from tests.support.evaluated_study import FLAIR, Evaluated, evaluated_study
from tests.support.result_studies import STUDY_UID

AT_ONCE = {Form.BINARY, Form.REPORT}


@pytest.fixture
def evaluated(tmp_path: Path) -> Iterator[Evaluated]:
    with evaluated_study(tmp_path) as made:
        yield made


def pictures_of(evaluated: Evaluated) -> dict[str, Result]:
    results = evaluated.evaluations.results(evaluated.evaluation_id)
    return {one.kind: one for one in results if form_of(one.kind) not in AT_ONCE}


def test_pictures_are_entered_with_the_bytes_that_they_would_have_had_at_once(evaluated: Evaluated) -> None:
    evaluated.pictures.draw(evaluated.evaluation_id, [Form.KEY_IMAGES, Form.PDF])
    expected = evaluated.drawn_at_once(Form.KEY_IMAGES, Form.PDF)
    results = pictures_of(evaluated)
    assert set(results) == set(expected)
    assert {role: evaluated.store.path(one.path).read_bytes() for role, one in results.items()} == expected
    outcome = evaluated.outcome()
    assert outcome.instances.items() >= {role: one.sop_instance_uid for role, one in results.items()}.items()
    assert set(outcome.choices) == {"binary+report both", "key-images both", "pdf both"}
    assert evaluated.forms() == {*AT_ONCE, Form.KEY_IMAGES, Form.PDF}


def test_form_is_drawn_once(evaluated: Evaluated) -> None:
    """What was kept is gone then: whoever drew again would fail."""
    evaluated.pictures.draw(evaluated.evaluation_id, [Form.PDF])
    evaluated.kept.unlink()
    evaluated.pictures.draw(evaluated.evaluation_id, [Form.PDF])
    with pytest.raises(KeptFindingsError, match="nothing was kept"):
        evaluated.pictures.draw(evaluated.evaluation_id, [Form.PDF, Form.KEY_IMAGES])


def test_encodings_and_reports_are_not_made_later(evaluated: Evaluated) -> None:
    evaluated.kept.unlink()
    evaluated.pictures.draw(evaluated.evaluation_id, [Form.LABELMAP, Form.REPORT])
    assert evaluated.forms() == AT_ONCE


def test_interrupted_drawing_ends_with_the_same_files_and_entries(evaluated: Evaluated) -> None:
    """Died after half of a file, and with one entry that the outcome does not name yet."""
    expected = evaluated.drawn_at_once(Form.KEY_IMAGES)
    (first, *_) = expected
    evaluated.result(f"{first}.dcm").write_bytes(b"half")
    uid = str(pydicom.dcmread(BytesIO(expected[first])).SOPInstanceUID)
    path = str(evaluated.result(f"{first}.dcm").relative_to(evaluated.store.root))
    entered = Result(uid, first, "1.2.840.10008.5.1.4.1.1.7", path)
    evaluated.evaluations.add_results(evaluated.evaluation_id, [entered])
    evaluated.pictures.draw(evaluated.evaluation_id, [Form.KEY_IMAGES])
    results = pictures_of(evaluated)
    assert {role: evaluated.store.path(one.path).read_bytes() for role, one in results.items()} == expected
    assert evaluated.forms() == {*AT_ONCE, Form.KEY_IMAGES}


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_images_that_are_not_those_that_were_segmented_are_refused(evaluated: Evaluated, change: str) -> None:
    source = evaluated.study.sources[FLAIR]
    folder = evaluated.store.root / "studies" / STUDY_UID / source.series_uid
    path = folder / f"{source.frames[0].sop_instance_uid}.dcm"
    image = pydicom.dcmread(path)
    if change == "gone":
        image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    else:
        image.ImagePositionPatient[2] += 0.2
    image.save_as(path)
    with pytest.raises(KeptFindingsError, match=rf"Series {source.series_uid}: its images are not those"):
        evaluated.pictures.draw(evaluated.evaluation_id, [Form.PDF])
    assert evaluated.forms() == AT_ONCE, "nothing is entered"
