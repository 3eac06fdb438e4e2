"""What a model bundle says of itself."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from engines.postprocessing import PostprocessingSpec
from engines.preprocessing import PreprocessingSpec
from engines.segments import Segment, SeriesType

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A name that can stand in a file name and in a DICOM LO value."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Bound = Annotated[float, Field(ge=0)]


class ModelFile(BaseModel):
    """The ONNX file of a bundle.

    Attributes:
        file: its name in the bundle's folder.
        sha256: its digest.
        input: name of its one input.
        output: name of its one output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Name = "model.onnx"
    sha256: Sha256
    input: Text = "slices"
    output: Text = "logits"


class SampleFile(BaseModel):
    """Prepared slices that show lesions, on which a faster runner is compared with the reference.

    Attributes:
        file: a NumPy archive in the bundle's folder whose array ``slices`` is (n, channels, rows, columns).
        sha256: its digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Name = "samples.npz"
    sha256: Sha256


class BatchProfile(BaseModel):
    """How many slices a compiled plan takes at once, for TensorRT's optimisation profile.

    Attributes:
        min: fewest slices of a run.
        opt: what the plan is made fastest for: the slices of a usual clinical Series.
        max: most slices of a run; longer Series run in several batches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: int = Field(default=1, ge=1)
    opt: int = Field(default=24, ge=1)
    max: int = Field(default=32, ge=1, le=1024)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.min <= self.opt <= self.max:
            raise ValueError("batch: min, opt and max must rise")
        return self


class Score(BaseModel):
    """One measured score: its name and unit, its value, and the cases and protocol it was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    value: float = Field(allow_inf_nan=False)
    on: Text


class Manifest(BaseModel):
    """Everything that is needed to serve a model and to judge its results.

    Attributes:
        name: of the algorithm, as it appears in results.
        version: changes whenever the results can change.
        segment: the lesion it finds.
        inputs: Series in channel order; the result lies on the grid of the first one.
        optional_inputs: those of ``inputs`` that may be missing; their channels are then zeros. The first
            input is never optional.
        preprocessing: what the network expects to see.
        postprocessing: how its probabilities become lesions.
        size_limits_mm: smallest and largest lesion diameter, mm, null for no bound; without this field the
            method's bounds for the segment hold.
        drop_outside_limits: True removes lesions outside the limits instead of marking them.
        model: the ONNX file.
        batch: slices of a run on a GPU.
        samples: slices for the proof of faster runners; without them only float32 is used.
        licence: of the weights.
        training_data: what the network learned from, with the licences.
        recipe: what to run to train it again.
        scores: as measured; never those of another model.
        created: day of the export.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    version: Name
    segment: Segment
    inputs: tuple[SeriesType, ...] = Field(min_length=1)
    optional_inputs: tuple[SeriesType, ...] = ()
    preprocessing: PreprocessingSpec
    postprocessing: PostprocessingSpec = PostprocessingSpec()
    size_limits_mm: tuple[Bound | None, Bound | None] | None = None
    drop_outside_limits: bool = False
    model: ModelFile
    batch: BatchProfile = BatchProfile()
    samples: SampleFile | None = None
    licence: Text
    training_data: Text
    recipe: Text
    scores: tuple[Score, ...]
    created: date

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.inputs) * (2 * self.preprocessing.neighbours + 1)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of one slice as the network takes it."""
        return (self.channels, *self.preprocessing.pixel_grid)

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("inputs: a Series is named twice")
        if not set(self.optional_inputs) <= set(self.inputs[1:]):
            raise ValueError("optional_inputs: only inputs after the first can be optional")
        return self

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.size_limits_mm is not None:
            smallest, largest = self.size_limits_mm
            if smallest is not None and largest is not None and smallest >= largest:
                raise ValueError("size_limits_mm: the smallest diameter must be below the largest")
        return self
