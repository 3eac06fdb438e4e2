"""Says why an HTTP server gave no answer, without the errors' own texts, which quote the request."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.client import RemoteDisconnected

import requests

from node.http_answers import LONGEST_ANSWER_BYTES, AnswerTooLongError
from node.outbound import SenderSettings
from node.tls import explain


def why_no_answer(error: Exception, settings: SenderSettings) -> str:
    """Say why a request came to nothing.

    Args:
        error: what requests raised.
        settings: how long was waited.
    """
    if isinstance(error, requests.exceptions.SSLError):
        found = next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)
        return f"TLS failed: {explain(found or OSError(type(error).__name__))}"
    if isinstance(error, requests.ConnectTimeout):
        return f"cannot be reached: no connection within {settings.connect_timeout_s:g} s"
    if isinstance(error, requests.Timeout):
        return f"gave no answer within {settings.response_timeout_s:g} s"
    if isinstance(error, AnswerTooLongError):
        return f"gave an answer of more than {LONGEST_ANSWER_BYTES // 1024**2} MiB"
    if any(isinstance(each, RemoteDisconnected) for each in _chain(error)):
        return "ended the connection without an answer"
    said = (each.strerror for each in _chain(error) if isinstance(each, OSError) and each.strerror)
    return f"cannot be reached: {next(said, type(error).__name__)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that requests and urllib3 have wrapped in it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
