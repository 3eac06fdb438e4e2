"""What the configuration's certificates are said to be."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from node.certificates import CertificateCollector, check_tls
from node.dicomweb import StowDestinationSettings, StowSettings
from node.errors import TlsConfigurationError
from node.outbound import DestinationSettings
from node.receiver_settings import ReceiverSettings
from node.settings import NodeSettings
from node.tls import DestinationTlsSettings, ReceiverTlsSettings
from tests.support.certificates import Authority


def settings_with(tls: ReceiverTlsSettings) -> NodeSettings:
    return NodeSettings(receiver=ReceiverSettings(tls=tls))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("days", "remark"),
    [(60, r"^$"), (5.5, r"expires in 5 days: renew it\.$"), (-1, r"expired on \d{4}-\d\d-\d\d\.$")],
)
def test_certificate_near_its_end_is_remarked_upon(authority: Authority, days: float, remark: str) -> None:
    own = authority.issue("node", days=days)
    tls = ReceiverTlsSettings(certificate=own.certificate, key=own.key, ca=authority.path)
    found, ca = check_tls(settings_with(tls))
    now = datetime.now(UTC)
    assert abs(found.expires_at - now - timedelta(days=days)) < timedelta(minutes=1)
    assert re.search(remark, found.remark(now))
    assert (found.use, found.part, found.path) == ("receiver", "certificate", own.certificate)
    assert (ca.use, ca.part, ca.path) == ("receiver", "CA", authority.path)
    assert ca.remark(ca.expires_at - timedelta(days=2)).startswith("The CA of the receiver (")


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("certificate", "must be a PEM certificate and its private key without a password"),
        ("key", "must be a PEM certificate and its private key without a password"),
        ("ca", "holds no PEM certificate of a CA"),
    ],
)
def test_file_that_is_missing_or_damaged_is_named(authority: Authority, broken: str, problem: str) -> None:
    own = authority.issue("node")
    files = {"certificate": own.certificate, "key": own.key, "ca": authority.path}
    tls = ReceiverTlsSettings(**files)
    files[broken].write_text("nothing of the kind")
    with pytest.raises(TlsConfigurationError, match=rf"^receiver\.tls: .*{files[broken].name}.*{problem}"):
        check_tls(settings_with(tls))
    files[broken].unlink()
    with pytest.raises(TlsConfigurationError, match=f"{files[broken].name} cannot be read: No such file"):
        check_tls(settings_with(tls))


def test_destinations_certificate_is_checked_and_exported(authority: Authority) -> None:
    own = authority.issue("node", days=10)
    tls = DestinationTlsSettings(ca=authority.path, certificate=own.certificate, key=own.key)
    pacs = DestinationSettings(ae_title="PACS", host="pacs", port=2762, tls=tls)
    settings = NodeSettings(destinations={"pacs": pacs})
    collector = CertificateCollector(settings)

    def exported() -> dict[tuple[str, str], float]:
        (family,) = collector.collect()
        return {(each.labels["use"], each.labels["part"]): each.value for each in family.samples}

    def days_left() -> float:
        return (exported()["destination pacs", "certificate"] - datetime.now(UTC).timestamp()) / 86400

    own_end, ca_end = (each.expires_at.timestamp() for each in check_tls(settings))
    assert exported() == {
        ("destination pacs", "certificate"): own_end,
        ("destination pacs", "CA"): ca_end,
    }
    assert days_left() == pytest.approx(10, abs=0.01)
    renewed = authority.issue("renewed", days=300)
    renewed.certificate.replace(own.certificate)
    assert days_left() == pytest.approx(300, abs=0.01), "a renewed file is seen without a restart"
    own.certificate.unlink()
    assert exported() == {("destination pacs", "certificate"): 0, ("destination pacs", "CA"): ca_end}


def test_of_several_cas_the_first_to_expire_counts(authority: Authority) -> None:
    old = authority.issue("old", days=3).certificate
    own = authority.issue("node", days=300)
    # A certificate behind the own one leads to its CA; its end is the CA's affair.
    own.certificate.write_bytes(own.certificate.read_bytes() + old.read_bytes())
    authority.path.write_bytes(authority.path.read_bytes() + old.read_bytes())
    tls = ReceiverTlsSettings(certificate=own.certificate, key=own.key, ca=authority.path)
    shown, checked_by = check_tls(settings_with(tls))
    now = datetime.now(UTC)
    assert (shown.expires_at - now).days >= 299
    assert (checked_by.expires_at - now).days == 2


def test_certificate_for_a_dicomweb_server_is_checked_and_exported(authority: Authority) -> None:
    own = authority.issue("node", days=10)
    stow = StowSettings(
        url="https://archive/dicom-web", ca=authority.path, certificate=own.certificate, key=own.key
    )
    settings = NodeSettings(destinations={"archive": StowDestinationSettings(stow=stow)})
    found, ca = check_tls(settings)
    assert (found.use, found.path) == ("destination archive", own.certificate)
    assert (ca.part, ca.path) == ("CA", authority.path)
    authority.path.unlink()
    with pytest.raises(
        TlsConfigurationError, match=r"^destinations\.archive\.stow: .*ca\.pem cannot be read"
    ):
        check_tls(settings)


def test_settings_that_can_not_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="ca is needed"):
        ReceiverTlsSettings(certificate=tmp_path, key=tmp_path)
    with pytest.raises(ValidationError, match="certificate and key belong together"):
        DestinationTlsSettings(ca=tmp_path, certificate=tmp_path)
