"""Files keep their bytes, their names and their peace, also on a full disk and with many writers."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from node.durable_files import STALE_S, DurableWriter
from node.errors import OutOfResourcesError, StoreUnusableError, UnreadableDatasetError
from node.health import Strain
from node.part10 import read_header
from node.storage import FolderFiles
from node.store import PlacementKind, ReceivedInstance, Store
from tests.support.instances import dataset_bytes, mr_dataset, write_instance


def received(tmp_path: Path, syntax: str = ExplicitVRLittleEndian, **changes: int) -> ReceivedInstance:
    content = dataset_bytes(write_instance(tmp_path / "made", mr_dataset(**changes), syntax))
    return ReceivedInstance(read_header(content, syntax), "SCANNER1", "CSVD", content)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a limit: a write fails amid a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless])
def test_file_holds_exactly_the_bytes_that_were_sent(tmp_path: Path, syntax: str) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path, syntax)
    placement = store.put(instance)
    path = store.path(placement.path)
    assert placement.kind is PlacementKind.NEW
    assert path.read_bytes().endswith(instance.dataset)
    assert dataset_bytes(path) == instance.dataset
    assert dcmread(path).SOPInstanceUID == instance.header.sop_instance_uid


def test_path_is_made_of_study_series_and_instance(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    header = instance.header
    expected = f"studies/{header.study_uid}/{header.series_uid}/{header.sop_instance_uid}.dcm"
    assert store.put(instance).path == expected
    assert files_below(store.root) == [expected]


def test_same_bytes_again_change_nothing(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    first = store.put(instance)
    before = store.path(first.path).stat()
    again = store.put(replace(instance, calling_ae="OTHER"))
    after = store.path(first.path).stat()
    assert (again.kind, again.path, again.sha256) == (PlacementKind.SAME, first.path, first.sha256)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_other_bytes_under_the_same_uid_are_kept_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    first, other = received(tmp_path, pixels=1), received(tmp_path, pixels=2)
    kept = store.put(first)
    conflict = store.put(other)
    assert conflict.kind is PlacementKind.CONFLICT
    assert conflict.path == f"conflicts/{other.header.sop_instance_uid}/{conflict.sha256}.dcm"
    assert dataset_bytes(store.path(kept.path)) == first.dataset
    assert dataset_bytes(store.path(conflict.path)) == other.dataset
    assert store.put(other).path == conflict.path
    assert len(files_below(store.root)) == 2


def test_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    path = store.path(store.put(instance).path)
    path.write_bytes(b"damaged")
    assert store.put(instance).kind is PlacementKind.CONFLICT
    assert path.read_bytes() == b"damaged"


@pytest.mark.parametrize("study_uid", ["../../../tmp/evil", "..", "", "1/2", "1\x002"])
def test_uid_never_leads_out_of_the_store(tmp_path: Path, study_uid: str) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    hostile = replace(instance, header=replace(instance.header, study_uid=study_uid))
    with pytest.raises(UnreadableDatasetError):
        store.put(hostile)
    assert files_below(store.root) == []


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    with full_disk(600), pytest.raises(OutOfResourcesError, match="free space") as caught:
        store.put(instance)
    assert caught.value.status == 0xA700
    assert caught.value.retryable
    assert files_below(store.root) == []
    assert list((store.root / "studies").iterdir()) == []
    assert store.put(instance).kind is PlacementKind.NEW


def test_name_that_can_not_be_given_leaves_nothing_behind(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is still being written lies in another file system, from which no link leads here."""
    elsewhere, root = tmp_path_factory.mktemp("elsewhere"), tmp_path / "root"
    root.mkdir()
    if elsewhere.stat().st_dev == root.stat().st_dev:
        pytest.skip("there is one file system only")
    with pytest.raises(OSError, match="cross-device"):
        DurableWriter(root, elsewhere).write_new(root / "studies" / "1.2" / "a.dcm", (b"a",))
    assert (list(root.iterdir()), list(elsewhere.iterdir())) == ([], [])


def test_folder_that_can_not_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    blocked = store.root / "studies" / instance.header.study_uid
    blocked.write_text("a file where a folder is needed")
    with pytest.raises(OutOfResourcesError, match="; mend that, then send it again"):
        store.put(instance)
    assert files_below(store.root) == [f"studies/{instance.header.study_uid}"]


