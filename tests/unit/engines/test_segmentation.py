"""Segmentors run at the same time; what a run had to do otherwise is told in the remarks."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from engines.engine_report import EngineReport
from engines.pipeline import segment_study
from engines.precision import Precision
from engines.progress import Step
from engines.runners.base import Notice, RunnerKind, unheard
from engines.segmentation import Segmentor
from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support.onnx_models import write_threshold_bundle


class Meeting:
    """A runner that goes on only when so many run at the same time."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self.name, self._barrier = "meeting", barrier

    def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
        self._barrier.wait(timeout=20)
        notice("slices ran in batches of 4 instead of 8")
        return np.full((len(slices), 1, *slices.shape[2:]), -9, np.float32)

    def __enter__(self) -> Meeting:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(("kind", "together"), [(RunnerKind.TENSORRT, 4), (RunnerKind.OPENVINO, 2)])
def test_segmentors_run_at_the_same_time(tmp_path: Path, kind: RunnerKind, together: int) -> None:
    barrier = threading.Barrier(together)
    segmentors = {
        segment: Segmentor(
            write_threshold_bundle(tmp_path / segment.value, segment),
            Meeting(barrier),
            EngineReport(segment, kind, "meeting", Precision.FP16, "met"),
        )
        for segment in Segment
    }
    noise = np.random.default_rng(0).normal(100, 10, (4, 64, 64)).astype(np.float32)
    volume = Volume(noise, Grid(noise.shape, np.diag([6.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]))
    steps: list[Step] = []
    volumes = {segment.series_type: volume for segment in Segment}
    found = segment_study(volumes, segmentors, None, steps.append)
    assert [one.segment for one in found.findings] == list(Segment)
    segmenting = [step for step in steps if step.name.startswith("segment")]
    assert segmenting[0] == Step("segment", "segmenting WMH, LACUNE, INFARCT, MICROBLEED")
    assert all((step.took_s or 0) > 0 for step in segmenting[1:])
    names = [step.name for step in segmenting if step.name != "segment"]
    assert sorted(names) == sorted(f"segment_{segment.lower()}" for segment in Segment)
    told = [f"{segment.label}: slices ran in batches of 4 instead of 8" for segment in Segment]
    assert [remark for remark in found.remarks if "batches" in remark] == told
