"""Words and forms in which the pages show values."""

from __future__ import annotations

from datetime import datetime

from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node.deliveries import Delivery, DeliveryState

_STATES = {
    DeliveryState.PENDING: "not tried yet",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.WARNING: "delivered, with a remark",
    DeliveryState.FAILED: "not delivered",
    DeliveryState.REFUSED: "not accepted by the destination",
    DeliveryState.REPLACED: "not accepted by the destination, another form sent instead",
}


def clock(time: datetime | None) -> str:
    """Show a time in UTC to the second; a dash where there is none."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "–"


def delivery_state(delivery: Delivery) -> str:
    """Say what became of a delivery."""
    said = _STATES.get(delivery.state, delivery.state.value)
    is_given_up = delivery.is_given_up and delivery.state is not DeliveryState.REPLACED
    return f"{said}, given up" if is_given_up else said


def dicom_status(status: int | None) -> str:
    """Show a C-STORE status with its meaning (PS3.4 B.2.3); a dash where there is none."""
    if status is None:
        return "–"
    kind, meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", "unknown status"))
    return f"{status:04X} {meaning or kind}"


def number(value: float | None, digits: int) -> str:
    """Show a number; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
