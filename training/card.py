"""Model cards: what a bundle was made of, what was measured, and what was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from engines.manifest import Score
from engines.postprocessing import PostprocessingSpec, lesion_mask
from engines.segments import Segment
from training.evaluation import Prediction
from training.judging import REAL, Evaluation
from training.metrics import voxel_scores
from training.published import PUBLISHED
from training.recipe import SegmentRecipe
from training.report import score_lines
from training.summary import Summary

CASES_PICTURE = "cases.png"
"""The contact sheet, beside the card."""

TILE = 200
"""Side of a tile of the contact sheet, pixels."""

TRAINED = "## How it was trained"
"""Heading over the recipe, the operating point and how the training went."""

RECIPE = "Recipe `"
"""How the paragraph begins that names the recipe and the operating point."""

POINT_END = " mm3."
"""How the sentence on the operating point ends; how the training went follows."""

KEPT_POINT = "The operating point was not chosen on validation cases, but kept from another bundle."
"""What a card says where that is so: whoever kept it may have seen test scores."""

COLUMNS = 6
"""Good cases in the upper row, bad ones in the lower."""


TRUTH, RESULT, BOTH = (0, 255, 0), (255, 0, 0), (255, 255, 0)
"""Colours of the outlines on the contact sheet."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a segmentor is asked to reach on which cases; None where nothing is asked."""

    cases: str
    dice: float | None
    lesion_f1: float
    false_per_case: float | None = None


TARGETS: Mapping[Segment, Target] = {
    Segment.WMH: Target(REAL, 0.70, 0.60),
    Segment.INFARCT: Target("painted, test", 0.73, 0.86),
    Segment.MICROBLEED: Target("simulated, test", None, 0.75, 1.0),
    Segment.LACUNE: Target("simulated, test", 0.50, 0.69),
}
"""The least that is asked of each segmentor."""

FALSE_PER_FREE_CASE = 0.5
"""Most false lesions on a scan without lesions."""

NEVER_TESTED: Mapping[Segment, str] = {
    Segment.WMH: (
        "Patients with small vessel disease: all real labels are of multiple sclerosis, on thick slices and "
        "mainly from one 1.5 T scanner. Isotropic FLAIR with fat suppression, contrast medium, children."
    ),
    Segment.INFARCT: (
        "Any real infarct: all lesions of training and test are painted or simulated. A trace image of a "
        "person whom training has not seen: painted test cases show one direction, or the mean of three that "
        "lie 41 to 61 degrees apart. Haemorrhagic infarcts, tumours, abscesses, b-values outside 800 to 1200 "
        "s/mm2."
    ),
    Segment.MICROBLEED: (
        "Any real microbleed and any clinical T2*-weighted or susceptibility-weighted scan of the brain: all "
        "lesions are simulated or painted. Superficial siderosis, cavernomas."
    ),
    Segment.LACUNE: (
        "Any real lacune: all lesions are painted or simulated. Contrast medium, 7 T, children."
    ),
}
"""What no score of the card says anything about."""

FAILURES: Mapping[Segment, str] = {
    Segment.WMH: (
        "Thin periventricular rims and caps are outlined by some raters and not by others; flow and "
        "pulsation artefacts at the ventricles and the skull base; lesions of one or two pixels are missed. "
        "On isotropic 3 T volumes lesions stand out less (openms_19: 1.26 times white matter) and cortex "
        "more (openms_07: up to 1.27): the first are outlined too small, the second raises false ones."
    ),
    Segment.INFARCT: (
        "Bright susceptibility edges at the skull base and the sinuses, T2 shine-through, and coil "
        "inhomogeneity can raise false lesions; faint subacute infarcts are missed."
    ),
    Segment.MICROBLEED: (
        "Vessels that cross thick slices, calcifications of the basal ganglia and air at the skull base look "
        "alike; lesions of about one pixel are missed."
    ),
    Segment.LACUNE: (
        "Enlarged perivascular spaces and sulci cut at an angle look alike on T1 alone; lesions thinner "
        "than a slice are missed."
    ),
}
"""Known ways to fail."""


UNTRIED = "Scanners, sequences, diseases and ages other than those of the cases below."
"""What was never tested of a model whose training data are not known here."""

UNKNOWN_FAILURES = "Nobody has looked yet: the worst cases are in the lower row of the picture."
"""What is known of such a model's failures."""


def manifest_scores(evaluation: Evaluation) -> list[Score]:
    """Return the scores of the manifest, each with what it was measured on."""
    scores = []
    for name, summary in evaluation.summaries.items():
        on = f"{name}: {summary.cases} cases with lesions, {summary.free_cases} without, of {_heads(summary)}"
        values = {
            "dice": summary.dice,
            "precision": summary.precision,
            "recall": summary.recall,
            "accuracy": summary.accuracy,
            "auc": summary.auc,
            "patch_dice": summary.patch_dice,
            "lesion_f1": summary.lesion_f1,
            "lesion_recall": summary.lesion_recall,
            "lesion_precision": summary.lesion_precision,
            "lesion_f1_40_percent_rule": summary.strict_f1,
            "volume_difference": summary.volume_difference,
            "false_lesions_per_case": summary.false_per_case,
            "false_lesions_per_lesion_free_case": summary.false_per_free_case,
            "hausdorff95_mm": summary.hausdorff95_mm,
        }
        scores += [Score(name=k, value=round(v, 4), on=on) for k, v in values.items() if v is not None]
    return scores


