"""Which Studies go first: rules over who sent them and what they are called."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field


class UrgentRule(BaseModel):
    """Studies that are evaluated before all others that wait; what is given must all match."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calling_ae: str = Field(
        default="*", min_length=1, description="AE title of the sender; * and ? stand for any text"
    )
    study_description: str = Field(
        default="*",
        min_length=1,
        description="Study Description (0008,1030), in any case; * and ? stand for any text",
    )

    def matches(self, calling_ae: str, study_description: str) -> bool:
        """Tell whether a Study that this AE sends and that is called so goes first."""
        return fnmatch.fnmatchcase(calling_ae, self.calling_ae) and fnmatch.fnmatchcase(
            study_description.casefold(), self.study_description.casefold()
        )


def is_urgent(rules: Iterable[UrgentRule], calling_ae: str, study_description: str) -> bool:
    """Tell whether any rule lets a Study go first."""
    return any(rule.matches(calling_ae, study_description) for rule in rules)
