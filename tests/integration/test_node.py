"""The whole node as a process, between peers that nobody here wrote, through everything that may happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, Comprehensive3DSRStorage, SegmentationStorage

from engines.segments import Segment
from tests.support.header_patterns import (
    LOCALIZER,
    SIEMENS_EP2D_TRACEW_B1000,
    SIEMENS_FLAIR_TSE,
    SIEMENS_T1_SE,
    SIEMENS_T2STAR_FL2D,
    T2_TSE,
    HeaderPattern,
)
from tests.support.peers import needs_dcmtk, needs_orthanc, orthanc, scripted_pacs, storescu, wait_until
from tests.support.phantoms import PhantomKind, Sphere, phantom_grid, phantom_volume
from tests.support.postgres import postgres_server
from tests.support.running_node import RunningNode
from tests.support.series_files import DEMO_PATIENT, uid_from, write_series

GRID = phantom_grid((10, 64, 64), (14.0, 3.4, 3.4))
LESIONS = (
    Sphere(Segment.INFARCT, (-30.0, 10.0, 14.0), 18.0),
    Sphere(Segment.WMH, (-30.0, -20.0, 14.0), 16.0),
)
WANTED: dict[str, tuple[PhantomKind, HeaderPattern]] = {
    "flair": (PhantomKind.T2_FLAIR, SIEMENS_FLAIR_TSE),
    "t1": (PhantomKind.T1, SIEMENS_T1_SE),
    "dwi": (PhantomKind.DWI_B1000, SIEMENS_EP2D_TRACEW_B1000),
    "t2star": (PhantomKind.T2_STAR, SIEMENS_T2STAR_FL2D),
}
PATIENT = replace(DEMO_PATIENT, accession_number="CSVD-ACC-4711")
"""Bears every attribute that no log may tell."""

RESULTS = 6
"""Four Segmentations, the combined one, and the report."""

ENDED = ("delivered", "failed")

pytestmark = needs_dcmtk


def study_of(name: str) -> str:
    return str(uid_from("study", name))


def write_study(folder: Path, name: str, series: tuple[str, ...] = tuple(WANTED)) -> dict[str, list[Path]]:
    """Write a small Study with a lesion on FLAIR and one on DWI."""
    return {
        each: write_series(
            phantom_volume(WANTED[each][0], GRID, lesions=LESIONS),
            WANTED[each][1],
            folder / name / each,
            study_uid=study_of(name),
            frame_of_reference_uid=str(uid_from("frame of reference", name)),
            series_number=number,
            seed=number,
            patient=PATIENT,
        )
        for number, each in enumerate(series, 1)
    }


def all_of(series: dict[str, list[Path]]) -> list[Path]:
    return [path for paths in series.values() for path in paths]


def push(node: RunningNode, paths: list[Path], *options: str, calling: str = "MR1") -> None:
    sent = storescu(node.port, paths, *options, calling=calling)
    assert sent.returncode == 0, sent.stderr


@pytest.fixture
def study(tmp_path: Path) -> dict[str, list[Path]]:
    return write_study(tmp_path, "one")


@pytest.fixture
def undisturbed(tmp_path: Path, study: dict[str, list[Path]]) -> Iterator[set[str]]:
    """The results of the same Study through a node that nothing happens to."""
    with (
        scripted_pacs() as pacs,
        RunningNode(tmp_path / "undisturbed", {"pacs": ("PACS", pacs.port)}) as node,
    ):
        push(node, all_of(study))
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        yield set(pacs.received)


@needs_orthanc
def test_study_pushed_by_orthanc_comes_back_to_orthanc_as_seg_and_sr(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    node = RunningNode(tmp_path / "node", {})
    with orthanc(tmp_path / "orthanc", destination=("CSVD", node.port)) as pacs:
        node.configuration["destinations"] = {
            "pacs": {"ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.dicom_port}
        }
        with node:
            pacs.upload(all_of(study))
            (held,) = pacs.get("/studies")
            pacs.post("/modalities/node/store", [held])
            row = node.wait_for(study_of("one"), *ENDED)
            assert row["state"] == "delivered", node.log()
            assert (row["delivered_count"], row["delivery_count"]) == (RESULTS, RESULTS)
            instances = pacs.get("/instances?expand")
            assert len(instances) == len(all_of(study)) + RESULTS
            classes = [
                pacs.get_bytes(f"/instances/{each['ID']}/metadata/SopClassUid").decode() for each in instances
            ]
            assert classes.count(SegmentationStorage) == RESULTS - 1
            assert classes.count(Comprehensive3DSRStorage) == 1


def test_results_bear_the_patient_and_the_log_does_not(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, all_of(study))
        node.wait_for(study_of("one"), "delivered")
        results = [dcmread(path) for path in sorted((node.root / "results").rglob("*.dcm"))]
        log = node.log()
    assert {str(result.PatientName) for result in results} == {PATIENT.name}
    source = dcmread(all_of(study)[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
        value = str(source[keyword].value)
        assert value, f"the Study bears a {keyword}"
        assert value not in log, f"{keyword} in the log"
    assert study_of("one") in log


def _while_receiving(node: RunningNode, study: dict[str, list[Path]]) -> None:
    files = all_of(study)
    push(node, files[: len(files) // 2])
    node.kill()
    node.start()
    push(node, files)


def _once_complete(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "study.complete" in node.log(), 60, "the Study is complete")
    node.kill()
    node.start()


def _while_evaluating(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "evaluation.started" in node.log(), 60, "the evaluation begins")
    node.kill()
    node.start()


def _while_results_are_written(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: any((node.root / "results").rglob("*.dcm")), 120, "a result is written")
    node.kill()
    node.start()


def _while_delivering(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "delivery.attempted" in node.log(), 120, "the first result is sent")
    node.kill()
    node.start()


@pytest.mark.slow
@pytest.mark.parametrize(
    "disturb",
    [_while_receiving, _once_complete, _while_evaluating, _while_results_are_written, _while_delivering],
)
def test_kill_at_any_moment_leads_to_the_same_results(
    tmp_path: Path,
    study: dict[str, list[Path]],
    undisturbed: set[str],
    disturb: Callable[[RunningNode, dict[str, list[Path]]], None],
) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        disturb(node, study)
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert set(pacs.received) == undisturbed
        assert len(node.studies()) == 1
    for sent in pacs.received.values():
        assert len(set(sent)) == 1, "an Instance that is sent twice has the same bytes"


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


def test_pacs_that_is_down_gets_the_results_when_it_is_back(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    node = RunningNode(tmp_path / "node", {"pacs": ("PACS", 1)})
    with node:
        push(node, all_of(study))
        row = node.wait_for(study_of("one"), "delivering")
        wait_until(
            lambda: "attempt" in (node.study(study_of("one")) or {})["reason"], 60, "an attempt failed"
        )
        assert row["delivered_count"] == 0
        node.stop()
        with scripted_pacs() as pacs:
            node.configuration["destinations"]["pacs"]["port"] = pacs.port
            node.start()
            assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered"
            assert len(pacs.received) == RESULTS


def test_instance_that_the_pacs_refuses_is_not_called_delivered(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    refused: list[UID] = []

    def answer(number: int, event: object) -> int:
        uid = event.request.AffectedSOPInstanceUID  # type: ignore[attr-defined]
        if number == 2 or uid in refused:
            refused.append(uid)
            return 0xA700
        return 0x0000

    retry = {"retry": {"first_pause_s": 0.2, "longest_pause_s": 0.2, "give_up_after_s": 3.0}}
    with (
        scripted_pacs(answer) as pacs,
        RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}, sender=retry) as node,
    ):
        push(node, all_of(study))
        row = node.wait_for(study_of("one"), *ENDED)
        assert row["state"] == "failed"
        assert (row["delivered_count"], row["delivery_count"]) == (RESULTS - 1, RESULTS)
        assert "A700" in row["reason"]
        assert len(set(refused)) == 1
        refused.clear()
        assert node.command("retry", study_of("one")).returncode == 0
        assert node.wait_for(study_of("one"), "delivered")["delivered_count"] == RESULTS


@pytest.mark.slow
def test_node_on_postgresql_survives_a_kill(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    with (
        postgres_server() as url,
        scripted_pacs() as pacs,
        RunningNode(
            tmp_path / "node",
            {"pacs": ("PACS", pacs.port)},
            database_url=url.replace("postgresql:", "postgresql+psycopg:"),
        ) as node,
    ):
        _while_evaluating(node, study)
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert len(pacs.received) == RESULTS
        assert not list(node.root.glob("*.sqlite*"))