def _heads(summary: Summary) -> str:
    return f"{summary.heads} head{'s' if summary.heads > 1 else ''}"


def write_card(
    recipe: SegmentRecipe, evaluation: Evaluation, training_data: str, protocol: str, *, ours: bool = True
) -> str:
    """Return the model card, Markdown.

    Args:
        recipe: how it was trained.
        evaluation: what was measured.
        training_data: what it learned from.
        protocol: how cases were kept apart, and how long it was trained.
        ours: whether it learned from the scans of the shipped weights, and is known as they are.
    """
    spec, segment = evaluation.postprocessing, recipe.segment
    point = f"{RECIPE}{recipe.name}` {recipe.version}; {describe_point(spec)}"
    return "\n".join(
        [
            f"# {segment} on {', '.join(recipe.inputs)}",
            "",
            "## Intended use",
            "Research and quality control of a reader's own assessment. Not a medical device; no diagnosis.",
            "",
            "## Never tested",
            NEVER_TESTED[segment] if ours else UNTRIED,
            "",
            "## Known failures",
            FAILURES[segment] if ours else UNKNOWN_FAILURES,
            "",
            f"![good cases above, bad ones below]({CASES_PICTURE})",
            "",
            "## Against the targets",
            *_against_target(segment, evaluation.summaries),
            "",
            f"Published: {'; '.join(f'{p.sentence()} ({p.cases})' for p in PUBLISHED[segment])}.",
            "",
            TRAINED,
            f"{point} {protocol}",
            "",
            "## Training data",
            training_data,
            "",
            "## Scores",
            *score_lines(evaluation.summaries, evaluation.parts),
        ]
    )


def describe_point(spec: PostprocessingSpec) -> str:
    """Return an operating point in words."""
    peak = f", at its peak {spec.min_peak}" if spec.min_peak > spec.threshold else ""
    return f"threshold {spec.threshold}{peak}, smallest lesion {spec.min_lesion_ml * 1000:g}{POINT_END}"


def _against_target(segment: Segment, summaries: Mapping[str, Summary]) -> list[str]:
    target = TARGETS[segment]
    summary = summaries.get(target.cases)
    if summary is None:
        return [f'Not measured: there were no cases of the kind "{target.cases}".']
    lines = [
        _compared("Dice", summary.dice, target.dice, least=True),
        _compared("lesion F1", summary.lesion_f1, target.lesion_f1, least=True),
        _compared("false lesions per case", summary.false_per_case, target.false_per_case),
    ]
    lines += [
        _compared(f"false lesions per lesion-free case ({name})", s.false_per_free_case, FALSE_PER_FREE_CASE)
        for name, s in summaries.items()
    ]
    return [f'On "{target.cases}":', "", *(f"- {line}" for line in lines if line)]


def _compared(name: str, value: float | None, bound: float | None, *, least: bool = False) -> str:
    """Return a score beside what is asked; nothing where it was not measured or nothing is asked."""
    if value is None or bound is None:
        return ""
    met = value >= bound if least else value <= bound
    verdict = "met" if met else f"missed by {abs(value - bound):.3f}"
    return f"{name} {value:.3f}, asked {'at least' if least else 'at most'} {bound:.2f}: {verdict}"


def contact_sheet(predictions: list[Prediction], evaluation: Evaluation) -> Image.Image:
    """Lay out the best and the worst cases: truth outlined green, result red, agreement yellow."""
    spec = evaluation.postprocessing
    scored = []
    for prediction in predictions:
        reference = prediction.reference.array
        if reference.any():
            found = lesion_mask(prediction.probability, spec).array
            scored.append((voxel_scores(found, reference).dice, prediction, found))
    scored.sort(key=lambda item: -item[0])
    sheet = Image.new("RGB", (COLUMNS * TILE, 2 * TILE))
    rows = [scored[:COLUMNS], scored[-COLUMNS:] if len(scored) > COLUMNS else []]
    for row, items in enumerate(rows):
        for column, (dice, prediction, found) in enumerate(items):
            tile = _tile(prediction, found)
            ImageDraw.Draw(tile).text((4, 4), f"{prediction.kind} Dice {dice:.2f}", fill=(255, 255, 255))
            sheet.paste(tile, (column * TILE, row * TILE))
    return sheet


def _tile(prediction: Prediction, found: NDArray[np.bool_]) -> Image.Image:
    reference = prediction.reference.array
    number = int(np.argmax(reference.sum(axis=(1, 2))))
    image = prediction.image.array[number].astype(np.float32)
    top = float(np.percentile(image[image > 0], 99.5)) if (image > 0).any() else 1.0
    grey = np.clip(image / top, 0, 1) * 255
    pixels = np.repeat(grey[..., None], 3, axis=2)
    truth, result = (mask[number] & ~ndimage.binary_erosion(mask[number]) for mask in (reference, found))
    for edge, colour in ((truth, TRUTH), (result, RESULT), (truth & result, BOTH)):
        pixels[edge] = colour
    return Image.fromarray(pixels.astype(np.uint8)).resize((TILE, TILE))


def write_contact_sheet(predictions: list[Prediction], evaluation: Evaluation, folder: Path) -> None:
    """Write the contact sheet of a bundle into its folder, as PNG."""
    contact_sheet(predictions, evaluation).save(folder / CASES_PICTURE, optimize=True)
