"""What a DICOMweb server says of each Instance is what the node says of it."""

from __future__ import annotations

import base64
import gzip
import socket
import threading
import time
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError
from pydicom import dcmread
from pydicom.uid import SegmentationStorage

from node.deliveries import DeliveryState
from node.dicomweb import StowDestinationSettings, store
from node.outbound import SenderSettings
from tests.support.certificates import Authority
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import LOOPBACK, free_port, needs_orthanc, orthanc
from tests.support.web_servers import Answer, Request, web_server

SETTINGS = SenderSettings(connect_timeout_s=5, response_timeout_s=10)
UID = "00081155"


def results(folder: Path, count: int = 1) -> list[Path]:
    return [
        write_instance(folder, mr_dataset(number=number, sop_class=SegmentationStorage))
        for number in range(1, count + 1)
    ]


def at(url: str, **stow: object) -> StowDestinationSettings:
    return StowDestinationSettings.model_validate({"stow": {"url": url, **stow}})


def uid_in(request: Request) -> str:
    """Find the Instance in a request; the tests name a file by its UID."""
    _, part = request.body.split(b"\r\n\r\n", 1)
    return str(dcmread(BytesIO(part.rsplit(b"\r\n--", 1)[0])).SOPInstanceUID)


def listed(tag: str, uid: str, **more: float) -> dict[str, object]:
    reasons = {"FailureReason": "00081197", "WarningReason": "00081196"}
    item: dict[str, object] = {UID: {"vr": "UI", "Value": [uid]}}
    item |= {reasons[name]: {"vr": "US", "Value": [value]} for name, value in more.items()}
    return {tag: {"vr": "SQ", "Value": [item]}}


STORED, FAILED = "00081199", "00081198"


@pytest.mark.parametrize(
    ("answer", "state", "comment"),
    [
        pytest.param(lambda uid: Answer(200, listed(STORED, uid)), "delivered", "", id="stored"),
        pytest.param(
            lambda uid: Answer(200, listed(STORED, uid), "application/dicom+json; charset=utf-8"),
            "delivered", "", id="media-type-with-a-parameter",
        ),
        pytest.param(
            lambda uid: Answer(202, listed(STORED, uid, WarningReason=0xB000)),
            "warning", "0xB000 Warning Reason", id="stored-with-a-warning",
        ),
        pytest.param(
            lambda uid: Answer(409, listed(FAILED, uid, FailureReason=0xA700)),
            "failed", "0xA700 Failure Reason", id="out-of-resources",
        ),
        pytest.param(
            lambda uid: Answer(409, listed(FAILED, uid, FailureReason=0x0122)),
            "refused", "0x0122 Failure Reason: SOP Class not supported", id="sop-class-not-supported",
        ),
        pytest.param(
            lambda uid: Answer(200, listed(STORED, "1.2.3")),
            "failed", "HTTP 200, and the answer does not name the Instance", id="another-instance",
        ),
        pytest.param(
            lambda uid: Answer(200), "failed", "HTTP 200, and no answer in DICOM JSON", id="empty-answer"
        ),
        pytest.param(
            lambda uid: Answer(200, {STORED: {"vr": "UI", "Value": ["1.2"]}}),
            "failed", "HTTP 200, and no answer in DICOM JSON", id="a-sequence-that-is-none",
        ),
        pytest.param(
            lambda uid: Answer(409, {FAILED: {"vr": "LO", "Value": ["disk full"]}}),
            "failed", "HTTP 409, and no answer in DICOM JSON", id="failures-as-text",
        ),
        pytest.param(
            lambda uid: Answer(200, b'{"00081199":{"vr":"SQ","Value":[' * 5000),
            "failed", "HTTP 200, and no answer in DICOM JSON", id="nested-too-deep",
        ),
        pytest.param(
            lambda uid: Answer(409, listed(FAILED, uid, FailureReason=float("inf"))),
            "failed", "HTTP 409, and no answer in DICOM JSON", id="infinite-reason",
        ),
        pytest.param(
            lambda uid: Answer(200, listed(STORED, uid, WarningReason=10**20)),
            "failed", "HTTP 200, and no answer in DICOM JSON", id="reason-above-16-bit",
        ),
        pytest.param(lambda uid: Answer(302), "failed", "HTTP 302 Found", id="redirection"),
        pytest.param(lambda uid: Answer(401), "failed", "HTTP 401 Unauthorized", id="unauthorized"),
        pytest.param(
            lambda uid: Answer(503), "failed", "HTTP 503 Service Unavailable", id="not-available"
        ),
    ],
)  # fmt: skip
def test_answer_is_read_for_its_instance(tmp_path: Path, answer, state: str, comment: str) -> None:  # type: ignore[no-untyped-def]
    (path,) = results(tmp_path)
    with web_server(lambda request: answer(path.stem)) as server:
        (outcome,) = store([path], at(f"{server.url}/dicom-web/"), SETTINGS)
    assert (outcome.state, outcome.comment) == (DeliveryState(state), comment)
    (request,) = server.requests
    assert request.path == "/dicom-web/studies"
    assert request.headers["Accept"] == "application/dicom+json"
    assert path.read_bytes() in request.body, "byte for byte"
    assert b"Content-Type: application/dicom\r\n" in request.body
    assert uid_in(request) == path.stem


