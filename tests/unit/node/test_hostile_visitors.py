"""Whoever reaches the HTTP port keeps neither the receiver nor other visitors from it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from node.health import Health
from node.web import connections
from node.web.application import LONGEST_BODY_BYTES, make_application
from node.web.connections import MOST_CONNECTIONS
from node.web.server import WebServer
from tests.support.peers import LOOPBACK


@pytest.fixture
def port() -> Iterator[int]:
    with WebServer(make_application(Health(), CollectorRegistry()), LOOPBACK, 0) as server:
        yield server.port


def connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=20)


def is_alive(port: int) -> bool:
    return httpx.get(f"http://{LOOPBACK}:{port}/health/live", timeout=20).status_code == 200


def test_silent_connections_give_way(port: int) -> None:
    silent = [connect(port) for _ in range(MOST_CONNECTIONS + 5)]
    assert is_alive(port)
    for first in silent[:5]:
        assert first.recv(1) == b"", "those that waited longest gave way"
    for each in silent:
        each.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHo", id="half-a-request"),
        pytest.param(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", id="no-body"),
    ],
)
def test_connection_that_does_not_ask_in_time_is_closed(
    monkeypatch: pytest.MonkeyPatch, port: int, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    with connect(port) as visitor:
        visitor.sendall(sent)
        begin = time.monotonic()
        while visitor.recv(1000):
            pass
        assert time.monotonic() - begin < 5


def test_long_body_is_not_taken(port: int) -> None:
    url = f"http://{LOOPBACK}:{port}/health/live"
    assert httpx.post(url, content=b"a" * (LONGEST_BODY_BYTES + 1)).status_code == 413
    assert httpx.post(url, content=iter([b"a"])).status_code == 413, "its length is not said"
