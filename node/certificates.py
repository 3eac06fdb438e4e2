"""The node's own certificates: which there are, and until when they are good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from node.dicomweb import StowDestinationSettings
from node.errors import TlsConfigurationError
from node.outbound import DestinationSettings
from node.settings import NodeSettings
from node.tls import client_context, load_client_files, server_context

SOON_DAYS = 30
"""A certificate that expires within this time is to be renewed now."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate that the node shows to others.

    Attributes:
        use: "receiver", or "destination" and its name.
        path: its file.
        expires_at: the end of its validity.
    """

    use: str
    path: Path
    expires_at: datetime

    def remark(self, now: datetime) -> str:
        """Say how long it is still good; empty where that is long."""
        if now >= self.expires_at:
            return f"The certificate of the {self.use} ({self.path}) expired on {self.expires_at:%Y-%m-%d}."
        left = (self.expires_at - now).days
        if left >= SOON_DAYS:
            return ""
        return f"The certificate of the {self.use} ({self.path}) expires in {left} days: renew it."


def own_certificates(settings: NodeSettings) -> list[OwnCertificate]:
    """Read the certificates that the configuration names.

    Raises:
        TlsConfigurationError: if one can not be read.
    """
    return [OwnCertificate(use, path, _expiry(path)) for use, path in _named(settings)]


def check_tls(settings: NodeSettings) -> list[OwnCertificate]:
    """Try out everything that TLS needs: the files are there, fit together, and hold what they should.

    Returns: the node's own certificates.

    Raises:
        TlsConfigurationError: if that is not so; names the setting and the file.
    """
    if settings.receiver.tls is not None:
        with _named_as("receiver.tls"):
            server_context(settings.receiver.tls)
    for name, destination in settings.destinations.items():
        if isinstance(destination, DestinationSettings) and destination.tls is not None:
            with _named_as(f"destinations.{name}.tls"):
                client_context(destination.tls, [])
        elif isinstance(destination, StowDestinationSettings):
            stow = destination.stow
            with _named_as(f"destinations.{name}.stow"):
                load_client_files(stow.ca, stow.certificate, stow.key)
    return own_certificates(settings)


class CertificateCollector(Collector):
    """Exports until when the node's own certificates are good; reads the files anew, as they are renewed."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give the end of each one's validity."""
        family = GaugeMetricFamily(
            "csvd_certificate_expiry_timestamp_seconds",
            "When a certificate that the node shows expires, seconds since 1970",
            labels=("use",),
        )
        for use, path in _named(self._settings):
            try:
                family.add_metric((use,), _expiry(path).timestamp())
            except TlsConfigurationError:
                # One that can not be read is as bad as one that expired long ago.
                family.add_metric((use,), 0)
        yield family


@contextlib.contextmanager
def _named_as(setting: str) -> Iterator[None]:
    try:
        yield
    except TlsConfigurationError as exc:
        raise TlsConfigurationError(f"{setting}: {exc}") from exc


def _named(settings: NodeSettings) -> Iterator[tuple[str, Path]]:
    if settings.receiver.tls is not None:
        yield "receiver", settings.receiver.tls.certificate
    for name, destination in settings.destinations.items():
        tls = destination.tls if isinstance(destination, DestinationSettings) else destination.stow
        if tls is not None and tls.certificate is not None:
            yield f"destination {name}", tls.certificate


def _expiry(path: Path) -> datetime:
    try:
        own, *_ = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as exc:
        raise TlsConfigurationError(f"{path} can not be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise TlsConfigurationError(f"{path} holds no PEM certificate") from exc
    return own.not_valid_after_utc
