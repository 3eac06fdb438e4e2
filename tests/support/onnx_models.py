"""Tiny ONNX networks of known behaviour, and bundles around them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import MODEL_NAME, Bundle, file_sha256, load_bundle, write_manifest
from engines.manifest import Manifest, ModelFile
from engines.postprocessing import PostprocessingSpec
from engines.preprocessing import Fit, Normalisation, PreprocessingSpec
from engines.segments import Segment


def write_threshold_model(
    path: Path,
    *,
    channels: int = 1,
    rows: int | str = 64,
    columns: int | str = 64,
    batch: int | str = "batch",
    level: float = 1.5,
    gain: float = 20.0,
    input_name: str = "slices",
    output_name: str = "logits",
    dtype: int = TensorProto.FLOAT,
) -> None:
    """Write a 1x1 convolution: logit = gain * (first channel - level); a negative gain finds the dark."""
    number = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    weight = np.zeros((1, channels, 1, 1), number)
    weight[0, 0] = gain
    bias = np.array([-gain * level], number)
    shape = [batch, channels, rows, columns]
    graph = helper.make_graph(
        [helper.make_node("Conv", [input_name, "weight", "bias"], [output_name])],
        "threshold",
        [helper.make_tensor_value_info(input_name, dtype, shape)],
        [helper.make_tensor_value_info(output_name, dtype, [batch, 1, rows, columns])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def threshold_manifest(path: Path, segment: Segment = Segment.WMH, **changes: object) -> Manifest:
    """Describe the model at a path: brighter than 1.5 times white matter is lesion."""
    manifest = Manifest(
        name=f"threshold-{segment.lower()}",
        version="0.1.0",
        segment=segment,
        inputs=(segment.series_type,),
        preprocessing=PreprocessingSpec(
            pixel_grid=(64, 64), fit=Fit.PAD_RESIZE, normalisation=Normalisation.WHITE_MATTER_PEAK
        ),
        postprocessing=PostprocessingSpec(threshold=0.5),
        model=ModelFile(sha256=file_sha256(path)),
        licence="CC0-1.0",
        training_data="none: a threshold",
        recipe="none",
        scores=(),
        created=date(2026, 11, 21),
    )
    return Manifest.model_validate({**manifest.model_dump(), **changes})


def write_two_slice_model(path: Path) -> None:
    """Write a network that hands on two slices of 64 x 64, and fails on any other number of them."""
    shape = ["batch", 1, 64, 64]
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["slices", "two"], ["logits"])],
        "two_slices",
        [helper.make_tensor_value_info("slices", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array([2, 1, 64, 64]), "two")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def write_threshold_bundle(
    folder: Path,
    segment: Segment = Segment.WMH,
    *,
    channels: int = 1,
    level: float = 1.5,
    gain: float = 20.0,
    **changes: object,
) -> Bundle:
    """Write and load a bundle that finds what is brighter than ``level`` times white matter."""
    folder.mkdir(parents=True)
    write_threshold_model(folder / MODEL_NAME, channels=channels, level=level, gain=gain)
    write_manifest(folder, threshold_manifest(folder / MODEL_NAME, segment, **changes))
    return load_bundle(folder)
