"""Answers of HTTP servers, read only as far as one is worth reading, and only so long."""

from __future__ import annotations

import ssl
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

LONGEST_ANSWER_BYTES = 16 * 1024**2
"""Of an answer, decompressed: what became of an Instance is said in a kilobyte."""

_AT_A_TIME = 64 * 1024


class AnswerTooLongError(requests.RequestException):
    """A server says more than it was asked."""


class BoundedAdapter(HTTPAdapter):
    """Reads a whole answer at once, which must be there in time and not too long.

    requests itself reads any length, inflates what is compressed, and waits for each byte anew. From Python
    3.13 on it would also refuse certificates without all that RFC 5280 asks for, as hospitals issue them.

    Args:
        answer_within_s: time from the answer's head to its end, s.
    """

    def __init__(self, answer_within_s: float) -> None:
        self._answer_within_s = answer_within_s
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pool of connections: chain, host and dates of a certificate are judged, not its form."""
        context = create_urllib3_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        super().init_poolmanager(*arguments, ssl_context=context, **options)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request and read the answer.

        Raises:
            requests.RequestException: if there is none, it is too long, or too slow.
        """
        answer = super().send(*arguments, **options)
        try:
            # Where requests looks for the content before it reads.
            answer._content = self._read(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def _read(self, answer: requests.Response) -> bytes:
        until, content = time.monotonic() + self._answer_within_s, bytearray()
        try:
            while part := answer.raw.read1(_AT_A_TIME, decode_content=True):
                content += part
                if len(content) > LONGEST_ANSWER_BYTES:
                    raise AnswerTooLongError
                if time.monotonic() > until:
                    raise requests.ReadTimeout
        except ReadTimeoutError as error:
            raise requests.ReadTimeout from error
        except HTTPError as error:
            raise requests.ConnectionError(error) from error
        return bytes(content)
