"""Several processes share the work over PostgreSQL: killed for good, updated, or without their database."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from pydicom.uid import UID

from node.backpressure import queue_state
from node.database import Database
from node.work_queue import WORKFLOW_VERSION
from tests.support.archives import archive, report_on, report_to
from tests.support.peers import (
    LOOPBACK,
    ScriptedPacs,
    needs_dcmtk,
    scripted_pacs,
    scripted_scanner,
    storescu,
    wait_until,
)
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.running_node import RunningNode, run_command
from tests.support.small_study import ENDED, all_of, push, study_of, write_study

pytestmark = [needs_dcmtk, pytest.mark.slow]

SERIES = ("flair", "dwi")
RESULTS = 4
"""Two Segmentations, the combined one, and the report."""

SUCCESS = 0x0000
QUIET_S = 3.0
SLEEP_S = 3.0
"""Each segment of a slow worker takes at least this long, s: enough to be killed in the middle."""

SECONDS = 20.0
"""What "within seconds" is on a machine that runs other tests, too, s; alone it takes about 4."""


@dataclass
class Site:
    """A database, a folder and a PACS that processes share."""

    folder: Path
    server: PostgresServer
    pacs: ScriptedPacs

    def process(
        self, name: str, *roles: str, sleep_s: float = 0.0, version: str = WORKFLOW_VERSION, **changes: object
    ) -> RunningNode:
        shared = {
            "root": str(self.folder / "shared"),
            "database_url": self.server.url.replace("postgresql:", "postgresql+psycopg:"),
            "roles": list(roles),
            "completeness": {"series_quiet_s": QUIET_S},
        }
        process = RunningNode(self.folder / name, {"pacs": ("PACS", self.pacs.port)}, **{**shared, **changes})
        process.program = [sys.executable, "-m", "tests.support.slow_node", str(sleep_s), version]
        return process

    def waiting(self) -> int:
        with closing(Database(self.server.url)) as database, database.reading() as connection:
            return queue_state(connection).waiting


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_postgres() as server, scripted_pacs() as pacs:
        yield Site(tmp_path, server, pacs)


def at_work(processes: list[RunningNode]) -> list[RunningNode]:
    return [process for process in processes if "evaluation.started" in process.log()]


def same_bytes(pacs: ScriptedPacs) -> bool:
    return all(len(set(sent)) == 1 for sent in pacs.received.values())


def test_worker_that_is_killed_for_good_gives_its_study_back(site: Site, tmp_path: Path) -> None:
    study = write_study(tmp_path, "one", SERIES)
    workers = [site.process(f"worker{number}", "work", sleep_s=SLEEP_S) for number in range(3)]
    with site.process("front", "receive", "send") as front, workers[0], workers[1], workers[2]:
        push(front, all_of(study))
        wait_until(lambda: bool(at_work(workers)), 60, "a worker begins")
        (victim,) = at_work(workers)
        victim.kill()
        killed_at = time.monotonic()
        wait_until(lambda: len(at_work(workers)) == 2, 60, "another worker goes on")
        taken_after_s = time.monotonic() - killed_at
        assert front.wait_for(study_of("one"), *ENDED)["state"] == "delivered", front.log()
        assert taken_after_s < SECONDS
        assert sum(process.log().count('"evaluation.done"') for process in workers) == 1
    interrupted = set(site.pacs.received)
    assert len(interrupted) == RESULTS
    assert same_bytes(site.pacs)
    with scripted_pacs() as pacs, RunningNode(tmp_path / "alone", {"pacs": ("PACS", pacs.port)}) as alone:
        push(alone, all_of(study))
        alone.wait_for(study_of("one"), *ENDED)
        assert set(pacs.received) == interrupted, "the same UIDs as without an interruption"


def test_study_over_two_receivers_is_evaluated_once_although_one_dies_in_the_middle(
    site: Site, tmp_path: Path
) -> None:
    study = write_study(tmp_path, "one", SERIES)
    with (
        site.process("one", "receive", "work", "send") as one,
        site.process("two", "receive") as two,
    ):
        push(one, study["flair"], calling="MR1")
        with scripted_scanner(two.port, calling="MR2") as association:
            for path in study["dwi"][:2]:
                assert association.send_c_store(path).Status == SUCCESS
            two.kill()
        row = one.wait_for(study_of("one"), "held")
        assert "The association of MR2 broke off at " in row["reason"]
        assert "UTC: the process that received it ended; waits" in row["reason"]
        assert "takeover.associations_aborted" in one.log()
        push(one, study["dwi"], calling="MR2")
        row = one.wait_for(study_of("one"), *ENDED)
        assert (row["state"], row["instance_count"]) == ("delivered", len(all_of(study)))
        assert one.log().count('"study.complete"') == 1
        assert len(site.pacs.received) == RESULTS


def test_report_of_an_archive_reaches_a_receiver_that_did_not_ask(site: Site, tmp_path: Path) -> None:
    study = write_study(tmp_path, "one", SERIES)
    front, back = site.process("front", "receive"), site.process("back", "work", "send")
    with archive() as running:
        asked = {"ae_title": "ARCHIVE", "host": LOOPBACK, "port": running.port, "commitment": True}
        for process in (front, back):
            process.configuration["destinations"]["pacs"] = asked
        with front, back:
            push(front, all_of(study))
            wait_until(lambda: bool(running.requests), 180, "the archive is asked", pause_s=0.1)
            back.kill()
            assert report_to(front.port, *report_on(running.requests[0])) == SUCCESS
            assert front.wait_for(study_of("one"), *ENDED)["state"] == "delivered"
            assert len(running.stored) == RESULTS


def test_urgent_study_overtakes(site: Site, tmp_path: Path) -> None:
    names = ("first", "second", "stroke")
    urgent = [{"calling_ae": "ER*"}]
    with site.process("front", "receive", "send", urgent=urgent) as front:
        for name in names:
            study = write_study(tmp_path, name, ("flair",))
            push(front, all_of(study), calling="ER1" if name == "stroke" else "MR1")
        for name in names:
            front.wait_for(study_of(name), "waiting")
        with site.process("worker", "work") as worker:
            for name in names:
                front.wait_for(study_of(name), *ENDED)
            began = [line for line in worker.log().splitlines() if '"evaluation.started"' in line]
    assert study_of("stroke") in began[0]
    assert [study_of(name) in line for name, line in zip(("first", "second"), began[1:], strict=True)] == [
        True,
        True,
    ]


def test_new_study_is_refused_while_the_queue_is_too_long_and_one_begun_may_be_finished(
    site: Site, tmp_path: Path
) -> None:
    first, second = write_study(tmp_path, "first", SERIES), write_study(tmp_path, "second", ("flair",))
    limit = {"limit": 1, "refuse": True}
    with site.process("front", "receive", "send", backpressure=limit) as front:
        push(front, first["flair"])
        push(front, all_of(write_study(tmp_path, "other", ("flair",))))
        wait_until(lambda: site.waiting() == 2, 60, "two Studies wait", pause_s=0.5)
        time.sleep(3)
        refused = storescu(front.port, all_of(second), calling="MR1")
        assert "Refused: OutOfResources" in refused.stdout + refused.stderr
        assert "refused" in front.wait_for(study_of("second"), "held")["reason"]
        push(front, first["dwi"])
        with site.process("worker", "work"):
            front.wait_for(study_of("first"), *ENDED)
            front.wait_for(study_of("other"), *ENDED)
            push(front, all_of(second))
            assert front.wait_for(study_of("second"), *ENDED)["state"] == "delivered"


def test_update_lets_old_work_finish_and_takes_over_what_waits(site: Site, tmp_path: Path) -> None:
    studies = {name: write_study(tmp_path, name, ("flair",)) for name in ("at-work", "waits")}
    new_version = str(int(WORKFLOW_VERSION) + 1)
    # Long enough for the new process to start meanwhile.
    old = site.process("old", "receive", "work", "send", sleep_s=40.0, stop_grace_s=120)
    new = site.process("new", "receive", "work", "send", version=new_version)
    with old:
        for study in studies.values():
            push(old, all_of(study))
        wait_until(lambda: bool(at_work([old])), 60, "the old process is at work")
        wait_until(lambda: site.waiting() == 1, 60, "the other Study waits", pause_s=0.5)
        new.start()
        old.stop()
        for name in studies:
            assert new.wait_for(study_of(name), *ENDED)["state"] == "delivered", new.log()
        new.stop()
    done = [line for line in old.log().splitlines() if '"evaluation.done"' in line]
    assert len(done) == 1, "what it had begun, it finished before it ended"
    assert "takeover.renewed" in new.log()
    assert len(site.pacs.received) == 2 * (RESULTS - 1)
    assert same_bytes(site.pacs)


def test_database_that_goes_away_loses_nothing_and_comes_back_by_itself(site: Site, tmp_path: Path) -> None:
    study = write_study(tmp_path, "one", SERIES)
    with site.process("node", "receive", "work", "send", sleep_s=SLEEP_S) as process:
        push(process, study["flair"])
        site.server.stop()
        refused = storescu(process.port, study["dwi"], calling="MR1")
        assert "Refused: OutOfResources" in refused.stdout + refused.stderr
        impatient = tmp_path / "impatient.yaml"
        impatient.write_text(
            yaml.safe_dump({**process.configuration, "start_wait_s": 1.0, "web": {"port": None}})
        )
        started = run_command("serve", "--config", str(impatient))
        assert started.returncode == 1
        assert "The index cannot be opened" in started.stderr
        assert "Traceback" not in started.stderr
        site.server.start()
        push(process, study["dwi"])
        wait_until(lambda: bool(at_work([process])), 90, "it begins")
        site.server.stop()
        time.sleep(2)
        site.server.start()
        row = process.wait_for(study_of("one"), *ENDED)
        assert (row["state"], row["instance_count"]) == ("delivered", len(all_of(study)))
        assert process.is_running
    assert same_bytes(site.pacs)
    assert {UID(dcmread(path).StudyInstanceUID) for path in all_of(study)} == {study_of("one")}
