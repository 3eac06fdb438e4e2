"""A small receiving AE that stands for the PACS in the demonstration: it keeps what it is sent."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import ThreadedAssociationServer

from node.sop_classes import CREATED_SOP_CLASSES, VERIFICATION

SUCCESS = 0x0000

ACCEPTED: tuple[UID, ...] = (*CREATED_SOP_CLASSES, VERIFICATION)
"""SOP Classes of what the node sends."""


class StandInPacs:
    """A Storage SCP on loopback that writes every object it receives into one folder.

    Attributes:
        folder: where the objects go, as ``<SOP Instance UID>.dcm``.
        ae_title: what it answers to.
    """

    def __init__(self, folder: Path, ae_title: str) -> None:
        self.folder, self.ae_title = folder, ae_title
        folder.mkdir(parents=True, exist_ok=True)
        application = AE(ae_title=ae_title)
        for sop_class in ACCEPTED:
            application.add_supported_context(sop_class)
        server = application.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)]
        )
        self._server = cast(ThreadedAssociationServer, server)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return int(self._server.server_address[1])

    def received(self) -> list[Path]:
        """List what has arrived, by name."""
        return sorted(self.folder.glob("*.dcm"))

    def _keep(self, event: evt.Event) -> int:
        uid = cast(C_STORE, event.request).AffectedSOPInstanceUID
        part = self.folder / f"{uid}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(self.folder / f"{uid}.dcm")
        return SUCCESS
