"""Who may see the pages, and that a form was sent from a page of ours."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Depends, Form, HTTPException, Request, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from node.web.settings import WebSettings

log = structlog.get_logger(__name__)

COOKIE = "csvd_form"
"""Holds the token that each form repeats: another site can make a browser send it, but can not read it."""

SIGN_ON_PAUSE_S = 1.0
"""Pause before an attempt to sign on is answered, s."""

MOST_WAITING = 32
"""Attempts that may wait at a time; each keeps a connection, of which probes and others need some."""

MOST_SIGNED_ON = 1000
"""Addresses that are remembered to have signed on."""

_basic = HTTPBasic(auto_error=False, realm="csvd-node")


class SignOn:
    """Asks for name and password where they are configured, and lets nobody guess fast.

    Whoever signed on goes on at once. Each other attempt is answered after a pause, a right one as well as a
    wrong one: else a guess would be known to be wrong as soon as its answer stays away. No thread waits.

    Args:
        settings: name and password.
        refused: is told of each wrong attempt.
        pause_s: before the answer, s.
    """

    def __init__(
        self, settings: WebSettings, refused: Callable[[], None], pause_s: float = SIGN_ON_PAUSE_S
    ) -> None:
        self._settings, self._refused, self._pause_s = settings, refused, pause_s
        self._signed_on: set[str] = set()
        self._waiting = 0

    async def check(
        self, request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(_basic)]
    ) -> None:
        """Let the right one pass.

        Raises:
            HTTPException: 401 to others, 429 where too many attempts wait.
        """
        password = self._settings.password
        if password is None:
            return
        if given is None:
            raise _unknown()
        address = request.client.host if request.client else ""
        if address not in self._signed_on:
            await self._pause()
        if _is_same(given, self._settings.user, password.get_secret_value()):
            if len(self._signed_on) >= MOST_SIGNED_ON:
                self._signed_on.clear()
            self._signed_on.add(address)
            return
        self._signed_on.discard(address)
        self._refused()
        # Neither of what was typed: a password stands in the field for the name now and then.
        log.warning("web.sign_on_refused", peer=address)
        raise _unknown()

    async def _pause(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise HTTPException(
                429, "Too many try to sign on at this moment; try again", {"Retry-After": "1"}
            )
        self._waiting += 1
        try:
            await asyncio.sleep(self._pause_s)
        finally:
            self._waiting -= 1


def _unknown() -> HTTPException:
    return HTTPException(401, "Wrong name or password", {"WWW-Authenticate": 'Basic realm="csvd-node"'})


def _is_same(given: HTTPBasicCredentials, user: str, password: str) -> bool:
    # Both are always compared, each in a time that does not depend on what was shown.
    pairs = ((given.username, user), (given.password, password))
    are_same = [secrets.compare_digest(one.encode(), other.encode()) for one, other in pairs]
    return all(are_same)


def form_token(request: Request) -> str:
    """Return the token that the forms of an answer repeat: that of the cookie, or a new one."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(32)


def keep_token(response: Response, token: str) -> None:
    """Give the browser the token; it sends it only with requests that a page of ours makes."""
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict")


def check_token(request: Request, token: Annotated[str, Form(max_length=100)] = "") -> None:
    """Refuse a form that no page of ours made."""
    if not token or not secrets.compare_digest(token.encode(), request.cookies.get(COOKIE, "").encode()):
        raise HTTPException(403, "This form is not from a page of this node: go back and reload it")