def test_many_writers_of_one_instance_make_one_file(tmp_path: Path) -> None:
    store, instance = Store(tmp_path / "root"), received(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        kinds = [placement.kind for placement in pool.map(store.put, [instance] * 32)]
    assert kinds.count(PlacementKind.NEW) == 1
    assert kinds.count(PlacementKind.SAME) == 31
    assert len(files_below(store.root)) == 1


def test_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(StoreUnusableError, match="cannot be used"):
        Store(tmp_path / "root")


@pytest.mark.parametrize(
    ("free", "said"),
    [
        pytest.param(2_000_000_000, "2.0 GB of 20.0 GB free", id="enough"),
        pytest.param(
            999_000_000,
            Strain(
                "only 999 MB of 20.0 GB free: free space before Instances are refused (`csvd-node remove`, "
                "retention.days), or give the store a larger disk"
            ),
            id="little",
        ),
    ],
)
def test_store_says_how_much_room_there_is_and_what_to_do_when_it_is_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str | Strain
) -> None:
    usage = shutil._ntuple_diskusage(20_000_000_000, 20_000_000_000 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert Store(tmp_path).check() == said


class Silent(FolderFiles):
    """A place whose faults have no words of the operating system, as a time that ran out."""

    def check(self) -> str:
        raise TimeoutError("timed out")

    def replace(self, path: str, parts: tuple[bytes, ...]) -> None:
        raise TimeoutError


def test_fault_without_words_of_the_system_is_told_in_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path, Silent(tmp_path, "incoming"))
    with pytest.raises(StoreUnusableError, match=f"^Store {tmp_path}: timed out$"):
        store.check()
    with pytest.raises(OutOfResourcesError, match="cannot be written: TimeoutError;"):
        store.put_result("1.2", "abc", "wmh.dcm", b"")


def test_only_old_unfinished_files_are_cleared(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    old, young = store.root / "incoming" / "old", store.root / "incoming" / "young"
    for path in (old, young):
        path.write_bytes(b"half a file")
    long_ago = time.time() - STALE_S - 60
    os.utime(old, (long_ago, long_ago))
    assert store.clear_incoming() == 1
    assert files_below(store.root) == ["incoming/young"]


def test_file_that_another_process_has_just_named_stops_no_clearing(tmp_path: Path) -> None:
    """A link to nothing stands for it: it is listed, and gone when it is looked at."""
    store = Store(tmp_path / "root")
    (store.root / "incoming" / "named").symlink_to("nothing")
    left = store.root / "incoming" / "left"
    left.touch()
    os.utime(left, (0, 0))
    assert store.clear_incoming() == 1
    assert not left.exists()


def test_files_and_conflicts_are_found_oldest_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    instances = [
        received(tmp_path, number=2),
        received(tmp_path, number=1),
        received(tmp_path, number=1, pixels=9),
    ]
    for seconds, instance in enumerate(instances):
        os.utime(store.path(store.put(instance).path), (1e9 + seconds, 1e9 + seconds))
    (store.root / "studies" / "1.2" / "1.3").mkdir(parents=True)
    (store.root / "studies" / "1.2" / "1.3" / "notes.dcm").write_text("not DICOM")
    assert list(store.ages()) == [instances[0].header.study_uid, "1.2"]
    files = [each for study_uid in store.ages() for each in store.instance_files(study_uid)]
    found = list(store.read([*files, *store.conflict_files()]))
    assert [file.header for file in found] == [instance.header for instance in instances]
    assert [file.is_conflict for file in found] == [False, False, True]
    assert [file.sha256 for file in found] == [instance.sha256 for instance in instances]
    assert {file.calling_ae for file in found} == {"SCANNER1"}
    assert [file.stored_at.timestamp() for file in found] == [1e9, 1e9 + 1, 1e9 + 2]


def test_result_is_replaced_by_a_repeat(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    path = store.put_result("1.2.3", "abc", "wmh.dcm", b"first")
    assert store.put_result("1.2.3", "abc", "wmh.dcm", b"second") == path == "results/1.2.3/abc/wmh.dcm"
    assert store.path(path).read_bytes() == b"second"
    assert files_below(store.root) == [path]


@pytest.mark.parametrize(
    ("study_uid", "evaluation_id", "name"),
    [("../1", "abc", "x.dcm"), ("1.2", "../abc", "x.dcm"), ("1.2", "abc", "../x.dcm"), ("1.2", "abc", "a/b")],
)
def test_result_name_never_leads_out_of_the_store(
    tmp_path: Path, study_uid: str, evaluation_id: str, name: str
) -> None:
    with pytest.raises(ValueError, match="no place for a result"):
        Store(tmp_path / "root").put_result(study_uid, evaluation_id, name, b"")


def test_full_disk_names_the_study_of_a_result(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    with full_disk(10), pytest.raises(OutOfResourcesError, match=r"Study 1\.2\.3: wmh\.dcm"):
        store.put_result("1.2.3", "abc", "wmh.dcm", bytes(100))
    assert files_below(store.root) == []
