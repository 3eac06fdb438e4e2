"""Who may see the pages, and that a form was sent from a page of ours."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Form, HTTPException, Request, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from node.web.settings import WebSettings

COOKIE = "csvd_form"
"""Holds the token that each form repeats: another site can make a browser send it, but can not read it."""

_basic = HTTPBasic(auto_error=False, realm="csvd-node")


def checked_user(settings: WebSettings) -> Callable[[HTTPBasicCredentials | None], None]:
    """Make the check that asks for name and password where they are configured."""

    def check(given: Annotated[HTTPBasicCredentials | None, Depends(_basic)]) -> None:
        if settings.password is None:
            return
        wanted = (settings.user, settings.password.get_secret_value())
        shown = (given.username, given.password) if given else ("", "")
        # Both are always compared, each in a time that does not depend on what was shown.
        are_right = [
            secrets.compare_digest(one.encode(), other.encode())
            for one, other in zip(shown, wanted, strict=True)
        ]
        if not all(are_right):
            raise HTTPException(
                401, "Wrong name or password", {"WWW-Authenticate": 'Basic realm="csvd-node"'}
            )

    return check


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
