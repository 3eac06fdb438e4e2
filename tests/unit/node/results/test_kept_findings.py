"""Pictures of kept findings are those of the findings themselves, byte for byte."""

from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest

from engines.segments import Segment
from node.results.build import build_results
from node.results.errors import KeptFindingsError
from node.results.files import encode
from node.results.forms import PICTURES, FormChoice
from node.results.kept_findings import keep_findings, read_kept_findings
from tests.support.result_studies import STUDY_UID, ResultStudy, context
from tests.support.series_files import DEMO_PATIENT

EVERY_PICTURE = (FormChoice(PICTURES),)


@pytest.mark.parametrize("name", ["study", "study_without_lesions"])
def test_pictures_of_kept_findings_have_the_same_bytes(name: str, request: pytest.FixtureRequest) -> None:
    study: ResultStudy = request.getfixturevalue(name)
    at_once = build_results(study.findings, study.sources, context(), EVERY_PICTURE)
    kept = read_kept_findings(keep_findings(study.findings, study.sources, context()), STUDY_UID)
    later = build_results(kept.on(study.sources), study.sources, kept.record.context, EVERY_PICTURE)
    assert [one.role for one in later] == [one.role for one in at_once]
    assert len(later) > 4
    assert [encode(one) for one in later] == [encode(one) for one in at_once]


def test_everything_but_probabilities_and_combined_masks_is_kept(study: ResultStudy) -> None:
    """A limit without a bound is among it: infinity is no number of JSON."""
    (first, *others) = study.findings.findings
    findings = replace(study.findings, findings=(replace(first, size_limits_mm=(3.0, math.inf)), *others))
    kept = read_kept_findings(keep_findings(findings, study.sources, context()), STUDY_UID)
    again = kept.on(study.sources)
    assert kept.record.context == context()
    assert again.of(Segment.WMH).size_limits_mm == (3.0, math.inf)  # type: ignore[union-attr]
    for name in ("not_assessed", "exclusions", "remarks"):
        assert getattr(again, name) == getattr(findings, name)
    for before, after in zip(findings.findings, again.findings, strict=True):
        for name in ("segment", "series_type", "lesions", "model", "size_limits_mm"):
            assert getattr(after, name) == getattr(before, name)
        assert np.array_equal(after.labels, before.labels)
        assert np.isnan(after.probability.array).all(), "what is not kept is not invented"
    for one, other in zip(findings.registrations, again.registrations, strict=True):
        assert np.array_equal(one.fixed_to_moving, other.fixed_to_moving)
        assert replace(one, fixed_to_moving=None) == replace(other, fixed_to_moving=None)  # type: ignore[arg-type]


def test_equal_findings_are_kept_as_equal_bytes_without_the_patient(study: ResultStudy) -> None:
    content = keep_findings(study.findings, study.sources, context())
    assert keep_findings(study.findings, study.sources, context()) == content
    with ZipFile(BytesIO(content)) as parts:
        said = b"".join(parts.read(name) for name in parts.namelist())
    assert STUDY_UID.encode() in said
    assert DEMO_PATIENT.name.encode() not in said
    assert DEMO_PATIENT.patient_id.encode() not in said


@pytest.mark.parametrize("damage", [b"", b"no archive", None], ids=["empty", "other", "cut"])
def test_damaged_findings_are_named(study: ResultStudy, damage: bytes | None) -> None:
    content = keep_findings(study.findings, study.sources, context())
    with pytest.raises(KeptFindingsError, match=f"Study {STUDY_UID}: what was kept is damaged"):
        read_kept_findings(content[:-100] if damage is None else damage, STUDY_UID)
