"""From a finished study to its bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.bundle import SAMPLES_NAME, densest
from engines.manifest import Manifest
from engines.postprocessing import lesion_mask
from engines.segments import Segment
from training.card import KEPT_POINT, manifest_scores, write_card, write_contact_sheet
from training.cases import CaseKind
from training.errors import ExportError
from training.evaluation import Prediction
from training.export import write_bundle
from training.judging import Evaluation
from training.pool import Split
from training.recipe import Ships
from training.run_folder import HISTORY, read_data
from training.slices import prepare_case
from training.study import PRETRAINED, Study, load_shipped, round_folders, shipped_folders

KINDS = {
    CaseKind.REAL: "real scans, labelled by people",
    CaseKind.PAINTED: "real scans with painted lesions",
    CaseKind.SIMULATED: "simulated scans",
}
"""What each kind of case is."""

SHIPPED_SETS = frozenset({"ms3seg", "openms", "simvent", "real_scans"})
"""Data sets of real scans that the shipped weights come from; what the cards know of holds for these."""

MADE_CASES = (
    "Simulated and painted test cases come from anatomies and scans of which neither training nor validation "
    "has seen any; small lesions that no reader would see on them are not marked, and so not missed."
)
"""What a card says of its test cases, if there are some."""

SHARED_SHAPES = (
    "The shapes of some of their lesions come from one library of real lesions, from which those of the "
    "training come, too."
)
"""What it says besides of simulated white matter hyperintensities."""

NO_CROSS_VALIDATION = (
    "The networks went on from {}: if that had learned from these patients, their scores say nothing."
)
"""What a card says of held-out patients where a bundle's weights were trained on."""

PROOF_ORDER = (CaseKind.REAL, CaseKind.PAINTED, CaseKind.SIMULATED)
"""Whose slices go along with a bundle: rather those that are of nobody."""

PROOF_OF_A_PATIENT = "The proof slices ({}) are of the held-out scan {}."
"""What a card says where no made case was there to prove faster runners on."""

LICENCE, NO_LICENCE = "Apache-2.0", "not stated; the terms of the training data may bind the weights"
"""Of the shipped weights, and of those that learned from other real scans."""


def ship(
    study: Study,
    evaluation: Evaluation,
    predictions: list[Prediction],
    folder: Path,
    licence: str | None = None,
) -> Manifest:
    """Write the bundle of a study's final network, with its scores, card and pictures.

    Raises:
        ExportError: if torch and onnxruntime differ, the file is too large, or there is no case to prove
            faster runners on.
    """
    recipe, network = study.recipe, load_shipped(study)
    training_data, ours = describe_data(study), _is_ours(study)
    proof, slices = proof_slices(study, predictions, evaluation)
    protocol = [describe_protocol(study, point_was_kept=evaluation.point_was_kept)]
    if evaluation.point_was_kept:
        protocol.append(KEPT_POINT)
    kinds = {prediction.kind for prediction in predictions}
    if kinds - {CaseKind.REAL}:
        protocol.append(MADE_CASES)
    if CaseKind.SIMULATED in kinds and recipe.segment is Segment.WMH:
        protocol.append(SHARED_SHAPES)
    if proof.kind is CaseKind.REAL:
        protocol.append(PROOF_OF_A_PATIENT.format(SAMPLES_NAME, proof.case))
    manifest = write_bundle(
        folder,
        network,
        recipe,
        evaluation.postprocessing,
        slices,
        manifest_scores(evaluation),
        training_data,
        write_card(recipe, evaluation, training_data, " ".join(protocol), ours=ours),
        licence or (LICENCE if ours else NO_LICENCE),
    )
    write_contact_sheet(predictions, evaluation, folder)
    return manifest


def describe_data(study: Study) -> str:
    """Return what the shipped networks learned from, by kind of case, from their run folders."""
    runs = [read_data(folder) for folder in shipped_folders(study)]
    cases = {
        (case["dataset"], case["name"]): case
        for run in runs
        for case in run["cases"]
        if case["use"] == "training"
    }
    sentences = []
    for kind, meaning in KINDS.items():
        learned = [case for case in cases.values() if case["kind"] == kind]
        if learned:
            origins = "; ".join(sorted({f"{c['dataset']}: {c['licence']}" for c in learned}))
            sentences.append(f"{len(learned)} {meaning} ({origins})")
    return f"Cases, variants of one scan counted apart: {', '.join(sentences)}."


