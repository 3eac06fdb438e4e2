"""Stores Instances over DICOMweb (STOW-RS) and says for each what became of it.

requests speaks HTTP and requests-oauthlib fetches tokens. dicomweb-client is not used because it drops the
answer with status 409, which alone says which Instance was refused and why.

Source: PS3.18 10.5 (Store transaction), I.2 (response), RFC 6749 4.4 (client credentials), RFC 2387.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
import structlog
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydicom import Dataset
from requests_oauthlib import OAuth2Session

from engines.local_path import LocalPath
from node.deliveries import DeliveryState
from node.errors import AssociationFailedError, TlsConfigurationError, UnreadableDatasetError, words_of
from node.form_settings import FormSettings
from node.http_answers import BoundedAdapter
from node.http_faults import why_no_answer
from node.outbound import SenderSettings
from node.part10 import read_part10
from node.retry_after import pause_asked_for
from node.send_outcome import SendOutcome
from node.tls import load_client_files

log = structlog.get_logger(__name__)

SOP_CLASS_NOT_SUPPORTED = 0x0122
"""Failure Reason of what a negotiation would have refused (PS3.18 I.2.2, Table I.2-2)."""

PART = "application/dicom"
"""Media type of an Instance in a request; its transfer syntax stands in the file itself."""

ANSWER = "application/dicom+json"
"""Media type of the answer that is asked for."""

ANSWERED = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)
"""Statuses whose body says of each Instance what became of it: all stored, some, none."""


class BasicSettings(BaseModel):
    """A user and a password."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(min_length=1, description="name of the user")
    password: SecretStr = Field(description="password of the user")


class OAuth2Settings(BaseModel):
    """A client that fetches a token by its own credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_url: str = Field(pattern="^https?://", description="where tokens are issued")
    client_id: str = Field(min_length=1, description="identifier of this node there")
    client_secret: SecretStr = Field(description="secret of this node there")
    scope: str = Field(default="", description="scopes to ask for, separated by spaces")


class StowSettings(BaseModel):
    """A DICOMweb server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern="^https?://", description="URL of the service, without /studies")
    ca: LocalPath | None = Field(
        default=None, description="PEM file of the CAs that may have signed the server's certificate"
    )
    certificate: LocalPath | None = Field(default=None, description="PEM file of the node's certificate")
    key: LocalPath | None = Field(
        default=None, description="PEM file of the certificate's key, without password"
    )
    basic: BasicSettings | None = Field(default=None, description="HTTP basic authentication")
    oauth2: OAuth2Settings | None = Field(default=None, description="OAuth 2.0 client credentials")

    @model_validator(mode="after")
    def _is_consistent(self) -> StowSettings:
        if self.basic and self.oauth2:
            raise ValueError("choose basic or oauth2")
        if (self.certificate is None) is not (self.key is None):
            raise ValueError("a certificate needs its key, and a key its certificate")
        return self


class StowDestinationSettings(FormSettings):
    """A DICOMweb server that results are sent to with STOW-RS."""

    stow: StowSettings = Field(description="the DICOMweb server, instead of ae_title, host and port")

    @model_validator(mode="before")
    @classmethod
    def _commits_to_nothing(cls, values: Any) -> Any:
        if isinstance(values, dict) and "commitment" in values:
            raise ValueError("commitment is for destinations with ae_title, host and port; STOW-RS has none")
        return values

    @property
    def answers_to(self) -> str:
        """The AE title by which it would send a Study itself: it has none."""
        return ""

    def __str__(self) -> str:
        return f"STOW-RS {self.stow.url}"


def store(
    paths: Sequence[Path], destination: StowDestinationSettings, settings: SenderSettings
) -> list[SendOutcome]:
    """Store DICOM files, each in a request of its own, and return their outcomes in the same order.

    A server that asks for a pause gets it: what was not sent yet waits with what was.

    Args:
        paths: Part 10 files; each goes as its bytes are.
        destination: where to.
        settings: how patiently.
    """
    outcomes: list[SendOutcome] = []
    try:
        with _session(destination, settings) as session:
            for path in paths:
                outcomes += [_store_one(path, session, destination, settings)]
                if outcomes[-1].asked_pause_s is not None:
                    break
    except AssociationFailedError as error:
        log.warning("sender.association_failed", destination=error.destination, reason=error.reason)
        left = paths[len(outcomes) :]
        outcomes += [SendOutcome(path, DeliveryState.FAILED, comment=error.reason) for path in left]
    return outcomes + [replace(outcomes[-1], path=path) for path in paths[len(outcomes) :]]


@contextmanager
def _session(destination: StowDestinationSettings, settings: SenderSettings) -> Iterator[requests.Session]:
    """Open a session with its credentials.

    Raises:
        AssociationFailedError: if no token is issued, or a file that TLS needs cannot be used.
    """
    stow = destination.stow
    try:
        # requests would name the file, too, but only once a request is made.
        load_client_files(stow.ca, stow.certificate, stow.key)
    except TlsConfigurationError as error:
        raise AssociationFailedError(str(destination), f"TLS failed: {error}") from error
    session = requests.Session() if stow.oauth2 is None else _with_token(stow.oauth2.client_id)
    with session:
        # Neither proxies nor passwords from the environment: what is configured here is all there is.
        session.trust_env = False
        # Not even where a token is asked for: the secret would go along.
        session.max_redirects = 0
        for scheme in ("https://", "http://"):
            session.mount(scheme, BoundedAdapter(settings.response_timeout_s))
        session.verify = str(stow.ca) if stow.ca else True
        if stow.certificate and stow.key:
            session.cert = (str(stow.certificate), str(stow.key))
        if stow.basic:
            session.auth = (stow.basic.user, stow.basic.password.get_secret_value())
        if stow.oauth2 and isinstance(session, OAuth2Session):
            _fetch_token(session, stow.oauth2, destination, settings)
        yield session


