"""STOW-RS over TLS to Orthanc behind nginx: the CA is pinned, and the node shows its own certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.configuration import load_settings
from node.send_outcome import SendOutcome
from node.transport import deliver
from tests.support.certificates import Authority
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import Orthanc, needs_orthanc, orthanc
from tests.support.reverse_proxy import needs_nginx, reverse_proxy

pytestmark = [needs_orthanc, needs_nginx]


@dataclass(frozen=True)
class Hospital:
    """An archive, and what is known of it: its CA, and another that it does not trust."""

    archive: Orthanc
    authority: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    with orthanc(folder / "orthanc", dicomweb=True) as archive:
        yield Hospital(archive, Authority(folder / "ca"), Authority(folder / "stranger", "stranger"))


def delivered(url: str, folder: Path, path: Path, **stow: Path) -> SendOutcome:
    """Deliver a file to a destination that a configuration file names."""
    lines = [f"      {key}: {value}" for key, value in (("url", f"{url}/dicom-web"), *stow.items())]
    (folder / "node.yaml").write_text(
        "\n".join((f"root: {folder / 'data'}", "destinations:", "  archive:", "    stow:", *lines, ""))
    )
    settings = load_settings(folder / "node.yaml")
    (outcome,) = deliver([path], settings.destinations["archive"], settings.sender)
    return outcome


Stow = Callable[[Hospital], dict[str, Path]]


def shown(authority: Authority, name: str, days: float = 60) -> dict[str, Path]:
    pair = authority.issue(name, days=days)
    return {"certificate": pair.certificate, "key": pair.key}


@pytest.mark.parametrize(
    ("server", "stow", "comment"),
    [
        pytest.param({}, lambda of: {"ca": of.authority.path}, "", id="pinned"),
        pytest.param(
            {},
            lambda of: {"ca": of.stranger.path},
            "TLS failed: its certificate comes from a CA that is not trusted here",
            id="another-ca",
        ),
        pytest.param(
            {}, lambda _of: {}, "TLS failed: its certificate comes from a CA that is not trusted here",
            id="no-ca",
        ),
        pytest.param(
            {}, lambda _of: {"ca": Path("/no-such.pem")},
            "TLS failed: /no-such.pem cannot be read: No such file or directory", id="no-such-file",
        ),
        pytest.param(
            {"days": -1}, lambda of: {"ca": of.authority.path},
            "TLS failed: its certificate has expired", id="expired",
        ),
        pytest.param(
            {"host": "127.0.0.2"}, lambda of: {"ca": of.authority.path},
            "TLS failed: its certificate is for another address", id="another-address",
        ),
    ],
)  # fmt: skip
def test_server_is_believed_by_its_ca_alone(
    hospital: Hospital, tmp_path: Path, server: dict[str, object], stow: Stow, comment: str
) -> None:
    path = write_instance(tmp_path, mr_dataset(1, 1, 1))
    own = hospital.authority.issue("server", **server)  # type: ignore[arg-type]
    with reverse_proxy(tmp_path / "nginx", hospital.archive.http_port, own) as url:
        outcome = delivered(url, tmp_path, path, **stow(hospital))
    assert outcome.comment == comment
    assert outcome.state.has_arrived is (comment == "")


@pytest.mark.parametrize(
    ("stow", "comment"),
    [
        pytest.param(lambda of: shown(of.authority, "node"), "", id="certificate-of-the-hospital"),
        pytest.param(lambda _of: {}, "HTTP 400 Bad Request", id="no-certificate"),
        pytest.param(lambda of: shown(of.stranger, "node"), "HTTP 400 Bad Request", id="another-ca"),
        pytest.param(lambda of: shown(of.authority, "old", days=-1), "HTTP 400 Bad Request", id="expired"),
    ],
)
def test_node_shows_the_certificate_that_the_server_asks_for(
    hospital: Hospital, tmp_path: Path, stow: Stow, comment: str
) -> None:
    path = write_instance(tmp_path, mr_dataset(2, 2, 2))
    own, ca = hospital.authority.issue("server"), hospital.authority.path
    with reverse_proxy(tmp_path / "nginx", hospital.archive.http_port, own, ca) as url:
        outcome = delivered(url, tmp_path, path, ca=ca, **stow(hospital))
    assert outcome.comment == comment
    assert outcome.state.has_arrived is (comment == "")
    if outcome.state.has_arrived:
        (identifier,) = hospital.archive.post("/tools/lookup", path.stem.encode("ascii"))
        assert hospital.archive.get_bytes(f"/instances/{identifier['ID']}/file") == path.read_bytes()
