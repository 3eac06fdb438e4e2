"""Compiles a bundle with no more than the image for GPUs holds.

What the image lacks cannot be imported: distributions that its lock file does not name, and what
``docker/prune.py`` takes out of the others. Run as a program, because modules stay that were imported before.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

ROOT = Path(__file__).parents[2]

OWN = "csvd-node"
"""The distribution whose modules are copied into the image."""


class NotInTheImage:
    """Finds the modules that the image does not hold before anybody else does, and says so.

    Args:
        locked: names of the image's distributions.
        pruned: patterns of what is taken out of them.
    """

    def __init__(self, locked: Sequence[str], pruned: Sequence[str]) -> None:
        held = {_normal(name) for name in (OWN, *locked)}
        self._absent = {
            module
            for module, distributions in packages_distributions().items()
            if held.isdisjoint(map(_normal, distributions))
        }
        self._pruned = {pattern.replace("/", ".") for pattern in pruned if "*" not in pattern}

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        parts = name.split(".")
        parents = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if parts[0] in self._absent or parents & self._pruned:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)


def _normal(name: str) -> str:
    """Return the name of a distribution as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hold_no_more_than_the_image() -> None:
    """Let every import fail that would fail in the image."""
    lock = (ROOT / "requirements" / "gpu.lock").read_text(encoding="utf-8")
    tensorrt = find_spec("tensorrt_rtx")
    if tensorrt is None or tensorrt.origin is None:
        sys.exit("TensorRT for RTX is not installed here")
    site_packages = Path(tensorrt.origin).parents[1]
    pruned = run_path(str(ROOT / "docker" / "prune.py"))["patterns"](site_packages)
    sys.meta_path.insert(0, NotInTheImage(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE), pruned))


def main(bundle: Path, plans: Path) -> None:
    """Compile a bundle in every precision.

    Args:
        bundle: its folder.
        plans: folder of the cache.
    """
    from engines.bundle import load_bundle
    from engines.gpu.backend import TensorRtBackend
    from engines.precision import Precision
    from engines.runners.base import RunnerKind
    from engines.settings import EngineSettings

    backend = TensorRtBackend(RunnerKind.TENSORRT_RTX, EngineSettings(), plans, 89)
    for precision in Precision:
        plan = backend.build(load_bundle(bundle), precision, lambda _: None)
        print(precision.value, len(plan))


if __name__ == "__main__":
    hold_no_more_than_the_image()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
