"""Recipes: YAML files that say how segmentors are trained, checked key by key."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.intensity import Normalisation
from engines.preprocessing import PreprocessingSpec
from engines.segments import Segment, SeriesType
from training.cases import CaseKind
from training.errors import WHOLE, RecipeError, wrong_keys

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSettings(_Block):
    """The U-Net: ``channels`` of each level, finest first; see ``networks`` for the rest.

    ``slab`` above 1 makes it a 3D network over so many neighbouring slices, which are its input channels.
    ``slim_decoder`` narrows the channels of each coarser level before they are upsampled.
    """

    channels: tuple[int, ...] = Field(min_length=2, max_length=8)
    fold: int = Field(default=1, ge=1, le=4)
    residual: bool = False
    deep_supervision: bool = False
    slab: int = Field(default=1, ge=1, le=17)
    slim_decoder: bool = False

    @model_validator(mode="after")
    def _plain_in_3d(self) -> Self:
        other = self.residual or self.deep_supervision or self.slim_decoder or self.fold > 1
        if self.slab > 1 and other:
            raise ValueError(
                "a 3D network (slab above 1) has no fold, residual, deep_supervision or slim_decoder"
            )
        return self


class LossSettings(_Block):
    """Weights of the overlap and the voxel term; see ``losses``."""

    overlap_weight: float = Field(ge=0)
    entropy_weight: float = Field(ge=0)
    miss_weight: Share = 0.5
    focal_gamma: float = Field(default=0.0, ge=0, le=5)
    positive_weight: Positive = 1.0


class AugmentationSettings(_Block):
    """How far each batch is changed; 0 leaves an aspect as it is.

    Attributes:
        rotation_deg: largest rotation in plane to either side.
        scale: largest magnification; the smallest is its inverse, drawn evenly on a log scale.
        shear: largest shear, pixels per pixel.
        shift: largest shift, as a share of the image.
        flip: probability of each mirror image.
        gamma: standard deviation of the log exponent on intensities where white matter is 1.
        brightness: standard deviation of the log factor on all intensities.
        offset: standard deviation of a constant added to all intensities.
        bias_field: standard deviation of the log of a smooth gain.
        noise: largest standard deviation of Gaussian noise, in units of white matter.
        blur: largest factor by which the resolution is reduced.
        neighbour_drop: probability that neighbours are replaced by the slice itself, as at the ends.
        input_drop: probability that the inputs after the first are blank, as where a Study lacks them.
        input_shift: largest shift of the inputs after the first against it, pixels.
        crop: side of the window that is learned from, pixels, mostly around a lesion; 0 for whole slices.
    """

    rotation_deg: float = Field(default=0.0, ge=0, le=180)
    scale: float = Field(default=1.0, ge=1, le=4)
    shear: float = Field(default=0.0, ge=0, le=1)
    shift: Share = 0.0
    flip: Share = 0.0
    gamma: float = Field(default=0.0, ge=0, le=1)
    brightness: float = Field(default=0.0, ge=0, le=1)
    offset: float = Field(default=0.0, ge=0, le=1)
    bias_field: float = Field(default=0.0, ge=0, le=1)
    noise: float = Field(default=0.0, ge=0, le=1)
    blur: float = Field(default=1.0, ge=1, le=6)
    neighbour_drop: Share = 0.0
    input_drop: Share = 0.0
    input_shift: int = Field(default=0, ge=0, le=8)
    crop: int = Field(default=0, ge=0, multiple_of=16)


class Decay(StrEnum):
    """How the learning rate falls: along a cosine to zero, or by a step whenever validation stalls."""

    COSINE = "cosine"
    PLATEAU = "plateau"


class Keep(StrEnum):
    """Which weights a run ends with: the last, or those of the best validation by Dice or by Dice and F1."""

    LAST = "last"
    DICE = "dice"
    JOINT = "joint"


class ScheduleSettings(_Block):
    """How long and how fast to learn.

    Attributes:
        batch: slices in a step.
        epoch_steps: steps between two validations; 0 means once through the training slices.
        epochs: at most so many.
        learning_rate: at its highest.
        warmup_steps: steps over which it rises from zero.
        decay: how it falls.
        plateau_epochs: epochs without a better validation after which ``plateau_factor`` is applied.
        patience_epochs: epochs without a better validation after which training stops; 0 means never.
        overfit_score: training Dice above which ``overfit_lead`` is looked at; 1 means never.
        overfit_lead: lead of training over validation that stops the training.
        weight_decay: decoupled weight decay (AdamW); 0 makes it Adam.
        weight_average: decay of the running mean of the weights that is validated and shipped; 0 for none.
        lesion_share: share of a batch that is drawn from slices with a lesion; 0 draws evenly from all slices
            of a case.
        keep: which weights are shipped.
        validation_slices: at most so many slices are looked at in a validation.
        checkpoint_minutes: time between two checkpoints.
    """

    batch: int = Field(ge=1, le=512)
    epoch_steps: int = Field(default=0, ge=0)
    epochs: int = Field(ge=1)
    learning_rate: Positive
    warmup_steps: int = Field(default=0, ge=0)
    decay: Decay = Decay.COSINE
    plateau_epochs: int = Field(default=30, ge=1)
    plateau_factor: Share = 0.9
    patience_epochs: int = Field(default=0, ge=0)
    overfit_score: Share = 1.0
    overfit_lead: Share = 0.15
    weight_decay: float = Field(default=0.0, ge=0)
    weight_average: float = Field(default=0.0, ge=0, lt=1)
    lesion_share: Share = 0.0
    keep: Keep = Keep.JOINT
    validation_slices: int = Field(default=2000, ge=1)
    checkpoint_minutes: Positive = 3.0

    @property
    def follows_validation(self) -> bool:
        """Whether validation decides on rate, end or weights, so that its cases cannot be scored."""
        chosen = self.keep is not Keep.LAST or self.decay is Decay.PLATEAU
        return chosen or self.patience_epochs > 0 or self.overfit_score < 1


class Ships(StrEnum):
    """What is shipped: the last network that learned from all cases, or a mean of weights.

    ``FOLDS`` is the mean of the folds' networks. ``ROUNDS`` is that of the networks of all rounds but the
    first: each saw other batches and other false alarms on its way from the same weights.
    """

    FINAL = "final"
    FOLDS = "folds"
    ROUNDS = "rounds"


class SegmentorSettings(_Block):
    """One segmentor of a recipe.

    Attributes:
        inputs: the Series that are its channels, in order.
        optional_inputs: those of them that a Study may lack.
        sources: kinds of cases it learns from, each with its weight in a batch.
        folds: parts that the patients with real labels are split into for cross-validation; 0 for none.
        mining: further rounds, each on from the weights of the one before, that look more often at what that
            one takes for lesions and is none.
        pretraining: of one network that sees no patient with real labels, which every fold starts from, and
            whose false alarms it looks at more often; none without it.
        ships: what is shipped; ``folds`` saves the training on all cases, and needs folds that start from one
            pretraining, for weights that have nothing in common have no mean; ``rounds`` needs two of mining.
        preprocessing: replaces the recipe's preprocessing.
        network: replaces the recipe's network.
        loss: replaces the recipe's loss.
        schedule: replaces the recipe's schedule.
        augmentation: replaces the recipe's augmentation.
    """

    inputs: tuple[SeriesType, ...] = Field(min_length=1)
    optional_inputs: tuple[SeriesType, ...] = ()
    sources: dict[CaseKind, Positive] = Field(min_length=1)
    folds: int = Field(default=0, ge=0, le=20)
    pretraining: ScheduleSettings | None = None
    mining: tuple[ScheduleSettings, ...] = ()
    ships: Ships = Ships.FINAL
    preprocessing: PreprocessingSpec | None = None
    network: NetworkSettings | None = None
    loss: LossSettings | None = None
    schedule: ScheduleSettings | None = None
    augmentation: AugmentationSettings | None = None

    @model_validator(mode="after")
    def _somebody_to_score(self) -> Self:
        if self.folds == 1:
            raise ValueError("1 of folds leaves nobody to learn from: take 2 or more, or 0 for none")
        if self.folds == 0 and set(self.sources) == {CaseKind.REAL}:
            raise ValueError("sources of real cases alone need 2 folds or more: else nobody is left to score")
        return self

    @model_validator(mode="after")
    def _enough_to_ship(self) -> Self:
        if self.ships is Ships.FOLDS and (self.folds < 2 or self.pretraining is None):
            raise ValueError("ships: folds needs at least 2 folds and a pretraining")
        if self.ships is Ships.ROUNDS and len(self.mining) < 2:
            raise ValueError("ships: rounds needs at least 2 rounds of mining")
        return self


class Recipe(_Block):
    """How a family of segmentors is trained, each alone."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[a-z0-9-]+$")
    description: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    seed: int = 1
    preprocessing: PreprocessingSpec
    network: NetworkSettings
    loss: LossSettings
    augmentation: AugmentationSettings
    schedule: ScheduleSettings
    segmentors: dict[Segment, SegmentorSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _sizes_fit_networks(self) -> Self:
        for own in map(self.for_segment, self.segmentors):
            stride = own.network.fold * 2 ** (len(own.network.channels) - 1)
            sizes = {
                "preprocessing.pixel_grid": own.preprocessing.pixel_grid,
                "augmentation.crop": (own.augmentation.crop,),
            }
            for key, values in sizes.items():
                if any(size % stride for size in values):
                    raise ValueError(f"{key} must be multiples of {stride} for this network")
        return self

    @model_validator(mode="after")
    def _intensities_have_air_at_zero(self) -> Self:
        for own in map(self.for_segment, self.segmentors):
            bent = own.augmentation.gamma or own.augmentation.bias_field
            if bent and own.preprocessing.normalisation is Normalisation.Z_SCORE:
                raise ValueError(
                    "augmentation.gamma and augmentation.bias_field need intensities from 0 on, which "
                    "z_score has not: leave them out or take another preprocessing.normalisation"
                )
        return self

    @model_validator(mode="after")
    def _slab_is_seen(self) -> Self:
        for own in map(self.for_segment, self.segmentors):
            seen = 2 * own.preprocessing.neighbours + 1
            if own.network.slab not in (1, seen):
                raise ValueError(f"network.slab must be 1 or the {seen} slices of preprocessing.neighbours")
        return self

    def for_segment(self, segment: Segment) -> SegmentRecipe:
        """Return what applies to one segmentor, overrides resolved.

        Raises: RecipeError: if the recipe does not train this segment.
        """
        chosen = self.segmentors.get(segment)
        if chosen is None:
            known = ", ".join(self.segmentors)
            raise RecipeError(self.name, f"segmentors.{segment}", f"not in this recipe, which has {known}")
        return SegmentRecipe(
            name=self.name,
            version=self.version,
            seed=self.seed,
            segment=segment,
            preprocessing=chosen.preprocessing or self.preprocessing,
            network=chosen.network or self.network,
            loss=chosen.loss or self.loss,
            augmentation=chosen.augmentation or self.augmentation,
            schedule=chosen.schedule or self.schedule,
            inputs=chosen.inputs,
            optional_inputs=chosen.optional_inputs,
            sources=chosen.sources,
            folds=chosen.folds,
            pretraining=chosen.pretraining,
            mining=chosen.mining,
            ships=chosen.ships,
        )


class SegmentRecipe(_Block):
    """A recipe as it applies to one segmentor; what the run folder keeps as its configuration."""

    name: str
    version: str
    seed: int
    segment: Segment
    preprocessing: PreprocessingSpec
    network: NetworkSettings
    loss: LossSettings
    augmentation: AugmentationSettings
    schedule: ScheduleSettings
    inputs: tuple[SeriesType, ...]
    optional_inputs: tuple[SeriesType, ...]
    sources: dict[CaseKind, float]
    folds: int = 0
    pretraining: ScheduleSettings | None = None
    mining: tuple[ScheduleSettings, ...] = ()
    ships: Ships = Ships.FINAL

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.inputs) * (2 * self.preprocessing.neighbours + 1)

    @property
    def rounds(self) -> tuple[SegmentRecipe, ...]:
        """What each round of a network's training does; the last one's weights are shipped.

        Each has a seed of its own: with the same one it would see the batches of the round before again.
        """
        schedules = (self.schedule, *self.mining)
        return tuple(
            self.model_copy(update={"schedule": schedule, "seed": self.seed + number})
            for number, schedule in enumerate(schedules)
        )


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    folder = Path(str(files("training"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name_or_path: str) -> Recipe:
    """Read and check a recipe.

    Args:
        name_or_path: the name of a shipped recipe, or the path of a YAML file.

    Raises: RecipeError: if it cannot be read, or a key is unknown, missing or impossible.
    """
    path = shipped_recipes().get(name_or_path, Path(name_or_path))
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        known = ", ".join(shipped_recipes())
        raise RecipeError(name_or_path, WHOLE, f"cannot be read ({error}); shipped are {known}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(name_or_path, *wrong_keys(error)) from error
