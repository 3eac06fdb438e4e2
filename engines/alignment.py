"""Which Series are brought together, and how."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engines.findings import RegistrationRecord
from engines.progress import REGISTERING, Progress, Step
from engines.registration import RegistrationSpec, register
from engines.segments import SeriesType
from engines.volume import Volume


@dataclass(frozen=True, slots=True)
class Alignment:
    """The patient spaces of a Study's Series, related to that of a reference Series.

    Attributes:
        reference: the fixed Series of all registrations.
        records: one for each other Series.
        frames: the Frame of Reference of each Series; those that are not named share one.
    """

    reference: SeriesType
    records: tuple[RegistrationRecord, ...]
    frames: Mapping[SeriesType, str] = field(default_factory=dict)

    def reference_to(self, series_type: SeriesType) -> NDArray[np.float64]:
        """Return the (4, 4) transform of LPS mm points of the reference into a Series.

        A Series that was not registered is taken to share the scanner's geometry, see ``is_placed``.
        """
        matrices = (record.fixed_to_moving for record in self.records if record.moving is series_type)
        return next(matrices, np.eye(4))

    def between(self, source: SeriesType, target: SeriesType) -> NDArray[np.float64]:
        """Return the (4, 4) transform of LPS mm points of one Series into another."""
        transform: NDArray[np.float64] = self.reference_to(target) @ np.linalg.inv(self.reference_to(source))
        return transform

    def is_placed(self, series_type: SeriesType) -> bool:
        """Tell whether it is known where a Series lies in the reference's patient space.

        Without a registration only the scanner tells, and that only within one Frame of Reference.
        Source: PS3.3 C.7.4.1.1.1.
        """
        registered = any(record.moving is series_type and not record.refused for record in self.records)
        return registered or self.frames.get(series_type) == self.frames.get(self.reference)

    def is_doubtful(self, series_type: SeriesType) -> bool:
        """Tell whether a Series may lie askew to the reference: its registration failed or is implausible."""
        return any(record.refused for record in self.records if record.moving is series_type)


def align(
    volumes: Mapping[SeriesType, Volume],
    needed: Set[SeriesType],
    spec: RegistrationSpec,
    progress: Progress,
    frames: Mapping[SeriesType, str],
) -> Alignment:
    """Register the needed Series to the T2-FLAIR or, without one, to the first of them.

    Args:
        volumes: the Study's usable volumes.
        needed: Series whose masks or voxels meet those of others.
        spec: limits of a registration.
        progress: told what is done now.
        frames: the Frame of Reference of each Series; those that are not named share one.
    """
    flair = {SeriesType.T2_FLAIR} & volumes.keys()
    candidates = [kind for kind in SeriesType if kind in needed | flair]
    there = (kind for kind in SeriesType if kind in volumes)
    reference = next(iter(candidates), next(there, SeriesType.T2_FLAIR))
    records = []
    for moving in candidates[1:]:
        progress(Step(REGISTERING, f"registering {moving.label} to {reference.label}"))
        record = register(volumes[reference], volumes[moving], (reference, moving), spec)
        shares_frame = frames.get(reference) == frames.get(moving)
        records.append(replace(record, shares_frame=shares_frame))
    return Alignment(reference, tuple(records), frames)
