"""What a process says of itself to a probe."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry

from node.errors import IndexUnavailableError, WebUnavailableError
from node.health import Health, Strain
from node.web.application import make_application
from node.web.server import WebServer
from tests.support.peers import LOOPBACK


def ask(health: Health, probe: str) -> tuple[int, dict[str, object]]:
    with WebServer(make_application(health, CollectorRegistry()), LOOPBACK, 0) as server:
        answer = httpx.get(f"http://{LOOPBACK}:{server.port}/health/{probe}", timeout=30)
    return answer.status_code, answer.json()


def test_process_is_alive_and_not_started_while_a_part_is_being_opened() -> None:
    health = Health(["database", "engines"])
    health.opened("database")
    health.opening("engines", "the models are opened and proven")
    assert ask(health, "live")[0] == 200
    assert ask(health, "startup")[0] == 503
    code, said = ask(health, "ready")
    assert code == 503
    assert said == {
        "status": "not ready",
        "parts": {
            "database": {"state": "open", "reason": "open"},
            "engines": {"state": "opening", "reason": "the models are opened and proven"},
        },
    }


def test_process_is_ready_when_every_part_is_open() -> None:
    health = Health(["database"])
    health.opened("database", lambda: "postgresql answers")
    assert ask(health, "startup")[0] == 200
    assert ask(health, "ready") == (
        200,
        {"status": "ready", "parts": {"database": {"state": "open", "reason": "postgresql answers"}}},
    )


@pytest.mark.parametrize("error", [IndexUnavailableError("the index is gone"), OSError("the disk is gone")])
def test_part_that_broke_makes_the_process_unready_and_says_why(
    error: Exception,
) -> None:
    health = Health(["database"])

    def check() -> str:
        raise error

    health.opened("database", check)
    code, said = ask(health, "ready")
    assert code == 503
    assert said["parts"] == {"database": {"state": "broken", "reason": str(error)}}
    assert ask(health, "startup")[0] == 200
    assert ask(health, "live")[0] == 200


def test_part_under_strain_is_told_and_leaves_the_process_ready() -> None:
    health = Health(["receiver"])
    health.opened("receiver", lambda: Strain("new Studies are refused"))
    assert ask(health, "ready") == (
        200,
        {
            "status": "ready",
            "parts": {"receiver": {"state": "strained", "reason": "new Studies are refused"}},
        },
    )


def test_process_that_was_asked_to_stop_is_not_ready() -> None:
    health = Health(["database"])
    health.opened("database")
    health.stopping()
    assert ask(health, "ready")[0] == 503
    assert ask(health, "ready")[1]["status"] == "stopping"
    assert ask(health, "live")[0] == 200


def test_port_that_is_taken_is_named() -> None:
    application = make_application(Health(), CollectorRegistry())
    with (
        WebServer(application, LOOPBACK, 0) as first,
        pytest.raises(WebUnavailableError, match=f"{LOOPBACK}:{first.port}: Address already in use"),
        WebServer(make_application(Health(), CollectorRegistry()), LOOPBACK, first.port),
    ):
        pass
