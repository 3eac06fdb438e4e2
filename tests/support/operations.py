"""What the documents tell people to type, so that tests can do it as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def section(document: str, *headings: str) -> str:
    """Return what stands below a heading, or below one within another, up to the next of its rank."""
    text = f"\n{(DOCS / document).read_text(encoding='utf-8')}"
    for rank, heading in enumerate(headings, 2):
        _, found, below = text.partition(f"\n{'#' * rank} {heading}\n")
        assert found, f"docs/{document} has no {heading}"
        text = re.split(rf"\n#{{2,{rank}}} ", below)[0]
    return text


def blocks(text: str) -> list[str]:
    """Return the indented blocks of a text, without their indent; blank lines within a block belong to it."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text + "\n", re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]
