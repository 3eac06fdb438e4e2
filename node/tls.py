"""TLS for DICOM by the BCP 195 profile of the Standard, with certificates that may be renewed while it runs.

Source: DICOM PS3.15 B.12, BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile: TLS 1.2 or 1.3.
"""

from __future__ import annotations

import ssl
import threading
from enum import StrEnum
from pathlib import Path
from socket import socket

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.local_path import LocalPath
from node.errors import TlsConfigurationError, words_of

log = structlog.get_logger(__name__)

TLS12_SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
"""The cipher suites that RFC 9325 4.2 recommends for TLS 1.2; those of TLS 1.3 are all allowed."""


class ClientCertificate(StrEnum):
    """Whether a sender must show a certificate."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


_VERIFY = {
    ClientCertificate.REQUIRED: ssl.CERT_REQUIRED,
    ClientCertificate.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificate.NONE: ssl.CERT_NONE,
}


class ReceiverTlsSettings(BaseModel):
    """The certificate that the receiver shows, and which certificates it asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: LocalPath = Field(
        description="PEM file of the receiver's certificate and those between it and its CA"
    )
    key: LocalPath = Field(description="PEM file of its private key, without a password")
    ca: LocalPath | None = Field(
        default=None, description="PEM file of the CAs that senders' certificates come from"
    )
    client_certificate: ClientCertificate = Field(
        default=ClientCertificate.REQUIRED,
        description="whether a sender must show a certificate: required, optional or none",
    )

    @model_validator(mode="after")
    def _has_ca(self) -> ReceiverTlsSettings:
        if self.ca is None and self.client_certificate is not ClientCertificate.NONE:
            raise ValueError("ca is needed to check senders' certificates; or set client_certificate: none")
        return self


class DestinationTlsSettings(BaseModel):
    """Which certificate a destination must show, and which one it is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: LocalPath = Field(description="PEM file of the CAs that the destination's certificate may come from")
    certificate: LocalPath | None = Field(
        default=None, description="PEM file of the certificate that the destination is shown, if it asks"
    )
    key: LocalPath | None = Field(default=None, description="PEM file of its private key, without a password")
    host_name: str = Field(
        default="", description="name in the destination's certificate, where that is not its host"
    )

    @model_validator(mode="after")
    def _certificate_has_key(self) -> DestinationTlsSettings:
        if (self.certificate is None) is not (self.key is None):
            raise ValueError("certificate and key belong together: give both or none")
        return self


class ServerContext:
    """Stands for an ``ssl.SSLContext`` and takes up certificates that were renewed, for each new connection.

    The handshake is left to the thread of the association: within ``accept`` one silent peer would hold up
    all others.

    Args:
        settings: the receiver's certificate, and which ones it asks for.
        socket_class: of the connections.

    Raises:
        TlsConfigurationError: if the files cannot be used.
    """

    def __init__(self, settings: ReceiverTlsSettings, socket_class: type[ssl.SSLSocket]) -> None:
        self._settings, self._socket_class, self._lock = settings, socket_class, threading.Lock()
        self._seen = self._state()
        self._context = self._load()

    def wrap_socket(self, sock: socket, *, server_side: bool) -> ssl.SSLSocket:
        """Wrap an accepted connection, without the handshake."""
        return self._current().wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)

    def _current(self) -> ssl.SSLContext:
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._reload()
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = server_context(self._settings)
        context.sslsocket_class = self._socket_class
        return context

    def _reload(self) -> None:
        try:
            self._context = self._load()
            log.info("tls.certificate_renewed", certificate=str(self._settings.certificate))
        except TlsConfigurationError as error:
            log.error("tls.renewed_certificate_unusable", reason=str(error))  # noqa: TRY400 - says it all

    def _state(self) -> tuple[tuple[int, int], ...]:
        paths = (self._settings.certificate, self._settings.key, self._settings.ca)
        return tuple(_stamp(path) for path in paths if path is not None)


def server_context(settings: ReceiverTlsSettings) -> ssl.SSLContext:
    """Make the receiver's side of TLS.

    Raises:
        TlsConfigurationError: if the files cannot be used.
    """
    context = _bound(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    # A ticket would let a peer in again after its certificate expired.
    context.num_tickets = 0
    context.verify_mode = _VERIFY[settings.client_certificate]
    _load_own(context, settings.certificate, settings.key)
    if settings.ca is not None:
        _load_ca(context, settings.ca)
    return context


def load_client_files(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Load what our side of TLS believes and shows, as far as it is named.

    Raises:
        TlsConfigurationError: if a file cannot be used.
    """
    context = _bound(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if ca is not None:
        _load_ca(context, ca)
    if certificate is not None and key is not None:
        _load_own(context, certificate, key)
    return context


def _bound(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        _read(path)
    try:
        # An empty password fails at once where OpenSSL would ask at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise TlsConfigurationError(f"{key} is not the private key of {certificate}") from exc
        raise TlsConfigurationError(
            f"{certificate} and {key} must be a PEM certificate and its private key without a password"
        ) from exc


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    _read(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as exc:
        raise TlsConfigurationError(f"{ca} holds no PEM certificate of a CA") from exc


def _read(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as exc:
        raise TlsConfigurationError(f"{path} cannot be read: {words_of(exc)}") from exc


def _stamp(path: Path) -> tuple[int, int]:
    """Tell a file's version; secrets in Kubernetes change by a link to another inode."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_ino, found.st_mtime_ns


_VERIFICATION = {
    7: "is not signed by the trusted CA of that name",
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself",
    19: "comes from a CA that is not trusted here",
    20: "comes from a CA that is not trusted here",
    21: "comes from a CA that is not trusted here",
    23: "was revoked",
    62: "is for another host name",
    64: "is for another address",
}
"""What OpenSSL's verification codes mean (X509_V_ERR_...)."""

_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks HTTP",
    "NO_SHARED_CIPHER": "it offers no cipher suite of BCP 195",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS of version 1.2 or 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it takes no TLS of version 1.2 or 1.3",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours, and none is configured",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it wants another certificate, or there is no common cipher suite",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the CA of our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "it does not let our certificate in",
    "UNEXPECTED_EOF_WHILE_READING": "it ended the connection amid the handshake",
}
"""What OpenSSL's reasons mean, told of the peer."""


def explain(error: OSError) -> str:
    """Say why TLS with a peer failed, in words that follow "TLS failed: "."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = _VERIFICATION.get(error.verify_code, f"is not accepted: {error.verify_message}")
        return f"its certificate {said}"
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", f"OpenSSL says {error.reason}")
    if isinstance(error, TimeoutError):
        return "it did not finish the handshake in time"
    return f"it ended the connection amid the handshake ({error.strerror or type(error).__name__})"
