"""What files hold: Studies, Series and stacks, what each was taken for, and which were chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.geometry import VolumeSettings
from node.header_reader import NotAnMrImageError, NotDicomError, read_image_header
from node.headers import ImageHeader
from node.identification import IdentificationRule
from node.identification_rules import DEFAULT_RULES
from node.selection import Selection, identify_stacks, select
from node.stacks import split_stacks


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part, and why; ``study_uid`` is empty if it is no DICOM file."""

    path: Path
    study_uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class StudyInventory:
    """One Study.

    Attributes:
        study_uid: Study Instance UID.
        selection: what its stacks were taken for and which were chosen.
        paths: file by SOP Instance UID, for reading volumes.
    """

    study_uid: str
    selection: Selection
    paths: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a set of files holds."""

    studies: tuple[StudyInventory, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def message(self) -> str:
        """One sentence for the whole."""
        if not self.studies:
            return f"No MR image among {len(self.left_out)} files: there is nothing to identify."
        return " ".join(f"Study {study.study_uid}: {study.selection.message}" for study in self.studies)

    def to_record(self) -> dict[str, object]:
        """Return everything as values that JSON can hold."""
        return {
            "message": self.message,
            "studies": [
                {"study_uid": study.study_uid, **study.selection.to_record()} for study in self.studies
            ],
            "left_out": [{"path": str(file.path), "reason": file.reason} for file in self.left_out],
        }


def select_series(
    headers: Iterable[ImageHeader],
    rules: Sequence[IdentificationRule] = DEFAULT_RULES,
    settings: VolumeSettings | None = None,
) -> Selection:
    """Divide the Instances of one Study into stacks, identify them and choose.

    Args:
        headers: all MR images of a Study.
        rules: the table of identification.
        settings: what a volume must fulfil; a stack that does not is not chosen.
    """
    by_series: dict[str, list[ImageHeader]] = defaultdict(list)
    for header in headers:
        by_series[header.series_uid].append(header)
    ordered = sorted(
        by_series.values(), key=lambda series: (series[0].series_number or 0, series[0].series_uid)
    )
    stacks = [stack for series in ordered for stack in split_stacks(series)]
    return select(identify_stacks(stacks, rules, settings or VolumeSettings()))


def identify_paths(
    paths: Iterable[Path],
    rules: Sequence[IdentificationRule] = DEFAULT_RULES,
    settings: VolumeSettings | None = None,
) -> Inventory:
    """Identify what files and folders hold; what is no MR image is left out with a note.

    Args:
        paths: files, and folders that are searched with all their folders.
        rules: the table of identification.
        settings: what a volume must fulfil.
    """
    by_study: dict[str, list[ImageHeader]] = defaultdict(list)
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    left_out: list[LeftOut] = []
    for path in _files(paths):
        try:
            header = read_image_header(path)
        except NotDicomError as error:
            left_out.append(LeftOut(path, "", str(error)))
        except NotAnMrImageError as error:
            left_out.append(LeftOut(path, error.study_uid, str(error)))
        else:
            if header.sop_instance_uid in files[header.study_uid]:
                left_out.append(LeftOut(path, header.study_uid, _repeated(path, header)))
                continue
            by_study[header.study_uid].append(header)
            files[header.study_uid][header.sop_instance_uid] = path
    studies = tuple(
        StudyInventory(study_uid, select_series(headers, rules, settings), files[study_uid])
        for study_uid, headers in by_study.items()
    )
    return Inventory(studies, tuple(left_out))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in sorted(path.rglob("*")) if found.is_file())
        else:
            yield path


def _repeated(path: Path, header: ImageHeader) -> str:
    return f"{path}: Instance {header.sop_instance_uid} was already read from another file; it is left out"
