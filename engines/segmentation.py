"""Runs the segmentors of a Study: two at a time on the CPU, all at a time on a GPU."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from engines.alignment import Alignment
from engines.bundle import Bundle
from engines.coverage import field_remarks
from engines.engine_report import EngineReport
from engines.errors import InputError, RunnerError
from engines.findings import ModelIdentity
from engines.intensity import background
from engines.lesions import METHOD_LIMITS_MM, Limits
from engines.manifest import Manifest
from engines.postprocessing import lesion_mask, probabilities
from engines.preprocessing import prepare
from engines.progress import SEGMENTING, Progress, Step, segmenting
from engines.resampling import Interpolation, resample
from engines.runners.base import Runner
from engines.segments import Segment, SeriesType
from engines.volume import Volume

ON_THE_CPU = 2
"""Segmentors that run at a time on the CPU. Preparing and restoring slices is work for one core: while one
segmentor does it, the network of another has the rest; a third one would only take more memory."""


@dataclass(frozen=True, slots=True)
class Segmentor:
    """A checked bundle and the open runner of its model.

    Attributes:
        bundle: the model.
        runner: what runs it.
        report: how the runner was chosen, if it was chosen by ``choose_runner``.
    """

    bundle: Bundle
    runner: Runner
    report: EngineReport | None = None

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def identity(self) -> ModelIdentity:
        """The model as results cite it."""
        manifest = self.manifest
        return ModelIdentity(manifest.name, manifest.version, manifest.model.sha256, self.runner.name)

    @property
    def on_gpu(self) -> bool:
        """Whether the CPU is free while its network computes."""
        return self.report is not None and self.report.runner.on_gpu

    @property
    def limits_mm(self) -> Limits | None:
        """The bounds of a lesion's axial diameter, mm: the manifest's or else the method's."""
        if self.manifest.size_limits_mm is None:
            return METHOD_LIMITS_MM.get(self.manifest.segment)
        smallest, largest = self.manifest.size_limits_mm
        if smallest is None and largest is None:
            return None
        return (smallest or 0.0, np.inf if largest is None else largest)


@dataclass(frozen=True, slots=True)
class Segmented:
    """What a network saw, on the grid of its first input.

    Attributes:
        mask: Volume of bool.
        probability: Volume of float32 in 0..1.
        other_inputs: Series that it saw beside the first input.
        notices: what a reader must know of the run.
    """

    mask: Volume
    probability: Volume
    other_inputs: tuple[SeriesType, ...]
    notices: tuple[str, ...]


def segment_all(
    planned: Mapping[Segment, Segmentor],
    volumes: Mapping[SeriesType, Volume],
    alignment: Alignment,
    progress: Progress,
) -> tuple[dict[Segment, Segmented], dict[Segment, str]]:
    """Run segmentors on the volumes of a Study.

    Those on a GPU run at the same time, each in its own stream, those on the CPU two at a time: while the
    network of one computes, the slices of another are prepared.

    Args:
        planned: by segment; their inputs are there.
        volumes: the Study's usable volumes.
        alignment: relates them.
        progress: told by the calling thread that they run, and of each how long it took.

    Returns: what was found, and for the other segments why they cannot be assessed.
    Raises: RunnerError: if a runtime fails, which has nothing to do with the Study.
    """
    if not planned:
        return {}, {}
    progress(Step(SEGMENTING, f"segmenting {', '.join(planned)}"))
    outcomes: dict[Segment, Segmented | InputError] = {}
    with ThreadPoolExecutor(len(planned)) as gpu, ThreadPoolExecutor(ON_THE_CPU) as cpu:
        running = {
            (gpu if segmentor.on_gpu else cpu).submit(_timed, segmentor, volumes, alignment): segment
            for segment, segmentor in planned.items()
        }
        for done in as_completed(running):
            segment = running[done]
            outcomes[segment], took_s = done.result()
            progress(Step(segmenting(segment), _words(planned[segment]), took_s))
    segmented, not_assessed = {}, {}
    for segment, segmentor in planned.items():
        outcome = outcomes[segment]
        if isinstance(outcome, Segmented):
            segmented[segment] = outcome
        else:
            not_assessed[segment] = f"{segmentor.manifest.inputs[0].label} Series: {outcome}"
    return segmented, not_assessed


def _words(segmentor: Segmentor) -> str:
    return f"segmenting {segmentor.manifest.segment} on {segmentor.manifest.inputs[0].label}"


def _timed(
    segmentor: Segmentor, volumes: Mapping[SeriesType, Volume], alignment: Alignment
) -> tuple[Segmented | InputError, float]:
    """Run one segmentor; return what came of it, and how long that took, s."""
    began = time.perf_counter()
    try:
        outcome: Segmented | InputError = segment_one(segmentor, volumes, alignment)
    except InputError as exc:
        outcome = exc
    return outcome, time.perf_counter() - began


def segment_one(
    segmentor: Segmentor, volumes: Mapping[SeriesType, Volume], alignment: Alignment
) -> Segmented:
    """Run one segmentor on its inputs, brought onto the grid of the first one.

    Raises:
        InputError: if an input cannot be segmented.
        RunnerError: if the runtime fails.
    """
    manifest = segmentor.manifest
    first, *others = manifest.inputs
    left_out = _left_out(manifest, volumes, alignment)
    inputs = [
        volumes[first],
        *(None if other in left_out else _beside(first, other, volumes, alignment) for other in others),
    ]
    prepared = prepare(inputs, manifest.preprocessing)
    notices: list[str] = []
    try:
        logits = segmentor.runner.run(prepared.slices, notices.append)
        probability = probabilities(logits, prepared)
    except RunnerError as exc:
        raise RunnerError(f"{manifest.segment} with {manifest.name} {manifest.version}: {exc}") from exc
    return Segmented(
        lesion_mask(probability, manifest.postprocessing),
        probability,
        tuple(other for other in others if other not in left_out),
        (
            *left_out.values(),
            *field_remarks(manifest.segment, volumes[first], prepared.placement.field),
            *(f"{manifest.segment.label}: {notice}" for notice in notices),
        ),
    )


def _beside(
    first: SeriesType, other: SeriesType, volumes: Mapping[SeriesType, Volume], alignment: Alignment
) -> Volume:
    """Bring a second input onto the grid of the first one; beyond its own it shows air.

    Raises: InputError: if nobody knows how the two lie to each other.
    """
    if not (alignment.is_placed(first) and alignment.is_placed(other)):
        raise InputError(f"{other.label} lies in another Frame of Reference, and where is not known")
    source, grid = volumes[other], volumes[first].grid
    transform = alignment.between(first, other)
    return resample(source, grid, transform, Interpolation.LINEAR, outside=background(source.array))


def _left_out(
    manifest: Manifest, volumes: Mapping[SeriesType, Volume], alignment: Alignment
) -> dict[SeriesType, str]:
    """Say of each optional input that the network does not see that it was left out, and why.

    One that may lie askew to the first input would mislead the network.
    """
    first = manifest.inputs[0]
    left_out = {}
    for other in manifest.optional_inputs:
        said = f"{manifest.segment.label} was looked for without {other.label}"
        if other not in volumes:
            left_out[other] = said
        elif alignment.is_doubtful(first) or alignment.is_doubtful(other):
            left_out[other] = f"{said}, which may lie askew to {first.label}"
    return left_out
