"""What every result of one evaluation says of its making."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from node.results.errors import InvalidContextError

PRODUCT_NAME = "csvd-node"
"""Manufacturer's Model Name (0008,1090) of everything that the node makes."""

_HEX = re.compile(r"[0-9a-f]{32,}")


@dataclass(frozen=True, slots=True)
class SupersededReport:
    """A report that was sent before and that this evaluation takes the place of; ``role`` is its form."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    role: str = "sr"


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """One evaluation: whose, of what, when, by which node.

    Equal contexts, findings and sources make results that are equal byte for byte.

    Attributes:
        study_uid: Study Instance UID.
        fingerprint: digest, lower-case hexadecimal, of everything that changes results: inputs, models,
            settings. All UIDs derive from it.
        created_at: when the evaluation began, the only clock of the results; its time zone is that of the
            results whose source names none.
        software_version: of the node.
        ae_title: under which the node sends.
        station_name: of the machine that evaluates.
        manufacturer: who answers for the product.
        superseded: reports that this one takes the place of.
        selection: sentences on which Series were taken for what, and why.
        names_patient: whether pictures and documents show whose they are.

    Raises:
        InvalidContextError: if a text is empty, the fingerprint no digest or the time without a zone.
    """

    study_uid: str
    fingerprint: str
    created_at: datetime
    software_version: str
    ae_title: str
    station_name: str
    manufacturer: str = PRODUCT_NAME
    superseded: tuple[SupersededReport, ...] = ()
    selection: tuple[str, ...] = ()
    names_patient: bool = True

    def __post_init__(self) -> None:
        for name in ("study_uid", "software_version", "ae_title", "station_name", "manufacturer"):
            if not getattr(self, name).strip():
                raise InvalidContextError(self.study_uid, f"{name} is empty")
        if not _HEX.fullmatch(self.fingerprint):
            raise InvalidContextError(self.study_uid, "the fingerprint is no hexadecimal digest")
        if self.created_at.utcoffset() is None:
            raise InvalidContextError(self.study_uid, "created_at has no time zone")

    def superseded_by(self, role: str) -> tuple[SupersededReport, ...]:
        """Return the reports that the one with this role takes the place of: those of its form, or all."""
        alike = tuple(report for report in self.superseded if report.role == role)
        return alike or self.superseded
