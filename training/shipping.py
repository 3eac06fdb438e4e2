"""From a finished study to its bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import densest
from engines.manifest import Manifest
from engines.postprocessing import lesion_mask
from training.card import manifest_scores, write_card, write_contact_sheet
from training.cases import CaseKind
from training.errors import NoSamplesError
from training.evaluation import Prediction
from training.export import write_bundle
from training.judging import Evaluation
from training.loop import DATA, HISTORY
from training.pool import Split
from training.recipe import Ships
from training.slices import prepare_case
from training.study import Study, load_shipped, round_folders, shipped_folders

KINDS = {
    CaseKind.REAL: "real scans of patients with multiple sclerosis, labelled by people",
    CaseKind.PAINTED: "real scans with painted lesions",
    CaseKind.SIMULATED: "simulated scans",
}
"""What each kind of case is."""

MADE_CASES = (
    "Simulated and painted test cases come from anatomies and scans of which neither training nor validation "
    "has seen any, and were made after the last change of recipe and simulation."
)
"""What every card says of its test cases."""


def ship(study: Study, evaluation: Evaluation, predictions: list[Prediction], folder: Path) -> Manifest:
    """Write the bundle of a study's final network, with its scores, card and pictures.

    Raises:
        ExportError: if torch and onnxruntime differ or the file is too large.
        NoSamplesError: if no simulated case shows a lesion, from which the proof slices are taken.
    """
    recipe, network = study.recipe, load_shipped(study)
    training_data = describe_data(study)
    manifest = write_bundle(
        folder,
        network,
        recipe,
        evaluation.postprocessing,
        proof_slices(study, predictions, evaluation),
        manifest_scores(evaluation),
        training_data,
        write_card(recipe, evaluation, training_data, describe_protocol(study)),
    )
    write_contact_sheet(predictions, evaluation, folder / "cases.png")
    return manifest


def describe_data(study: Study) -> str:
    """Return what the shipped networks learned from, by kind of case, from their run folders."""
    runs = [_read_data(folder) for folder in shipped_folders(study)]
    cases = {case["name"]: case for run in runs for case in run["cases"] if case["use"] == "training"}
    sentences = []
    for kind, meaning in KINDS.items():
        learned = [case for case in cases.values() if case["kind"] == kind]
        if learned:
            origins = "; ".join(sorted({f"{c['dataset']}: {c['licence']}" for c in learned}))
            sentences.append(f"{len(learned)} {meaning} ({origins})")
    return f"Cases, variants of one scan counted apart: {', '.join(sentences)}."


def describe_protocol(study: Study) -> str:
    """Return how long it was trained and how cases were kept apart, from the run folders."""
    return " ".join([*_training(study), *_validation(study), MADE_CASES])


def _training(study: Study) -> Iterator[str]:
    """Yield sentences on what the first of the shipped networks went through."""
    recipe, folder = study.recipe, shipped_folders(study)[0]
    rounds = [_read_data(place) for place in round_folders(folder, recipe)]
    if begun_with := rounds[0].get("begun_with"):
        yield f"The weights of {begun_with} were trained on."
    *earlier, steps = [one["steps"] for one in rounds]
    epochs = len(json.loads((folder / HISTORY).read_text(encoding="utf-8")))
    text = f"Trained for {steps} steps of {recipe.schedule.batch} slices in {epochs} epochs"
    if earlier:
        rounds_before = " and ".join(map(str, earlier))
        text += (
            f", on from {rounds_before} steps of earlier rounds, whose false alarms were looked at more often"
        )
    if recipe.pretraining is not None:
        before = recipe.pretraining.epoch_steps * recipe.pretraining.epochs
        text += f", after {before} steps on simulated cases alone"
    yield f"{text}."
    if recipe.ships is Ships.ROUNDS:
        yield f"A network is the mean of those of its last {len(earlier)} rounds, weight by weight."


def _validation(study: Study) -> Iterator[str]:
    """Yield sentences on how real cases were scored, where there are some."""
    groups = study.held_out()
    if not groups:
        return
    names = "; ".join(", ".join(group) for group in groups)
    yield (
        f"Real cases are scored by {len(groups)}-fold cross-validation over patients ({names}): each by a "
        "network, and at an operating point, that no scan of the patient had a part in."
    )
    if study.recipe.ships is Ships.FOLDS:
        yield (
            f"The shipped network is the mean of the {len(groups)} networks of the folds, weight by weight."
        )
    else:
        yield f"The shipped network learned from {_learned_from(study, groups)}."


def _read_data(folder: Path) -> dict[str, Any]:
    """Return what a run folder says of its cases and steps."""
    content: dict[str, Any] = json.loads((folder / DATA).read_text(encoding="utf-8"))
    return content


def _learned_from(study: Study, groups: list[tuple[str, ...]]) -> str:
    if study.recipe.schedule.follows_validation and len(groups) > 2:
        return f"all but {', '.join(groups[0])}, who decided when to stop; in a fold the next one's did"
    return "all of them"


def proof_slices(study: Study, predictions: list[Prediction], evaluation: Evaluation) -> NDArray[np.float32]:
    """Return neighbouring prepared slices of the simulated test case with the most found voxels.

    Raises: NoSamplesError: if nothing is found on any simulated case.
    """
    recipe, spec = study.recipe, evaluation.postprocessing
    simulated = [p for p in predictions if p.kind is CaseKind.SIMULATED]
    found = {p.case: lesion_mask(p.probability, spec).array for p in simulated}
    chosen = max(found, key=lambda name: int(found[name].sum()), default=None)
    for case in study.sources.made(recipe.segment, Split.TEST, [CaseKind.SIMULATED]):
        if case.name == chosen:
            slices = prepare_case(case, recipe).slices
            return densest(slices, found[case.name])
    raise NoSamplesError(recipe.name, recipe.segment, study.sources.searched)
