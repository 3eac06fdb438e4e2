"""Making a bundle of a network that was trained elsewhere: an ONNX file and a description."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import (
    MODEL_NAME,
    Bundle,
    check_manifest,
    file_sha256,
    load_bundle,
    read_fields,
    write_manifest,
    write_samples,
)
from engines.errors import BundleError
from engines.graph import Graph, read_graph
from engines.runners.choice import Machine
from engines.trial import Trial, try_runners

NO_LOGITS = ("Sigmoid", "HardSigmoid", "Softmax", "ArgMax", "Greater", "GreaterOrEqual")
"""Operators that make probabilities, or a mask, of logits."""


def import_bundle(
    model: Path,
    description: Path,
    folder: Path,
    today: date,
    machine: Machine,
    samples: Callable[[Bundle], NDArray[np.float32]] | None = None,
) -> tuple[Bundle, tuple[Trial, ...]]:
    """Write a bundle around an ONNX file, check it as the node will and try it on every runner.

    The folder is there only once all of it is right.

    Args:
        model: one ONNX file with its weights inside.
        description: YAML with the fields of a manifest. What the files say themselves may be left out:
            ``model`` (file, digest, names of the tensors), ``samples``, and ``created``.
        folder: of the new bundle; must not exist.
        today: day of the import, for ``created``.
        machine: what the runners may use, and where plans are kept that are compiled for the trial.
        samples: returns (n, channels, rows, columns) prepared slices that follow each other and show lesions,
            given the bundle without them; a bundle without samples runs in float32 only.

    Returns: the bundle, and what came of it on each runner of this machine.
    Raises: BundleError: names the field of the description or the part of the model that is wrong.
    """
    if folder.exists():
        raise BundleError(folder.name, "folder", "is there already: name another one or remove it")
    graph, content = read_graph(model), _read(description, folder.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder.parent) as parent:
        unfinished = Path(parent) / folder.name
        unfinished.mkdir()
        shutil.copyfile(model, unfinished / MODEL_NAME)
        content["model"] = _model_file(content, graph, unfinished)
        bundle = _described(unfinished, {"created": today, **content})
        _check_logits(folder.name, graph)
        if samples is not None:
            bundle = _with_samples(bundle, samples(bundle))
        trials = try_runners(bundle, machine)
        unfinished.rename(folder)
    return replace(bundle, folder=folder), trials


def _check_logits(bundle: str, graph: Graph) -> None:
    """Refuse a network that ends with probabilities or a mask: the node would make probabilities of these."""
    if graph.ends_with in NO_LOGITS:
        problem = f"comes of {graph.ends_with}, so it is no logit: export the network without that"
        raise BundleError(bundle, "model.output", problem)


def _described(folder: Path, content: dict[str, Any]) -> Bundle:
    """Write the manifest beside the model, and read both as the node will."""
    write_manifest(folder, check_manifest(content, folder.name))
    return load_bundle(folder)


def _with_samples(bundle: Bundle, samples: NDArray[np.float32]) -> Bundle:
    """Add the slices that faster runners are proven on, and read the bundle again."""
    held = write_samples(bundle.folder, samples)
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": held}))
    return load_bundle(bundle.folder)


def _read(description: Path, bundle: str) -> dict[str, Any]:
    content = read_fields(description, bundle)
    if not isinstance(content, dict):
        raise BundleError(bundle, description.name, "holds no fields: it is a YAML mapping like a manifest")
    return content


def _model_file(content: dict[str, Any], graph: Graph, folder: Path) -> dict[str, Any]:
    """Complete what the description says of the ONNX file by what the file says."""
    said = content.get("model") or {}
    if not isinstance(said, dict):
        raise BundleError(folder.name, "model", "is a mapping (input, output) or left out")
    names = {"input": graph.inputs, "output": graph.outputs}
    for role, tensors in names.items():
        if len(tensors) != 1:
            held = ", ".join(str(tensor) for tensor in tensors) or "none"
            raise BundleError(folder.name, f"model.{role}", f"the model has {held}; it needs exactly one")
    found = {role: tensors[0].name for role, tensors in names.items()}
    return {**found, **said, "file": MODEL_NAME, "sha256": file_sha256(folder / MODEL_NAME)}
