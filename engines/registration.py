"""Rigid registration: how the patient moved between two Series.

Convention: ``fixed_to_moving`` maps LPS mm points of the fixed Series to where the same tissue lies in the
moving one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engines.findings import RegistrationRecord
from engines.head import head_points, share_in_head
from engines.mutual_information import NothingToCompareError
from engines.rigid_search import MAX_STEPS, FoundMovement, find_movement
from engines.segments import SeriesType
from engines.volume import Volume, mapped, without_blank_ends

MIN_SIZE = 4
"""Voxels along each axis that the smoothing needs."""


LEAST_OVERLAP = 0.5
"""Least share of one head in the other where a registration is believed. On 7 labelled heads of the
development data FLAIR and T1 have 0.89 to 0.96, a slab of six slices 0.85 to 0.97; 60 mm apart they have at
most 0.47. Mutual information alone was satisfied with a head that lay 80 mm away."""


class RegistrationSpec(BaseModel):
    """What counts as a plausible and a useful registration.

    Attributes:
        max_rotation_deg: a head in a coil does not turn further, degrees.
        max_translation_mm: nor move further, at the centre of the fixed volume, mm.
        min_gain: mutual information that must be gained over the scanner geometry, share of its value
            there; below, the scanner geometry is kept. Thick slices cannot be told apart more finely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rotation_deg: float = Field(
        default=15.0, gt=0, le=180, description="registrations that rotate further are refused, degrees"
    )
    max_translation_mm: float = Field(
        default=20.0, gt=0, description="registrations that shift the centre further are refused, mm"
    )
    min_gain: float = Field(
        default=0.03,
        ge=0,
        description="mutual information that a registration must gain, share of what it is",
    )


def register(
    fixed: Volume,
    moving: Volume,
    names: tuple[SeriesType, SeriesType],
    spec: RegistrationSpec | None = None,
) -> RegistrationRecord:
    """Find how the patient moved between two Series, and decide whether to believe it.

    Args:
        fixed: the Series whose patient space is the target.
        moving: the Series that may have moved.
        names: the types of the two, for the record.
        spec: limits.

    Returns: the record. If the registration failed, is implausible or gains nothing, its transform is the
        identity, which is the scanner geometry, and its reason says why. It is refused, too, if the heads
        hardly overlap: then the search began too far away, and the information that it found says nothing.
    Source: Mattes et al., IEEE TMI 2003, doi 10.1109/TMI.2003.809072.
    """
    spec = spec or RegistrationSpec()
    fixed, moving = without_blank_ends(fixed), without_blank_ends(moving)
    if min(*fixed.grid.shape, *moving.grid.shape) < MIN_SIZE:
        return _refused(names, f"a Series has fewer than {MIN_SIZE} slices, rows or columns")
    try:
        found = find_movement(fixed, moving, fixed.grid.centre_lps)
    except NothingToCompareError as exc:
        return _refused(names, f"the two Series could not be compared: {exc}")
    record = _judge(found, fixed.grid.centre_lps, names, spec)
    overlap = head_overlap(fixed, moving, record.fixed_to_moving)
    if not record.refused and overlap < LEAST_OVERLAP:
        problem = f"only {overlap:.0%} of one head would lie in the other"
        return _refused(names, problem, record.rotation_deg, record.translation_mm)
    return record


def head_overlap(fixed: Volume, moving: Volume, fixed_to_moving: NDArray[np.float64]) -> float:
    """Return which share of one head lies in the other, 0 to 1, whichever is more: one may be a slab.

    Args:
        fixed: the one volume.
        moving: the other.
        fixed_to_moving: (4, 4) transform of LPS mm points between their patient spaces.

    Returns: 1 where neither shows a head, so that nothing speaks against the transform.
    """
    moving_to_fixed = np.linalg.inv(fixed_to_moving)
    shares = [
        share_in_head(mapped(points, matrix), other)
        for points, matrix, other in (
            (head_points(fixed), fixed_to_moving, moving),
            (head_points(moving), moving_to_fixed, fixed),
        )
        if len(points)
    ]
    return max(shares, default=1.0)


def _judge(
    found: FoundMovement,
    centre: NDArray[np.float64],
    names: tuple[SeriesType, SeriesType],
    spec: RegistrationSpec,
) -> RegistrationRecord:
    matrix = found.fixed_to_moving
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    rotation_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    translation_mm = float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - centre))
    gain = found.information / found.information_before - 1 if found.information_before > 0 else np.inf
    movement = f"{rotation_deg:.1f} degrees and {translation_mm:.1f} mm"
    if gain < spec.min_gain:
        reason = f"the scanner geometry fits as well (mutual information {gain:+.1%} after registration)"
        return RegistrationRecord(*names, np.eye(4), rotation_deg, translation_mm, False, reason)
    if not found.converged:
        return _refused(names, f"it did not converge in {MAX_STEPS} steps", rotation_deg, translation_mm)
    if rotation_deg > spec.max_rotation_deg or translation_mm > spec.max_translation_mm:
        limits = f"{spec.max_rotation_deg:g} degrees and {spec.max_translation_mm:g} mm"
        return _refused(names, f"{movement} are beyond {limits}", rotation_deg, translation_mm)
    reason = f"moved by {movement}; mutual information {gain:+.1%}"
    return RegistrationRecord(*names, matrix, rotation_deg, translation_mm, True, reason)


def _refused(
    names: tuple[SeriesType, SeriesType], problem: str, rotation_deg: float = 0.0, translation_mm: float = 0.0
) -> RegistrationRecord:
    reason = f"registration refused: {problem}"
    return RegistrationRecord(*names, np.eye(4), rotation_deg, translation_mm, False, reason, refused=True)
