"""One patient's volumes and masks, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import reduce
from itertools import product

import numpy as np

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.errors import CaseError

LABEL_TOLERANCE_MM = 0.5
"""A label whose corners lie further from its image's than this belongs to another image, mm."""


class CaseKind(StrEnum):
    """Where the lesions of a case come from."""

    REAL = "real"
    PAINTED = "painted"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a case comes from; ``patient`` is what every split goes by.

    Attributes:
        patient: the person, or the anatomy that a simulation started from; unique over data sets.
        dataset: name of the manifest or of the simulator.
        licence: of the data that the case was made of.
        kind: real lesions, lesions painted into a real scan, or all simulated.
        details: what a simulation drew, by name.
    """

    patient: str
    dataset: str
    licence: str
    kind: CaseKind
    details: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Volumes of one patient and what is marked on them.

    Attributes:
        name: unique within its data set.
        volumes: by Series type; registered Series share a grid, others need not.
        masks: Volume of bool by segment, on the grid of one of the volumes.
        provenance: origin and licence.
        brain: Volume of bool, brain without skull, or None where the data set has none.
        unsure: Volume of bool by segment: voxels that one reader would mark and another not, which neither
            teach nor count.
        excluded: likewise what is neither lesion nor its absence to any reader, as another pathology.

    Raises:
        CaseError: if a mask, a part that does not count or the brain lies on none of the volumes' grids, or
            there is no volume.
    """

    name: str
    volumes: Mapping[SeriesType, Volume]
    masks: Mapping[Segment, Volume]
    provenance: Provenance
    brain: Volume | None = None
    unsure: Mapping[Segment, Volume] = field(default_factory=dict)
    excluded: Mapping[Segment, Volume] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.volumes:
            raise CaseError(self.name, "no volume; list at least one Series")
        marked = {segment.value: mask for segment, mask in self.masks.items()}
        if self.brain is not None:
            marked["brain mask"] = self.brain
        marked |= {f"unsure part of {segment}": mask for segment, mask in self.unsure.items()}
        marked |= {f"excluded part of {segment}": mask for segment, mask in self.excluded.items()}
        for label, mask in marked.items():
            if not any(same_place(mask.grid, volume.grid) for volume in self.volumes.values()):
                raise CaseError(self.name, f"the {label} {self._misfit(mask.grid)}")

    def uncounted(self, segment: Segment) -> Volume | None:
        """Return what neither teaches nor counts, unsure or excluded, or None if there is no such part."""
        return join_masks(self.unsure.get(segment), self.excluded.get(segment))

    def _misfit(self, grid: Grid) -> str:
        """Say how a mask's grid differs from those of the images."""
        sizes = " x ".join(map(str, grid.shape))
        alike = [volume.grid for volume in self.volumes.values() if volume.grid.shape == grid.shape]
        if alike:
            apart = min(_distance_mm(grid, other) for other in alike)
            return f"lies up to {apart:.1f} mm from its image; write it with the affine of the image"
        held = ", ".join(f"{s} {' x '.join(map(str, v.grid.shape))}" for s, v in self.volumes.items())
        return f"has {sizes} voxels, its images {held}; resample it onto the one that it was drawn on"


def join_masks(*masks: Volume | None) -> Volume | None:
    """Return the union of bool masks on one grid, or None without any."""
    there = [mask for mask in masks if mask is not None]
    return reduce(lambda one, other: one.with_array(one.array | other.array), there) if there else None


def same_place(one: Grid, other: Grid) -> bool:
    """Tell whether a mask on one grid lies on an image on the other."""
    return one.shape == other.shape and _distance_mm(one, other) < LABEL_TOLERANCE_MM


def _distance_mm(one: Grid, other: Grid) -> float:
    """Return how far corners of two grids of one shape lie apart, mm."""
    corners = np.array(list(product(*((0, size - 1) for size in one.shape))))
    return float(np.abs(one.to_lps(corners) - other.to_lps(corners)).max())
