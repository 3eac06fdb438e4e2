"""Brings files to a destination by the protocol that it is reached with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.dicomweb import StowDestinationSettings, store
from node.outbound import SenderSettings
from node.send_outcome import SendOutcome
from node.sender import send
from node.settings import Destination


def deliver(paths: Sequence[Path], destination: Destination, settings: SenderSettings) -> list[SendOutcome]:
    """Deliver DICOM files and say for each what became of it, in their order."""
    if isinstance(destination, StowDestinationSettings):
        return store(paths, destination, settings)
    return send(paths, destination, settings)
