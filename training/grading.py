"""Grades I to IV of a reader's result on a case."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Bound = Annotated[float, Field(gt=0, lt=1)]


class Grade(StrEnum):
    """I is the best."""

    I = "I"  # noqa: E741 - the papers' numerals
    II = "II"
    III = "III"
    IV = "IV"

    @property
    def number(self) -> int:
        """1 for I to 4 for IV."""
        return list(Grade).index(self) + 1


class GradedScore(StrEnum):
    """What is graded."""

    DICE = "dice"
    LESION_F1 = "lesion_f1"
    PRECISION = "precision"
    RECALL = "recall"


class GradeRule(BaseModel):
    """From which score on a case has grade I, II and III; below the last it has grade IV.

    The papers tell of grades I to IV, but the rule by which they were given is in none of the public
    texts that were at hand (abstracts and tables of Duan et al. 2020 and Shan et al. 2021). The default
    is therefore this project's own: quarters of Dice. Who knows the papers' rule, or has the grades of
    experts, writes it into ``study.yaml`` or these into ``grades.csv``.

    Attributes:
        score: of the case, against the reference.
        bounds: least score of grades I, II and III.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: GradedScore = GradedScore.DICE
    bounds: tuple[Bound, Bound, Bound] = (0.75, 0.5, 0.25)

    @model_validator(mode="after")
    def _bounds_fall(self) -> Self:
        if not self.bounds[0] > self.bounds[1] > self.bounds[2]:
            raise ValueError("bounds: each grade's least score must be below that of the better grade")
        return self

    def grade(self, score: float) -> Grade:
        """Return the grade of a score between 0 and 1."""
        return next(
            (grade for grade, bound in zip(Grade, self.bounds, strict=False) if score >= bound), Grade.IV
        )
