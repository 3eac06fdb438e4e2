"""Type-checks the code that both flavours of TensorRT share against the stubs of each, with pyright.

Those of TensorRT for RTX are made of the installed module; those of full TensorRT, whose libraries are not on
PyPI, come from ``tensorrt-stubs`` in the folder that is named.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKED = [f"engines/gpu/{name}.py" for name in ("flavour", "compilation", "execution", "backend")]
RTX = "tensorrt_rtx_bindings.tensorrt_rtx"


def rtx_stubs(folder: Path) -> Path:
    """Make stubs of the installed TensorRT for RTX under the name ``tensorrt``."""
    command = [sys.executable, "-m", "pybind11_stubgen", RTX, "-o", str(folder), "--ignore-all-errors"]
    subprocess.run(command, check=True, capture_output=True)
    stub = folder / "tensorrt" / "__init__.pyi"
    stub.parent.mkdir()
    made = folder / Path(*RTX.split(".")).with_suffix(".pyi")
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


def main(full: Path) -> int:
    """Check both flavours."""
    with tempfile.TemporaryDirectory() as made:
        return max(check(full), check(rtx_stubs(Path(made))))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
