"""Words and forms in which pages and terminal show values."""

from __future__ import annotations

from datetime import datetime

from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from engines.segments import SeriesType
from node.deliveries import Delivery, DeliveryState
from node.results import texts
from node.results.forms import NAMES, form_of, name_of

AWAITED = "sent, waiting for the archive's commitment"
"""Of what a destination has, and has not taken responsibility for."""

NOT_COMMITTED = "sent, the archive did not commit"
"""The same, once it is asked no more."""

_STATES = {
    DeliveryState.PENDING: "not tried yet",
    DeliveryState.SENT: AWAITED,
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.WARNING: "delivered, with a remark",
    DeliveryState.FAILED: "not delivered",
    DeliveryState.REFUSED: "not accepted by the destination",
    DeliveryState.REPLACED: "not accepted by the destination, another form sent instead",
}


def instances_in_words(count: int) -> str:
    """Say how many Instances there are."""
    return "1 Instance" if count == 1 else f"{count} Instances"


def kept_apart(count: int) -> str:
    """Say how many Instances came whose UIDs others had first."""
    return f"{instances_in_words(count)} came again with other content under the same UID; kept apart."


def clock(time: datetime | None) -> str:
    """Show a time in UTC to the second; a dash where there is none."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "–"


def delivery_state(delivery: Delivery) -> str:
    """Say what became of a delivery."""
    said = _STATES[delivery.state]
    if delivery.committed_at is not None:
        return f"{said}, committed at {clock(delivery.committed_at)} UTC"
    if delivery.state is DeliveryState.SENT and delivery.is_given_up:
        return f"{NOT_COMMITTED}, given up"
    is_given_up = delivery.is_given_up and delivery.state is not DeliveryState.REPLACED
    return f"{said}, given up" if is_given_up else said


def next_attempt(state: DeliveryState, attempts: int, time: datetime) -> str:
    """Say when a destination that was tried is tried again, or asked again for its commitment."""
    if state is DeliveryState.SENT:
        return f"asked again at {clock(time)} UTC"
    return f"attempt {attempts}; next at {clock(time)} UTC"


def delivered_form(delivery: Delivery) -> str:
    """Say what kind of result is delivered."""
    return NAMES[form_of(delivery.kind)]


def delivered_result(delivery: Delivery) -> str:
    """Say which result is delivered: what kind, and of what."""
    return name_of(delivery.kind)


def series_name(series_type: str) -> str:
    """Name a type of Series as radiologists do; a word that is no type stays as it is."""
    return SeriesType(series_type).label if series_type in set(SeriesType) else series_type


def dicom_status(status: int | None) -> str:
    """Show a C-STORE status with its meaning (PS3.4 B.2.3); a dash where there is none."""
    if status is None:
        return "–"
    kind, meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", "unknown status"))
    return f"{status:04X} {meaning or kind}"


def number(value: float | None, digits: int) -> str:
    """Show a number; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def volume(ml: float | None) -> str:
    """Show a volume, ml; a dash where there is none."""
    return "–" if ml is None else texts.volume(ml)