def test_each_instance_counts_by_its_own_answer(tmp_path: Path) -> None:
    paths = results(tmp_path, 3)

    def answer(request: Request) -> Answer:
        uid = uid_in(request)
        if uid == paths[1].stem:
            return Answer(409, listed(FAILED, uid, FailureReason=0xC000))
        return Answer(200, listed(STORED, uid))

    with web_server(answer) as server:
        outcomes = store(paths, at(server.url), SETTINGS)
    assert [outcome.state.value for outcome in outcomes] == ["delivered", "failed", "delivered"]


@pytest.mark.parametrize("status", [429, 503])
def test_server_that_asks_for_a_pause_is_left_alone(tmp_path: Path, status: int) -> None:
    paths = results(tmp_path, 3)

    def answer(request: Request) -> Answer:
        uid = uid_in(request)
        if uid == paths[0].stem:
            return Answer(200, listed(STORED, uid))
        return Answer(status, headers={"Retry-After": "120"})

    with web_server(answer) as server:
        outcomes = store(paths, at(server.url), SETTINGS)
    assert [outcome.path for outcome in outcomes] == paths
    assert [outcome.state.value for outcome in outcomes] == ["delivered", "failed", "failed"]
    assert [outcome.asked_pause_s for outcome in outcomes] == [None, 120, 120]
    assert outcomes[1].comment.endswith(", asks for a pause of 120 s")
    assert len(server.requests) == 2, "the third waits, too"


def test_nobody_at_the_port_and_unreadable_files_are_no_delivery(tmp_path: Path) -> None:
    (path,) = results(tmp_path)
    (tmp_path / "broken.dcm").write_text("not DICOM")
    outcomes = store([tmp_path / "broken.dcm", path], at(f"http://127.0.0.1:{free_port()}"), SETTINGS)
    assert [outcome.state.value for outcome in outcomes] == ["failed", "failed"]
    assert outcomes[1].comment == "cannot be reached: Connection refused"


def test_server_that_does_not_answer_is_said_to_be_silent_or_gone(tmp_path: Path) -> None:
    (path,) = results(tmp_path)
    with socket.create_server((LOOPBACK, 0)) as server:
        url = f"http://{LOOPBACK}:{server.getsockname()[1]}"
        (silent,) = store([path], at(url), SenderSettings(response_timeout_s=0.5))
        server.accept()[0].close()
        hangs_up = threading.Thread(target=lambda: server.accept()[0].close())
        hangs_up.start()
        (gone,) = store([path], at(url), SETTINGS)
        hangs_up.join()
    assert silent.comment == "gave no answer within 0.5 s"
    assert gone.comment in {
        "ended the connection without an answer",
        "cannot be reached: Connection reset by peer",
    }


def tokens(request: Request) -> Answer:
    wanted = base64.b64encode(b"node:s3cret").decode()
    asked = parse_qs(request.body.decode())
    allowed = request.headers.get("Authorization") == f"Basic {wanted}"
    if not allowed or asked["grant_type"] != ["client_credentials"]:
        return Answer(401, {"error": "invalid_client"}, "application/json")
    token = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 60, "scope": asked["scope"][0]}
    return Answer(200, token, "application/json")