def _with_token(client_id: str) -> OAuth2Session:
    return OAuth2Session(client=BackendApplicationClient(client_id=client_id))


def _fetch_token(
    session: OAuth2Session,
    oauth2: OAuth2Settings,
    destination: StowDestinationSettings,
    settings: SenderSettings,
) -> None:
    try:
        session.fetch_token(
            oauth2.token_url,
            client_id=oauth2.client_id,
            client_secret=oauth2.client_secret.get_secret_value(),
            scope=oauth2.scope.split() or None,
            timeout=settings.response_timeout_s,
        )
    except (OAuth2Error, requests.RequestException, ValueError) as error:
        # The error may quote the request, which holds the secret.
        problem = f"no token from {oauth2.token_url}: {type(error).__name__}"
        raise AssociationFailedError(str(destination), problem) from None


def _store_one(
    path: Path, session: requests.Session, destination: StowDestinationSettings, settings: SenderSettings
) -> SendOutcome:
    try:
        header = read_part10(path).header
        content = path.read_bytes()
    except (UnreadableDatasetError, OSError) as error:
        reason = words_of(error) if isinstance(error, OSError) else str(error)
        return SendOutcome(path, DeliveryState.FAILED, comment=f"cannot be read: {reason}")
    boundary = uuid4().hex
    try:
        answer = session.post(
            f"{destination.stow.url.rstrip('/')}/studies",
            data=_related(content, boundary),
            headers={
                "Content-Type": f'multipart/related; type="{PART}"; boundary={boundary}',
                "Accept": ANSWER,
            },
            timeout=(settings.connect_timeout_s, settings.response_timeout_s),
            allow_redirects=False,
        )
    except (requests.RequestException, OAuth2Error) as error:
        raise AssociationFailedError(str(destination), why_no_answer(error, settings)) from None
    return _outcome(path, header.sop_instance_uid, header.transfer_syntax_uid, answer)


def _related(content: bytes, boundary: str) -> bytes:
    """Return a multipart/related message with the file as its only part.

    The file itself names its transfer syntax. Orthanc drops a part whose media type
    names it, too, and answers 200.
    """
    head = f"--{boundary}\r\nContent-Type: {PART}\r\n\r\n"
    return head.encode("ascii") + content + f"\r\n--{boundary}--\r\n".encode("ascii")


def _outcome(
    path: Path, sop_instance_uid: str, transfer_syntax_uid: str, answer: requests.Response
) -> SendOutcome:
    """Read what became of an Instance; it was stored only if the answer names it among what was stored."""
    if answer.status_code not in ANSWERED:
        return _unanswered(path, answer)
    try:
        return _named(path, sop_instance_uid, transfer_syntax_uid, answer)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        # JSON that is no data set, or one whose elements are of other types than the Standard's.
        said = f"HTTP {answer.status_code}, and no answer in DICOM JSON"
        return SendOutcome(path, DeliveryState.FAILED, comment=said)


def _unanswered(path: Path, answer: requests.Response) -> SendOutcome:
    """Say what the server answered instead, and how long it asks for a pause."""
    pause_s = pause_asked_for(answer.status_code, answer.headers, datetime.now(UTC))
    comment = _in_words(answer.status_code)
    if pause_s is not None:
        comment = f"{comment}, asks for a pause of {pause_s:.0f} s"
    return SendOutcome(path, DeliveryState.FAILED, comment=comment, asked_pause_s=pause_s)


def _named(
    path: Path, sop_instance_uid: str, transfer_syntax_uid: str, answer: requests.Response
) -> SendOutcome:
    """Find the Instance among what was stored or failed; raises nearly anything if it is no such answer."""
    told = Dataset.from_json(answer.json())
    for item in told.get("FailedSOPSequence") or ():
        if item.get("ReferencedSOPInstanceUID") == sop_instance_uid:
            return _failed(path, _reason(item.get("FailureReason")))
    for item in told.get("ReferencedSOPSequence") or ():
        if item.get("ReferencedSOPInstanceUID") == sop_instance_uid:
            return _stored(path, _reason(item.get("WarningReason")), transfer_syntax_uid)
    said = f"HTTP {answer.status_code}, and the answer does not name the Instance"
    return SendOutcome(path, DeliveryState.FAILED, comment=said)


def _reason(value: object) -> int:
    """Return a Failure or Warning Reason, a 16 bit number; 0 where there is none.

    Raises:
        ValueError: if it is none; the index could not hold every number that JSON can.
    """
    reason = int(str(value or 0))
    if not 0 <= reason <= 0xFFFF:
        raise ValueError("no reason of 16 bit")
    return reason


def _in_words(status_code: int) -> str:
    """Name an HTTP status as the protocol does: the server's own phrase may quote anything."""
    try:
        return f"HTTP {status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        return f"HTTP {status_code}"


def _failed(path: Path, reason: int) -> SendOutcome:
    comment = f"0x{reason:04X} Failure Reason"
    if reason == SOP_CLASS_NOT_SUPPORTED:
        return SendOutcome(path, DeliveryState.REFUSED, reason, f"{comment}: SOP Class not supported")
    return SendOutcome(path, DeliveryState.FAILED, reason, comment)


def _stored(path: Path, warning: int, transfer_syntax_uid: str) -> SendOutcome:
    if not warning:
        return SendOutcome(path, DeliveryState.DELIVERED, 0, "", transfer_syntax_uid)
    comment = f"0x{warning:04X} Warning Reason"
    return SendOutcome(path, DeliveryState.WARNING, warning, comment, transfer_syntax_uid)
