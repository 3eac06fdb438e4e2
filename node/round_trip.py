"""Checks a DICOM peer as a sender sees it: C-ECHO, then C-STORE of an Instance made for this."""

from __future__ import annotations

import tempfile
from pathlib import Path

from node.deliveries import DeliveryState
from node.errors import AssociationFailedError
from node.outbound import DestinationSettings, SenderSettings
from node.round_trip_instance import round_trip_instance
from node.sender import echo, send


def check_peer(peer: DestinationSettings, settings: SenderSettings) -> None:
    """Send a C-ECHO, then the Instance; nothing is left to wish if it returns.

    Raises:
        AssociationFailedError: if the peer does not answer, does not know us, or does not take the Instance.
    """
    echo(peer, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance.dcm"
        round_trip_instance().save_as(path, enforce_file_format=True)
        (outcome,) = send([path], peer, settings)
    if outcome.state not in {DeliveryState.DELIVERED, DeliveryState.WARNING}:
        raise AssociationFailedError(str(peer), f"did not take the Instance: {outcome.comment}")
