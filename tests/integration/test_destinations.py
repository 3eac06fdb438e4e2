"""Each destination gets its forms; one that refuses them gets its fallback, once, and is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from tests.support.peers import needs_dcmtk, scripted_pacs, wait_until
from tests.support.running_node import RunningNode
from tests.support.small_study import ENDED, all_of, push, study_of, write_study

OLD_VIEWER = [SecondaryCaptureImageStorage, EncapsulatedPDFStorage, MRImageStorage]

pytestmark = [needs_dcmtk, pytest.mark.slow]


def pictures_of(node: RunningNode) -> int:
    """Count the Secondary Captures among the results."""
    return len(list((node.root / "results").glob("*/*/*key-image-*.dcm")))


def test_destination_that_refuses_masks_and_report_gets_pictures_once(tmp_path: Path) -> None:
    """Killed while the pictures are drawn, and again while they leave and refusals are in the index."""
    study = write_study(tmp_path, "one")
    with (
        scripted_pacs(sop_classes=OLD_VIEWER) as old,
        scripted_pacs() as pacs,
        RunningNode(
            tmp_path / "node", {"old": (old.ae_title, old.port), "pacs": (pacs.ae_title, pacs.port)}
        ) as node,
    ):
        push(node, all_of(study))
        wait_until(lambda: pictures_of(node) > 0, 180, "the pictures are drawn, for the refusal alone")
        node.kill()
        node.start()
        wait_until(lambda: bool(old.received), 120, "the fallback arrives")
        node.kill()
        node.start()
        row = node.wait_for(study_of("one"), "fallback", *ENDED)
        report = node.command("studies").stdout
    assert node.log().count('"event": "pictures.drawn"') == 1, "once, whatever happened after it"
    assert row["state"] == "fallback", node.log()[-3000:]
    assert "old: no presentation context accepted for" in row["reason"]
    assert "key images and pdf sent instead" in row["reason"]
    assert row["destinations"] == dict.fromkeys(
        ("old", "pacs"), "MR1 is none of the destinations: they go to all"
    )
    assert row["delivered_count"] == row["delivery_count"], "what was replaced is not awaited"
    assert "fallback" in report
    assert len(pacs.received) == 6, "four Segmentations, the combined one, the report"
    assert all(len(set(sent)) == 1 for sent in old.received.values()), "the same bytes each time"


def test_each_destination_gets_its_forms_and_routes_decide_by_findings(tmp_path: Path) -> None:
    study = write_study(tmp_path, "one")
    with (
        scripted_pacs(sop_classes=[SecondaryCaptureImageStorage]) as pictures,
        scripted_pacs(sop_classes=[SegmentationStorage, Comprehensive3DSRStorage]) as masks,
        scripted_pacs() as unused,
    ):
        node = RunningNode(
            tmp_path / "node",
            {
                "pictures": (pictures.ae_title, pictures.port),
                "masks": (masks.ae_title, masks.port),
                "unused": (unused.ae_title, unused.port),
            },
            routes=[
                {"lesions": {"INFARCT": 1000}, "destinations": ["unused"]},
                {"calling_ae": "MR*", "lesions": {"INFARCT": 1}, "destinations": ["pictures", "masks"]},
            ],
        )
        node.configuration["destinations"]["pictures"]["forms"] = ["key-images"]
        node.configuration["destinations"]["masks"] |= {"forms": ["binary", "report"], "masks": "combined"}
        with node:
            push(node, all_of(study))
            row = node.wait_for(study_of("one"), "fallback", *ENDED)
    assert row["state"] == "delivered", row
    assert row["destinations"] == dict.fromkeys(
        ("pictures", "masks"), "route 2 (calling AE MR*, at least 1 INFARCT)"
    )
    assert len(masks.received) == 2, "the combined Segmentation and its report"
    assert pictures.received
    assert not unused.received
    assert "pictures.drawn" not in node.log(), "those that are configured are made with the rest"
