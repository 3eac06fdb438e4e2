"""What a running node makes of a Study that comes in parts, late, twice, or without what is wanted."""

from __future__ import annotations

import time
from pathlib import Path

from pydicom import dcmread

from tests.support.header_patterns import LOCALIZER, T2_TSE
from tests.support.peers import needs_dcmtk, scripted_pacs, wait_until
from tests.support.phantoms import PhantomKind, phantom_volume
from tests.support.running_node import RunningNode
from tests.support.series_files import uid_from, write_series
from tests.support.small_study import (
    ENDED,
    GRID,
    RESULTS,
    all_of,
    push,
    study_of,
    write_study,
)

pytestmark = needs_dcmtk


def test_late_series_makes_a_new_report_that_names_the_one_it_supersedes(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    early = {name: study[name] for name in ("flair", "t1")}
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, all_of(early))
        first = node.wait_for(study_of("one"), *ENDED)
        before = set(pacs.received)
        push(node, study["dwi"])
        wait_until(lambda: _evaluation(node) != first["evaluation_id"], 60, "a new evaluation")
        node.wait_for(study_of("one"), *ENDED)
        reports = {path: dcmread(path) for path in (node.root / "results").rglob("*-sr.dcm")}
    assert len(reports) == 2
    old, new = sorted(reports.values(), key=lambda report: "PredecessorDocumentsSequence" in report)
    (named,) = [
        instance.ReferencedSOPInstanceUID
        for predecessor in new.PredecessorDocumentsSequence
        for referenced in predecessor.ReferencedSeriesSequence
        for instance in referenced.ReferencedSOPSequence
    ]
    assert named == old.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in old
    assert before < set(pacs.received), "what was sent before stays as it was"


def _evaluation(node: RunningNode) -> str | None:
    row = node.study(study_of("one"))
    return row["evaluation_id"] if row else None


def test_two_associations_for_one_study_end_in_one_result(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    files = all_of(study)
    # On a busy machine the second sender takes its time to start.
    quiet = {"series_quiet_s": 10.0}
    with (
        scripted_pacs() as pacs,
        RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}, completeness=quiet) as node,
    ):
        push(node, files[::2], calling="MR1")
        push(node, files[1::2], calling="MR2")
        row = node.wait_for(study_of("one"), *ENDED)
        assert row["instance_count"] == len(files)
        assert len(pacs.received) == RESULTS


def test_repeated_study_changes_and_doubles_nothing(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, all_of(study))
        first = node.wait_for(study_of("one"), "delivered")
        push(node, all_of(study))
        time.sleep(3)
        second = node.wait_for(study_of("one"), "delivered")
        assert second["evaluation_id"] == first["evaluation_id"]
        assert [len(sent) for sent in pacs.received.values()] == [1] * RESULTS


def test_study_without_a_wanted_series_fails_with_a_sentence_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    useless = [
        path
        for number, pattern in enumerate((T2_TSE, LOCALIZER), 1)
        for path in write_series(
            phantom_volume(PhantomKind.T2, GRID),
            pattern,
            tmp_path / "useless" / str(number),
            study_uid=study_of("useless"),
            frame_of_reference_uid=str(uid_from("frame of reference", "useless")),
            series_number=number,
        )
    ]
    good = write_study(tmp_path, "good", ("flair",))
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, useless)
        push(node, all_of(good))
        failed = node.wait_for(study_of("useless"), *ENDED)
        done = node.wait_for(study_of("good"), *ENDED)
    assert failed["state"] == "failed"
    assert "nothing can be assessed" in failed["reason"]
    assert study_of("useless") in failed["reason"]
    assert done["state"] == "delivered"
    assert len(pacs.received) == 3, "the SEG on FLAIR, the combined one, the report"
