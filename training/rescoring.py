"""A bundle's operating point, scores and card made anew: other validation or test cases, the same weights."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from engines.bundle import CARD_NAME, load_bundle, write_manifest
from engines.manifest import Manifest
from engines.runners.base import RunnerSettings
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from training.card import (
    POINT_END,
    RECIPE,
    TRAINED,
    UNKNOWN_FAILURES,
    manifest_scores,
    write_card,
    write_contact_sheet,
)
from training.errors import ExportError
from training.evaluation import Prediction
from training.judging import Evaluation, evaluate_network
from training.study import Announce, Study

SAME_WEIGHTS = "The weights are those of {}; all scores were measured anew, at an operating point of {}."
"""What a card says of a bundle that was not trained again."""

OF_THE_POINT = re.compile(r"The operating point .*?\.(?: |$)")
"""A sentence of a card on how its operating point came about; false once another one was chosen."""


def rescore(
    study: Study, folder: Path, version: str, announce: Announce, *, keep_point: bool = False
) -> Manifest:
    """Choose a bundle's operating point on validation cases, score it on test cases, write manifest and card.

    Args:
        study: the segment's recipe and cases.
        folder: of the bundle.
        version: of the bundle from now on; another one wherever results change, so with the operating point.
        announce: told what begins.
        keep_point: leaves the operating point as it is.

    Raises:
        BundleError: if the bundle is broken.
        ExportError: if it finds another segment, or real cases have to be scored by the networks of folds.
        NoSamplesError: if there is no case to score, or no patient for the recipe's folds.
    """
    manifest = load_bundle(folder).manifest
    if manifest.segment is not study.recipe.segment:
        raise ExportError(folder.name, f"it finds {manifest.segment}, not {study.recipe.segment}")
    if study.held_out():
        problem = "real cases are scored by the networks of folds: export these, or use csvd-train score"
        raise ExportError(folder.name, problem)
    path = folder / manifest.model.file
    with OnnxRuntimeRunner(path, manifest.model, RunnerSettings()) as runner:
        kept = manifest.postprocessing if keep_point else None
        judged = evaluate_network(study, runner.run, announce, kept)
    return write_rescored(study, folder, version, *judged)


def write_rescored(
    study: Study, folder: Path, version: str, evaluation: Evaluation, predictions: list[Prediction]
) -> Manifest:
    """Write what was measured of a bundle into its manifest and card.

    Raises: ExportError: if results change and the version does not.
    """
    before = load_bundle(folder).manifest
    if version == before.version and before.postprocessing != evaluation.postprocessing:
        raise ExportError(folder.name, f"its operating point changes: {version} has to become another")
    manifest = before.model_copy(
        update={
            "version": version,
            "postprocessing": evaluation.postprocessing,
            "scores": tuple(manifest_scores(evaluation)),
            "created": datetime.datetime.now(tz=datetime.UTC).date(),
        }
    )
    protocol = protocol_of(folder / CARD_NAME)
    if not evaluation.point_was_kept:
        protocol = OF_THE_POINT.sub("", protocol).strip()
    if version != before.version:
        origin = before.version if before.postprocessing == evaluation.postprocessing else "its own"
        protocol = f"{SAME_WEIGHTS.format(before.version, origin)} {protocol}"
    recipe = study.recipe.model_copy(update={"version": version})
    ours = UNKNOWN_FAILURES not in (folder / CARD_NAME).read_text(encoding="utf-8")
    card = write_card(recipe, evaluation, before.training_data, protocol, ours=ours)
    write_manifest(folder, manifest)
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    write_contact_sheet(predictions, evaluation, folder)
    return load_bundle(folder).manifest


def protocol_of(card: Path) -> str:
    """Return what a card says of the training, after the operating point; of former rescorings nothing."""
    # an earlier card has the paragraph without a heading
    paragraphs = card.read_text(encoding="utf-8").replace(f"{TRAINED}\n", "").split("\n\n")
    section = next((one for one in paragraphs if one.startswith(RECIPE)), "")
    text = section.partition(POINT_END)[2].strip()
    start = SAME_WEIGHTS.partition("{}")[0]
    return text.partition(". ")[2] if text.startswith(start) else text
