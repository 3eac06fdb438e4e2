"""Which destinations the results of a Study go to, and why; no files, no clock."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from engines.findings import StudyFindings
from engines.segments import Segment


class RouteSettings(BaseModel):
    """Where the results of a Study go; a condition that is not named holds for every Study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calling_ae: str = Field(
        default="*", min_length=1, description="AE title of the sender; * and ? stand for any text"
    )
    modality: str = Field(default="*", min_length=1, description="modality of any Series of the Study")
    description: str = Field(
        default="*",
        min_length=1,
        description="Study or any Series Description, in any case; * and ? stand for any text",
    )
    lesions: dict[Segment, int] = Field(
        default_factory=dict,
        description="least number of lesions of a segment; one that was not assessed never fulfils it",
    )
    volume_ml: dict[Segment, float] = Field(
        default_factory=dict, description="least volume of a segment, ml; not assessed never fulfils it"
    )
    destinations: tuple[str, ...] = Field(description="names of destinations; none keeps the results here")

    @property
    def conditions(self) -> str:
        """The conditions in words."""
        said = [
            f"{name} {wanted}"
            for name, wanted in (
                ("calling AE", self.calling_ae),
                ("modality", self.modality),
                ("description", self.description),
            )
            if wanted != "*"
        ]
        said += [f"at least {count} {segment.value}" for segment, count in self.lesions.items()]
        said += [f"at least {volume:g} ml {segment.value}" for segment, volume in self.volume_ml.items()]
        return ", ".join(said) or "every Study"


class SegmentCount(BaseModel):
    """What was found of an assessed segment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lesions: int
    volume_ml: float


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What routes ask about a Study.

    Attributes:
        calling_aes: AE titles that sent it.
        modalities: of its Series.
        descriptions: Study Description and each Series Description.
        findings: of each assessed segment; one that was not assessed is absent.
    """

    calling_aes: Collection[str]
    modalities: Collection[str]
    descriptions: Collection[str]
    findings: Mapping[Segment, SegmentCount]


def count_findings(findings: StudyFindings) -> dict[Segment, SegmentCount]:
    """Count the lesions of each assessed segment."""
    return {
        found.segment: SegmentCount(lesions=len(found.lesions), volume_ml=found.volume_ml)
        for found in findings.findings
    }


def choose_destinations(
    facts: StudyFacts, routes: Sequence[RouteSettings], ae_titles: Mapping[str, str]
) -> dict[str, str]:
    """Choose for each sender by the first route that holds; without one, results go back to the sender.

    Args:
        facts: of the Study.
        routes: as configured.
        ae_titles: of each destination, by its name, in the configured order; empty where it has none.

    Returns: why each destination was chosen, by its name, in the configured order.
    """
    chosen: dict[str, str] = {}
    for sender in sorted(facts.calling_aes):
        for name, reason in _for_sender(sender, facts, routes, ae_titles):
            chosen.setdefault(name, reason)
    return {name: chosen[name] for name in ae_titles if name in chosen}


def _for_sender(
    sender: str, facts: StudyFacts, routes: Sequence[RouteSettings], ae_titles: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    for number, route in enumerate(routes, 1):
        if _holds(route, sender, facts):
            return [(name, f"route {number} ({route.conditions})") for name in route.destinations]
    own = [name for name, ae_title in ae_titles.items() if ae_title == sender]
    if own:
        return [(name, f"{sender} sent the Study") for name in own]
    reason = f"{'no route holds, and ' if routes else ''}{_else(sender, ae_titles)}"
    return [(name, reason) for name in ae_titles]


def _else(sender: str, destinations: Collection[str]) -> str:
    """Say why results go where no route leads, and not back to their sender."""
    if len(destinations) == 1:
        return "it is the only destination"
    return f"{sender} is none of the destinations: they go to all"


def _holds(route: RouteSettings, sender: str, facts: StudyFacts) -> bool:
    return (
        fnmatch.fnmatchcase(sender, route.calling_ae)
        and _any_matches(facts.modalities, route.modality)
        and _any_matches(facts.descriptions, route.description)
        and all(
            segment in facts.findings and facts.findings[segment].lesions >= least
            for segment, least in route.lesions.items()
        )
        and all(
            segment in facts.findings and facts.findings[segment].volume_ml >= least
            for segment, least in route.volume_ml.items()
        )
    )


def _any_matches(texts: Collection[str], pattern: str) -> bool:
    if pattern == "*":
        return True
    return any(fnmatch.fnmatchcase(text.casefold(), pattern.casefold()) for text in texts)
