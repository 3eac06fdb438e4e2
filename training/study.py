"""One segmentor from cases to scores: its trainings (folds and final), predictions and operating point.

Convention: ``<root>/<recipe>/<SEGMENT>/`` holds a run folder ``fold_<n>`` for each fold of the real patients,
``pretrained`` for what they start from, and ``final`` for a network that learned from all of them;
``evaluation.json`` lies beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.postprocessing import PostprocessingSpec
from training import networks
from training.calibration import count_logits, fit, read_calibration, write_calibration
from training.cases import Case, CaseKind
from training.errors import NoSamplesError
from training.evaluation import (
    CaseScores,
    Prediction,
    as_rows,
    counting_unsure,
    predict_cases,
    score_case,
)
from training.loop import WEIGHTS, Report, load_weights, predict, train
from training.operating_point import Candidates, choose, find_candidates
from training.pool import Split
from training.recipe import SegmentRecipe, Ships
from training.slices import PreparedCase, store_cases, variants
from training.sources import Sources, folds
from training.summary import Summary, summarise

PRETRAINED = "pretrained"
"""Folder of the run that all others of a segmentor start from."""

FINAL = "final"
"""Folder of the run whose network is shipped."""

REAL = "real, cross-validated"
"""Name of the scores of held-out real cases."""

REAL_WITH_UNSURE = "real, cross-validated, those with unsure voxels, these counted as lesion"
"""Name of the scores of the same networks under the widest reading of the labels."""

VALIDATION_EVERY = 3
"""Each so many validation cases are looked at between epochs; all of them choose the operating point."""

Announce = Callable[[str], None]
"""Told what begins."""


@dataclass(frozen=True, slots=True)
class Study:
    """A segment's recipe, its cases and its folder."""

    recipe: SegmentRecipe
    sources: Sources
    root: Path

    @property
    def folder(self) -> Path:
        """Where this segmentor's runs lie."""
        return self.root / self.recipe.name / self.recipe.segment

    def held_out(self) -> list[tuple[str, ...]]:
        """Return the real patients of each fold."""
        if self.recipe.folds == 0 or CaseKind.REAL not in self.recipe.sources:
            return []
        patients = [case.provenance.patient for case in self.sources.real(self.recipe.segment)]
        return folds(patients, self.recipe.folds) if patients else []


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        postprocessing: the operating point to ship.
        summaries: by the cases' kind and how they were held out.
        scores: of every case, by the same names.
    """

    postprocessing: PostprocessingSpec
    summaries: dict[str, Summary]
    scores: dict[str, list[CaseScores]]


def train_study(
    study: Study, report: Report | None, announce: Announce, begin_with: Path | None = None
) -> None:
    """Train every fold and the final network; each goes on where it stopped.

    Args:
        study: what to train.
        report: told of every step.
        announce: told what begins.
        begin_with: folder of a bundle whose weights are trained on. It must not have learned from the real
            patients of the folds, or their scores say nothing.

    Raises: NoSamplesError: if the sources hold no case.
    """
    recipe, store = study.recipe, study.root / "prepared"
    announce("preparing slices")
    cases = (variant for case in study.sources.cases(recipe, Split.TRAIN) for variant in variants(case))
    prepared = store_cases(cases, recipe, store)
    if not prepared:
        raise NoSamplesError(recipe.name, recipe.segment, study.sources.searched)
    watched = store_cases(study.sources.cases(recipe, Split.VALIDATION), recipe, store)[::VALIDATION_EVERY]
    if recipe.pretraining is not None:
        announce(PRETRAINED)
        begin_with = _pretrain(study, prepared, watched, report, begin_with)
    groups = study.held_out()
    for number, patients in enumerate(groups):
        announce(f"fold {number}, without {', '.join(patients)}")
        learned, unseen = split_cases(recipe, prepared, groups, number)
        folder = study.folder / f"fold_{number}"
        _train_calibrated(recipe, learned, watched, unseen, folder, report, begin_with)
    if recipe.ships is Ships.FINAL:
        announce(FINAL)
        learned, unseen = split_cases(recipe, prepared, groups, None)
        _train_calibrated(recipe, learned, watched, unseen, study.folder / FINAL, report, begin_with)


def _pretrain(
    study: Study,
    cases: Sequence[PreparedCase],
    watched: Sequence[PreparedCase],
    report: Report | None,
    begin_with: Path | None,
) -> Path:
    """Train on simulated cases, which no real patient had a part in, and return the weights' file."""
    recipe = study.recipe.model_copy(update={"schedule": study.recipe.pretraining})
    simulated = [case for case in cases if case.kind is CaseKind.SIMULATED]
    train(recipe, simulated, watched, study.folder / PRETRAINED, report, begin_with=begin_with)
    return study.folder / PRETRAINED / WEIGHTS


def _train_calibrated(
    recipe: SegmentRecipe,
    learned: Sequence[PreparedCase],
    watched: Sequence[PreparedCase],
    unseen: Sequence[PreparedCase],
    folder: Path,
    report: Report | None,
    begin_with: Path | None,
) -> None:
    """Train one network; the held-out real cases are watched, but do not calibrate what is scored on them."""
    network = train(recipe, learned, [*watched, *unseen], folder, report, begin_with=begin_with)
    write_calibration(fit(count_logits(network, watched)), folder)


