"""What a running node does with a PACS that is down or refuses."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom.uid import UID

from tests.support.peers import ScriptedPacs, needs_dcmtk, scripted_pacs, wait_until
from tests.support.running_node import RunningNode
from tests.support.small_study import (
    ENDED,
    RESULTS,
    all_of,
    push,
    study_of,
)

pytestmark = needs_dcmtk


def test_pacs_that_is_down_gets_the_results_when_it_is_back(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    node = RunningNode(tmp_path / "node", {"pacs": ("PACS", 1)})
    with node:
        push(node, all_of(study))
        row = node.wait_for(study_of("one"), "delivering")
        wait_until(
            lambda: "attempt" in (node.study(study_of("one")) or {})["reason"], 60, "an attempt failed"
        )
        assert row["delivered_count"] == 0
        _assert_log_tells_why(node)
        node.stop()
        with scripted_pacs() as pacs:
            node.configuration["destinations"]["pacs"]["port"] = pacs.port
            node.start()
            assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered"
            assert len(pacs.received) == RESULTS


def test_instances_that_the_pacs_refuses_are_not_called_delivered(
    tmp_path: Path, study: dict[str, list[Path]]
) -> None:
    refused: list[UID] = []

    def answer(number: int, event: object) -> int:
        uid = event.request.AffectedSOPInstanceUID  # type: ignore[attr-defined]
        if number in (2, 3) or uid in refused:
            refused.append(uid)
            return 0xA700
        return 0x0000

    retry = {"retry": {"first_pause_s": 0.2, "longest_pause_s": 0.2, "give_up_after_s": 3.0}}
    with (
        scripted_pacs(answer) as pacs,
        RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}, sender=retry) as node,
    ):
        push(node, all_of(study))
        row = node.wait_for(study_of("one"), *ENDED)
        assert row["state"] == "failed"
        assert (row["delivered_count"], row["delivery_count"]) == (RESULTS - 2, RESULTS)
        assert "A700" in row["reason"]
        _assert_one_study_failed(node)
        assert len(set(refused)) == 2
        refused.clear()
        assert node.command("retry", study_of("one")).returncode == 0
        assert node.wait_for(study_of("one"), "delivered")["delivered_count"] == RESULTS
        _assert_sent_again_as_it_was(node, pacs)


def _assert_sent_again_as_it_was(node: RunningNode, pacs: ScriptedPacs) -> None:
    """The archive lost its disk: every Instance comes once more, byte for byte."""
    before = {uid: received[-1] for uid, received in pacs.received.items()}
    pacs.received.clear()
    wrong = node.command("resend", study_of("one"), "--to", "archive")
    assert wrong.returncode == 2
    assert "those are: pacs" in wrong.stderr
    assert node.command("resend", study_of("one")).stdout == f"{RESULTS} Instances are sent again.\n"
    wait_until(lambda: len(pacs.received) == RESULTS, 20.0, "all is sent again")
    assert pacs.received == {uid: [content] for uid, content in before.items()}
    assert node.wait_for(study_of("one"), "delivered")["delivered_count"] == RESULTS


def _assert_one_study_failed(node: RunningNode) -> None:
    def counted() -> str:
        return next(
            line
            for line in node.get("/metrics").text.splitlines()
            if line.startswith("csvd_studies_failed_total")
        )

    wait_until(
        lambda: counted() != "csvd_studies_failed_total 0.0", 5.0, "the index says it before the counter"
    )
    assert counted() == "csvd_studies_failed_total 1.0", "a Study, not its Instances"


def _assert_log_tells_why(node: RunningNode) -> None:
    entries = [json.loads(line) for line in node.log().splitlines()]
    attempts = [each for each in entries if each["event"] == "delivery.attempted"]
    assert {each["study_uid"] for each in attempts} == {study_of("one")}
    assert {(each["level"], each["reason"]) for each in attempts} == {
        ("warning", "cannot be reached: Connection refused")
    }
