"""The training loop: one segmentor, from a recipe and prepared slices to weights, resumable at any step.

Convention: a run folder holds ``recipe.yaml``, ``data.json``, ``checkpoint.pt``, ``weights.pt``,
``history.json`` and ``curves.png``. Batches and augmentation depend on seed and step alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training import losses, networks
from training.augmentation import augment
from training.checkpoint import Epoch, State, resume, save, write_history
from training.errors import NoSamplesError
from training.inference import autocast, device_at_hand, predict
from training.metrics import lesion_f1, voxel_scores
from training.recipe import Decay, Keep, ScheduleSettings, SegmentRecipe
from training.run_folder import (
    CALIBRATION,
    CHECKPOINT,
    WEIGHTS,
    check_cases,
    held,
    load_weights,
    name_bundle,
    read_data,
    write_data,
    write_recipe,
    write_steps,
)
from training.safekeeping import keep, naming_shortage, release, reserve
from training.sampling import Sampler
from training.slices import PreparedCase
from training.warm_start import load_bundle_weights

FREE_MB = 500.0
"""Room that a run asks for before it starts, MB: two checkpoints, weights and curves, with reserve."""

RESERVED = 2
"""Checkpoints that room is kept back for: the last one and the weights."""

UNFOLDING_SLICES = 64
"""Slices that the normalisations of a bundle's network are found with."""

Report = Callable[["Epoch", int, int], None]
"""Called after each step and each validation with the running epoch, the step and the last step."""


