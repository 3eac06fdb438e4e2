"""From trained weights to a bundle that the node serves: ONNX, manifest, proof slices, model card."""

from __future__ import annotations

import datetime
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.bundle import (
    CARD_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    file_sha256,
    load_bundle,
    write_manifest,
    write_samples,
)
from engines.manifest import Manifest, ModelFile, Score
from engines.postprocessing import PostprocessingSpec
from engines.runners.base import RunnerSettings
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from training.errors import ExportError
from training.recipe import SegmentRecipe

MAX_MB = 16.0
"""Largest ONNX file of a bundle, MB."""

PARITY = 1e-3
"""Largest difference of a logit between torch and onnxruntime, float32: rounding, magnified by 20 layers."""

OPSET = 18
"""ONNX operator set; every runtime of the node reads it."""

OWN_RECIPE = "best"
"""The recipe of the shipped weights, whose names tell of no recipe."""


def write_onnx(model: nn.Module, recipe: SegmentRecipe, path: Path) -> None:
    """Write a network as ONNX with a dynamic batch.

    Raises: ExportError: if the file is larger than a bundle may be.
    """
    model = model.cpu().float().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    rows, columns = recipe.preprocessing.pixel_grid
    with _without_notes():
        program = torch.onnx.export(
            model,
            (torch.zeros(2, recipe.channels, rows, columns),),
            input_names=["slices"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError(path.parent.name, "torch wrote no program")
    program.save(str(path), external_data=False)
    size_mb = path.stat().st_size / 1e6
    if size_mb > MAX_MB:
        raise ExportError(path.parent.name, f"{size_mb:.1f} MB, at most {MAX_MB:.0f}; use fewer channels")


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep back what the exporter says of its own code, and of packages that no network here needs."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(before)


def check_parity(model: nn.Module, path: Path, slices: NDArray[np.float32]) -> float:
    """Return the largest difference of logits between torch and onnxruntime.

    Args:
        model: the trained network.
        path: its ONNX file.
        slices: (n, channels, rows, columns) prepared slices.

    Raises: ExportError: if it is above ``PARITY``.
    """
    with torch.no_grad():
        expected = model.cpu().float().eval()(torch.from_numpy(slices)).numpy()
    with OnnxRuntimeRunner(path, ModelFile(sha256="0" * 64), RunnerSettings()) as runner:
        difference = float(np.abs(runner.run(slices) - expected).max())
    if not difference <= PARITY:
        raise ExportError(
            path.parent.name, f"logits differ by {difference:.2g} between torch and onnxruntime"
        )
    return difference


def write_bundle(
    folder: Path,
    model: nn.Module,
    recipe: SegmentRecipe,
    postprocessing: PostprocessingSpec,
    samples: NDArray[np.float32],
    scores: Sequence[Score],
    training_data: str,
    card: str,
    licence: str,
) -> Manifest:
    """Write a whole bundle and check it as the node will; one that is there already stays if that fails.

    Args:
        folder: of the bundle; made if missing.
        model: the trained network.
        recipe: how it was trained.
        postprocessing: its operating point.
        samples: (n, channels, rows, columns) neighbouring prepared slices that show lesions.
        scores: as measured.
        training_data: what it learned from, with licences.
        card: the model card, Markdown.
        licence: of the weights.

    Raises: ExportError: if torch and onnxruntime differ or the file is too large.
    """
    with _put_whole(folder) as made:
        write_onnx(model, recipe, made / MODEL_NAME)
        # Samples are kept in half precision: the parity is measured on what the node will read.
        check_parity(model, made / MODEL_NAME, samples.astype(np.float16).astype(np.float32))
        manifest = Manifest(
            name=f"{'csvd' if recipe.name == OWN_RECIPE else recipe.name}-{recipe.segment.lower()}",
            version=recipe.version,
            segment=recipe.segment,
            inputs=recipe.inputs,
            optional_inputs=recipe.optional_inputs,
            preprocessing=recipe.preprocessing,
            postprocessing=postprocessing,
            model=ModelFile(file=MODEL_NAME, sha256=file_sha256(made / MODEL_NAME)),
            samples=write_samples(made, samples),
            licence=licence,
            training_data=training_data,
            recipe=f"csvd-train run {recipe.name} --segment {recipe.segment}",
            scores=tuple(scores),
            created=datetime.datetime.now(tz=datetime.UTC).date(),
        )
        write_manifest(made, manifest)
        (made / CARD_NAME).write_text(card, encoding="utf-8")
    return manifest


@contextmanager
def _put_whole(folder: Path) -> Iterator[Path]:
    """Yield a folder for a bundle, and put it in its place once it is written and the node would take it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as unfinished:
        made = Path(unfinished) / folder.name
        made.mkdir()
        yield made
        load_bundle(made)
        folder.mkdir(exist_ok=True)
        # the manifest last: until then a bundle that is there already is refused rather than half another
        for path in sorted(made.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
            path.replace(folder / path.name)
