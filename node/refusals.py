"""What a destination gets instead of the forms that it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.deliveries import Delivery, DeliveryState
from node.form_settings import FormSettings
from node.outcomes import Outcome
from node.results.forms import Form, form_of


@dataclass(frozen=True, slots=True)
class Replacement:
    """The fallback for one refused Instance: what is sent instead, and what is said of it."""

    instances: tuple[str, ...]
    comment: str


def replacement_of(
    refused: Delivery,
    comment: str,
    destination: FormSettings,
    outcome: Outcome,
    queued: Sequence[Delivery],
    also_refused: Iterable[str] = (),
) -> Replacement | None:
    """Say what a destination gets instead of an Instance that it refuses; None if nothing.

    A form of the fallback itself is replaced by its other forms, as long as one of them is not refused.

    Args:
        refused: the Instance.
        comment: how it was refused.
        destination: its settings.
        outcome: what was made.
        queued: all deliveries of the evaluation to this destination.
        also_refused: SOP Instance UIDs that were refused in the same attempt.
    """
    fallback = destination.fallback_choice
    roles = fallback.wanted(outcome.instances)
    gone = {*also_refused, *(one.sop_instance_uid for one in queued if one.state in _REFUSED)}
    if form_of(refused.kind) in fallback.forms:
        roles = [role for role in roles if outcome.instances[role] not in gone]
    if not roles:
        return None
    forms = dict.fromkeys(form_of(role) for role in roles)
    return Replacement(
        tuple(outcome.instances[role] for role in roles), f"{comment}; {_listed(forms)} sent instead"
    )


_REFUSED = (DeliveryState.REFUSED, DeliveryState.REPLACED)


def _listed(forms: Iterable[Form]) -> str:
    return " and ".join(form.value.replace("-", " ") for form in forms)
