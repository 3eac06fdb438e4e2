"""Cases and recipes small enough to train on within seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.intensity import Normalisation
from engines.preprocessing import Fit, PreprocessingSpec
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.cases import Case, CaseKind, Provenance
from training.recipe import (
    AugmentationSettings,
    Decay,
    Keep,
    LossSettings,
    NetworkSettings,
    ScheduleSettings,
    SegmentRecipe,
)


def bright_spot_case(
    name: str, kind: CaseKind = CaseKind.SIMULATED, *, lesion: bool = True, seed: int = 0
) -> Case:
    """Return a grey disc of 40 mm with a bright square lesion on two of its six slices, with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    disc = (rows - 24) ** 2 + (columns - 24) ** 2 < 20**2
    array = np.repeat((disc * 100.0)[None], 6, axis=0)
    mask = np.zeros(array.shape, dtype=bool)
    if lesion:
        top, left = rng.integers(14, 28, size=2)
        mask[2:4, top : top + 6, left : left + 6] = True
    array[mask] = 200.0
    array += np.where(array > 0, rng.normal(0, 3, array.shape), 0)
    affine = np.diag([4.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    grid = Grid((6, 48, 48), affine)
    origin = Provenance(f"patient_{name}", "spots", "none", kind)
    return Case(
        name,
        {SeriesType.T2_FLAIR: Volume(array.astype(np.int16), grid)},
        {Segment.WMH: Volume(mask, grid)},
        origin,
    )


def tiny_recipe(**changes: object) -> SegmentRecipe:
    """Return a recipe that trains a two-level network for a few steps."""
    recipe = SegmentRecipe(
        name="tiny",
        version="1.0.0",
        seed=3,
        segment=Segment.WMH,
        preprocessing=PreprocessingSpec(
            pixel_grid=(32, 32),
            fit=Fit.PAD_RESIZE,
            normalisation=Normalisation.WHITE_MATTER_PEAK,
            neighbours=1,
        ),
        network=NetworkSettings(channels=(8, 8), fold=2, deep_supervision=True, slim_decoder=True),
        loss=LossSettings(overlap_weight=1.0, entropy_weight=1.0),
        augmentation=AugmentationSettings(flip=0.5, noise=0.02),
        schedule=ScheduleSettings(
            batch=4,
            epoch_steps=4,
            epochs=3,
            learning_rate=0.01,
            decay=Decay.COSINE,
            keep=Keep.LAST,
            lesion_share=0.5,
        ),
        inputs=(SeriesType.T2_FLAIR,),
        optional_inputs=(),
        sources={CaseKind.SIMULATED: 1.0, CaseKind.REAL: 1.0},
    )
    return recipe.model_copy(update=changes)


TINY_YAML = """
name: tiny
description: for tests
version: 1.0.0
preprocessing: {pixel_grid: [32, 32], fit: pad_resize, normalisation: white_matter_peak, neighbours: 1}
network: {channels: [8, 8], fold: 2, deep_supervision: true}
loss: {overlap_weight: 1.0, entropy_weight: 1.0}
augmentation: {flip: 0.5}
schedule: {batch: 4, epoch_steps: 20, epochs: 2, learning_rate: 0.02, keep: last, lesion_share: 0.5}
segmentors:
  WMH:
    inputs: [T2_FLAIR]
    sources: {simulated: 1.0}
"""
"""The same as a YAML file."""


def write_tiny_recipe(folder: Path, text: str = TINY_YAML) -> Path:
    """Write a recipe file and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path