def train(
    recipe: SegmentRecipe,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    folder: Path,
    report: Report | None = None,
    stop_after: int | None = None,
    needed_mb: float = FREE_MB,
    begin_with: Path | None = None,
) -> networks.UNet:
    """Train a segmentor, or go on where its run folder stopped.

    Args:
        recipe: what to do.
        training: cases to learn from.
        validation: cases of other patients.
        folder: the run folder; made if missing.
        report: told of every step.
        stop_after: steps after which this call checkpoints and returns, as a kill would end it.
        needed_mb: free room that the run folder's disk must have, MB.
        begin_with: weights of an earlier training to start from, or the folder of a bundle; random ones
            if None.

    Returns: the network with the weights to ship, in evaluation mode.

    Raises:
        NoSamplesError: without a training case.
        BusyError: if another process trains in the folder.
        CheckpointError: if the folder holds a run of another recipe or, unless it has ended, of other cases,
            or the run to begin with is of another architecture.
        WarmStartError: if the bundle to begin with is.
        StorageError: if the disk cannot hold the run, before it starts or later on.
        MemoryShortError: if a step or a validation finds no memory; the checkpoint is safe.
    """
    schedule = recipe.schedule
    sampler = Sampler(training, recipe.sources, schedule.lesion_share, recipe.seed)
    if sampler.slices == 0:
        raise NoSamplesError(f"Recipe {recipe.name}, {recipe.segment}", (folder,))
    with held(folder, needed_mb):
        state = _start(recipe, device_at_hand(), begin_with, sampler)
        resume(state, folder / CHECKPOINT, recipe)
        epoch_steps = schedule.epoch_steps or max(1, sampler.slices // schedule.batch)
        last = epoch_steps * schedule.epochs
        if state.step < last and not _is_finished(state, schedule):
            begun_with = name_bundle(begin_with)
            if state.step:
                check_cases(folder, training)
                # what it was begun with, whatever it goes on with
                begun_with = read_data(folder).get("begun_with")
            write_recipe(folder, recipe)
            write_data(folder, training, validation, last, begun_with)
        with naming_shortage(folder / CHECKPOINT):
            save(state, folder, recipe)
            reserve(folder, RESERVED * (folder / CHECKPOINT).stat().st_size)
            _go_on(
                state, recipe, sampler, validation, folder, epoch_steps, min(last, stop_after or last), report
            )
            save(state, folder, recipe)
            write_steps(folder, state.step)
            network = _finish(state, schedule, folder)
        release(folder)
    return network


def _go_on(
    state: State,
    recipe: SegmentRecipe,
    sampler: Sampler,
    validation: Sequence[PreparedCase],
    folder: Path,
    epoch_steps: int,
    end: int,
    report: Report | None,
) -> None:
    """Take steps up to ``end`` or to what ends a run before; save on the way, validate after each epoch."""
    schedule, loss_of, last = recipe.schedule, losses.build(recipe.loss), epoch_steps * recipe.schedule.epochs
    saved_at = state.begun_at = time.monotonic()
    while True:
        if _awaits_validation(state, epoch_steps):
            save(state, folder, recipe)
            _validate(state, recipe, validation)
            state.history[-1].seconds = time.monotonic() - state.begun_at
            write_history(folder, state)
            saved_at = time.monotonic()
            if report:
                report(state.history[-1], state.step, last)
        if state.step >= end or _is_finished(state, schedule):
            return
        if state.step % epoch_steps == 0:
            state.history.append(Epoch(state.step // epoch_steps))
            state.begun_at = time.monotonic()
        epoch = state.history[-1]
        epoch.learning_rate = _set_rate(state, schedule, last)
        loss, dice = _learn(state, recipe, sampler, loss_of)
        done = state.step % epoch_steps
        epoch.loss += (loss - epoch.loss) / (done + 1)
        epoch.train_dice += (dice - epoch.train_dice) / (done + 1)
        state.step += 1
        if report:
            report(epoch, state.step, last)
        if time.monotonic() - saved_at > 60 * schedule.checkpoint_minutes:
            save(state, folder, recipe)
            saved_at = time.monotonic()


def _awaits_validation(state: State, epoch_steps: int) -> bool:
    """Tell whether the last epoch has all its steps and was not validated yet."""
    return bool(state.history) and state.step % epoch_steps == 0 and state.history[-1].seconds == 0


def _start(recipe: SegmentRecipe, device: torch.device, begin_with: Path | None, sampler: Sampler) -> State:
    torch.manual_seed(recipe.seed)
    model = networks.build(recipe.network, recipe.channels).to(device)
    if begin_with is not None and begin_with.is_dir():
        pixels, _ = sampler.draw(0, UNFOLDING_SLICES)
        load_bundle_weights(model, begin_with, torch.from_numpy(pixels).to(device))
    elif begin_with is not None:
        load_weights(model, begin_with)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.schedule.learning_rate, weight_decay=recipe.schedule.weight_decay
    )
    return State(model, copy.deepcopy(model), optimiser)


def _learn(
    state: State,
    recipe: SegmentRecipe,
    sampler: Sampler,
    loss_of: Callable[[Tensor | Sequence[Tensor], Tensor], Tensor],
) -> tuple[float, float]:
    """Take one step; return the loss and the Dice of the batch."""
    pixels, labels = sampler.draw(state.step, recipe.schedule.batch)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + state.step)
    images, targets = augment(
        torch.from_numpy(pixels).to(state.device),
        torch.from_numpy(labels).to(state.device),
        recipe.augmentation,
        recipe.preprocessing.neighbours,
        generator,
    )
    state.model.train()
    with autocast(state.device):
        logits = state.model(images.contiguous(memory_format=torch.channels_last))
    loss = loss_of(logits, targets)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    state.optimiser.step()
    _average(state, recipe.schedule.weight_average)
    finest = logits if isinstance(logits, Tensor) else logits[0]
    found, lesion = finest.detach() > 0, targets == 1
    overlap = 2 * (found & lesion).sum() / (found.sum() + lesion.sum()).clamp(min=1)
    return float(loss.detach()), float(overlap)


def _average(state: State, decay: float) -> None:
    """Move the averaged weights towards the current ones; early on faster, so that they forget the start."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, now in zip(
            state.average.state_dict().values(), state.model.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)


def _set_rate(state: State, schedule: ScheduleSettings, last: int) -> float:
    warm = min(1.0, (state.step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * state.step / last)) if schedule.decay is Decay.COSINE else 1.0
    rate = schedule.learning_rate * warm * fall * state.rate_factor
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    return rate


def _validate(state: State, recipe: SegmentRecipe, cases: Sequence[PreparedCase]) -> None:
    """Score the averaged weights slice by slice, remember the best, lower the rate when it stalls."""
    schedule, epoch = recipe.schedule, state.history[-1]
    if cases:
        epoch.dice, epoch.f1 = _scores(state.average, cases, schedule.validation_slices, state.device)
        score = epoch.dice if schedule.keep is Keep.DICE else (epoch.dice + epoch.f1) / 2
        if score > state.best_score:
            state.best_score, state.best_epoch = score, epoch.number
            state.best_weights = {k: v.cpu().clone() for k, v in state.average.state_dict().items()}
    stalled = epoch.number - state.best_epoch
    if schedule.decay is Decay.PLATEAU and stalled and stalled % schedule.plateau_epochs == 0:
        state.rate_factor *= schedule.plateau_factor


def _scores(
    model: nn.Module, cases: Sequence[PreparedCase], limit: int, device: torch.device
) -> tuple[float, float]:
    """Return the mean over cases of Dice and lesion F1, of up to ``limit`` slices in all."""
    quota = max(1, limit // len(cases))
    dice, f1 = [], []
    for case in cases:
        step = max(1, math.ceil(len(case.images) / quota))
        targets = np.asarray(case.targets[::step])
        found = predict(model, np.asarray(case.images[::step], dtype=np.float32), device) > 0
        found, lesion = found & (targets[:, None] != losses.IGNORE), targets == 1
        if lesion.any():
            dice.append(voxel_scores(found[:, 0], lesion).dice)
            f1.append(lesion_f1(found[:, 0], lesion).f1)
    return (float(np.mean(dice)), float(np.mean(f1))) if dice else (0.0, 0.0)


def _is_finished(state: State, schedule: ScheduleSettings) -> bool:
    """Tell whether a stop rule holds: no better validation for long, or training far ahead of validation."""
    if not state.history or state.history[-1].dice is None:
        return False
    epoch = state.history[-1]
    if schedule.patience_epochs and epoch.number - state.best_epoch >= schedule.patience_epochs:
        return True
    lead = epoch.train_dice - (epoch.dice or 0.0)
    return epoch.train_dice > schedule.overfit_score and lead > schedule.overfit_lead


def _finish(state: State, schedule: ScheduleSettings, folder: Path) -> networks.UNet:
    if schedule.keep is not Keep.LAST and state.best_weights:
        state.average.load_state_dict(state.best_weights)
    # that of the weights before would be taken for that of these if what calibrates them is killed
    (folder / CALIBRATION).unlink(missing_ok=True)
    keep(state.average.state_dict(), folder / WEIGHTS)
    return state.average.eval()
