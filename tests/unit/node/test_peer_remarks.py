"""Of a PACS's Error Comment stays what helps its administrator, and not whose the images are."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.peer_remarks import STRUCK_OUT, remark_on, without_identity
from tests.support.instances import mr_dataset, write_instance

KNOWN = {"Müller^Anna Maria", "Müller", "Anna", "Maria", "H-4711", "19500101", "ACC 12"}


@pytest.mark.parametrize(
    ("remark", "kept"),
    [
        ("Study is archived, series closed", "Study is archived, series closed"),
        ("DB error 10061 at 10.0.0.7:104, 0xA700", "DB error 10061 at 10.0.0.7:104, 0xA700"),
        ("no rule for 1.2.840.10008.5.1.4.1.1.66.4", "no rule for 1.2.840.10008.5.1.4.1.1.66.4"),
        ("2.25.329800735698586629295641978511506172918 exists",) * 2,
        ("Müller^Anna Maria is locked", "[...] is locked"),
        ("patient MÜLLER, anna: hold", "patient [...], [...]: hold"),
        ("ID h-4711 unknown", "ID [...] unknown"),
        ("order ACC 12 is cancelled", "order [...] is cancelled"),
        ("Annapolis archive", "Annapolis archive"),
        ("born 19500101", "born [...]"),
        ("born 1950-01-01 or 01.01.1950", "born [...] or [...]"),
        ("belongs to SMITH^JOHN", "belongs to [...]"),
        ("held by 00987654 / AB-123456", "held by [...] / [...]"),
        ("merge conflict with Mül", "merge conflict with [...]"),
        ("", ""),
    ],
)
def test_remark_is_kept_without_what_tells_of_a_patient(remark: str, kept: str) -> None:
    assert without_identity(remark, KNOWN) == kept


def test_instance_itself_says_whom_a_remark_must_not_name(tmp_path: Path) -> None:
    dataset = mr_dataset()
    dataset.PatientName, dataset.AccessionNumber = "Doe^Jane^^Dr", "A-7"
    dataset.OtherPatientIDsSequence = [type(dataset)()]
    dataset.OtherPatientIDsSequence[0].PatientID = "OLD-3"
    dataset.add_new("OtherPatientIDs", "LO", ["OLD-1", "OLD-2"])
    dataset.PatientBirthName = "Roe^Jane"
    path = write_instance(tmp_path, dataset)
    said = "Dr Jane DOE, CSVD-PHANTOM-1, OLD-3, A-7: busy"
    assert remark_on(path, said) == "[...] [...] [...], [...], [...], [...]: busy"
    assert remark_on(path, "OLD-2 or OLD-1, once ROE: locked") == "[...] or [...], once [...]: locked"
    assert remark_on(path, "") == ""


def test_remark_holds_nothing_that_a_terminal_obeys_or_postgresql_refuses(tmp_path: Path) -> None:
    path = write_instance(tmp_path, mr_dataset())
    assert remark_on(path, "busy\x1b[2J\x00\nlater") == "busy\\x1b[2J\\x00\\nlater"


def test_nothing_is_kept_of_a_remark_on_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    assert remark_on(tmp_path / "gone.dcm", "Doe is locked") == STRUCK_OUT
