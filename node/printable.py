"""Texts of others, made fit to be shown: peers and files choose their words."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what a terminal obeys, what looks like another line, and what turns the reading order."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
