"""DICOM over TLS between the node and DCMTK, in both directions: what is wrong is turned away, by name."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from node.errors import AssociationFailedError, TlsConfigurationError
from node.outbound import DestinationSettings, SenderSettings
from node.sender import echo
from node.tls import DestinationTlsSettings
from tests.support.certificates import Authority, KeyPair
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import LOOPBACK, echoscu, needs_dcmtk, storescp, storescu, wait_until
from tests.support.receiving import ReceivingNode, receiving_node

pytestmark = needs_dcmtk

SENDER = SenderSettings(acse_timeout_s=10, connect_timeout_s=5, response_timeout_s=10)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def server_options(authority: Authority, **changes: object) -> dict[str, object]:
    own = authority.issue("receiver")
    return {"certificate": own.certificate, "key": own.key, "ca": authority.path, **changes}


def shown(pair: KeyPair, ca: Path) -> tuple[str, ...]:
    """Options with which DCMTK shows a certificate and trusts a CA."""
    return ("+tls", str(pair.key), str(pair.certificate), "+cf", str(ca))


@pytest.fixture(scope="module")
def node(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceivingNode]:
    folder = tmp_path_factory.mktemp("node")
    with receiving_node(folder, tls=server_options(authority), acse_timeout_s=5) as running:
        yield running


def test_instance_comes_in_over_tls(node: ReceivingNode, authority: Authority, tmp_path: Path) -> None:
    path = write_instance(tmp_path, mr_dataset(1, 1, 1))
    sent = storescu(node.port, [path], *shown(authority.issue("scanner"), authority.path))
    assert sent.returncode == 0, sent.stderr
    assert len(node.stored()) == 1


def anonymous(authority: Authority, stranger: Authority) -> tuple[str, ...]:
    return ("+tla", "+cf", str(authority.path))


def expired(authority: Authority, stranger: Authority) -> tuple[str, ...]:
    return shown(authority.issue("old", days=-1), authority.path)


def not_yet_valid(authority: Authority, stranger: Authority) -> tuple[str, ...]:
    return shown(authority.issue("new", begins_days=1), authority.path)


def of_another_ca(authority: Authority, stranger: Authority) -> tuple[str, ...]:
    return shown(stranger.issue("foreign"), authority.path)


def without_tls(authority: Authority, stranger: Authority) -> tuple[str, ...]:
    return ()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (anonymous, "it showed no certificate"),
        (expired, "its certificate has expired"),
        (not_yet_valid, "its certificate is not valid yet"),
        (of_another_ca, "its certificate comes from a CA that is not trusted here"),
        (without_tls, "it does not speak TLS"),
    ],
)
def test_sender_with_the_wrong_certificate_is_turned_away(
    node: ReceivingNode, authority: Authority, stranger: Authority, options: object, reason: str
) -> None:
    assert callable(options)
    with capture_logs() as logs:
        said = echoscu(node.port, *options(authority, stranger))
        wait_until(lambda: any(each["event"] == "receiver.tls_failed" for each in logs), 20, "it is logged")
    assert said.returncode != 0
    (entry,) = [each for each in logs if each["event"] == "receiver.tls_failed"]
    assert entry["reason"] == f"TLS with a sender failed: {reason}."
    assert entry["peer"] == LOOPBACK


def test_sender_needs_no_certificate_where_none_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    options = server_options(authority, ca=None, client_certificate="none")
    with receiving_node(tmp_path, tls=options) as open_node:
        assert echoscu(open_node.port, "+tla", "+cf", str(authority.path)).returncode == 0


def test_peer_that_says_nothing_holds_up_no_other(node: ReceivingNode, authority: Authority) -> None:
    with socket.create_connection((LOOPBACK, node.port)):
        said = echoscu(node.port, *shown(authority.issue("scanner"), authority.path))
    assert said.returncode == 0, said.stderr


def test_old_versions_of_tls_are_refused(node: ReceivingNode, authority: Authority) -> None:
    pair = authority.issue("scanner")
    command = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{node.port}", "-tls1_1"]
    options = ["-cert", str(pair.certificate), "-key", str(pair.key), "-cipher", "DEFAULT@SECLEVEL=0"]
    old = subprocess.run([*command, *options], input=b"", capture_output=True, timeout=30, check=False)
    assert b"alert protocol version" in old.stderr


def test_renewed_certificate_is_shown_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    options = server_options(authority)
    with receiving_node(tmp_path, tls=options) as running:
        before = _certificate_at(running.port, authority)
        renewed = authority.issue("receiver")
        assert _certificate_at(running.port, authority) == renewed.certificate.read_text()
        assert before != renewed.certificate.read_text()
        renewed.key.write_text("damaged")
        assert _certificate_at(running.port, authority) == renewed.certificate.read_text(), (
            "the last good one"
        )


def _certificate_at(port: int, authority: Authority) -> str:
    pair = authority.issue("visitor")
    context = ssl.create_default_context(cafile=authority.path)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(pair.certificate, pair.key)
    with (
        socket.create_connection((LOOPBACK, port)) as plain,
        context.wrap_socket(plain, server_hostname=LOOPBACK) as secure,
    ):
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")


def destination(
    port: int, authority: Authority, own: KeyPair | None, **changes: object
) -> DestinationSettings:
    tls = DestinationTlsSettings(
        ca=authority.path,
        certificate=own.certificate if own else None,
        key=own.key if own else None,
        **changes,
    )
    return DestinationSettings(ae_title="STORESCP", host=LOOPBACK, port=port, tls=tls)


def test_destination_is_reached_over_tls(authority: Authority, tmp_path: Path) -> None:
    with storescp(tmp_path, *shown(authority.issue("pacs"), authority.path)) as pacs:
        echo(destination(pacs.port, authority, authority.issue("node")), SENDER)


def test_destination_may_bear_another_name_by_choice(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("elsewhere", host="pacs.hospital.example")
    with storescp(tmp_path, *shown(pair, authority.path)) as pacs:
        own = authority.issue("node")
        echo(destination(pacs.port, authority, own, host_name="pacs.hospital.example"), SENDER)


@pytest.mark.parametrize(
    ("pacs_shows", "node_shows", "reason"),
    [
        pytest.param("expired", "right", "its certificate has expired", id="expired"),
        pytest.param("foreign", "right", "its certificate comes from a CA that is not trusted here", id="ca"),
        pytest.param("elsewhere", "right", "its certificate is for another ", id="host-name"),
        pytest.param("right", "nothing", "it asks for a certificate of ours", id="no-certificate"),
        pytest.param("right", "foreign", "it does not trust the CA of our certificate", id="our-ca"),
        pytest.param("right", "expired", "it says that our certificate has expired", id="ours-expired"),
    ],
)
def test_destination_with_the_wrong_certificate_gets_nothing(
    authority: Authority,
    stranger: Authority,
    tmp_path: Path,
    pacs_shows: str,
    node_shows: str,
    reason: str,
) -> None:
    made = {
        "right": authority.issue("right"),
        "expired": authority.issue("expired", days=-1),
        "foreign": stranger.issue("foreign"),
        "elsewhere": authority.issue("elsewhere", host="pacs.hospital.example"),
    }
    with storescp(tmp_path, *shown(made[pacs_shows], authority.path)) as pacs:
        there = destination(pacs.port, authority, made.get(node_shows))
        with pytest.raises(AssociationFailedError, match=f"TLS failed: {reason}"):
            echo(there, SENDER)


def test_destination_without_tls_is_named(authority: Authority, tmp_path: Path) -> None:
    with (
        storescp(tmp_path) as pacs,
        pytest.raises(AssociationFailedError, match="TLS failed: it ended the connection amid the handshake"),
    ):
        echo(destination(pacs.port, authority, None), SENDER)


def test_files_that_do_not_fit_together_are_named(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    options = server_options(authority, certificate=one.certificate, key=other.key)
    with (
        pytest.raises(
            TlsConfigurationError, match=f"{other.key} is not the private key of {one.certificate}"
        ),
        receiving_node(tmp_path, tls=options),
    ):
        pass
