"""Sample slices for a bundle, from a file or from a Study: what faster runners are proven on."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle, densest
from engines.errors import BundleError
from engines.postprocessing import lesion_pixels
from engines.preprocessing import prepare
from engines.resampling import Interpolation, resample
from engines.runners.base import RunnerKind, RunnerSettings
from engines.runners.choice import open_runner
from engines.volume import Volume
from node.identification_rules import rules_with
from node.inventory import StudyInventory, identify_paths
from node.settings import NodeSettings
from node.volume_reader import read_volume


def samples_of_file(path: Path, bundle: Bundle) -> NDArray[np.float32]:
    """Read prepared slices (n, channels, rows, columns): ``.npy``, or ``slices`` of an ``.npz``.

    Raises: BundleError: if the file cannot be read or holds no such array.
    """
    try:
        held = np.load(path, allow_pickle=False)
        array = held if isinstance(held, np.ndarray) else held["slices"]
        return np.asarray(array, dtype=np.float32)
    except (OSError, ValueError, KeyError, BadZipFile) as exc:
        raise BundleError(bundle.folder.name, "samples", f"{path.name} cannot be read: {exc}") from exc


def samples_of_study(folder: Path, bundle: Bundle, settings: NodeSettings) -> NDArray[np.float32]:
    """Prepare a Study as the node does and return the slices on which the network finds most.

    Args:
        folder: DICOM files of one Study, searched with all its folders.
        bundle: what to prepare for and to look with.
        settings: how Series are identified and read.

    Raises: BundleError: if no Study in the folder has the Series that the network needs, or it finds nothing
        there, so that the slices would prove nothing.
    """
    prepared = prepare(
        _inputs(_study(folder, bundle, settings), bundle, settings), bundle.manifest.preprocessing
    )
    with open_runner(bundle, RunnerKind.ONNXRUNTIME, RunnerSettings()) as runner:
        logits = runner.run(prepared.slices)
    found = lesion_pixels(logits, bundle.manifest.postprocessing)
    if not found.any():
        problem = (
            f"the network finds no lesion in {folder.name}; name another Study, or none for float32 alone"
        )
        raise BundleError(bundle.folder.name, "samples", problem)
    return densest(prepared.slices, found)


def _study(folder: Path, bundle: Bundle, settings: NodeSettings) -> StudyInventory:
    """Find the first Study that has every Series that is not optional."""
    rules, manifest = rules_with(settings.identification.rules), bundle.manifest
    needed = [series for series in manifest.inputs if series not in manifest.optional_inputs]
    inventory = identify_paths([folder], rules, settings.volumes)
    for study in inventory.studies:
        if all(series in study.selection.chosen for series in needed):
            return study
    names = ", ".join(series.value for series in needed)
    raise BundleError(
        bundle.folder.name, "samples", f"no Study in {folder.name} has {names}: {inventory.message}"
    )


def _inputs(study: StudyInventory, bundle: Bundle, settings: NodeSettings) -> list[Volume | None]:
    """Read the Series that a network takes, onto the grid of the first one by the scanner's geometry."""
    volumes: list[Volume | None] = []
    for series_type in bundle.manifest.inputs:
        stack = study.selection.chosen.get(series_type)
        if stack is None:
            volumes.append(None)
            continue
        volume = read_volume(stack, study.paths, settings.volumes).volume
        first = volumes[0] if volumes else None
        volumes.append(volume if first is None else resample(volume, first.grid, None, Interpolation.LINEAR))
    return volumes
