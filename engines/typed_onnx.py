"""Writes the precision of a computation into an ONNX file, as strongly typed TensorRT networks want it.

Inputs and outputs stay float32 in every precision. float16 is done by ``onnxconverter-common``, int8 by the
quantisation of onnxruntime; bfloat16, which neither offers, is the float16 graph with the other type.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.checker import ValidationError
from onnxconverter_common.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from engines.errors import PlanError
from engines.precision import Precision

KEPT_IN_FLOAT32 = tuple(sorted(set(DEFAULT_OP_BLOCK_LIST) - {"Resize", "Upsample"}))
"""Operators that the converter surrounds with casts; resizing needs none, only its scales stay float32."""

FLOAT16_MAX = 65504.0
"""Largest float16; weights beyond it are bounded by the converter."""

MIN_POSITIVE = 6e-8
"""Smallest float16 above zero; weights below it become it."""


def write_precision(
    path: Path, precision: Precision, input_name: str, samples: NDArray[np.float32] | None
) -> bytes:
    """Return an ONNX file that computes in a precision.

    Args:
        path: the bundle's float32 file.
        precision: what it is to compute in; TF32 is the float32 file.
        input_name: of its one input.
        samples: (n, channels, rows, columns) slices that the range of int8 is calibrated on.

    Raises: PlanError: if there are no samples for int8, or the graph cannot be converted.
    """
    try:
        match precision:
            case Precision.INT8:
                return _int8(path, input_name, samples)
            case Precision.FP16:
                return bytes(_float16(onnx.load(path)).SerializeToString())
            case Precision.BF16:
                return bytes(_bfloat16(onnx.load(path)).SerializeToString())
            case _:
                return path.read_bytes()
    except (OSError, ValueError, TypeError, RuntimeError, DecodeError, ValidationError) as exc:
        raise PlanError(path.name, f"cannot be written in {precision}: {exc}") from exc


def _float16(model: ModelProto) -> ModelProto:
    scales = _resize_parameters(model)
    originals = {name: tensor.SerializeToString() for name, tensor in _tensors(model)}
    with warnings.catch_warnings():
        # One warning for each weight that is rounded to the smallest float16.
        warnings.simplefilter("ignore", UserWarning)
        half: ModelProto = convert_float_to_float16(
            model,
            min_positive_val=MIN_POSITIVE,
            max_finite_val=FLOAT16_MAX,
            keep_io_types=True,
            op_block_list=list(KEPT_IN_FLOAT32),
        )
    for name, tensor in _tensors(half):
        if name in scales:
            tensor.ParseFromString(originals[name])
    for value in half.graph.value_info:
        if value.name in scales:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return half


def _bfloat16(model: ModelProto) -> ModelProto:
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in _tensors(model)}
    brain = _float16(model)
    for name, tensor in _tensors(brain):
        if tensor.data_type == TensorProto.FLOAT16:
            rounded = weights[name].astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    for value in brain.graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    for node in brain.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
    return brain


def _tensors(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield the tensors that a file holds, as initializers or constants, each with the name of its value."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _resize_parameters(model: ModelProto) -> set[str]:
    """Name the scales and regions of interest of resizing, which are float32 by the ONNX standard."""
    return {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:] if name}


def _int8(path: Path, input_name: str, samples: NDArray[np.float32] | None) -> bytes:
    """Put quantise-dequantise pairs before the inputs and weights of the convolutions.

    The scheme is TensorRT's: symmetric, weights by channel, biases in float32.
    """
    if samples is None or not len(samples):
        raise PlanError(path.name, "int8 needs sample slices to calibrate on, and the bundle has none")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        quantize_static(
            str(path),
            str(target),
            _Slices(input_name, samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        return target.read_bytes()


class _Slices(CalibrationDataReader):
    """Hands the calibration one slice at a time."""

    def __init__(self, input_name: str, samples: NDArray[np.float32]) -> None:
        self._feeds: Iterator[dict[str, Any]] = iter(
            {input_name: samples[at : at + 1]} for at in range(len(samples))
        )

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed, or None at the end."""
        return next(self._feeds, None)
