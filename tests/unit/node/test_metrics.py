"""What the counters export."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node.completeness import CompletenessSettings
from node.database import Database
from node.gauges import IndexCollector, kept_s
from node.metrics import MANY_TITLES, OTHER, Metrics
from node.observation import Observers, ReceivedAs, Stage
from tests.support.arrivals import at


def exported(metrics: Metrics, name: str) -> dict[str, float]:
    """Return the samples of one name by their only or first label."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
        if sample.name == name
    }


def test_stage_is_entered_with_its_duration_and_never_below_zero() -> None:
    metrics = Metrics()
    Observers([metrics]).stage_ended(Stage("read", "1.2.3", at(0), at(0) + timedelta(seconds=2.5)))
    Observers([metrics]).stage_ended(Stage("read", "1.2.3", at(5), at(4)))
    assert exported(metrics, "csvd_stage_duration_seconds_sum") == {"read": 2.5}
    assert exported(metrics, "csvd_stage_duration_seconds_count") == {"read": 2}


def test_strangers_can_not_fill_the_memory_and_known_senders_keep_their_place() -> None:
    metrics = Metrics(["MR1"])
    for number in range(MANY_TITLES + 50):
        metrics.association_ended(f"STRANGER{number}", "rejected")
    metrics.association_ended("MR1", "released")
    seen = exported(metrics, "csvd_associations_total")
    assert len(seen) == MANY_TITLES + 1
    assert seen["MR1"] == 1
    assert seen[OTHER] == 51


def test_every_outcome_of_an_instance_is_there_from_the_start() -> None:
    assert exported(Metrics(), "csvd_instances_received_total") == dict.fromkeys(ReceivedAs, 0.0)


def test_index_that_is_lost_is_said_and_costs_no_scrape(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/index.sqlite")
    metrics = Metrics()
    metrics.registry.register(IndexCollector(database, CompletenessSettings(), ("pacs",), lambda: at(0)))
    database.close()
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "index.sqlite").mkdir()
    assert exported(metrics, "csvd_index_reachable") == {"": 0}
    assert exported(metrics, "csvd_studies") == {}


@pytest.mark.parametrize(("took_s", "kept"), [(0.01, 5.0), (0.25, 5.0), (2.0, 40.0), (9.0, 60.0)])
def test_answer_of_a_large_index_is_given_again_for_longer(took_s: float, kept: float) -> None:
    """Every process is asked every few seconds; all of them together must not keep the database busy."""
    assert kept_s(took_s) == kept
