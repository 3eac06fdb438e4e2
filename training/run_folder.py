"""A run folder: what a training was begun with and what came of it; one process at a time works in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from torch import nn

from engines.bundle import load_bundle
from training.errors import BusyError, CheckpointError, MissingWeightsError, StorageError, wrong_keys
from training.recipe import SegmentRecipe
from training.slices import PreparedCase
from training.whole_files import remove_unfinished, write_text_whole

RECIPE, CHECKPOINT = "recipe.yaml", "checkpoint.pt"
"""Files of a training in its run folder: what it was begun with, and how far it is."""

WEIGHTS, DATA, HISTORY = "weights.pt", "data.json", "history.json"
"""Files of a finished training in its run folder: what it learned, from what, and how it went."""

CALIBRATION = "calibration.json"
"""File of a calibrated training in its run folder, of the weights that lie beside it."""

SEEN = ("segment", "preprocessing", "network", "inputs", "optional_inputs")
"""Keys of a recipe that say what a network sees and is."""

LEARNED = (*SEEN, "seed", "loss", "augmentation", "schedule", "sources")
"""Keys of a recipe that say what a network has learned; the rest is of other runs."""

FREE = ("epochs", "batch", "validation_slices", "checkpoint_minutes")
"""Keys of a schedule that may change on the way: a run may be lengthened, or be given less memory."""

SHOWN = 3
"""Cases that an error lists."""


@contextmanager
def held(folder: Path, needed_mb: float) -> Iterator[None]:
    """Make a run folder if it is missing, and hold it against other processes.

    Raises:
        BusyError: if another process trains in it.
        StorageError: if its disk has less than ``needed_mb`` free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < needed_mb:
        raise StorageError(folder, needed_mb, free_mb)
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_unfinished(folder)
        yield
    except BlockingIOError as error:
        raise BusyError(folder) from error
    finally:
        os.close(opened)


def write_recipe(folder: Path, recipe: SegmentRecipe) -> None:
    """Write the recipe as it applies to this run."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    write_text_whole(folder / RECIPE, text)


def check_recipe(path: Path, begun: Mapping[str, Any], recipe: SegmentRecipe) -> None:
    """Compare a recipe with the one that a run was begun with.

    Raises: CheckpointError: names what differs; of ``path``.
    """
    _compare(path, begun, recipe, LEARNED)


def check_network(folder: Path, recipe: SegmentRecipe) -> None:
    """Compare what a recipe shows a network with what the one of a run folder was trained on.

    Raises: CheckpointError: names what differs.
    """
    path = folder / RECIPE
    if path.is_file():
        _compare(path, yaml.safe_load(path.read_text(encoding="utf-8")), recipe, SEEN)


def _compare(path: Path, begun: Mapping[str, Any], recipe: SegmentRecipe, keys: Sequence[str]) -> None:
    try:
        # keys that have come since have their defaults
        before = SegmentRecipe.model_validate(begun).model_dump(mode="json")
    except ValidationError as error:
        key, _ = wrong_keys(error)
        raise CheckpointError(path, f"was begun with another kind of recipe ({key})") from error
    now = recipe.model_dump(mode="json")
    for key in keys:
        for place, old, new in _differences(key, before[key], now[key]):
            if place not in {f"schedule.{one}" for one in FREE}:
                raise CheckpointError(path, f"was begun with {place} {old}, the recipe says {new}")


def _differences(place: str, old: object, new: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(f"{place}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield place, old, new


def write_data(
    folder: Path,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    steps: int,
    begun_with: str | None,
) -> None:
    """Write which cases take part, by digest, for how many steps, and from which bundle's weights on."""
    cases = [
        {
            "name": case.name,
            "patient": case.patient,
            "kind": case.kind,
            "dataset": case.dataset,
            "licence": case.licence,
            "sha256": case.digest,
            "geometry": case.geometry,
            "use": use,
        }
        for use, part in (("training", training), ("validation", validation))
        for case in part
    ]
    counts = dict(Counter(case.kind.value for case in training))
    content = {"training": counts, "steps": steps, "begun_with": begun_with, "cases": cases}
    write_text_whole(folder / DATA, json.dumps(content, indent=1))


def name_bundle(begin_with: Path | None) -> str | None:
    """Return name and version of the bundle that a run is to begin with; None of a file of weights."""
    if begin_with is None or not begin_with.is_dir():
        return None
    bundle = load_bundle(begin_with).manifest
    return f"{bundle.name} {bundle.version}"


def write_steps(folder: Path, steps: int) -> None:
    """Write for how many steps it was really trained: a stop rule may end a run before its last epoch."""
    content = read_data(folder)
    if content["steps"] != steps:
        write_text_whole(folder / DATA, json.dumps(content | {"steps": steps}, indent=1))


def read_data(folder: Path) -> dict[str, Any]:
    """Return what a run folder says of its cases and steps.

    Raises: CheckpointError: if it says nothing.
    """
    try:
        content: dict[str, Any] = json.loads((folder / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(folder / DATA, f"cannot be read: {error}") from error
    return content


def check_cases(folder: Path, training: Sequence[PreparedCase]) -> None:
    """Compare cases with those that a run learned from.

    Raises: CheckpointError: names some that are new or gone.
    """
    learned = [case for case in read_data(folder)["cases"] if case["use"] == "training"]
    # a run that does not say how its cases lie is not asked
    before = {(c["name"], c["sha256"]): c.get("geometry") for c in learned}
    now = {(case.name, case.digest): case.geometry for case in training}
    moved = {key for key in before.keys() & now.keys() if before[key] not in (None, now[key])}
    for what, names in (("new", (now.keys() - before.keys()) | moved), ("gone", before.keys() - now.keys())):
        if names:
            told = ", ".join(sorted(name for name, _ in names)[:SHOWN])
            raise CheckpointError(
                folder / DATA, f"learned from other cases: {len(names)} are {what} or changed ({told})"
            )


def check_held_out(folder: Path, patients: Sequence[str]) -> None:
    """Make sure that a fold's network learned nothing from the patients that it is scored on.

    Raises: CheckpointError: names some from whom it did: cases were added since, and the folds are others.
    """
    learned = {c["patient"] for c in read_data(folder)["cases"] if c["use"] == "training"}
    if both := sorted(learned & set(patients)):
        told = ", ".join(both[:SHOWN])
        raise CheckpointError(
            folder / DATA, f"learned from {told}, whom it would be scored on: cases were added since"
        )


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a finished training.

    Raises:
        MissingWeightsError: if there are none.
        CheckpointError: if they are of another architecture.
    """
    if not path.is_file():
        raise MissingWeightsError(path)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error
