"""The forms that results come in, what each Instance is called within its evaluation, and who wants which.

A role is the name of one Instance: "seg-WMH", "seg-labelmap-combined", "sr", "key-image-003", "pdf". All UIDs
derive from it, so that one form has the same UIDs whichever other forms are made beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from engines.segments import Segment


class Form(StrEnum):
    """One way to show what was found."""

    BINARY = "binary"
    FRACTIONAL = "fractional"
    LABELMAP = "labelmap"
    REPORT = "report"
    KEY_IMAGES = "key-images"
    PDF = "pdf"
    PRESENTATION_STATE = "presentation-state"


ENCODINGS = (Form.BINARY, Form.FRACTIONAL, Form.LABELMAP)
"""How a Segmentation may be encoded."""


PICTURES = frozenset({Form.KEY_IMAGES, Form.PDF, Form.PRESENTATION_STATE})
"""What is drawn of the findings and takes seconds; nothing refers to it, so it can be made later."""


class Masks(StrEnum):
    """Which Segmentations there are: one for each source Series, one with all segments, or both."""

    PER_SERIES = "per-series"
    COMBINED = "combined"
    BOTH = "both"


PDF_ROLE = "pdf"
_COMBINED = "combined"
_PREFIXES = {
    Form.BINARY: "seg-",
    Form.FRACTIONAL: "seg-fractional-",
    Form.LABELMAP: "seg-labelmap-",
    Form.REPORT: "sr",
    Form.KEY_IMAGES: "key-image-",
    Form.PDF: PDF_ROLE,
    Form.PRESENTATION_STATE: "presentation-state-",
}
NAMES = {
    Form.BINARY: "Segmentation",
    Form.FRACTIONAL: "Segmentation with probabilities",
    Form.LABELMAP: "label map",
    Form.REPORT: "report",
    Form.KEY_IMAGES: "key image",
    Form.PDF: "PDF",
    Form.PRESENTATION_STATE: "Presentation State",
}
"""What a person calls one Instance of each form."""

_REPORT_OF = {Form.BINARY: "", Form.FRACTIONAL: "-fractional", Form.LABELMAP: "-labelmap"}
_REPORT_ON = {Masks.BOTH: "", Masks.PER_SERIES: "-per-series", Masks.COMBINED: "-combined"}


@dataclass(frozen=True, slots=True)
class FormChoice:
    """What one destination, or a person, wants.

    Attributes:
        forms: each form that is wanted; at most one of them an encoding.
        masks: which Segmentations, if there is an encoding.
    """

    forms: frozenset[Form]
    masks: Masks = Masks.BOTH

    @property
    def encoding(self) -> Form | None:
        """How Segmentations are encoded; None if there are none."""
        return next((form for form in ENCODINGS if form in self.forms), None)

    @property
    def without_pictures(self) -> FormChoice:
        """The same without what can be made later."""
        return replace(self, forms=self.forms - PICTURES)

    @property
    def report_role(self) -> str:
        """The role of the report that refers to the Segmentations of this choice and to no others."""
        if self.encoding is None:
            return "sr-without-masks"
        return f"sr{_REPORT_OF[self.encoding]}{_REPORT_ON[self.masks]}"

    @property
    def key(self) -> str:
        """Name the choice; equal choices have equal names."""
        return f"{'+'.join(sorted(self.forms))} {self.masks.value}"

    def masks_of(self, has_combined: bool) -> Masks:
        """Return which Segmentations there are; without a T2-FLAIR there is no combined one."""
        return self.masks if has_combined else Masks.PER_SERIES

    def wanted(self, roles: Iterable[str]) -> list[str]:
        """Return those of the roles that belong to this choice, in their order."""
        known = list(roles)
        has_combined = any(role.endswith(_COMBINED) and role.startswith("seg-") for role in known)
        masks = self.masks_of(has_combined)
        return [role for role in known if self._wants(role, masks)]

    def _wants(self, role: str, masks: Masks) -> bool:
        form = form_of(role)
        if form not in self.forms:
            return False
        if form is Form.REPORT:
            return role == self.report_role
        if form not in ENCODINGS or masks is Masks.BOTH:
            return True
        return role.endswith(_COMBINED) == (masks is Masks.COMBINED)


DEFAULT_CHOICE = FormChoice(frozenset({Form.BINARY, Form.REPORT}))
"""What every viewer that knows Segmentations shows."""


def mask_role(encoding: Form, segment: Segment | None) -> str:
    """Return the role of the Segmentation of a segment; None stands for all on one grid."""
    return f"{_PREFIXES[encoding]}{segment.value if segment else _COMBINED}"


def key_image_role(number: int) -> str:
    """Return the role of the n-th key image, from 1."""
    return f"{_PREFIXES[Form.KEY_IMAGES]}{number:03d}"


def presentation_state_role(segment: Segment) -> str:
    """Return the role of the Presentation State of a segment."""
    return f"{_PREFIXES[Form.PRESENTATION_STATE]}{segment.value}"


def form_of(role: str) -> Form:
    """Return the form that a role belongs to.

    Raises:
        ValueError: if it is no role.
    """
    fitting = [form for form, prefix in _PREFIXES.items() if role.startswith(prefix)]
    if not fitting:
        raise ValueError(f"{role} is the role of no result")
    return max(fitting, key=lambda form: len(_PREFIXES[form]))


def part_of(role: str) -> Segment | int | None:
    """Return which part of the findings a role shows: a segment, the number of a picture; None for all."""
    part = role.removeprefix(_PREFIXES[form_of(role)])
    if part in set(Segment):
        return Segment(part)
    return int(part) if part.isdigit() else None


def name_of(role: str) -> str:
    """Name a result as a person does: what kind, and of what."""
    form, part = form_of(role), part_of(role)
    if isinstance(part, Segment):
        return f"{NAMES[form]}, {part.label.lower()}"
    if form in ENCODINGS:
        return f"{NAMES[form]}, all segments"
    return NAMES[form] if part is None else f"{NAMES[form]} {part}"
