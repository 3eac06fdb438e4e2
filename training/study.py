"""One segmentor from cases to weights: its trainings, of the folds and the final one.

Convention: ``<root>/<recipe>/<SEGMENT>/`` holds a run folder ``fold_<n>`` for each fold of the real patients,
``pretrained`` for what they start from, and ``final`` for a network that learned from all of them; earlier
rounds lie in ``round_<n>`` within it. ``evaluation.json`` lies beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from training import networks
from training.calibration import count_logits, fit, read_calibration, write_calibration
from training.cases import CaseKind
from training.errors import CaseError, NoSamplesError, RecipeError
from training.inference import device_at_hand
from training.loop import Report, train
from training.mining import with_alarms
from training.pool import Split
from training.recipe import SegmentRecipe, Ships
from training.run_folder import WEIGHTS, check_cases, check_network, load_weights
from training.slices import PreparedCase, store_cases, variants
from training.sources import Sources, folds

PRETRAINED = "pretrained"
"""Folder of the run that all others of a segmentor start from."""

ROUND = "round_{}"
"""Within a run folder: the run folder of an earlier round, counted from 1."""

ALARMS = "alarms.npz"
"""Within a run folder: the false alarms of its network, which the next round learns from."""

FINAL = "final"
"""Folder of the run whose network is shipped."""

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
        """Return the real patients of each fold.

        Raises:
            NoSamplesError: if the recipe has folds and there is no patient: a training on made cases alone,
                as where the folder is another one, would be taken for what the recipe says.
            RecipeError: if there are fewer patients than folds.
        """
        if self.recipe.folds == 0 or CaseKind.REAL not in self.recipe.sources:
            return []
        patients = self.sources.patients(self.recipe.segment)
        count = len(set(patients))
        if count == 0:
            wanted_by = f"Recipe {self.recipe.name}, {self.recipe.segment}, folds of real patients"
            raise NoSamplesError(wanted_by, () if self.sources.mri is None else (self.sources.mri,))
        if count < self.recipe.folds:
            key = f"segmentors.{self.recipe.segment}.folds"
            raise RecipeError(self.recipe.name, key, f"{self.recipe.folds} folds of {count} patients")
        return folds(patients, self.recipe.folds)


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

    Raises:
        NoSamplesError: if the sources hold no case.
        CaseError: if one cannot be read or used, or is there again under another patient.
    """
    recipe, store = study.recipe, study.root / "prepared"
    groups = study.held_out()
    announce("preparing slices")
    cases = (variant for case in study.sources.cases(recipe, Split.TRAIN) for variant in variants(case))
    prepared = store_cases(cases, recipe, store)
    if not prepared:
        raise NoSamplesError(f"Recipe {recipe.name}, {recipe.segment}", study.sources.searched)
    _check_patients(prepared)
    for kind in recipe.sources:
        if not any(case.kind is kind for case in prepared):
            announce(f"there is no {kind} case to learn from: the other kinds take its share of the batches")
    watched = store_cases(study.sources.cases(recipe, Split.VALIDATION), recipe, store)[::VALIDATION_EVERY]
    if recipe.pretraining is not None:
        announce(PRETRAINED)
        prepared, begin_with = _pretrain(study, prepared, watched, report, begin_with)
    for number, patients in enumerate(groups):
        announce(f"fold {number}, without {', '.join(patients)}")
        learned, unseen = split_cases(recipe, prepared, groups, number)
        folder = study.folder / f"fold_{number}"
        _train_calibrated(recipe, learned, watched, unseen, folder, report, begin_with)
    if recipe.ships is not Ships.FOLDS:
        announce(FINAL)
        learned, unseen = split_cases(recipe, prepared, groups, None)
        _train_calibrated(recipe, learned, watched, unseen, study.folder / FINAL, report, begin_with)


