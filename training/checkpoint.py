"""What a run is made of between two steps, and how it goes to disk and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from training import networks
from training.curves import draw_curves
from training.errors import CheckpointError
from training.recipe import SegmentRecipe
from training.run_folder import CHECKPOINT, HISTORY, check_recipe
from training.safekeeping import keep
from training.whole_files import write_text_whole


@dataclass(slots=True)
class Epoch:
    """What one epoch came to; validation values are None until it is validated."""

    number: int
    loss: float = 0.0
    train_dice: float = 0.0
    learning_rate: float = 0.0
    dice: float | None = None
    f1: float | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class State:
    """Everything that a resumed run needs, and when its epoch began by this process's clock, s."""

    model: networks.UNet
    average: networks.UNet
    optimiser: torch.optim.Optimizer
    step: int = 0
    rate_factor: float = 1.0
    best_score: float = -1.0
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    begun_at: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device


def save(state: State, folder: Path, recipe: SegmentRecipe) -> None:
    """Write the checkpoint beside the old one and exchange them, so that a kill leaves one of both.

    It is written before each validation, too, so that a validation that fails costs no training.
    """
    content = {
        "recipe": recipe.model_dump(mode="json"),
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "rate_factor": state.rate_factor,
        "best": (state.best_score, state.best_epoch, state.best_weights),
        "history": [asdict(epoch) for epoch in state.history],
    }
    keep(content, folder / CHECKPOINT)


def resume(state: State, path: Path, recipe: SegmentRecipe) -> None:
    """Bring a fresh state to where a checkpoint is; leave it as it is where there is none.

    Raises: CheckpointError: if it cannot be read, or is of another recipe.
    """
    if not path.is_file():
        return
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        check_recipe(path, content["recipe"], recipe)
        state.model.load_state_dict(content["model"])
        state.average.load_state_dict(content["average"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.step, state.rate_factor = content["step"], content["rate_factor"]
        state.best_score, state.best_epoch, state.best_weights = content["best"]
        state.history = [Epoch(**epoch) for epoch in content["history"]]
    except (RuntimeError, KeyError, TypeError, EOFError, UnpicklingError, ValueError) as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error


def write_history(folder: Path, state: State) -> None:
    """Write what each epoch came to, as JSON and as curves."""
    rows = [asdict(epoch) for epoch in state.history]
    write_text_whole(folder / HISTORY, json.dumps(rows, indent=1))
    draw_curves(rows, folder / "curves.png")
