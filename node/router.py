"""Applies the configured routes to one Study, and says in which forms its results are wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from engines.segments import Segment
from node.results.forms import DEFAULT_CHOICE, FormChoice
from node.routing import SegmentCount, StudyFacts, choose_destinations
from node.settings import NodeSettings
from node.study_facts import Descriptions


class Router:
    """Where the results of one Study go.

    Args:
        settings: destinations and routes.
        calling_aes: who sent the Study.
        described: its modalities and descriptions.
    """

    def __init__(self, settings: NodeSettings, calling_aes: Collection[str], described: Descriptions) -> None:
        self._settings, self._calling_aes, self._described = settings, calling_aes, described

    def destinations(self, findings: Mapping[Segment, SegmentCount]) -> dict[str, str]:
        """Return why each destination was chosen, by its name."""
        facts = StudyFacts(self._calling_aes, self._described.modalities, self._described.texts, findings)
        ae_titles = {name: each.answers_to for name, each in self._settings.destinations.items()}
        return choose_destinations(facts, self._settings.routes, ae_titles)

    def choices(self, destinations: Collection[str]) -> set[FormChoice]:
        """Return the forms that these destinations want; the usual ones without any.

        Of what they may fall back to, only pictures can be made once they are needed; the rest is made now.
        """
        wanted = [self._settings.destinations[name] for name in destinations]
        choices = {each.choice for each in wanted}
        choices |= {each.fallback_choice.without_pictures for each in wanted}
        return {choice for choice in choices if choice.forms} or {DEFAULT_CHOICE}
