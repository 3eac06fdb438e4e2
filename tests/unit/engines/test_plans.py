"""The life of a plan - key, lock, damage, ladder, proof - with OpenVINO on the CPU as what compiles."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

from engines.build import BuildProgress, silent
from engines.bundle import Bundle, load_bundle, write_manifest, write_samples
from engines.cache import MAGIC, PlanCache, PlanKey
from engines.errors import DeviceMemoryError, NotProvenError, PlanCacheError, PlanError
from engines.ladder import climb_down
from engines.postprocessing import PostprocessingSpec
from engines.precision import Precision, ladder
from engines.proof import Referee
from engines.runners.base import Notice, RunnerSettings, unheard
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from tests.support.onnx_models import write_threshold_bundle
from tests.support.openvino_plans import OpenVinoPlanRunner, OpenVinoPlans

ROOT = Path(__file__).resolve().parents[3]
KEY = PlanKey("m", "a" * 64, "", "fp16", (1, 8, 8), (1, 64, 64), "tensorrt", "11.4", "", 90, "H100", "580")


def image() -> np.ndarray:
    slices = np.random.default_rng(3).uniform(0.0, 1.2, (5, 1, 64, 64)).astype(np.float32)
    slices[1:3, 0, 20:40, 20:40] = 2.0
    return slices


def with_samples(bundle: Bundle, slices: np.ndarray) -> Bundle:
    samples = write_samples(bundle.folder, slices)
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    return load_bundle(bundle.folder)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return with_samples(write_threshold_bundle(tmp_path / "wmh"), image())


def referee_of(bundle: Bundle, slices: np.ndarray | None = None) -> Referee:
    def reference() -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(bundle.model_path, bundle.manifest.model, RunnerSettings(threads=1))

    return Referee(reference, image() if slices is None else slices, PostprocessingSpec())


@pytest.mark.parametrize("field", [field.name for field in fields(PlanKey)])
def test_a_plan_is_not_found_when_anything_that_it_depends_on_differs(tmp_path: Path, field: str) -> None:
    cache = PlanCache(tmp_path)
    cache.put(KEY, b"plan")
    old = getattr(KEY, field)
    new = old + 1 if isinstance(old, int) else (*old[:-1], 9) if isinstance(old, tuple) else old + "x"
    assert cache.find(KEY) == b"plan"
    assert cache.find(replace(KEY, **{field: new})) is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="cut"),
        pytest.param(lambda content: content[:-1] + b"X", id="changed"),
        pytest.param(lambda content: content + b"more", id="longer"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"not a plan", id="another-file"),
        pytest.param(lambda content: MAGIC + b"{}\nplan", id="no-key"),
        pytest.param(lambda content: MAGIC + b"\xff\xfe\n", id="no-json"),
        pytest.param(lambda content: MAGIC + b"[" * 200000 + b"\n", id="deep-json"),
    ],
)
def test_a_damaged_plan_is_built_again(tmp_path: Path, damage: object) -> None:
    cache, path = PlanCache(tmp_path), tmp_path / KEY.file_name
    cache.put(KEY, b"plan")
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    (entry,) = cache.entries()
    assert entry.problem.startswith("damaged")
    again = cache.obtain(KEY, lambda: b"new")
    assert (again.plan, again.built, again.problem) == (b"new", True, "")
    assert cache.find(KEY) == b"new"


def test_a_plan_of_an_earlier_layout_is_not_taken_for_whole(tmp_path: Path) -> None:
    """It did not say what wrote its precision, and is found under no key of today."""
    record = {name: value for name, value in asdict(KEY).items() if name != "converter"}
    header = {"key": record, "sha256": hashlib.sha256(b"plan").hexdigest(), "built_at": "2026-01-01"}
    (tmp_path / "m.plan").write_bytes(b"csvd-plan 1\n" + json.dumps(header).encode() + b"\nplan")
    (entry,) = PlanCache(tmp_path).entries()
    assert entry.problem == "damaged: no plan file of this version"


def test_a_plan_under_the_name_of_another_is_not_taken(tmp_path: Path) -> None:
    cache, other = PlanCache(tmp_path), replace(KEY, driver="999")
    cache.put(other, b"other").rename(tmp_path / KEY.file_name)
    assert cache.find(KEY) is None


def test_a_plan_that_another_process_removes_meanwhile_is_not_listed(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.put(KEY, b"plan")
    (tmp_path / "a-gone.plan").symlink_to(tmp_path / "gone")
    assert [entry.key for entry in cache.entries()] == [KEY]


def test_a_plan_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.plan").mkdir()
    with pytest.raises(PlanCacheError, match=r"cannot read mine\.plan: Is a directory"):
        PlanCache(tmp_path).entries()


def test_a_full_disk_leaves_the_plan_unkept_and_says_so(tmp_path: Path) -> None:
    """The operating system refuses to write more than 4 KiB into a file."""
    code = (
        "import sys, resource; from pathlib import Path; from engines.cache import PlanCache; "
        "from engines.errors import PlanCacheError; from tests.unit.engines.test_plans import KEY; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); cache = PlanCache(Path(sys.argv[1])); "
        "found = cache.obtain(KEY, lambda: bytes(100_000)); "
        "print(len(found.plan), found.built, found.problem)\n"
        "try:\n    cache.put(KEY, bytes(100_000))\nexcept PlanCacheError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    unkept, refused = done.stdout.splitlines()
    assert unkept.startswith("100000 True Plan cache")
    assert "cannot keep" in refused
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096
    assert [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_cache_that_is_no_folder_is_an_error_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = PlanCache(tmp_path / "file" / "cache")
    with pytest.raises(PlanCacheError, match="cannot keep"):
        cache.put(KEY, b"plan")
    found = cache.obtain(KEY, lambda: b"plan")
    assert found.plan == b"plan"
    assert "cannot be written" in found.problem


def test_processes_that_want_the_same_plan_build_it_once(bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engines.build import silent; "
        "from engines.bundle import load_bundle; from engines.cache import PlanCache; "
        "from engines.precision import Precision; from tests.support.openvino_plans import OpenVinoPlans; "
        "bundle = load_bundle(Path(sys.argv[1])); backend = OpenVinoPlans(Path(sys.argv[3])); "
        "cache = PlanCache(Path(sys.argv[2])); sys.stdin.readline(); "
        "found = cache.obtain(backend.key(bundle, Precision.FP16), "
        "lambda: backend.build(bundle, Precision.FP16, silent)); print(len(found.plan))"
    )
    log = tmp_path / "built"
    command = [sys.executable, "-c", code, str(bundle.folder), str(tmp_path / "cache"), str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    sizes = {process.communicate("go\n")[0] for process in processes}
    assert log.read_text() == "fp16\n"
    assert len(sizes) == 1


def test_the_second_start_compiles_nothing(bundle: Bundle, tmp_path: Path) -> None:
    steps: list[BuildProgress] = []
    for expected in ([Precision.FP16], []):
        backend = OpenVinoPlans()
        proven = climb_down(
            bundle, backend, PlanCache(tmp_path / "c"), referee_of(bundle), Precision.FP16, steps.append
        )
        assert backend.built == expected
        assert proven.precision is Precision.FP16
        assert proven.proof.startswith("Dice 1.0000")
    assert [(step.done, step.steps) for step in steps] == [(0, 1), (1, 1)]


def test_a_plan_that_the_runtime_refuses_is_built_again(bundle: Bundle, tmp_path: Path) -> None:
    backend, cache = OpenVinoPlans(), PlanCache(tmp_path / "c")
    key = backend.key(bundle, Precision.FP16)
    cache.put(key, b"whole, and no plan of this runtime")
    proven = climb_down(bundle, backend, cache, referee_of(bundle), Precision.FP16, silent)
    assert backend.built == [Precision.FP16]
    assert proven.passed_over == ()
    np.testing.assert_allclose(proven.runner.run(image()), 20 * (image() - 1.5), atol=0.1)


def test_a_precision_that_loses_lesions_gives_way_to_the_next(tmp_path: Path) -> None:
    """The bias of -2000.4 is -2000 in float16 and bfloat16, so that 2.0002 comes to lie above the level."""
    slices = np.full((3, 1, 64, 64), 2.0002, np.float32)
    slices[:, :, 10:20, 10:20] = 2.001
    bundle = write_threshold_bundle(tmp_path / "fine", level=2.0004, gain=1000.0)
    proven = climb_down(
        bundle, OpenVinoPlans(), PlanCache(tmp_path / "c"), referee_of(bundle, slices), Precision.FP16, silent
    )
    assert proven.precision is Precision.TF32
    assert [one.precision for one in proven.passed_over] == [Precision.FP16, Precision.BF16]
    assert all("Dice" in one.reason for one in proven.passed_over)


class FullGpu(OpenVinoPlans):
    """A GPU that has no room for a plan."""

    def open(
        self, plan: bytes, bundle: Bundle, precision: Precision, notice: Notice = unheard
    ) -> OpenVinoPlanRunner:
        raise DeviceMemoryError("The GPU has no memory for 1 slices")


class ShortOfMemory(OpenVinoPlans):
    """A GPU that has room for a smaller batch only."""

    def open(
        self, plan: bytes, bundle: Bundle, precision: Precision, notice: Notice = unheard
    ) -> OpenVinoPlanRunner:
        notice("the GPU was short of memory: slices ran in batches of 4 instead of 8")
        return super().open(plan, bundle, precision)


def test_what_slows_a_runner_down_from_the_start_is_said_with_its_proof(
    bundle: Bundle, tmp_path: Path
) -> None:
    cache, referee = PlanCache(tmp_path / "c"), referee_of(bundle)
    proven = climb_down(bundle, ShortOfMemory(), cache, referee, Precision.FP16, silent)
    assert proven.proof.startswith("Dice 1.0000")
    assert proven.proof.endswith("; the GPU was short of memory: slices ran in batches of 4 instead of 8")


def test_a_full_gpu_is_not_asked_for_slower_precisions(bundle: Bundle, tmp_path: Path) -> None:
    backend = FullGpu()
    with pytest.raises(DeviceMemoryError, match="no memory"):
        climb_down(bundle, backend, PlanCache(tmp_path / "c"), referee_of(bundle), Precision.FP16, silent)
    assert backend.built == [Precision.FP16]


def test_int8_without_samples_gives_way_to_the_next(tmp_path: Path) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh")
    proven = climb_down(
        bundle, OpenVinoPlans(), PlanCache(tmp_path / "c"), referee_of(bundle), Precision.INT8, silent
    )
    assert proven.precision is Precision.FP16
    assert "needs sample slices" in proven.passed_over[0].reason


def test_when_no_precision_is_proven_the_error_says_of_each_why(bundle: Bundle, tmp_path: Path) -> None:
    nothing = np.zeros((2, 1, 64, 64), np.float32)
    with pytest.raises(NotProvenError) as refusal:
        climb_down(
            bundle,
            OpenVinoPlans(),
            PlanCache(tmp_path / "c"),
            referee_of(bundle, nothing),
            Precision.FP16,
            silent,
        )
    for precision in ladder(Precision.FP16):
        assert f"{precision}: the slices show no lesion" in str(refusal.value)


def test_nothing_is_compiled_that_can_not_be_proven(bundle: Bundle, tmp_path: Path) -> None:
    backend = OpenVinoPlans()
    with pytest.raises(NotProvenError, match="no sample slices"):
        climb_down(
            bundle,
            backend,
            PlanCache(tmp_path / "c"),
            Referee(pytest.fail, None, PostprocessingSpec()),
            Precision.FP16,
            silent,
        )
    assert backend.built == []


def test_a_file_that_is_no_onnx_is_a_plan_error(bundle: Bundle) -> None:
    bundle.model_path.write_bytes(b"\x00damaged")
    with pytest.raises(PlanError, match="cannot be written in fp16"):
        OpenVinoPlans().build(bundle, Precision.FP16, silent)


def test_a_missing_onnx_is_a_plan_error(bundle: Bundle) -> None:
    bundle.model_path.unlink()
    for precision in Precision:
        with pytest.raises(PlanError, match="cannot be written in"):
            OpenVinoPlans().build(bundle, precision, silent)


def test_a_plan_file_can_be_read_by_the_group_of_a_container(tmp_path: Path) -> None:
    path = PlanCache(tmp_path).put(KEY, b"plan")
    assert path.stat().st_mode & 0o777 == 0o644
    header = json.loads(path.read_bytes().removeprefix(MAGIC).split(b"\n")[0])
    assert header["key"]["gpu"] == "H100"