def _check_patients(cases: Sequence[PreparedCase]) -> None:
    """Refuse a scan that is there twice under two patients: one could be scored on what the other taught.

    Raises: CaseError: names both.
    """
    known: dict[str, PreparedCase] = {}
    for case in (one for one in cases if one.kind is CaseKind.REAL):
        other = known.setdefault(case.digest, case)
        if other.patient != case.patient:
            problem = f"has the image and label of {other.name}, who is another patient ({other.patient})"
            raise CaseError(case.name, f"{problem}; leave one out, or see to it that both have one `patient`")


def _pretrain(
    study: Study,
    cases: Sequence[PreparedCase],
    watched: Sequence[PreparedCase],
    report: Report | None,
    begin_with: Path | None,
) -> tuple[list[PreparedCase], Path]:
    """Train on simulated and painted cases in which no patient with real labels had a part.

    Returns: all cases with the false alarms that the network raises, and the file of its weights.
    Raises: NoSamplesError: without such a case.
    """
    recipe = study.recipe.model_copy(update={"schedule": study.recipe.pretraining})
    labelled = {case.patient for case in cases if case.kind is CaseKind.REAL}
    made = [case for case in cases if case.patient not in labelled]
    if not made:
        pool = study.sources.pool
        wanted_by = f"Recipe {recipe.name}, {recipe.segment}, pretraining without patients with real labels"
        raise NoSamplesError(wanted_by, () if pool is None else (pool,))
    folder = study.folder / PRETRAINED
    network = train(recipe, made, watched, folder, report, begin_with=begin_with)
    return with_alarms(network, cases, folder / ALARMS), folder / WEIGHTS


def _train_calibrated(
    recipe: SegmentRecipe,
    learned: Sequence[PreparedCase],
    watched: Sequence[PreparedCase],
    unseen: Sequence[PreparedCase],
    folder: Path,
    report: Report | None,
    begin_with: Path | None,
) -> None:
    """Train one network, in further rounds where false alarms are mined, and calibrate each round's.

    The held-out real cases are watched, but do not calibrate what is scored on them.
    """
    seen = [*watched, *unseen]
    for one, place in zip(recipe.rounds, round_folders(folder, recipe), strict=True):
        network = train(one, learned, seen, place, report, begin_with=begin_with)
        write_calibration(fit(count_logits(network, watched)), place)
        if place == folder:
            # an ended run is left as it is: what is new must not be taken for learned from
            check_cases(folder, learned)
        else:
            learned, begin_with = with_alarms(network, learned, place / ALARMS), place / WEIGHTS


def round_folders(folder: Path, recipe: SegmentRecipe) -> tuple[Path, ...]:
    """Return where each round of a run lies: the earlier ones within its folder, the last in it itself."""
    return (*(folder / ROUND.format(number) for number in range(1, len(recipe.rounds))), folder)


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
    """Read the network of a run, calibrated, onto the GPU if there is one.

    Raises: CheckpointError: if there are no weights, or they are of another architecture.
    """
    places = round_folders(folder, recipe)[1:] if recipe.ships is Ships.ROUNDS else (folder,)
    model = networks.average([_load_calibrated(place, recipe) for place in places]).to(device_at_hand())
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _load_calibrated(folder: Path, recipe: SegmentRecipe) -> networks.UNet:
    check_network(folder, recipe)
    model = networks.build(recipe.network, recipe.channels)
    load_weights(model, folder / WEIGHTS)
    read_calibration(folder).fold_into(model)
    return model


def load_shipped(study: Study) -> networks.UNet:
    """Read what a study ships: its final network, or the mean of those of its folds, weight by weight.

    Raises: CheckpointError: if a run has not ended, or its weights are of another architecture.
    """
    return networks.average([load_network(folder, study.recipe) for folder in shipped_folders(study)])


def shipped_folders(study: Study) -> tuple[Path, ...]:
    """Return the run folders of the networks that are shipped."""
    if study.recipe.ships is Ships.FOLDS:
        return tuple(study.folder / f"fold_{number}" for number in range(study.recipe.folds))
    return (study.folder / FINAL,)
