"""What a segmentor's predictions are worth: the operating point, and scores of cases that chose nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines.postprocessing import PostprocessingSpec
from training.alterations import alterations, without_inputs
from training.cases import Case, CaseKind
from training.errors import NoSamplesError
from training.evaluation import (
    CaseScores,
    Infer,
    Prediction,
    counting_unsure,
    predict_cases,
    score_case,
)
from training.inference import predict
from training.operating_point import Candidates, choose, find_candidates
from training.pool import Split
from training.recipe import SegmentRecipe
from training.run_folder import check_held_out
from training.study import Announce, Study, load_network, load_shipped
from training.summary import Summary, summarise
from training.whole_files import write_text_whole

EVALUATION = "evaluation.json"
"""File of a segmentor's scores in its folder."""

REAL = "real, cross-validated"
"""Name of the scores of held-out real cases."""

REAL_WITH_UNSURE = "real, cross-validated, those with unsure voxels, these counted as lesion"
"""Name of the scores of the same networks under the widest reading of the labels."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        postprocessing: the operating point to ship.
        summaries: by the cases' kind and how they were held out.
        scores: of every case, by the same names.
        parts: of test cases by how they look, and of real ones that were altered; they chose nothing either.
        point_was_kept: whether the operating point is another bundle's, not chosen on validation cases.
    """

    postprocessing: PostprocessingSpec
    summaries: dict[str, Summary]
    scores: dict[str, list[CaseScores]]
    parts: dict[str, Summary] = field(default_factory=dict)
    point_was_kept: bool = False


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions on all cases that the networks did not learn from.

    Attributes:
        validation: of made cases, with and without optional inputs, which choose the operating point.
        folds: of the real cases of each fold, by the network that never saw their patients.
        altered: the same of altered cases, for each fold.
        test: of made cases that choose nothing.
        bare: the same without optional inputs.
    """

    validation: Iterable[Prediction]
    folds: Sequence[Sequence[Prediction]]
    altered: Sequence[Iterable[Prediction]]
    test: Iterable[Prediction]
    bare: Iterable[Prediction] = ()


def evaluate_study(
    study: Study, announce: Announce, kept_point: PostprocessingSpec | None = None
) -> tuple[Evaluation, list[Prediction]]:
    """Predict all cases that a network did not learn from, choose the operating point or keep one, and score.

    Returns: the scores, and the predictions of the real and the test cases.
    Raises: NoSamplesError: without such a case.
    """
    return evaluate_network(study, infer_with(load_shipped(study)), announce, kept_point)


def evaluate_network(
    study: Study, shipped: Infer, announce: Announce, kept_point: PostprocessingSpec | None
) -> tuple[Evaluation, list[Prediction]]:
    """Evaluate a study whose shipped network is given."""
    evaluation, predictions = judge(predict_study(study, shipped, announce), kept_point)
    if not predictions:
        wanted_by = (
            f"Recipe {study.recipe.name}, {study.recipe.segment}, scores of test cases or held-out ones"
        )
        raise NoSamplesError(wanted_by, study.sources.searched)
    return evaluation, predictions


def predict_study(study: Study, shipped: Infer, announce: Announce) -> Predictions:
    """Return the predictions of a study; those of made cases are computed when they are asked for."""
    recipe, sources = study.recipe, study.sources

    def made(split: Split) -> Iterator[Prediction]:
        announce(f"{split} cases")
        yield from predict_cases(sources.cases(recipe, split), recipe, shipped)

    def bare(split: Split) -> Iterator[Prediction]:
        if recipe.optional_inputs:
            announce(f"{split} cases {_lacking(recipe)}")
            yield from _predict_altered(_bare(sources.cases(recipe, split), recipe), recipe, shipped)

    folds, altered = [], []
    for number, patients in enumerate(study.held_out()):
        announce(f"held-out real cases of fold {number}")
        folder = study.folder / f"fold_{number}"
        check_held_out(folder, patients)
        infer = infer_with(load_network(folder, recipe))
        cases = list(sources.real(recipe.segment, patients))
        folds.append(list(predict_cases(cases, recipe, infer)))
        changed = chain(chain.from_iterable(map(alterations, cases)), _bare(cases, recipe))
        altered.append(_predict_altered(changed, recipe, infer))
    validation = chain(made(Split.VALIDATION), bare(Split.VALIDATION))
    return Predictions(validation, folds, altered, made(Split.TEST), bare(Split.TEST))


def _lacking(recipe: SegmentRecipe) -> str:
    return f"without {', '.join(recipe.optional_inputs)}"


def _bare(cases: Iterable[Case], recipe: SegmentRecipe) -> Iterator[tuple[str, Case]]:
    """Yield each case as from a Study that lacks every optional Series, and say so; none if all needed."""
    if recipe.optional_inputs:
        for case in cases:
            yield _lacking(recipe), without_inputs(case, recipe.optional_inputs)


def infer_with(network: nn.Module) -> Infer:
    """Return the network as a function of slices, on the device that it is on."""
    device = next(network.parameters()).device

    def infer(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return predict(network, slices, device)

    return infer


def judge(
    predictions: Predictions, kept_point: PostprocessingSpec | None = None
) -> tuple[Evaluation, list[Prediction]]:
    """Choose the operating point, or keep one, and score.

    The operating point comes from validation cases and from real ones that were held out. Real cases are
    themselves scored at a point that was chosen without their fold, on what other networks, which did learn
    from them, make of other patients; test cases had no part in any choice.

    Returns: the scores, and the predictions of the real and the test cases.
    """
    spec, points = _operating_points(predictions, kept_point)
    scores: dict[str, list[CaseScores]] = {}
    parts: dict[str, list[CaseScores]] = {}
    for fold, altered, point in zip(predictions.folds, predictions.altered, points, strict=True):
        scores.setdefault(REAL, []).extend(score_case(p, point) for p in fold)
        with_rims = [counting_unsure(p) for p in fold if p.unsure is not None]
        scores.setdefault(REAL_WITH_UNSURE, []).extend(score_case(p, point) for p in with_rims)
        for prediction in altered:
            _add_to_parts(parts, REAL, prediction, score_case(prediction, point))
    kept = [prediction for fold in predictions.folds for prediction in fold]
    for prediction in predictions.test:
        name, score = f"{prediction.kind}, test", score_case(prediction, spec)
        scores.setdefault(name, []).append(score)
        _add_to_parts(parts, name, prediction, score)
        kept.append(prediction)
    for prediction in predictions.bare:
        _add_to_parts(parts, f"{prediction.kind}, test", prediction, score_case(prediction, spec))
    return Evaluation(spec, _summed(scores), scores, _summed(parts), kept_point is not None), kept


def _operating_points(
    predictions: Predictions, kept_point: PostprocessingSpec | None
) -> tuple[PostprocessingSpec, list[PostprocessingSpec]]:
    """Return the operating point that all cases choose, and that of each fold, chosen by all others."""
    if kept_point is not None:
        return kept_point, [kept_point] * len(predictions.folds)
    by_kind: dict[CaseKind, list[list[Candidates]]] = {}
    for prediction in predictions.validation:
        by_kind.setdefault(prediction.kind, []).append(find_candidates(prediction))
    validation = list(by_kind.values())
    real = [[find_candidates(p) for p in fold] for fold in predictions.folds]
    others = [chain.from_iterable(real[:number] + real[number + 1 :]) for number in range(len(real))]
    return choose(validation, list(chain.from_iterable(real))), [choose(validation, list(o)) for o in others]


def _add_to_parts(
    parts: dict[str, list[CaseScores]], name: str, prediction: Prediction, score: CaseScores
) -> None:
    for trait in prediction.traits:
        parts.setdefault(f"{name}, {trait}", []).append(score)


def _summed(scores: dict[str, list[CaseScores]]) -> dict[str, Summary]:
    return {name: summarise(cases) for name, cases in scores.items() if cases}


def _predict_altered(
    cases: Iterable[tuple[str, Case]], recipe: SegmentRecipe, infer: Infer
) -> Iterator[Prediction]:
    """Predict cases of which it is told what was done to them."""
    for what, altered in cases:
        for prediction in predict_cases([altered], recipe, infer):
            yield replace(prediction, traits=(what,))


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write scores and operating point as JSON; infinite distances become null."""
    content = {
        "postprocessing": evaluation.postprocessing.model_dump(),
        "summaries": {name: asdict(summary) for name, summary in evaluation.summaries.items()},
        "parts": {name: asdict(summary) for name, summary in evaluation.parts.items()},
        "cases": {name: [asdict(score) for score in scores] for name, scores in evaluation.scores.items()},
    }
    write_text_whole(path, json.dumps(_finite(content), indent=1))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
