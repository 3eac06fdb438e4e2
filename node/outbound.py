"""Associations with a destination: opened, or said why not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from pydantic import BaseModel, ConfigDict, Field
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext

from node.errors import AssociationFailedError, NoContextAcceptedError, TlsConfigurationError, words_of
from node.form_settings import FormSettings
from node.peer_sockets import Notes, PlainContext, tls_socket_of
from node.tls import DestinationTlsSettings, explain, load_client_files
from node.upper_layer import DEFAULT_MAXIMUM_PDU_BYTES, AeTitle, make_application_entity, prepare_socket


class DestinationSettings(FormSettings):
    """An AE that results are sent to with C-STORE."""

    ae_title: AeTitle = Field(description="AE title of the destination")
    host: str = Field(min_length=1, description="its host name or address")
    port: int = Field(ge=1, le=65535, description="its TCP port")
    deflate: bool = Field(
        default=False,
        description="send Segmentations deflated where the AE accepts that; not every viewer behind it "
        "inflates them",
    )
    rle: bool = Field(
        default=False,
        description="send fractional Segmentations and label maps in RLE Lossless where the AE accepts that, "
        "or deflated where it accepts both; binary ones are never sent that way, because few read them",
    )
    commitment: bool = Field(
        default=False,
        description="call a result delivered only once the AE took responsibility for it (Storage "
        "Commitment), not when it merely answered C-STORE with success; the AE must know where the receiver "
        "listens",
    )
    commitment_wait_s: float = Field(
        default=3600.0,
        ge=1,
        le=30 * 86400,
        description="seconds that the AE has to report on a commitment before it is asked again; twice as "
        "long each next time, until sender.retry.give_up_after_s",
    )
    tls: DestinationTlsSettings | None = Field(
        default=None, description="TLS with the destination; without it, plain DICOM"
    )

    @property
    def answers_to(self) -> str:
        """The AE title by which it would send a Study itself."""
        return self.ae_title

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


class RetrySettings(BaseModel):
    """How long and how often a delivery is tried that did not succeed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_pause_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="seconds before the second attempt; doubled before each next one",
    )
    longest_pause_s: float = Field(
        default=900.0, gt=0, le=86400, description="seconds that no pause between attempts exceeds"
    )
    give_up_after_s: float = Field(
        default=3 * 86400.0, gt=0, le=30 * 86400, description="seconds after which a delivery is given up"
    )


class SenderSettings(BaseModel):
    """Who sends, and how patiently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ae_title: AeTitle = Field(default="CSVD", description="AE title that the node calls destinations by")
    maximum_pdu_bytes: int = Field(
        default=DEFAULT_MAXIMUM_PDU_BYTES,
        ge=16 * 1024,
        le=16 * 1024 * 1024,
        description="longest PDU to accept, bytes; what is sent is bounded by the destination",
    )
    connect_timeout_s: float = Field(
        default=10.0, gt=0, le=600, description="seconds to wait for a connection"
    )
    acse_timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="seconds to wait for the messages that open and close associations",
    )
    response_timeout_s: float = Field(
        default=120.0, gt=0, le=3600, description="seconds to wait for the answer to one Instance"
    )
    retry: RetrySettings = Field(default=RetrySettings(), description="how failed deliveries are tried again")


@contextmanager
def open_association(
    contexts: list[PresentationContext],
    destination: DestinationSettings,
    settings: SenderSettings,
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Iterator[Association]:
    """Open an association for the length of a block, then release it.

    Args:
        contexts: what to propose.
        destination: where to.
        settings: who opens it, and how patiently.
        handlers: are told of what the destination asks in it.

    Raises:
        NoContextAcceptedError: if the destination accepts none of the contexts.
        AssociationFailedError: if it cannot be reached, does not answer or rejects the association.
    """
    entity = make_application_entity(settings.ae_title, settings.maximum_pdu_bytes)
    entity.connection_timeout = settings.connect_timeout_s
    entity.acse_timeout = settings.acse_timeout_s
    entity.dimse_timeout = settings.response_timeout_s
    entity.network_timeout = settings.response_timeout_s
    notes, began = Notes(settings.response_timeout_s), time.monotonic()
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=contexts,
            ae_title=destination.ae_title,
            max_pdu=settings.maximum_pdu_bytes,
            tls_args=_sockets_of(destination, notes),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_socket, [settings.response_timeout_s]),
                (evt.EVT_PDU_RECV, _note_rejection, [notes]),
                *handlers,
            ],
        )
    except TlsConfigurationError as exc:
        raise AssociationFailedError(str(destination), f"TLS failed: {exc}") from exc
    except OSError as exc:
        raise AssociationFailedError(str(destination), f"cannot be reached: {words_of(exc)}") from exc
    if not association.is_established:
        if association.rejected_contexts and not association.accepted_contexts:
            raise NoContextAcceptedError(str(destination))
        waited_s = time.monotonic() - began
        raise AssociationFailedError(str(destination), _why_not(settings, notes, waited_s))
    try:
        yield association
    finally:
        association.release()


def _sockets_of(destination: DestinationSettings, notes: Notes) -> tuple[ssl.SSLContext, str]:
    """Return what pynetdicom makes sockets with; anew each time: certificates may have been renewed."""
    tls = destination.tls
    if tls is None:
        return cast(ssl.SSLContext, PlainContext(notes)), destination.host
    context = load_client_files(tls.ca, tls.certificate, tls.key)
    context.sslsocket_class = tls_socket_of(notes)
    return context, tls.host_name or destination.host


def _note_rejection(event: evt.Event, notes: Notes) -> None:
    """Note a rejection as it arrives.

    pynetdicom forgets it where the destination closed the connection before the thread that asked for the
    association saw it open.
    """
    answer = event.pdu
    if not isinstance(answer, A_ASSOCIATE_RJ):
        return
    try:
        notes.rejection = answer.to_primitive().reason_str
    except ValueError:
        given = f"result {answer.result}, source {answer.source}, reason {answer.reason_diagnostic}"
        notes.rejection = f"{given}, which DICOM does not know"
        # pynetdicom's own thread would die of these, and the answer be waited for in vain.
        answer.result, answer.source, answer.reason_diagnostic = 2, 1, 1


def _why_not(settings: SenderSettings, notes: Notes, waited_s: float) -> str:
    """Say why there is no association."""
    if notes.tls is not None:
        return f"TLS failed: {explain(notes.tls)}"
    if isinstance(notes.unreachable, TimeoutError):
        return f"cannot be reached: no connection within {settings.connect_timeout_s:g} s"
    if notes.unreachable is not None:
        return f"cannot be reached: {words_of(notes.unreachable)}"
    if notes.rejection:
        return f"rejected the association: {notes.rejection}"
    if waited_s >= settings.acse_timeout_s:
        return f"did not answer the request for an association within {settings.acse_timeout_s:g} s"
    return "ended the connection instead of answering the request for an association"
