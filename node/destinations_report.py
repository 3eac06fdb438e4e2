"""Destinations and routes in words, for a person who checks a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node.commitment_desk import wants_commitment
from node.dicomweb import StowDestinationSettings
from node.results.forms import Form
from node.settings import Destination, NodeSettings


def describe_destinations(settings: NodeSettings) -> Iterator[str]:
    """Say of each destination what it gets, and of each route whom it leads where."""
    for name, each in settings.destinations.items():
        masks = f", masks {each.masks.value}" if each.choice.encoding else ""
        fallback = _listed(each.fallback) or "nothing"
        gets = f"{_listed(each.forms)}{masks}{_smaller(each)}"
        commits = ", and has to commit to it" if wants_commitment(each) else ""
        yield f"{name}: {each} gets {gets}{commits}; {fallback} instead of what it refuses"
    for number, route in enumerate(settings.routes, 1):
        yield f"route {number}: {route.conditions}: to {', '.join(route.destinations) or 'nobody'}"
    if settings.destinations:
        yield _without_route(settings)


def _without_route(settings: NodeSettings) -> str:
    """Say where results go that no route leads anywhere."""
    if settings.routes:
        return "else: back to the destination that sent the Study, or to all"
    if len(settings.destinations) == 1:
        return f"all results go to {', '.join(settings.destinations)}"
    return "results go back to the destination that sent the Study, or to all"


def _smaller(destination: Destination) -> str:
    """Say in which transfer syntaxes masks may go beside the uncompressed ones."""
    if isinstance(destination, StowDestinationSettings) or not destination.choice.encoding:
        return ""
    ways = [("deflated", destination.deflate), ("in RLE", destination.rle)]
    wanted = " or ".join(way for way, is_wanted in ways if is_wanted)
    return f", {wanted} where accepted" if wanted else ""


def _listed(forms: Iterable[Form]) -> str:
    return ", ".join(form.value for form in forms)
