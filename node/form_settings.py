"""In which forms a destination gets results, and what it gets where it refuses them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from node.results.forms import ENCODINGS, Form, FormChoice, Masks


class FormSettings(BaseModel):
    """What every destination can choose, however it is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forms: tuple[Form, ...] = Field(
        default=(Form.BINARY, Form.REPORT),
        min_length=1,
        description="what it gets: at most one of binary, fractional and labelmap (SEG), and report (SR), "
        "key-images (Secondary Capture), pdf, presentation-state",
    )
    masks: Masks = Field(
        default=Masks.BOTH,
        description="SEG per-series, combined on the T2-FLAIR, or both",
    )
    fallback: tuple[Form, ...] = Field(
        default=(Form.KEY_IMAGES, Form.PDF),
        description="what it gets instead of a form that it refuses when an association is negotiated",
    )

    @field_validator("forms", "fallback")
    @classmethod
    def _one_encoding(cls, forms: tuple[Form, ...]) -> tuple[Form, ...]:
        encodings = [form.value for form in forms if form in ENCODINGS]
        if len(encodings) > 1:
            raise ValueError(f"choose one of {', '.join(encodings)}: a report can refer to one of them only")
        return forms

    @property
    def choice(self) -> FormChoice:
        """What it gets."""
        return FormChoice(frozenset(self.forms), self.masks)

    @property
    def fallback_choice(self) -> FormChoice:
        """What it gets instead, beside what it gets anyway."""
        return FormChoice(frozenset(self.fallback) - frozenset(self.forms), self.masks)
