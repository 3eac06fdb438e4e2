"""The whole node as a process, between peers that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from tests.support.peers import needs_dcmtk, needs_orthanc, orthanc, scripted_pacs, wait_until
from tests.support.running_node import RunningNode
from tests.support.small_study import (
    ENDED,
    PATIENT,
    RESULTS,
    all_of,
    push,
    study_of,
)

pytestmark = needs_dcmtk


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
            pacs.post("/modalities/node/store", [held])
            wait_until(lambda: (node.study(study_of("one")) or {})["instance_count"] == len(instances))
            row = node.wait_for(study_of("one"), *ENDED)
            assert (row["state"], row["mr_image_count"]) == ("delivered", len(all_of(study)))
            assert len(pacs.get("/instances")) == len(instances), "results that come back make no new ones"
            assert node.log().count("evaluation.started") == 1
            asked = node.command("remove", study_of("one"))
            assert asked.returncode != 0, "nobody answered the question"
            assert len(node.studies()) == 1
            done = node.command("remove", study_of("one"), "--yes")
            assert done.returncode == 0, done.stderr
            assert node.studies() == []
            assert list(node.root.rglob("*.dcm")) == []
            assert len(pacs.get("/instances")) == len(instances), "what was delivered stays"


def test_results_bear_the_patient_and_the_log_does_not(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, all_of(study))
        node.wait_for(study_of("one"), "delivered")
        results = [dcmread(path) for path in sorted((node.root / "results").rglob("*.dcm"))]
        log = node.log()
        node.stop()
        node.configuration["retention"] = {"days": 1e-5}
        node.start()
        wait_until(lambda: node.studies() == [], what="what is kept for a second goes")
    assert {str(result.PatientName) for result in results} == {PATIENT.name}
    source = dcmread(all_of(study)[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
        value = str(source[keyword].value)
        assert value, f"the Study bears a {keyword}"
        assert value not in log, f"{keyword} in the log"
    assert study_of("one") in log
