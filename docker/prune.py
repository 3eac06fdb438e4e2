"""Takes out of an environment what serving never loads; run when an image is built."""

import shutil
import sys
from pathlib import Path

NEVER_LOADED = (
    # Intel GPU and NPU, for which the image has no drivers:
    "openvino/libs/libopenvino_intel_gpu_plugin.so*",
    "openvino/libs/libopenvino_intel_npu_plugin.so*",
    "openvino/libs/cache.json",
    # Readers of model formats other than ONNX and OpenVINO's own; headers for C++:
    "openvino/libs/libopenvino_gguf_frontend.so*",
    "openvino/libs/libopenvino_jax_frontend.so*",
    "openvino/libs/libopenvino_paddle_frontend.so*",
    "openvino/libs/libopenvino_pytorch_frontend.so*",
    "openvino/libs/libopenvino_tensorflow_frontend.so*",
    "openvino/libs/libopenvino_tensorflow_lite_frontend.so*",
    "openvino/include",
    # The library for programs in C; Python has its own:
    "onnxruntime/capi/libonnxruntime.so.*",
    # Training, which needs torch:
    "training",
    # Test data for those who write backends of ONNX, and what is written in C++:
    "onnx/backend/test",
    "onnx/**/*.cc",
    "onnx/**/*.h",
    # What extension modules were made of:
    "fontTools/**/*.c",
    # Types, for those who check programs:
    "**/*.pyi",
    # Parts of SciPy that neither the node nor what it imports of SciPy uses:
    "scipy/cluster",
    "scipy/datasets",
    "scipy/differentiate",
    "scipy/fftpack",
    "scipy/integrate",
    "scipy/interpolate",
    "scipy/io",
    "scipy/odr",
    "scipy/optimize",
    "scipy/signal",
    "scipy/stats",
    # Pictures are PNG and JPEG:
    "PIL/_avif.*",
    "pillow.libs/libavif-*",
    # The packages' own tests:
    "**/tests",
)
"""Patterns below site-packages; one that matches nothing is an error, so that the list stays true."""

COMPILER = "tensorrt_rtx"
"""What compiles networks for a GPU."""

LOADED_TO_COMPILE = (
    # What onnxruntime's quantisation imports, by which int8 is written into a network:
    "onnxruntime/transformers",
    "onnx/reference",
)
"""Patterns of what is loaded only where networks are compiled for a GPU."""


def patterns(site_packages: Path) -> tuple[str, ...]:
    """Return the patterns of what an environment never loads."""
    return NEVER_LOADED if (site_packages / COMPILER).exists() else (*NEVER_LOADED, *LOADED_TO_COMPILE)


def prune(site_packages: Path) -> int:
    """Remove all that the patterns match.

    Returns: bytes that were removed.
    Raises: SystemExit: if a pattern matches nothing.
    """
    removed = 0
    for pattern in patterns(site_packages):
        found = sorted(path for path in site_packages.glob(pattern))
        if not found:
            sys.exit(f"nothing matches {pattern}: take it off the list")
        for path in found:
            if path.is_dir():
                removed += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                shutil.rmtree(path)
            elif path.exists():
                removed += path.stat().st_size
                path.unlink()
    return removed


if __name__ == "__main__":
    print(f"{prune(Path(sys.argv[1])) / 1e6:.0f} MB removed")
