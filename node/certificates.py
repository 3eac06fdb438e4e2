"""The configured certificates: which there are, and until when they are good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from node.dicomweb import StowSettings
from node.errors import TlsConfigurationError, words_of
from node.outbound import DestinationSettings
from node.settings import Destination, NodeSettings
from node.tls import (
    DestinationTlsSettings,
    ReceiverTlsSettings,
    load_client_files,
    server_context,
)

SOON_DAYS = 30
"""A certificate that expires within this time is to be renewed now."""


class Part(StrEnum):
    """What a certificate is for: shown to others, or what they are checked by."""

    CERTIFICATE = "certificate"
    CA = "CA"


@dataclass(frozen=True, slots=True)
class ConfiguredCertificate:
    """A file of certificates that the configuration names.

    Attributes:
        use: "receiver", or "destination" and its name.
        part: whether the node shows it, or checks others by it.
        path: its file.
        expires_at: the end of its validity; of several CAs the first end.
    """

    use: str
    part: Part
    path: Path
    expires_at: datetime

    def remark(self, now: datetime) -> str:
        """Say how long it is still good; empty where that is long."""
        what = f"The {self.part} of the {self.use} ({self.path})"
        if now >= self.expires_at:
            return f"{what} expired on {self.expires_at:%Y-%m-%d}."
        left = (self.expires_at - now).days
        return f"{what} expires in {left} days: renew it." if left < SOON_DAYS else ""


def configured_certificates(settings: NodeSettings) -> list[ConfiguredCertificate]:
    """Read the certificates that the configuration names.

    Raises:
        TlsConfigurationError: if one cannot be read.
    """
    return [
        ConfiguredCertificate(use, part, path, _expiry(part, path)) for use, part, path in _named(settings)
    ]


def check_tls(settings: NodeSettings) -> list[ConfiguredCertificate]:
    """Try out everything that TLS needs: the files are there, fit together, and hold what they should.

    Returns: what the configuration names.

    Raises:
        TlsConfigurationError: if that is not so; names the setting and the file.
    """
    if settings.receiver.tls is not None:
        with _named_as("receiver.tls"):
            server_context(settings.receiver.tls)
    for name, destination in settings.destinations.items():
        section, files = _files_of(destination)
        if files is not None:
            with _named_as(f"destinations.{name}.{section}"):
                load_client_files(files.ca, files.certificate, files.key)
    return configured_certificates(settings)


class CertificateCollector(Collector):
    """Exports until when the configured certificates are good; reads the files anew, as they are renewed."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give the end of each one's validity."""
        family = GaugeMetricFamily(
            "csvd_certificate_expiry_timestamp_seconds",
            "When a configured certificate expires, seconds since 1970",
            labels=("use", "part"),
        )
        for use, part, path in _named(self._settings):
            try:
                family.add_metric((use, part), _expiry(part, path).timestamp())
            except TlsConfigurationError:
                # One that cannot be read is as bad as one that expired long ago.
                family.add_metric((use, part), 0)
        yield family


@contextlib.contextmanager
def _named_as(setting: str) -> Iterator[None]:
    try:
        yield
    except TlsConfigurationError as exc:
        raise TlsConfigurationError(f"{setting}: {exc}") from exc


def _named(settings: NodeSettings) -> Iterator[tuple[str, Part, Path]]:
    for use, tls in _used(settings):
        if tls is None:
            continue
        for part, path in ((Part.CERTIFICATE, tls.certificate), (Part.CA, tls.ca)):
            if path is not None:
                yield use, part, path


def _used(
    settings: NodeSettings,
) -> Iterator[tuple[str, ReceiverTlsSettings | DestinationTlsSettings | StowSettings | None]]:
    yield "receiver", settings.receiver.tls
    for name, destination in settings.destinations.items():
        _, files = _files_of(destination)
        yield f"destination {name}", files


def _files_of(destination: Destination) -> tuple[str, DestinationTlsSettings | StowSettings | None]:
    """Return the section of a destination that names its TLS files, by name and as it is."""
    if isinstance(destination, DestinationSettings):
        return "tls", destination.tls
    return "stow", destination.stow


def _expiry(part: Part, path: Path) -> datetime:
    """Return the end of a certificate, the first in its file, or of the CA that ends first."""
    try:
        own, *chain = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as exc:
        raise TlsConfigurationError(f"{path} cannot be read: {words_of(exc)}") from exc
    except ValueError as exc:
        raise TlsConfigurationError(f"{path} holds no PEM certificate") from exc
    counted = [own, *chain] if part is Part.CA else [own]
    return min(each.not_valid_after_utc for each in counted)
