"""Why results cannot be made of what was found; each error names Study, Series and what to do."""

from __future__ import annotations

from typing import ClassVar

from node.errors import NodeError


class ResultError(NodeError):
    """Results cannot be made or written.

    Attributes:
        study_uid: Study Instance UID.
        series_uid: Series Instance UID of the source; empty if the whole Study is meant.
        problem: what is wrong, without Study, Series and what to do.
    """

    def __init__(self, study_uid: str, series_uid: str, problem: str, what_to_do: str) -> None:
        self.study_uid, self.series_uid, self.problem = study_uid, series_uid, problem
        where = f"Study {study_uid}, Series {series_uid}" if series_uid else f"Study {study_uid}"
        super().__init__(f"{where}: {problem}; {what_to_do}")


class InvalidContextError(ResultError):
    """The evaluation does not say what every result has to say of its making."""

    def __init__(self, study_uid: str, problem: str) -> None:
        super().__init__(study_uid, "", problem, "correct the configuration or the caller")


class SourceUnreadableError(ResultError):
    """The header of a source Series cannot be read again."""

    retryable: ClassVar[bool] = True

    def __init__(self, study_uid: str, series_uid: str, problem: str) -> None:
        super().__init__(
            study_uid, series_uid, f"its header cannot be read: {problem}", "send the Series again"
        )


class MissingAttributeError(ResultError):
    """A source lacks an attribute that a result must have and that must not be invented (type 1).

    Attributes:
        keyword: the attribute's DICOM keyword.
    """

    def __init__(self, study_uid: str, series_uid: str, keyword: str) -> None:
        self.keyword = keyword
        super().__init__(
            study_uid, series_uid, f"{keyword} is missing or empty", "add it at the source and send it again"
        )


class ForeignSourceError(ResultError):
    """A source belongs to another Study than the evaluation."""

    def __init__(self, study_uid: str, series_uid: str, found: str) -> None:
        self.found = found
        super().__init__(
            study_uid, series_uid, f"the Series belongs to Study {found}", "evaluate each Study by itself"
        )


class PatientMismatchError(ResultError):
    """The Series of one Study name different patients.

    Attributes:
        keyword: the DICOM keyword of the attribute that differs.
    """

    def __init__(self, study_uid: str, keyword: str, first: str, other: str) -> None:
        self.keyword = keyword
        super().__init__(
            study_uid,
            "",
            f"{keyword} of {other} is not that of {first}: no results, since they would be filed under one "
            "of two patients",
            f"correct the patient at the source, remove what is here with `csvd-node remove {study_uid}`, "
            "and send the Study again",
        )


class MissingSourceError(ResultError):
    """A finding is on a type of Series that no source was given for."""

    def __init__(self, study_uid: str, segment: str, series_type: str) -> None:
        self.segment, self.series_type = segment, series_type
        super().__init__(
            study_uid, "", f"{segment} was found on {series_type}, which has no source", "pass the source"
        )


class MaskMismatchError(ResultError):
    """A mask does not lie on the grid of the Series that it is said to be found on."""

    def __init__(self, study_uid: str, series_uid: str, segment: str, problem: str) -> None:
        self.segment = segment
        super().__init__(
            study_uid,
            series_uid,
            f"the mask of {segment} does not fit the images: {problem}",
            "bring the mask onto the grid of its Series first",
        )


class EncodingFailedError(ResultError):
    """A result could not be encoded as DICOM."""

    def __init__(self, study_uid: str, series_uid: str, result: str, problem: str) -> None:
        self.result = result
        super().__init__(
            study_uid, series_uid, f"{result} cannot be encoded: {problem}", "report this with the log"
        )


class WritingFailedError(ResultError):
    """A result file cannot be written."""

    retryable: ClassVar[bool] = True

    def __init__(self, study_uid: str, path: str, problem: str) -> None:
        self.path = path
        super().__init__(
            study_uid, "", f"{path} cannot be written: {problem}", "free or mend the disk and run it again"
        )


class KeptFindingsError(ResultError):
    """Pictures cannot be drawn later of what was kept of an evaluation."""

    def __init__(self, study_uid: str, series_uid: str, problem: str) -> None:
        super().__init__(
            study_uid, series_uid, problem, "bring back the files of the Study and its results from a backup"
        )
