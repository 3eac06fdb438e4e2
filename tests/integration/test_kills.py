"""A node that is killed at any moment comes to the same results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.completeness import CompletenessSettings
from tests.support.archives import archive, report_on, report_to
from tests.support.peers import needs_dcmtk, scripted_pacs, wait_until
from tests.support.postgres import postgres_server
from tests.support.running_node import RunningNode
from tests.support.small_study import (
    ENDED,
    RESULTS,
    all_of,
    push,
    study_of,
    write_study,
)

pytestmark = [needs_dcmtk, pytest.mark.slow]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return write_study(tmp_path_factory.mktemp("study"), "one")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, study: dict[str, list[Path]]) -> set[str]:
    """The results of the same Study through a node that nothing happens to."""
    with (
        scripted_pacs() as pacs,
        RunningNode(tmp_path_factory.mktemp("undisturbed"), {"pacs": ("PACS", pacs.port)}) as node,
    ):
        push(node, all_of(study))
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        return set(pacs.received)


def _while_receiving(node: RunningNode, study: dict[str, list[Path]]) -> None:
    files = all_of(study)
    push(node, files[: len(files) // 2])
    node.kill()
    node.start()
    push(node, files)


def _once_complete(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "study.complete" in node.log(), 60, "the Study is complete")
    node.kill()
    node.start()


def _while_evaluating(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "evaluation.started" in node.log(), 60, "the evaluation begins")
    node.kill()
    node.start()


def _while_results_are_written(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: any((node.root / "results").rglob("*.dcm")), 120, "a result is written")
    node.kill()
    node.start()


def _while_delivering(node: RunningNode, study: dict[str, list[Path]]) -> None:
    push(node, all_of(study))
    wait_until(lambda: "delivery.attempted" in node.log(), 120, "the first result is sent")
    node.kill()
    node.start()


@pytest.mark.parametrize(
    "disturb",
    [_while_receiving, _once_complete, _while_evaluating, _while_results_are_written, _while_delivering],
)
def test_kill_at_any_moment_leads_to_the_same_results(
    tmp_path: Path,
    study: dict[str, list[Path]],
    undisturbed: set[str],
    disturb: Callable[[RunningNode, dict[str, list[Path]]], None],
) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        disturb(node, study)
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert set(pacs.received) == undisturbed
        assert len(node.studies()) == 1
    for sent in pacs.received.values():
        assert len(set(sent)) == 1, "an Instance that is sent twice has the same bytes"


def test_node_on_postgresql_survives_a_kill(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    with (
        postgres_server() as url,
        scripted_pacs() as pacs,
        RunningNode(
            tmp_path / "node",
            {"pacs": ("PACS", pacs.port)},
            database_url=url.replace("postgresql:", "postgresql+psycopg:"),
        ) as node,
    ):
        _while_evaluating(node, study)
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert len(pacs.received) == RESULTS
        assert not list(node.root.glob("*.sqlite*"))


def test_report_of_an_archive_is_taken_after_a_kill(tmp_path: Path, study: dict[str, list[Path]]) -> None:
    node = RunningNode(tmp_path / "node", {"pacs": ("ARCHIVE", 0)})
    with archive() as running:
        node.configuration["destinations"]["pacs"] |= {"port": running.port, "commitment": True}
        with node:
            push(node, all_of(study))
            wait_until(lambda: bool(running.requests), 180, "the archive is asked", pause_s=0.1)
            node.kill()
            node.start()
            row = node.wait_for(study_of("one"), "delivering")
            assert (row["delivered_count"], row["delivery_count"]) == (0, RESULTS)
            assert "waiting for the archive's commitment" in row["reason"]
            for _ in range(2):
                assert report_to(node.port, *report_on(running.requests[0])) == 0x0000, "also the same again"
            assert node.wait_for(study_of("one"), "delivered")["delivered_count"] == RESULTS
            assert len(running.stored) == RESULTS, "nothing was sent twice"
            shown = node.command("study", study_of("one")).stdout
            assert "delivered, committed at" in " ".join(shown.split())
            assert "committed at" in node.get(f"/studies/{study_of('one')}").text


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of a database of each kind."""
    if request.param == "sqlite":
        yield {}
        return
    with postgres_server() as url:
        yield {"database_url": url.replace("postgresql:", "postgresql+psycopg:")}


def _reason(node: RunningNode) -> str:
    listed = node.study(study_of("one"))
    return str(listed and listed["reason"])


def test_time_in_which_the_whole_node_is_dead_does_not_count_as_waited(
    tmp_path: Path, study: dict[str, list[Path]], database: dict[str, str]
) -> None:
    quiet_s = CompletenessSettings().series_quiet_s
    with (
        scripted_pacs() as pacs,
        RunningNode(
            tmp_path / "node",
            {"pacs": ("PACS", pacs.port)},
            completeness={"series_quiet_s": quiet_s},
            **database,
        ) as node,
    ):
        push(node, study["flair"])
        wait_until(lambda: _reason(node).startswith("Waits for more Instances until"), 20, "it is released")
        node.kill()
        time.sleep(quiet_s + 1)
        (dead,) = node.studies()
        assert (dead["state"], dead["reason"]) == (
            "receiving",
            "Waits for a receiver: more Instances could not come now.",
        )
        node.start()
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