def describe_protocol(study: Study, *, point_was_kept: bool = False) -> str:
    """Return how long it was trained and how cases were kept apart, from the run folders.

    Args:
        study: with a trained network.
        point_was_kept: whether the operating point is another bundle's: by what it was chosen is not known.
    """
    return " ".join([*_training(study), *_validation(study, point_was_kept=point_was_kept)])


def _is_ours(study: Study) -> bool:
    """Tell whether all real scans that a study learned from are among those of the shipped weights."""
    cases = [case for folder in shipped_folders(study) for case in read_data(folder)["cases"]]
    return {case["dataset"] for case in cases if case["kind"] == CaseKind.REAL} <= SHIPPED_SETS


def _training(study: Study) -> Iterator[str]:
    """Yield sentences on what the first of the shipped networks went through."""
    recipe, folder = study.recipe, shipped_folders(study)[0]
    rounds = [read_data(place) for place in round_folders(folder, recipe)]
    if begun_with := _begun_with(study):
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
        before = read_data(study.folder / PRETRAINED)["steps"]
        text += f", after {before} steps on cases of nobody with real labels"
    yield f"{text}."
    if recipe.ships is Ships.ROUNDS:
        yield f"A network is the mean of those of its last {len(earlier)} rounds, weight by weight."


def _begun_with(study: Study) -> str | None:
    """Return the bundle whose weights the first of all trainings went on from."""
    recipe, folder = study.recipe, shipped_folders(study)[0]
    first = round_folders(folder, recipe)[0] if recipe.pretraining is None else study.folder / PRETRAINED
    begun_with: str | None = read_data(first).get("begun_with")
    return begun_with


def _validation(study: Study, *, point_was_kept: bool) -> Iterator[str]:
    """Yield sentences on how real cases were scored, where there are some."""
    groups = study.held_out()
    if not groups:
        return
    names = "; ".join(", ".join(group) for group in groups)
    point = "" if point_was_kept else ", at an operating point for which none was scored"
    yield (
        f"Real cases are scored by {len(groups)}-fold cross-validation over patients ({names}): each by a "
        f"network that learned from no scan of the patient{point}."
    )
    if begun_with := _begun_with(study):
        yield NO_CROSS_VALIDATION.format(begun_with)
    if study.recipe.ships is Ships.FOLDS:
        yield (
            f"The shipped network is the mean of the {len(groups)} networks of the folds, weight by weight."
        )
    else:
        yield f"The shipped network learned from {_learned_from(study, groups)}."


def _learned_from(study: Study, groups: list[tuple[str, ...]]) -> str:
    if study.recipe.schedule.follows_validation and len(groups) > 2:
        return f"all but {', '.join(groups[0])}, who decided when to stop; in a fold the next one's did"
    return "all of them"


def proof_slices(
    study: Study, predictions: list[Prediction], evaluation: Evaluation
) -> tuple[Prediction, NDArray[np.float32]]:
    """Return the case with the most found voxels, and neighbouring prepared slices of it.

    If something is found on it, a simulated case goes before a painted one, and either before a patient's.

    Raises: ExportError: if there is no case.
    """
    recipe, sources = study.recipe, study.sources
    masks = [lesion_mask(p.probability, evaluation.postprocessing).array for p in predictions]
    rank = [
        (bool(mask.any()), PROOF_ORDER.index(p.kind), int(mask.sum()))
        for p, mask in zip(predictions, masks, strict=True)
    ]
    if not rank:
        raise ExportError(f"{recipe.name}, {recipe.segment}", "no test or held-out case to prove runners on")
    chosen = rank.index(max(rank))
    proof = predictions[chosen]
    real = proof.kind is CaseKind.REAL
    cases = sources.real(recipe.segment) if real else sources.made(recipe.segment, Split.TEST, [proof.kind])
    # data sets may have a case of one name
    case = next(c for c in cases if (c.provenance.dataset, c.name) == (proof.dataset, proof.case))
    return proof, densest(prepare_case(case, recipe).slices, masks[chosen])
