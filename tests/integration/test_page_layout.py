"""The pages in a browser: on a screen and on a telephone nothing lies out of sight or is hard to read."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.health import Health, Strain
from tests.support.arrivals import STUDY_UID, at
from tests.support.series_files import uid_from
from tests.support.shown_pages import Shown
from tests.viewer.site import FOLDER, NODE, viewer_installed

pytestmark = pytest.mark.skipif(
    not viewer_installed(), reason="`make viewer-tools` installs Node.js and what drives the browser"
)

SCREEN, TELEPHONE = 1280, 360
"""Widths, CSS pixels."""

LEAST_CONTRAST = 4.5
"""Of text that is not large (WCAG 2.2, 1.4.3)."""

REASON = (
    f"Study {uid_from('study', 2)}: PatientID of DWI b1000 is not that of T2-FLAIR: no results, since they "
    "would be filed under one of two patients"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An index of its own; pages are the same on both databases."""
    with contextlib.closing(Database(f"sqlite:///{tmp_path}/index.db")) as opened:
        yield opened


def filled(tmp_path: Path, database: Database) -> Shown:
    """One Study came to one destination and not to others, one failed for a long reason, one waits."""
    shown, deliveries = Shown(tmp_path, database), Deliveries(database)
    (evaluation,) = shown.evaluations.of_study(STUDY_UID)
    refused = "no presentation context accepted for Segmentation Storage; key images and pdf sent instead"
    for destination, state, status, comment in (
        ("pacs", DeliveryState.DELIVERED, 0x0000, ""),
        ("archive", DeliveryState.FAILED, 0xA700, "the disk is full, " * 6),
        ("vendor-neutral-archive", DeliveryState.SENT, 0x0000, ""),
        ("old", DeliveryState.REPLACED, None, refused),
    ):
        deliveries.queue(evaluation.evaluation_id, destination, ["1.2.3"], at(31))
        (queued,) = (one for one in deliveries.due(at(32)) if one.destination == destination)
        again = at(900) if state in (DeliveryState.FAILED, DeliveryState.SENT) else None
        deliveries.record_attempt(queued, state, status, comment, at(33), again)
    second = shown.evaluations.begin(str(uid_from("study", 2)), None, at(40))
    assert second is not None
    shown.evaluations.fail(second.evaluation_id, REASON, at(41))
    return shown


def test_pages_fit_the_screen_and_the_telephone_and_can_be_read(tmp_path: Path, database: Database) -> None:
    paths = ["/", "/engines", "/health", f"/studies/{STUDY_UID}", f"/studies/{uid_from('study', 2)}"]
    health = Health(["store"])
    health.opened("store", lambda: Strain("only 1 MB of 20.0 GB free: free space (`csvd-node remove`). " * 3))
    with filled(tmp_path, database).served(health, allow_retry=True) as client:
        asked = {
            "pages": [str(client.base_url.join(path)) for path in paths],
            "widths": [SCREEN, TELEPHONE],
        }
        done = subprocess.run(
            [NODE, FOLDER / "layout.mjs", json.dumps(asked)], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == len(paths) * 2 * 2, "each page, width and colour scheme"
    for one in seen:
        assert not one["scrolls"], one
        assert one["outOfSight"] == [], one
        assert one["leastContrast"] >= LEAST_CONTRAST, one
        assert one["first"] == {"href": "#main", "shown": True}, one
