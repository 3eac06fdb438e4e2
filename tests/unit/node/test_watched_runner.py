"""What becomes known of a GPU that fails while the node serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from engines.errors import RunnerError
from engines.manifest import BatchProfile
from engines.runners.base import RunnerSettings
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from engines.runners.reserve import ReservedRunner
from engines.runners.tensorrt import TensorRtRunner
from engines.segments import Segment
from node.gauges import EngineCollector
from node.health import Health, PartState
from node.watched_runner import WatchedRunner, how_they_run
from tests.support.host_gpu import HostCuda, HostEngine
from tests.support.onnx_models import write_threshold_bundle

SHAPE = (1, 64, 64)
SLICES = np.ones((2, *SHAPE), np.float32)


def watched_on(folder: Path, cuda: HostCuda) -> WatchedRunner:
    bundle = write_threshold_bundle(folder / "wmh")
    engine, profile = HostEngine(bundle.model_path, SHAPE), BatchProfile(min=1, opt=8, max=8)
    first = TensorRtRunner("tensorrt test", engine, cuda, SHAPE, profile)

    def reserve() -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(bundle.model_path, bundle.manifest.model, RunnerSettings(threads=1))

    return WatchedRunner(Segment.WMH, ReservedRunner(first, reserve))


def test_a_gpu_that_fails_is_told_to_log_health_and_metrics_until_it_works_again(tmp_path: Path) -> None:
    cuda, health, registry = HostCuda(), Health(["engines"]), CollectorRegistry()
    with watched_on(tmp_path, cuda) as runner:
        runners = {Segment.WMH: runner}
        health.opened("engines", lambda: how_they_run(runners))
        registry.register(EngineCollector({}, runners))

        def after_a_study() -> tuple[PartState, str, float | None, list[str]]:
            notices: list[str] = []
            with capture_logs() as logged:
                runner.run(SLICES, notices.append)
            assert [each["reason"] for each in logged] == notices
            assert all(each["event"] == "segmentor.strained" for each in logged)
            (condition,) = health.conditions()
            strained = registry.get_sample_value("csvd_engine_strained", {"segment": "WMH"})
            assert health.is_ready([condition]), "it serves all the same"
            return condition.state, condition.reason, strained, notices

        well = (PartState.OPEN, "WMH: tensorrt test", 0, [])
        assert after_a_study() == well
        cuda.broken = True
        state, reason, strained, (notice,) = after_a_study()
        assert (state, strained) == (PartState.STRAINED, 1)
        assert reason == f"WMH: tensorrt test; when last used, WMH: {notice}"
        assert "unspecified launch failure" in notice
        cuda.broken = False
        assert after_a_study() == well
    assert cuda.used == 0


def test_what_cannot_run_at_all_is_no_strain(tmp_path: Path) -> None:
    with watched_on(tmp_path, HostCuda()) as runner:
        with pytest.raises(RunnerError, match="Slices"):
            runner.run(SLICES[:, :, :32])
        assert runner.strain == ""
