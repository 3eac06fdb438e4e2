"""Studies and the Segmentations that readers made of them, as a data set that ``csvd-train`` learns from.

Convention: ``<output>/<patient>/<study>/`` holds a NIfTI file for each chosen Series and each segment that
was drawn; ``<output>/<name>_<segment>_<series>.yaml`` describes the cases of a segment. Patients and Studies
are numbered: no name, identifier or date of the DICOM headers goes along.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import yaml

from engines.marking import mask_on
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from node.errors import NodeError, words_of
from node.identification_rules import rules_with
from node.inventory import StudyInventory, identify_paths
from node.model import SourceVolume
from node.selection import Selection
from node.settings import NodeSettings
from node.stored_segmentation import StoredSegmentation, UnreadableSegmentationError, read_segmentation
from node.volume_errors import VolumeError
from node.volume_reader import read_volume

NAME = r"\w[\w .-]*"
"""What a data set may be called, as its name stands in file names."""

LABEL = 1
"""Value of a marked voxel in a label file."""

ACCEPTED = "give it the property type, or the label, of one: " + ", ".join(Segment)
"""What makes a segment one of the findings."""


class DatasetExportError(NodeError):
    """A data set cannot be written where it should; the message says why."""


@dataclass(frozen=True, slots=True)
class DatasetTerms:
    """What a data set's description says of it.

    Attributes:
        name: of the data set; the patients are told apart by it from those of others.
        licence: under which terms it may be used.
        source: where it comes from.
    """

    name: str
    licence: str
    source: str


@dataclass(frozen=True, slots=True)
class ExportedStudy:
    """What became of a Study.

    Attributes:
        study_uid: Study Instance UID.
        case: its folder in the data set; empty if it is left out.
        labels: the Series type that each drawn segment lies on.
        reason: why the Study, or one of its Segmentations, is left out; else empty.
    """

    study_uid: str
    case: str
    labels: Mapping[Segment, SeriesType]
    reason: str = ""


def export_dataset(
    folders: Sequence[Path], output: Path, terms: DatasetTerms, settings: NodeSettings
) -> Iterator[ExportedStudy]:
    """Write every Study of some folders that has a Segmentation, then the descriptions.

    Where several Segmentations hold a segment, the one that was written last counts: a reader's correction.

    Args:
        folders: DICOM files, images and Segmentations; searched with all their folders.
        output: of the data set; new or empty.
        terms: name, licence and source.
        settings: how Series are identified and read.

    Raises: DatasetExportError: if the name cannot stand in a file name, or the output is not empty or can
        not be written.
    """
    if not re.fullmatch(NAME, terms.name):
        raise DatasetExportError(f"{terms.name!r} is no name: use letters, digits, spaces and .-_ alone")
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise DatasetExportError(f"{output} is not empty: name a new folder for the data set")
    inventory = identify_paths(folders, rules_with(settings.identification.rules), settings.volumes)
    drawn, broken = _segmentations(file.path for file in inventory.left_out)
    patients: dict[str, list[str]] = defaultdict(list)
    exported = []
    for absent in drawn.keys() - {study.study_uid for study in inventory.studies}:
        broken += [f"{one.path.name}: no image of its Study {absent} is there" for one in drawn[absent]]
    for study in inventory.studies:
        patient = _patient(study)
        number = list(patients).index(patient) + 1 if patient in patients else len(patients) + 1
        case = f"p{number:03d}/s{len(patients.get(patient, [])) + 1:02d}"
        try:
            one = _export(study, drawn.get(study.study_uid, []), output, case, settings)
        except VolumeError as error:
            one = ExportedStudy(study.study_uid, "", {}, error.told)
        if one.case:
            patients[patient].append(case)
            exported.append(one)
        yield one
    for problem in broken:
        yield ExportedStudy("", "", {}, problem)
    _describe(exported, output, terms)


def _segmentations(paths: Iterable[Path]) -> tuple[dict[str, list[StoredSegmentation]], list[str]]:
    """Read the Segmentations among some files, by Study, and say which cannot be read."""
    drawn: dict[str, list[StoredSegmentation]] = defaultdict(list)
    broken = []
    for path in paths:
        try:
            found = read_segmentation(path)
        except UnreadableSegmentationError as error:
            broken.append(str(error))
            continue
        if found is not None:
            drawn[found.study_uid].append(found)
    return drawn, broken


def _patient(study: StudyInventory) -> str:
    """Return what tells patients apart; a Study without a Patient ID is a patient of its own."""
    identifier, issuer = _identifier(study)
    return f"{identifier}\n{issuer}" if identifier else study.study_uid


def _identifier(study: StudyInventory) -> tuple[str, str]:
    """Return Patient ID and its issuer."""
    path = next(iter(study.paths.values()))
    header = pydicom.dcmread(path, specific_tags=["PatientID", "IssuerOfPatientID"], stop_before_pixels=True)
    return str(header.get("PatientID") or ""), str(header.get("IssuerOfPatientID") or "")


def _export(
    study: StudyInventory,
    drawn: Sequence[StoredSegmentation],
    output: Path,
    case: str,
    settings: NodeSettings,
) -> ExportedStudy:
    if not drawn:
        return ExportedStudy(study.study_uid, "", {}, "no Segmentation of it is there")
    known = (_identifier(study)[0], "")
    mine = [one for one in drawn if one.patient_id in known or not known[0]]
    left_out = [f"{one.path.name} names another patient" for one in drawn if one not in mine]
    left_out += [
        f"{one.path.name} holds {', '.join(one.others)}, none of the findings: {ACCEPTED}"
        for one in mine
        if not one.points_lps
    ]
    latest = _latest(mine)
    sources = {
        kind: read_volume(stack, study.paths, settings.volumes)
        for kind, stack in (study.selection.chosen.items() if latest else ())
    }
    marked = {}
    for segment, segmentation in latest.items():
        placed = _place(segmentation, segment, sources)
        if placed is None:
            left_out.append(f"{segment} of {segmentation.path.name} {_why_not(segment, study.selection)}")
        else:
            marked[segment] = placed
    if not marked:
        return ExportedStudy(study.study_uid, "", {}, "; ".join(left_out))
    with _writing(output / case):
        _write_case(output / case, sources, {segment: mask for segment, (_, mask) in marked.items()})
    labels = {segment: kind for segment, (kind, _) in marked.items()}
    return ExportedStudy(study.study_uid, case, labels, "; ".join(left_out))


def _latest(drawn: Sequence[StoredSegmentation]) -> dict[Segment, StoredSegmentation]:
    # Of those written together, the one on the Series of its own before the combined one.
    ordered = sorted(drawn, key=lambda one: (one.written, -len(one.points_lps)))
    return {segment: one for one in ordered for segment in one.points_lps}


def _place(
    segmentation: StoredSegmentation, segment: Segment, sources: Mapping[SeriesType, SourceVolume]
) -> tuple[SeriesType, Volume] | None:
    """Put a segment on the Series whose voxels it marks; None if there is none.

    Series that share a grid are told apart by which one the Segmentation refers to.
    """

    def rank(item: tuple[SeriesType, SourceVolume]) -> tuple[bool, bool]:
        return item[1].series_uid not in segmentation.series_uids, item[0] is not segment.series_type

    for kind, source in sorted(sources.items(), key=rank):
        if source.frame_of_reference_uid != segmentation.frame_of_reference_uid:
            continue
        mask = mask_on(segmentation.points_lps[segment], source.volume.grid)
        if mask is not None:
            return kind, source.volume.with_array(mask)
    return None


def _why_not(segment: Segment, selection: Selection) -> str:
    chosen = ", ".join(selection.chosen) or "none"
    missing = selection.unavailable.get(segment.series_type)
    return f"lies on none of the Series that were chosen ({chosen})" + (f"; {missing}" if missing else "")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raises: DatasetExportError: names what could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise DatasetExportError(f"{path} cannot be written: {words_of(error)}") from error


def _write_case(
    folder: Path, sources: Mapping[SeriesType, SourceVolume], masks: Mapping[Segment, Volume]
) -> None:
    folder.mkdir(parents=True)
    for kind, source in sources.items():
        _write(source.volume, folder / f"{kind.value.lower()}.nii.gz")
    for segment, mask in masks.items():
        _write(mask, folder / f"{segment.value.lower()}.nii.gz")


def _write(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI: integers where it holds no others."""
    array = volume.array
    whole = np.array_equal(array, np.rint(array)) and np.abs(array).max(initial=0) < np.iinfo(np.int16).max
    # (slice, row, column) -> (x, y, z) of NIfTI; LPS -> RAS
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(array.T.astype(np.int16 if whole else np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    nibabel.save(image, path)


def _describe(exported: Sequence[ExportedStudy], output: Path, terms: DatasetTerms) -> None:
    """Write a description for each segment and the Series that it was drawn on."""
    groups: dict[tuple[Segment, SeriesType], list[str]] = defaultdict(list)
    for study in exported:
        for segment, kind in study.labels.items():
            groups[segment, kind].append(study.case)
    for (segment, kind), cases in groups.items():
        name = f"{terms.name}_{segment.value.lower()}_{kind.value.lower()}"
        label = {"file": f"{{case}}/{segment.value.lower()}.nii.gz", "values": [LABEL], "known": [LABEL]}
        content = {
            "name": name,
            "licence": terms.licence,
            "source": terms.source,
            "series": {kind.value: f"{{case}}/{kind.value.lower()}.nii.gz"},
            "labels": {segment.value: label},
            "cases": sorted(cases),
            "patient": f"{terms.name}_{{parent}}",
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        with _writing(output / f"{name}.yaml"):
            (output / f"{name}.yaml").write_text(text, encoding="utf-8")
