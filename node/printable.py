"""Texts of others, made fit to be shown: peers and files choose their words."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Escape what a terminal obeys, what looks like another line, and what turns the reading order."""
    if text.isprintable():
        return text
    return "".join(sign if _is_shown(sign) else sign.encode("unicode_escape").decode() for sign in text)


def _is_shown(sign: str) -> bool:
    """Whether a sign is a letter, or a space of any script: words of Japanese texts lie between wide ones."""
    return sign.isprintable() or unicodedata.category(sign) == "Zs"
