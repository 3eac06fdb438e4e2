"""Studies and results in a bucket of an S3 server that nobody here wrote."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from pydicom import Dataset

from node.bucket_files import KEPT_S, BucketFiles
from node.database import Database
from node.errors import OutOfResourcesError, StoreUnreachableError
from node.health import Health
from node.index import Index
from node.opening import Patience
from node.part10 import read_header
from node.rebuilding import rebuild
from node.removal import Removals
from node.storage import StorageSettings
from node.store import PlacementKind, ReceivedInstance, Store, open_store
from tests.support.instances import dataset_bytes, mr_dataset, write_instance
from tests.support.peers import needs_dcmtk, scripted_pacs, storescu, wait_until
from tests.support.running_node import RunningNode
from tests.support.s3_server import S3Server, s3_server
from tests.support.small_study import ENDED, all_of, push, study_of, write_study

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def settings(server: S3Server, request: pytest.FixtureRequest) -> StorageSettings:
    return StorageSettings.model_validate({**server.settings, "prefix": request.node.name})


def received(folder: Path, dataset: Dataset) -> ReceivedInstance:
    content = dataset_bytes(write_instance(folder, dataset))
    return ReceivedInstance(read_header(content, EXPLICIT), "MR1", "CSVD", content)


def test_instance_is_kept_byte_for_byte_and_other_bytes_apart(
    tmp_path: Path, settings: StorageSettings
) -> None:
    one, other = open_store(settings, tmp_path / "one"), open_store(settings, tmp_path / "other")
    instance = received(tmp_path, mr_dataset())
    changed = replace(instance, dataset=instance.dataset[:-2] + b"\x07\x07")
    new, same, conflict = one.put(instance), other.put(instance), other.put(changed)
    assert [each.kind for each in (new, same, conflict)] == [
        PlacementKind.NEW,
        PlacementKind.SAME,
        PlacementKind.CONFLICT,
    ]
    assert dataset_bytes(other.path(new.path)) == instance.dataset
    assert dataset_bytes(one.path(conflict.path)) == changed.dataset
    assert one.put(changed).path == conflict.path


def copies(root: Path) -> list[Path]:
    return [path for path in (root / "copies").rglob("*") if path.is_file()]


def test_copy_that_a_process_reads_stays_while_another_opens_the_store(
    tmp_path: Path, settings: StorageSettings
) -> None:
    serving = open_store(settings, tmp_path)
    copy = serving.path(serving.put(received(tmp_path, mr_dataset())).path)
    open_store(settings, tmp_path).check()
    assert copies(tmp_path) == [copy]
    long_ago = time.time() - 2 * KEPT_S
    os.utime(copy, (long_ago, long_ago))
    open_store(settings, tmp_path).check()
    assert not copies(tmp_path), "what nobody read for long goes"


def test_index_is_rebuilt_from_the_bucket(tmp_path: Path, settings: StorageSettings) -> None:
    store = open_store(settings, tmp_path / "root")
    for number in (1, 2):
        store.put(received(tmp_path, mr_dataset(1, 1, number)))
    instance = received(tmp_path, mr_dataset(1, 1, 1))
    store.put(replace(instance, dataset=instance.dataset[:-2] + b"\x07\x07"))
    database = Database(f"sqlite:///{tmp_path}/index.db")
    report = rebuild(database, open_store(settings, tmp_path / "empty"))
    assert (report.added, report.removed, report.conflicts) == (2, 0, 1)
    assert not copies(tmp_path / "empty"), "an archive would fill the disk"
    study_uid = str(mr_dataset().StudyInstanceUID)
    assert len(Index(database).instances(study_uid)) == 2
    assert rebuild(database, store).added == 0
    assert Removals(database, store, lambda: datetime.now(UTC)).remove(study_uid, "a test") == 3
    assert not store.holds_any()
    database.close()


def test_bucket_that_is_not_there_is_named_at_start(tmp_path: Path, server: S3Server) -> None:
    settings = StorageSettings.model_validate({**server.settings, "bucket": "nowhere"})
    place = re.escape(f"Store s3://nowhere/node at {settings.endpoint}: cannot be used: ")
    with pytest.raises(StoreUnreachableError, match=f"{place}there is no such bucket$"):
        open_store(settings, tmp_path)
    unreachable = settings.model_copy(update={"endpoint": "http://127.0.0.1:1", "timeout_s": 2.0})
    with pytest.raises(StoreUnreachableError, match=r"does not take or give it \(HTTP error") as caught:
        open_store(unreachable, tmp_path)
    assert "secret" not in str(caught.value)


def test_bucket_that_comes_later_is_waited_for(tmp_path: Path, server: S3Server) -> None:
    settings = StorageSettings.model_validate({**server.settings, "bucket": "later"})
    health = Health(["store"])
    patience = Patience(60, threading.Event(), health)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(
            patience.open, "store", partial(open_store, settings, tmp_path), StoreUnreachableError
        )
        wait_until(lambda: "no such bucket" in health.conditions()[0].reason, 30, "it waits")
        server.make_bucket("later")
        assert opening.result(60).check().endswith("answers")


def test_object_store_that_does_not_answer_is_out_of_resources(
    tmp_path: Path, settings: StorageSettings, server: S3Server
) -> None:
    store = Store(tmp_path / "root", BucketFiles(settings.model_copy(update={"timeout_s": 2.0}), tmp_path))
    server.freeze()
    began = time.monotonic()
    with pytest.raises(OutOfResourcesError, match="send it again") as caught:
        store.put(received(tmp_path, mr_dataset()))
    assert caught.value.status == 0xA700
    assert time.monotonic() - began < 30, "sooner than a sender gives up"
    server.thaw()
    assert store.put(received(tmp_path, mr_dataset())).kind in (PlacementKind.NEW, PlacementKind.SAME)


@needs_dcmtk
@pytest.mark.slow
def test_node_with_a_bucket_refuses_while_it_is_away_and_delivers_when_it_is_back(
    tmp_path: Path, server: S3Server
) -> None:
    study = write_study(tmp_path, "one", ("flair", "dwi"))
    storage = {**server.settings, "prefix": "whole", "timeout_s": 3.0}
    quiet = {"series_quiet_s": 15.0}
    with (
        scripted_pacs() as pacs,
        RunningNode(
            tmp_path / "node", {"pacs": ("PACS", pacs.port)}, storage=storage, completeness=quiet
        ) as node,
    ):
        push(node, study["flair"])
        server.freeze()
        refused = storescu(node.port, study["dwi"][:1], calling="MR1")
        server.thaw()
        assert "Refused: OutOfResources" in refused.stdout + refused.stderr
        wait_until(
            lambda: (node.study(study_of("one")) or {})["state"] == "held", 60, "it waits for the rest"
        )
        push(node, study["dwi"])
        row = node.wait_for(study_of("one"), *ENDED)
        assert (row["state"], row["instance_count"]) == ("delivered", len(all_of(study)))
        assert len(pacs.received) == 4
        assert not (node.root / "studies").exists()
        assert not (node.root / "results").exists()
