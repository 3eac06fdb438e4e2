"""A result that cannot be made takes no other with it, and no other refers to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from engines.exclusion import disjoint
from node.results.build import build_results
from node.results.errors import EncodingFailedError, SourceUnreadableError
from node.results.forms import Form, FormChoice, Masks
from node.results.making import Making, NotMade
from node.results.result_object import ResultObject
from node.results.sr import ON_ONE_GRID
from tests.support.result_studies import STUDY_UID, ResultStudy, context


@pytest.fixture(scope="module")
def whole_study(study: ResultStudy) -> ResultStudy:
    """The Study with masks that nowhere overlap; overlapping ones, as ``study`` has, fit no label map."""
    return replace(study, findings=replace(study.findings, combined=disjoint(study.findings.combined)))


def made_of(study: ResultStudy, choice: FormChoice, not_made: list[NotMade]) -> dict[str, ResultObject]:
    objects = build_results(study.findings, study.sources, context(), (choice,), not_made=not_made)
    return {one.role: one for one in objects}


@pytest.mark.parametrize("masks", [Masks.BOTH, Masks.COMBINED])
def test_what_can_not_be_made_is_missing_alone_and_the_report_says_so(
    study: ResultStudy, whole_study: ResultStudy, masks: Masks
) -> None:
    choice, not_made = FormChoice(frozenset({Form.LABELMAP, Form.REPORT, Form.PDF}), masks), list[NotMade]()
    whole = made_of(whole_study, choice, not_made)
    assert not not_made
    made = made_of(study, choice, not_made)
    assert set(whole) - set(made) == {"seg-labelmap-combined"}
    (missing,) = not_made
    remark = (
        "Not made: label map, all segments; seg-labelmap-combined cannot be encoded: its segments overlap"
    )
    assert (missing.form, missing.remark) == (Form.LABELMAP, remark)
    assert STUDY_UID in missing.reason
    assert missing.reason.endswith("; report this with the log")
    report = made[choice.report_role].dataset.to_json()
    assert remark in report
    assert ON_ONE_GRID not in report
    assert whole["seg-labelmap-combined"].sop_instance_uid not in report
    assert whole["seg-labelmap-combined"].sop_instance_uid in whole[choice.report_role].dataset.to_json()


def test_without_anything_made_the_first_fault_is_raised(study: ResultStudy) -> None:
    with pytest.raises(EncodingFailedError, match="overlap"):
        made_of(study, FormChoice(frozenset({Form.LABELMAP}), Masks.COMBINED), [])


def breaking(results: dict[str, ResultObject], error: Exception) -> Iterator[ResultObject]:
    yield results["sr"]
    raise error


def test_half_of_what_belongs_together_is_not_made(results: dict[str, ResultObject]) -> None:
    making = Making(STUDY_UID, [])
    assert making.make(Form.KEY_IMAGES, lambda: breaking(results, ValueError("CSVD^PHANTOM"))) == []
    assert (making.made, making.remarks) == (
        [],
        ("Not made: key image; key image cannot be encoded: ValueError",),
    )


def test_fault_that_may_pass_by_itself_is_raised(results: dict[str, ResultObject]) -> None:
    with pytest.raises(SourceUnreadableError):
        Making(STUDY_UID, []).make(
            Form.PDF, lambda: breaking(results, SourceUnreadableError(STUDY_UID, "1.2", "it is away"))
        )