def split_cases(
    recipe: SegmentRecipe,
    cases: Sequence[PreparedCase],
    groups: Sequence[tuple[str, ...]],
    number: int | None,
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Split cases into those to learn from and the real ones to watch between epochs.

    Where validation decides nothing, the patients of the fold are watched. Where it does, they take no part,
    and those of the next fold are watched, not learned from; the final network does without the first fold's.

    Args:
        recipe: whether validation decides.
        cases: of all patients.
        groups: patients of each fold.
        number: of the fold that is held out, or None for the final network.
    """
    follows = recipe.schedule.follows_validation and len(groups) > 2
    if number is None:
        return _part(cases, groups[0]) if follows else (list(cases), [])
    learned, unseen = _part(cases, groups[number])
    return _part(learned, groups[(number + 1) % len(groups)]) if follows else (learned, unseen)


def _part(
    cases: Sequence[PreparedCase], patients: Sequence[str]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Split cases into those of other patients and the real ones of these."""
    learned = [case for case in cases if case.patient not in patients]
    unseen = [case for case in cases if case.patient in patients and case.kind is CaseKind.REAL]
    return learned, unseen


def load_network(folder: Path, recipe: SegmentRecipe) -> networks.UNet:
    """Read the weights of a run, calibrated.

    Raises: CheckpointError: if there are none, or they are of another architecture.
    """
    model = networks.build(recipe.network, recipe.channels)
    load_weights(model, folder / WEIGHTS)
    read_calibration(folder).fold_into(model)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def load_shipped(study: Study) -> networks.UNet:
    """Read what a study ships: its final network, or the mean of those of its folds, weight by weight.

    Raises: CheckpointError: if a run has not ended, or its weights are of another architecture.
    """
    return networks.average([load_network(folder, study.recipe) for folder in shipped_folders(study)])


def shipped_folders(study: Study) -> tuple[Path, ...]:
    """Return the run folders of the networks that are shipped."""
    if study.recipe.ships is Ships.FINAL:
        return (study.folder / FINAL,)
    return tuple(study.folder / f"fold_{number}" for number in range(study.recipe.folds))


def evaluate_study(study: Study, announce: Announce) -> tuple[Evaluation, list[Prediction]]:
    """Predict all cases that a network did not learn from, choose the operating point and score.

    The operating point comes from validation cases and from real ones that were held out. Real cases are
    themselves scored at a point that was chosen without their fold; test cases had no part in any choice.

    Returns: the scores, and the predictions of the real and the test cases.
    """
    recipe, final = study.recipe, load_shipped(study)
    announce("validation cases")
    validation = [
        find_candidates(p) for p in _predict(study.sources.cases(recipe, Split.VALIDATION), recipe, final)
    ]
    announce("held-out real cases")
    by_fold = [list(_predict_fold(study, n, patients)) for n, patients in enumerate(study.held_out())]
    real = [[find_candidates(p) for p in fold] for fold in by_fold]
    spec = choose(validation, _joined(real))
    scores: dict[str, list[CaseScores]] = {}
    for number, fold in enumerate(by_fold):
        others = _joined(part for other, part in enumerate(real) if other != number)
        point = choose(validation, others)
        scores.setdefault(REAL, []).extend(score_case(p, point) for p in fold)
        with_rims = [counting_unsure(p) for p in fold if p.unsure is not None]
        scores.setdefault(REAL_WITH_UNSURE, []).extend(score_case(p, point) for p in with_rims)
    announce("test cases")
    kept = [prediction for fold in by_fold for prediction in fold]
    for prediction in _predict(study.sources.cases(recipe, Split.TEST), recipe, final):
        scores.setdefault(f"{prediction.kind}, test", []).append(score_case(prediction, spec))
        kept.append(prediction)
    summaries = {name: summarise(cases) for name, cases in scores.items() if cases}
    return Evaluation(spec, summaries, scores), kept


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write scores and operating point as JSON; infinite distances become null."""
    content = {
        "postprocessing": evaluation.postprocessing.model_dump(),
        "summaries": {name: asdict(summary) for name, summary in evaluation.summaries.items()},
        "cases": {name: as_rows(scores) for name, scores in evaluation.scores.items()},
    }
    path.write_text(json.dumps(_finite(content), indent=1), encoding="utf-8")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _predict_fold(study: Study, number: int, patients: Sequence[str]) -> Iterator[Prediction]:
    """Predict the whole real cases of a fold's patients with the network that never saw them."""
    network = load_network(study.folder / f"fold_{number}", study.recipe)
    cases = (c for c in study.sources.real(study.recipe.segment) if c.provenance.patient in patients)
    yield from _predict(cases, study.recipe, network)


def _predict(cases: Iterator[Case], recipe: SegmentRecipe, network: nn.Module) -> Iterator[Prediction]:
    device = next(network.parameters()).device

    def infer(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return predict(network, slices, device)

    yield from predict_cases(cases, recipe, infer)


def _joined(
    parts: Sequence[list[list[Candidates]]] | Iterator[list[list[Candidates]]],
) -> list[list[Candidates]]:
    return [case for part in parts for case in part]