@pytest.mark.parametrize(
    ("secret", "state", "comment"),
    [("s3cret", "delivered", ""), ("wrong", "failed", "no token from")],
)
def test_token_is_fetched_with_the_nodes_own_credentials(
    tmp_path: Path, secret: str, state: str, comment: str
) -> None:
    (path,) = results(tmp_path)
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("server")

    def archive(request: Request) -> Answer:
        allowed = request.headers.get("Authorization") == "Bearer t0ken"
        return Answer(200, listed(STORED, path.stem)) if allowed else Answer(401)

    with web_server(tokens, pair) as issuer, web_server(archive, pair) as server:
        oauth2 = {
            "token_url": f"{issuer.url}/token",
            "client_id": "node",
            "client_secret": secret,
            "scope": "dicom.write",
        }
        destination = at(server.url, oauth2=oauth2, ca=str(authority.path))
        (outcome,) = store([path], destination, SETTINGS)
    assert outcome.state.value == state
    assert comment in outcome.comment
    assert secret not in outcome.comment
    assert secret not in repr(destination)


def test_server_of_another_ca_of_the_same_name_gets_nothing(tmp_path: Path) -> None:
    (path,) = results(tmp_path)
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    with web_server(lambda _: Answer(200), theirs.issue("server")) as server:
        (outcome,) = store([path], at(server.url, ca=str(ours.path)), SETTINGS)
    assert outcome.state.value == "failed"
    assert outcome.comment == "TLS failed: its certificate is not signed by the trusted CA of that name"
    assert server.requests == []


@pytest.mark.parametrize(
    "stow",
    [
        {"url": "ftp://x"},
        {"url": "http://x", "certificate": "a.pem"},
        {
            "url": "http://x",
            "basic": {"user": "u", "password": "p"},
            "oauth2": {"token_url": "https://t", "client_id": "c", "client_secret": "s"},
        },
    ],
)
def test_settings_that_contradict_themselves_are_refused(stow: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StowDestinationSettings.model_validate({"stow": stow})


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param(b" " * 2**25, {}, id="long"),
        pytest.param(gzip.compress(b" " * 2**28), {"Content-Encoding": "gzip"}, id="compressed"),
    ],
)
def test_answer_without_end_is_not_read(tmp_path: Path, content: bytes, headers: dict[str, str]) -> None:
    with web_server(lambda _: Answer(200, content, headers=headers)) as server:
        (outcome,) = store(results(tmp_path), at(server.url), SETTINGS)
    assert (outcome.state, outcome.comment) == (DeliveryState.FAILED, "gave an answer of more than 16 MiB")


def test_answer_that_comes_a_byte_at_a_time_is_given_up(tmp_path: Path) -> None:
    def trickle() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(100_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.1)

    with socket.create_server((LOOPBACK, 0)) as listening:
        port = listening.getsockname()[1]
        server = threading.Thread(target=trickle)
        server.start()
        settings = SenderSettings(connect_timeout_s=5, response_timeout_s=1)
        (outcome,) = store(results(tmp_path), at(f"http://{LOOPBACK}:{port}"), settings)
        assert outcome.comment == "gave no answer within 1 s"
        server.join(15)


def test_secret_goes_to_no_other_server_than_it_is_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "hospital")
    with (
        web_server(
            lambda _: Answer(200, {"access_token": "x", "token_type": "Bearer"}), authority.issue("other")
        ) as other,
        web_server(
            lambda _: Answer(307, headers={"Location": other.url}), authority.issue("tokens")
        ) as tokens,
    ):
        oauth2 = {"token_url": tokens.url, "client_id": "node", "client_secret": "secret words"}
        there = at("https://127.0.0.1:1", oauth2=oauth2, ca=authority.path)
        (outcome,) = store(results(tmp_path), there, SETTINGS)
    assert other.requests == []
    assert outcome.comment == f"no token from {tokens.url}: TooManyRedirects"


@needs_orthanc
def test_orthanc_stores_for_a_user_with_a_password(tmp_path: Path) -> None:
    paths = results(tmp_path / "files", 2)
    secured = {"AuthenticationEnabled": True, "RegisteredUsers": {"node": "s3cret"}}
    with orthanc(tmp_path / "orthanc", dicomweb=True, secured=secured) as archive:
        url = f"http://127.0.0.1:{archive.http_port}/dicom-web"
        for password, expected in (("wrong", "failed"), ("s3cret", "delivered"), ("s3cret", "delivered")):
            basic = {"user": "node", "password": password}
            outcomes = store(paths, at(url, basic=basic), SETTINGS)
            assert [outcome.state.value for outcome in outcomes] == [expected] * 2, outcomes
