"""``csvd-node engines`` on a machine without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from engines.cache import PlanCache, write_scratch
from engines.errors import RunnerUnavailableError
from engines.runners.base import RunnerKind
from engines.segments import Segment
from node.cli import app
from node.engine_plans import compiling_backend
from node.settings import NodeSettings
from tests.support.host_gpu import HostProbe, without_full, without_gpu
from tests.support.onnx_models import write_threshold_bundle

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX has no wheel for this machine")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_threshold_bundle(tmp_path / "wmh")
    left_out = {segment.value: None for segment in Segment if segment is not Segment.WMH}
    settings = {"root": str(tmp_path / "root"), "segmentors": {"WMH": str(tmp_path / "wmh"), **left_out}}
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "node.yaml"


def run(config: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["engines", *words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.output


def test_plans_are_built_listed_verified_and_pruned(config: Path) -> None:
    folder = config.parent / "root" / "engines"
    for command in ("list", "verify"):
        assert f"There is no compiled plan in {folder}." in run(config, command)
    built = run(config, "build", "--capability", "89")
    (plan,) = folder.glob("*.plan")
    assert plan.name in built
    made = plan.stat().st_mtime_ns
    run(config, "build", "--capability", "89")
    assert plan.stat().st_mtime_ns == made
    assert "threshold" in run(config, "list")
    assert "whole; not run" in run(config, "verify")
    assert run(config, "prune") == "There is nothing to remove.\n"
    plan.write_bytes(plan.read_bytes()[:-1])
    assert "damaged" in run(config, "verify", code=1)
    assert f"removed {plan.name}" in run(config, "prune")
    assert list(folder.glob("*.plan")) == []


def test_kernels_of_a_plan_that_was_deleted_by_hand_are_pruned(config: Path) -> None:
    run(config, "build", "--capability", "89")
    cache = PlanCache(config.parent / "root" / "engines")
    (plan,) = cache.entries()
    assert plan.key is not None
    gone = replace(plan.key, precision="bf16")
    kept, stray = (cache.folder / key.kernels_name("NVIDIA L4") for key in (plan.key, gone))
    for kernels in (kept, stray):
        write_scratch(kernels, b"kernels")
    assert run(config, "prune") == f"removed {stray.name}\n"
    assert kept.exists()
    assert not stray.exists()


def test_plans_of_a_replaced_tensorrt_or_converter_are_pruned_and_those_of_other_machines_stay(
    config: Path,
) -> None:
    run(config, "build", "--capability", "89")
    cache = PlanCache(config.parent / "root" / "engines")
    (kept,) = cache.entries()
    assert kept.key is not None
    old = cache.put(replace(kept.key, version="1.0.0"), b"plan")
    other_gpu = cache.put(replace(kept.key, capability=120), b"plan")
    elsewhere = replace(kept.key, flavour="another", version="9.0.0", converter="onnxconverter-common 1.0.0")
    not_here = cache.put(elsewhere, b"plan")
    converted = cache.put(replace(kept.key, converter="onnxconverter-common 1.0.0"), b"plan")
    told = run(config, "prune")
    assert f"removed {old.name}" in told
    assert f"removed {converted.name}" in told
    assert {one.path for one in cache.entries()} == {kept.path, other_gpu, not_here}


def test_all_precisions_that_may_serve_are_built_at_once(config: Path) -> None:
    """The order without a setting begins with fp16: fp16, bf16, tf32, fp32."""
    run(config, "build", "--capability", "89", "--all")
    kept = PlanCache(config.parent / "root" / "engines").entries()
    assert {one.key.precision for one in kept if one.key} == {"fp16", "bf16", "tf32", "fp32"}


def test_what_serves_and_what_does_not_is_shown(config: Path) -> None:
    shown = run(config)
    assert "WMH: onnxruntime" in shown
    assert "proof: float32 on the CPU is the reference" in shown
    assert "passed over: tensorrt cannot be used" in shown


@without_gpu
def test_a_build_without_a_gpu_says_why(config: Path) -> None:
    assert "cannot be used" in run(config, "build", code=1)


@without_gpu
@pytest.mark.parametrize(
    ("runner", "words", "kind"),
    [
        ("auto", (), "tensorrt"),
        ("tensorrt", (), "tensorrt"),
        ("tensorrt-rtx", (), "tensorrt-rtx"),
        ("auto", ("--tensorrt",), "tensorrt"),
    ],
)
def test_a_build_takes_the_tensorrt_that_would_run_the_models(
    config: Path, runner: str, words: tuple[str, ...], kind: str
) -> None:
    config.write_text(config.read_text() + f"runner: {runner}\n")
    assert f"{kind} cannot be used" in run(config, "build", *words, code=1)


@without_full
def test_a_build_goes_by_the_gpu_that_is_here(tmp_path: Path) -> None:
    settings = NodeSettings(root=tmp_path)
    workstation = HostProbe(shown=(("NVIDIA L4", 89),))
    chosen = compiling_backend(settings, full=False, capability=None, probe=workstation)
    assert chosen.kind is RunnerKind.TENSORRT_RTX
    server = HostProbe(shown=(("NVIDIA H100 80GB HBM3", 90),))
    with pytest.raises(RunnerUnavailableError, match=r"tensorrt is not installed.*csvd-node\[gpu\]"):
        compiling_backend(settings, full=False, capability=None, probe=server)
