"""From the files of one Study to its result objects: identify, read, segment, report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engines.findings import StudyFindings
from engines.pipeline import segment_study
from engines.progress import READING, WRITING, Progress, Step
from engines.segmentation import Segmentor
from engines.segments import Segment, SeriesType
from node.cut_off import absent_slices
from node.errors import NothingToAssessError
from node.identification_rules import rules_with
from node.identity import SOFTWARE_VERSION, digest_of
from node.inventory import Inventory, StudyInventory, identify_paths
from node.model import SourceVolume
from node.results.build import build_results
from node.results.context import EvaluationContext
from node.results.forms import FormChoice
from node.results.making import NotMade
from node.results.one_patient import headers_of_one_patient
from node.results.result_object import ResultObject
from node.results.source_header import SourceHeader
from node.selection import Candidate, Outcome, Selection, select
from node.settings import NodeSettings
from node.volume_errors import VolumeError
from node.volume_reader import read_volume


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is known of a Study.

    Attributes:
        sources: the volumes that were segmented.
        findings: what was found on them.
        objects: the results as DICOM objects, in the order in which they refer to each other.
        not_made: results that were wanted and could not be made; the findings say so, too.
    """

    sources: Mapping[SeriesType, SourceVolume]
    findings: StudyFindings
    objects: tuple[ResultObject, ...]
    not_made: tuple[NotMade, ...] = ()

    @property
    def problem(self) -> str:
        """Say which results are missing, why and what to do; empty if all were made."""
        return "; ".join(one.reason for one in self.not_made)


class Assessor:
    """Assesses Studies with the open segmentors; the same files make the same results.

    Args:
        settings: the table of identification, tolerances and the pipeline.
        segmentors: by segment; a segment without one is not assessed.
    """

    def __init__(self, settings: NodeSettings, segmentors: Mapping[Segment, Segmentor]) -> None:
        self._settings, self._segmentors = settings, segmentors
        self._rules = rules_with(settings.identification.rules)

    def identify(self, paths: Iterable[Path]) -> Inventory:
        """Say what files and folders hold, by the configured table of identification."""
        return identify_paths(paths, self._rules, self._settings.volumes)

    def context(self, study_uid: str, inputs: str, created_at: datetime) -> EvaluationContext:
        """Say what the results of one evaluation tell of their making.

        Args:
            study_uid: Study Instance UID.
            inputs: digest of the Instances.
            created_at: the time that the results bear: in the zone of this machine, as a scanner writes it,
                unless their source names another.
        """
        return EvaluationContext(
            study_uid=study_uid,
            fingerprint=digest_of(inputs, self._segmentors, self._settings),
            created_at=created_at.astimezone(),
            software_version=SOFTWARE_VERSION,
            ae_title=self._settings.sender.ae_title,
            station_name=self._settings.receiver.ae_title,
            names_patient=self._settings.pictures.patient,
        )

    def assess(
        self,
        study: StudyInventory,
        context: EvaluationContext,
        progress: Progress,
        choices: Callable[[StudyFindings], Collection[FormChoice]],
        selected: Callable[[Selection], None],
    ) -> Assessment:
        """Assess one Study.

        Args:
            study: its Series and files.
            context: what the results say of their making; the choice of Series is added here.
            progress: told what is done now.
            choices: says in which forms the findings are wanted.
            selected: told which Series are taken for what, before one is read, and again if that changes.

        Raises:
            NothingToAssessError: if no Series can be used; it says why of each wanted type.
            ResultError: if the Study's attributes allow no result.
        """
        study_uid = study.study_uid
        selected(study.selection)
        progress(Step(READING, "reading volumes"))
        selection, sources = self._read(study.selection, study.paths)
        if selection is not study.selection:
            selected(selection)
        if not sources:
            raise NothingToAssessError(study_uid, tuple(selection.unavailable.values()))
        # Before minutes of computing for a Study that can have no results.
        headers, differences = headers_of_one_patient(sources, study_uid)
        findings = self._segment(selection, sources, progress)
        findings = replace(findings, remarks=(*findings.remarks, *differences, *_blurred(headers)))
        progress(Step(WRITING, "writing results"))
        told = replace(context, selection=tuple(_sentences(selection)))
        not_made: list[NotMade] = []
        objects = build_results(findings, sources, told, choices(findings), headers, not_made)
        findings = replace(findings, remarks=(*findings.remarks, *(one.remark for one in not_made)))
        return Assessment(sources, findings, objects, tuple(not_made))

    def _read(
        self, selection: Selection, paths: Mapping[str, Path]
    ) -> tuple[Selection, dict[SeriesType, SourceVolume]]:
        """Read the chosen stacks; one that cannot be decoded gives way to the next best."""
        sources: dict[SeriesType, SourceVolume] = {}
        while waiting := [kind for kind in selection.chosen if kind not in sources]:
            stack = selection.chosen[waiting[0]]
            try:
                sources[waiting[0]] = read_volume(stack, paths, self._settings.volumes)
            except VolumeError as error:
                identified = [candidate.identified for candidate in selection.candidates]
                selection = select(
                    [replace(one, problem=error.told) if one.stack is stack else one for one in identified]
                )
        return selection, sources

    def _segment(
        self, selection: Selection, sources: Mapping[SeriesType, SourceVolume], progress: Progress
    ) -> StudyFindings:
        volumes = {series_type: source.volume for series_type, source in sources.items()}
        frames = {series_type: source.frame_of_reference_uid for series_type, source in sources.items()}
        findings = segment_study(
            volumes, self._segmentors, self._settings.pipeline, progress, selection.unavailable, frames
        )
        return replace(findings, remarks=(*findings.remarks, *_kinds(selection), *_cut_off(selection)))


def _kinds(selection: Selection) -> Iterator[str]:
    """Say of each chosen Series what a reader must know of images of its kind."""
    for kind, candidate in _chosen(selection):
        if remark := candidate.identified.identification.remark:
            yield f"{kind.label}: {remark}"


def _cut_off(selection: Selection) -> Iterator[str]:
    """Say of each chosen Series that lacks slices that it does."""
    for kind, stack in selection.chosen.items():
        if absent := absent_slices(stack):
            yield (
                f"{kind.label}: {absent} of {absent + stack.positions} slices that the scanner counted are "
                "absent at an end; what they show was not looked at"
            )


def _blurred(headers: Mapping[SeriesType, SourceHeader]) -> Iterator[str]:
    """Say of each Series that lossy compression changed its grey values before it came."""
    for kind, header in headers.items():
        if header.was_compressed_with_loss:
            yield (
                f"{kind.label}: its images were compressed with loss before they came, which changes grey "
                "values; faint and small lesions are less certain"
            )


def _sentences(selection: Selection) -> Iterator[str]:
    """Say of each chosen Series what it was taken for, and on what evidence."""
    for kind, candidate in _chosen(selection):
        identification = candidate.identified.identification
        uid, number = candidate.stack.series_uid, candidate.stack.header.series_number
        series = f"Series {uid}" if number is None else f"Series {number} ({uid})"
        yield (
            f"{series} was taken for {kind.label} "
            f"({identification.kind}): {'; '.join(identification.evidence)}. {candidate.reason}"
        )


def _chosen(selection: Selection) -> Iterator[tuple[SeriesType, Candidate]]:
    """Yield each chosen Series with what it was taken for, in the order of the candidates."""
    for candidate in selection.candidates:
        kind = candidate.identified.identification.series_type
        if candidate.outcome is Outcome.CHOSEN and kind is not None:
            yield kind, candidate
