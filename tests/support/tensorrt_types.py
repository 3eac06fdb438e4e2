"""Type-checks the code that both flavours of TensorRT share against the stubs of each, with pyright.

Stubs are made of the modules themselves: of the installed TensorRT for RTX, and of the bindings of full
TensorRT in the folder that is named. Its libraries are not on PyPI. Empty ones stand for them: what is only
looked at calls none of their functions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKED = [f"engines/gpu/{name}.py" for name in ("flavour", "compilation", "execution", "backend")]
RTX, FULL = "tensorrt_rtx_bindings.tensorrt_rtx", "tensorrt_bindings.tensorrt"

LIBRARIES = ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11")
"""What the bindings of full TensorRT 11 are linked against, and look for beside themselves."""

FUNCTIONS = (
    *(f"createInfer{what}_INTERNAL" for what in ("Builder", "Refitter", "Runtime")),
    *(f"createNvOnnx{what}_INTERNAL" for what in ("Parser", "ParserRefitter")),
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
"""All that the bindings want of these libraries; the classes are in the bindings."""


def put_empty_libraries(folder: Path) -> None:
    """Compile libraries whose functions do nothing."""
    code = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS)
    for library in LIBRARIES:
        command = ["cc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o", str(folder / library)]
        subprocess.run(command, input=code, text=True, check=True)


def make_stubs(module: str, folder: Path, beside: Path | None = None) -> Path:
    """Make stubs of a module under the name ``tensorrt``.

    Args:
        module: of TensorRT.
        folder: of the stubs.
        beside: folder of the module, if it is not installed.
    """
    command = [sys.executable, "-m", "pybind11_stubgen", module, "-o", str(folder), "--ignore-all-errors"]
    environment = os.environ | ({"PYTHONPATH": str(beside)} if beside else {})
    subprocess.run(command, env=environment, check=True, capture_output=True)
    stub = folder / "tensorrt" / "__init__.pyi"
    stub.parent.mkdir()
    made = folder / Path(*module.split(".")).with_suffix(".pyi")
    stub.write_text(made.read_text() + "\n__version__: str\n")
    shutil.rmtree(made.parent)
    return folder


def check(stubs: Path) -> int:
    """Run pyright with one flavour's stubs and return its exit status."""
    rules = {
        "include": CHECKED,
        "stubPath": str(stubs.resolve()),
        "pythonVersion": "3.11",
        "typeCheckingMode": "basic",
        "reportReturnType": "none",
        "reportMissingModuleSource": "none",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix=".pyright-", dir=ROOT) as project:
        project.write(json.dumps(rules))
        project.flush()
        command = [sys.executable, "-m", "pyright", "-p", project.name, "--pythonpath", sys.executable]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(bindings: Path) -> int:
    """Check both flavours; return 0 if neither has a fault.

    Args:
        bindings: folder that holds ``tensorrt_bindings``.
    """
    put_empty_libraries(bindings / "tensorrt_bindings")
    with tempfile.TemporaryDirectory() as full, tempfile.TemporaryDirectory() as rtx:
        return max(check(make_stubs(FULL, Path(full), bindings.resolve())), check(make_stubs(RTX, Path(rtx))))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
