"""Masks go in a transfer syntax that makes them smaller where that is set and accepted, voxel for voxel."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from engines.exclusion import disjoint
from node.deliveries import DeliveryState
from node.outbound import DestinationSettings, SenderSettings
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form, FormChoice, Masks, form_of
from node.sender import send
from node.sop_classes import LABEL_MAP_SEGMENTATION
from tests.support.peers import LOOPBACK, needs_dcmtk, needs_orthanc, orthanc, scripted_pacs, storescp
from tests.support.result_studies import context, four_series

SETTINGS = SenderSettings(connect_timeout_s=5, acse_timeout_s=5, response_timeout_s=20)
EXPLICIT, IMPLICIT = ExplicitVRLittleEndian, ImplicitVRLittleEndian
DEFLATED = DeflatedExplicitVRLittleEndian
BINARY, FRACTIONAL, LABELMAP, REPORT = Form.BINARY, Form.FRACTIONAL, Form.LABELMAP, Form.REPORT

Files = dict[Form, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The combined Segmentation in each encoding, and a report."""
    folder = tmp_path_factory.mktemp("masks")
    study = four_series(folder / "source")
    findings = replace(study.findings, combined=disjoint(study.findings.combined))
    choices = [FormChoice(frozenset({form}), Masks.COMBINED) for form in (BINARY, FRACTIONAL, LABELMAP)]
    made = build_results(
        findings,
        study.sources,
        context(),
        [*choices, FormChoice(frozenset({BINARY, REPORT}), Masks.COMBINED)],
    )
    paths = write_results(made, folder / "results")
    return {form_of(one.role): path for one, path in zip(made, paths, strict=True)}


def at(port: int, ae_title: str, *, deflate: bool = False, rle: bool = False) -> DestinationSettings:
    return DestinationSettings(ae_title=ae_title, host=LOOPBACK, port=port, deflate=deflate, rle=rle)


def uid_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def received(content: bytes, syntax: str) -> Dataset:
    meta = create_file_meta(
        sop_class_uid=SegmentationStorage, sop_instance_uid=UID("1.2"), transfer_syntax=UID(syntax)
    )
    return dcmread(BytesIO(bytes(128) + b"DICM" + encode_file_meta(meta) + content))


@pytest.mark.parametrize(
    ("wanted", "accepted", "binary", "others"),
    [
        pytest.param({}, [DEFLATED, RLELossless, EXPLICIT], EXPLICIT, EXPLICIT, id="not-set"),
        pytest.param({"deflate": True}, [DEFLATED, RLELossless, EXPLICIT], DEFLATED, DEFLATED, id="deflate"),
        pytest.param({"deflate": True}, [RLELossless, EXPLICIT], EXPLICIT, EXPLICIT, id="deflate-not-taken"),
        pytest.param({"rle": True}, [DEFLATED, RLELossless, EXPLICIT], EXPLICIT, RLELossless, id="rle"),
        pytest.param({"rle": True}, [EXPLICIT], EXPLICIT, EXPLICIT, id="rle-not-taken"),
        pytest.param({"rle": True}, [IMPLICIT], IMPLICIT, IMPLICIT, id="implicit-only"),
        pytest.param(
            {"deflate": True, "rle": True}, [RLELossless, DEFLATED, EXPLICIT], DEFLATED, DEFLATED, id="both"
        ),
        pytest.param(
            {"deflate": True, "rle": True},
            [RLELossless, IMPLICIT],
            IMPLICIT,
            RLELossless,
            id="both-rle",
        ),
    ],
)
def test_masks_go_in_what_is_set_and_accepted(
    files: Files, wanted: dict[str, bool], accepted: list[UID], binary: UID, others: UID
) -> None:
    plain = next(syntax for syntax in (EXPLICIT, IMPLICIT) if syntax in accepted)
    classes = [SegmentationStorage, LABEL_MAP_SEGMENTATION, Comprehensive3DSRStorage]
    with scripted_pacs(sop_classes=classes, transfer_syntaxes=accepted) as pacs:
        outcomes = send(list(files.values()), at(pacs.port, pacs.ae_title, **wanted), SETTINGS)
    assert {one.state for one in outcomes} == {DeliveryState.DELIVERED}
    went = dict(zip(files, (one.transfer_syntax_uid for one in outcomes), strict=True))
    assert went == {BINARY: binary, FRACTIONAL: others, LABELMAP: others, REPORT: plain}
    for form in (BINARY, FRACTIONAL, LABELMAP):
        stored = dcmread(files[form])
        uid = str(stored.SOPInstanceUID)
        assert pacs.transfer_syntaxes[uid] == went[form]
        (content,) = pacs.received[uid]
        np.testing.assert_array_equal(received(content, went[form]).pixel_array, stored.pixel_array)
        if went[form] in (DEFLATED, RLELossless):
            assert len(content) < files[form].stat().st_size / 2


@needs_dcmtk
def test_dcmtk_decompresses_what_it_was_sent_to_the_same_bytes(files: Files, tmp_path: Path) -> None:
    with storescp(tmp_path / "scp", "+xr", "-pm") as peer:
        outcomes = send(list(files.values()), at(peer.port, peer.ae_title, rle=True), SETTINGS)
        kept = {uid_of(path): path for path in peer.received()}
    assert {one.state for one in outcomes} == {DeliveryState.DELIVERED}
    for form in (FRACTIONAL, LABELMAP):
        path = kept[uid_of(files[form])]
        assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == RLELossless
        plain = tmp_path / f"{form.value}.dcm"
        subprocess.run(["dcmdrle", str(path), str(plain)], check=True, timeout=60)
        assert dcmread(plain).PixelData == dcmread(files[form]).PixelData


@needs_orthanc
def test_orthanc_keeps_and_decodes_run_length_encoded_masks(files: Files, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as archive:
        destination = at(archive.dicom_port, archive.ae_title, rle=True)
        outcomes = send([files[FRACTIONAL], files[LABELMAP]], destination, SETTINGS)
        assert {one.transfer_syntax_uid for one in outcomes} == {RLELossless}
        for form in (FRACTIONAL, LABELMAP):
            stored = dcmread(files[form])
            (identifier,) = archive.post("/tools/lookup", stored.SOPInstanceUID.encode("ascii"))
            base = f"/instances/{identifier['ID']}"
            kept = dcmread(BytesIO(archive.get_bytes(f"{base}/file")))
            assert kept.file_meta.TransferSyntaxUID == RLELossless
            np.testing.assert_array_equal(kept.pixel_array, stored.pixel_array)
            fullest = int(np.argmax([(frame > 0).sum() for frame in stored.pixel_array]))
            seen = picture(archive.get_bytes(f"{base}/frames/{fullest}/image-uint8"))
            np.testing.assert_array_equal(seen, stored.pixel_array[fullest])


def picture(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(content)))
