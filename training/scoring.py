"""What a bundle, whoever trained it, reaches on labelled patients at its own operating point."""

from __future__ import annotations

from pathlib import Path

from engines.bundle import load_bundle
from engines.runners.base import RunnerSettings
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from training.errors import NoSamplesError
from training.evaluation import predict_cases, score_case
from training.judging import Evaluation
from training.sources import Sources
from training.summary import summarise

PATIENTS = "real"
"""Name of the scores: whether the bundle has learned from these patients, only its maker knows."""


def score_bundle(folder: Path, sources: Sources, threads: int) -> Evaluation:
    """Score a bundle on all real cases that are labelled for its segment.

    Raises:
        BundleError: if the bundle is broken.
        NoSamplesError: if there is no case.
        CaseError: names a case that cannot be read or lacks a Series that the bundle needs.
    """
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    spec, segment = manifest.postprocessing, manifest.segment
    with OnnxRuntimeRunner(bundle.model_path, manifest.model, RunnerSettings(threads=threads)) as runner:
        predictions = predict_cases(sources.real(segment), manifest, runner.run)
        scores = [score_case(prediction, spec) for prediction in predictions]
    if not scores:
        raise NoSamplesError(f"Bundle {manifest.name}, {segment}", sources.searched)
    return Evaluation(spec, {PATIENTS: summarise(scores)}, {PATIENTS: scores})
