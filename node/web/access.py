"""Who may see the pages, and that a form was sent from a page of ours."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Depends, Form, HTTPException, Request, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from node.web.settings import WebSettings

log = structlog.get_logger(__name__)

COOKIE = "csvd_form"
"""Holds the token that each form repeats: another site can make a browser send it, but cannot read it."""

SIGN_ON_PAUSE_S = 1.0
"""Pause before an attempt to sign on is answered, s."""

MOST_WAITING = 32
"""Attempts that may wait at a time; each keeps a connection, of which probes and others need some."""

SIGNED_ON = "csvd_signed_on"
"""Holds the pass of a browser that signed on. Whichever process made it, it counts for all that show the
pages behind one address, until the password is changed."""

PASS_ROUNDS = 200_000
"""Rounds of PBKDF2 that make a password of a pass slow to guess."""

_basic = HTTPBasic(auto_error=False, realm="csvd-node")


class SignOn:
    """Asks for name and password where they are configured, and lets nobody guess fast.

    A browser that signed on goes on at once, whoever else guesses from its address, which behind a reverse
    proxy is that of all. Each other attempt is answered after a pause, a right one as well as a wrong one:
    else a guess would be known to be wrong as soon as its answer stays away. No thread waits. Where too many
    wait, those of the address with the most give way.

    Args:
        settings: name and password.
        refused: is told of each wrong attempt.
        pause_s: before the answer, s.
    """

    def __init__(
        self, settings: WebSettings, refused: Callable[[], None], pause_s: float = SIGN_ON_PAUSE_S
    ) -> None:
        self._settings, self._refused, self._pause_s = settings, refused, pause_s
        self._key = _key_of(settings)
        self._waiting: dict[str, list[asyncio.Event]] = {}

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
            raise _unknown("The pages ask for a name and a password (web.user, web.password)")
        is_right = _is_same(given, self._settings.user, password.get_secret_value())
        if is_right and self._is_pass(request.cookies.get(SIGNED_ON, "")):
            return
        address = request.client.host if request.client else ""
        await self._pause(address)
        if is_right:
            request.state.new_pass = self._make_pass(secrets.token_hex(16))
            return
        self._refused()
        # Neither of what was typed: a password stands in the field for the name now and then.
        log.warning("web.sign_on_refused", peer=address)
        raise _unknown("Wrong name or password")

    def _make_pass(self, nonce: str) -> str:
        return f"{nonce}.{hmac.digest(self._key, nonce.encode(), 'sha256').hex()}"

    def _is_pass(self, shown: str) -> bool:
        expected = self._make_pass(shown.partition(".")[0])
        return secrets.compare_digest(shown.encode(), expected.encode())

    async def _pause(self, address: str) -> None:
        """Wait for a while; the address with the most attempts has to make room for others.

        Raises:
            HTTPException: 429 where there is no room, or another address needs it.
        """
        if sum(map(len, self._waiting.values())) >= MOST_WAITING:
            most = max(self._waiting.values(), key=len)
            if len(most) <= len(self._waiting.get(address, ())) + 1:
                raise _too_many()
            most.pop().set()
        must_go = asyncio.Event()
        own = self._waiting.setdefault(address, [])
        own.append(must_go)
        try:
            await asyncio.wait_for(must_go.wait(), self._pause_s)
        except TimeoutError:
            return
        finally:
            if must_go in own:
                own.remove(must_go)
            if not own and self._waiting.get(address) is own:
                del self._waiting[address]
        raise _too_many()


def _key_of(settings: WebSettings) -> bytes:
    """Return the key of passes; all processes with the same name and password have the same."""
    if settings.password is None:
        return b""
    password = settings.password.get_secret_value().encode()
    return hashlib.pbkdf2_hmac("sha256", password, f"{SIGNED_ON}:{settings.user}".encode(), PASS_ROUNDS)


def keep_pass(request: Request, response: Response) -> None:
    """Give a browser that just signed on its pass."""
    if new_pass := getattr(request.state, "new_pass", None):
        response.set_cookie(SIGNED_ON, new_pass, httponly=True, samesite="lax")


def _unknown(said: str) -> HTTPException:
    return HTTPException(401, said, {"WWW-Authenticate": 'Basic realm="csvd-node"'})


def _too_many() -> HTTPException:
    return HTTPException(429, "Too many try to sign on at this moment; try again", {"Retry-After": "1"})


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
