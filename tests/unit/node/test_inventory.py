"""What files and folders hold, and how it is shown."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console

from engines.segments import SeriesType
from node.identification import IdentificationRule
from node.identification_rules import rules_with
from node.identify_report import render_inventory
from node.inventory import Inventory, identify_paths
from node.volume_reader import read_volume
from tests.support.header_patterns import (
    LOCALIZER,
    SIEMENS_FLAIR_TSE,
    SIEMENS_T1_SE,
    SIEMENS_T2STAR_FL2D,
    T2_TSE,
    HeaderPattern,
)
from tests.support.mr_headers import mr_dataset
from tests.support.phantoms import phantom_grid, phantom_volume, write_series


def write_study(folder: Path, study_uid: str, *patterns: HeaderPattern) -> None:
    volume = phantom_volume("T1", phantom_grid((24, 16, 16), (5.0, 12.0, 12.0)))
    for number, pattern in enumerate(patterns, start=1):
        write_series(
            volume,
            pattern,
            folder / f"{number}",
            study_uid=study_uid,
            frame_of_reference_uid=f"{study_uid}.9",
            series_number=number,
        )


def shown(inventory: Inventory) -> str:
    console = Console(width=160, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(render_inventory(inventory))
    return console.export_text()


def test_folder_is_searched_and_grouped_by_study(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "1.2.3", SIEMENS_FLAIR_TSE, SIEMENS_T1_SE)
    write_study(tmp_path / "b", "1.2.4", T2_TSE)
    inventory = identify_paths([tmp_path])
    assert [study.study_uid for study in inventory.studies] == ["1.2.3", "1.2.4"]
    first, second = inventory.studies
    assert set(first.selection.chosen) == {SeriesType.T2_FLAIR, SeriesType.T1}
    assert second.selection.chosen == {}
    assert len(first.paths) == 48


def test_chosen_stack_can_be_read_with_the_paths_of_its_study(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE)
    (study,) = identify_paths([tmp_path]).studies
    volume = read_volume(study.selection.chosen[SeriesType.T2_FLAIR], study.paths).volume
    assert volume.grid.shape == (24, 16, 16)


def test_other_files_are_left_out_with_a_note(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE)
    (tmp_path / "notes.txt").write_text("no DICOM")
    inventory = identify_paths([tmp_path, tmp_path / "gone.dcm"])
    assert [file.path.name for file in inventory.left_out] == ["notes.txt", "gone.dcm"]
    assert "not a DICOM file" in inventory.left_out[0].reason


def test_same_instance_twice_counts_once(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE)
    original = next(tmp_path.rglob("*.dcm"))
    (tmp_path / "copy.dcm").write_bytes(original.read_bytes())
    inventory = identify_paths([tmp_path])
    assert [file.reason for file in inventory.left_out if "already read from another file" in file.reason]
    assert set(inventory.studies[0].selection.chosen) == {SeriesType.T2_FLAIR}


def test_folder_without_images_is_a_message_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    inventory = identify_paths([tmp_path])
    assert inventory.message == "No MR image among 1 files: there is nothing to identify."
    assert inventory.message in shown(inventory)


def test_report_shows_series_kind_evidence_and_why_others_lost(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE, SIEMENS_FLAIR_TSE, LOCALIZER)
    text = " ".join(shown(identify_paths([tmp_path])).split())
    for part in ("Study 1.2.3", "T2 FLAIR", "EchoTime 89 ms", "chosen", "lost", "localizer", "not wanted"):
        assert part in text
    assert "No Series of the Study was recognised as T1." in text


def test_report_names_no_patient(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE)
    inventory = identify_paths([tmp_path])
    assert "PHANTOM" not in shown(inventory) + json.dumps(inventory.to_record())


def test_record_survives_json(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_FLAIR_TSE)
    record = identify_paths([tmp_path]).to_record()
    assert json.loads(json.dumps(record)) == record


def test_configured_rules_are_used(tmp_path: Path) -> None:
    write_study(tmp_path, "1.2.3", SIEMENS_T2STAR_FL2D)
    rule = IdentificationRule.model_validate({"kind": "phantom", "ranges": {"EchoTime": [26, 26]}})
    (study,) = identify_paths([tmp_path], rules_with([rule])).studies
    assert study.selection.candidates[0].identified.identification.kind == "phantom"


def test_thousand_files_take_seconds(tmp_path: Path) -> None:
    for number in range(1000):
        dataset = mr_dataset(
            number % 25, SOPInstanceUID=f"1.2.5.{number}", SeriesInstanceUID=f"1.2.6.{number // 25}"
        )
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    started = time.process_time()
    inventory = identify_paths([tmp_path])
    assert time.process_time() - started < 20
    assert (len(inventory.studies[0].paths), inventory.left_out) == (1000, ())
