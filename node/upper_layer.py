"""What receiver and sender share of the DICOM upper layer: its options, and what an AE title is."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import Field
from pynetdicom import AE, _config, evt

from node.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[!-\[\]-~]([ -\[\]-~]*[!-\[\]-~])?$")]
"""1 to 16 printable ASCII characters without backslash, no space at either end (PS3.5 6.2, VR AE)."""

DEFAULT_MAXIMUM_PDU_BYTES = 256 * 1024
"""Large enough that half a megabyte is two PDUs; the default of many peers, 16 KiB, makes 32 of it."""

# Options of the whole process in pynetdicom, set once here: no log text for every PDU that nobody reads, and
# files are sent as their bytes are, without decoding them.
_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_SEND_CHUNKED_DATASET = True


def make_application_entity(ae_title: str, maximum_pdu_bytes: int) -> AE:
    """Make an AE that says who it is the way the node does."""
    entity = AE(ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = maximum_pdu_bytes
    return entity


def prepare_socket(event: evt.Event, timeout_s: float) -> None:
    """Send small packets at once, and give up on a peer that stalls amid a PDU; for EVT_CONN_OPEN.

    Without TCP_NODELAY each object costs the 40 ms that the peer's kernel delays its acknowledgement. Without
    a timeout a read amid a PDU never ends: pynetdicom's own timers only watch between PDUs.
    """
    connection = socket_of(event)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout_s)


def socket_of(event: evt.Event) -> socket.socket | None:
    """Return the connection of the event's association, None once it is gone."""
    transport = event.assoc.dul.socket
    return None if transport is None else transport.socket
