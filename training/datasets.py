"""Cases of a data set, read from its folder as its manifest describes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import InputError
from engines.marking import mask_on
from engines.preprocessing import check_image
from engines.segments import SeriesType
from engines.volume import Volume
from training.cases import Case, CaseKind, Provenance
from training.dataset_manifest import LabelRule, Manifest
from training.dicom_segmentation import read_segmentation
from training.dicom_series import frame_of_reference, read_series
from training.errors import CaseError
from training.nifti import UNREADABLE, is_nifti, read_nifti

B_VALUES = {SeriesType.DWI_B1000: (800.0, 1200.0)}
"""Which images are taken of a Series that holds several b-values, s/mm2: those that the node takes."""

ROUNDING = 1e-3
"""A label that differs by less from a whole number was rounded by its scale."""

SHOWN = 5
"""Values of a label that an error lists."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A manifest and the folder that holds its files."""

    manifest: Manifest
    root: Path

    def case_folders(self) -> tuple[str, ...]:
        """Return the folders of all cases but the reserved, relative to the root, sorted."""
        return tuple(sorted(self._folders(self.manifest.cases) - self._folders(self.manifest.reserved)))

    def reserved_folders(self) -> tuple[str, ...]:
        """Return the folders of the reserved cases that are there, relative to the root, sorted."""
        there = self._folders(self.manifest.cases) & self._folders(self.manifest.reserved)
        return tuple(case for case in sorted(there) if (self.root / case).is_dir())

    def _folders(self, patterns: Iterable[str]) -> set[str]:
        """Return the folders that patterns lead to, and those that are named as they are."""
        found: set[str] = set()
        for pattern in patterns:
            if any(sign in pattern for sign in "*?["):
                found |= {
                    str(path.relative_to(self.root)) for path in self.root.glob(pattern) if path.is_dir()
                }
            else:
                found.add(pattern)
        return found

    def read(self, case: str) -> Case:
        """Read one case, a reserved one included.

        Raises:
            CaseError: if a file is missing or unreadable, or a label does not fit its image or holds a value
                that the manifest does not know.
        """
        volumes = {series: self._image(case, series, file) for series, file in self.manifest.series.items()}
        marked = {
            segment: self._values(case, rule) if is_nifti(rule.file) else self._segments(case, rule, volumes)
            for segment, rule in self.manifest.labels.items()
        }
        masks, unsure, excluded = (
            {segment: parts[part] for segment, parts in marked.items() if part in parts}
            for part in ("values", "unsure", "excluded")
        )
        brain = None
        if self.manifest.brain_mask is not None:
            mask = self._image(case, None, self.manifest.brain_mask)
            brain = mask.with_array(mask.array > 0)
        origin = Provenance(self.patient(case), self.manifest.name, self.manifest.licence, CaseKind.REAL)
        return Case(case.replace("/", "_"), volumes, masks, origin, brain, unsure, excluded)

    def patient(self, case: str) -> str:
        """Name the patient of a case, whose files are not opened for it."""
        return _fill(self.manifest.patient, case).replace("/", "_")

    def iterate(self, patients: Collection[str] | None = None) -> Iterator[Case]:
        """Read every case that is not reserved, of all patients or of some, in the order of its folders."""
        for case in self.case_folders():
            if patients is None or self.patient(case) in patients:
                yield self.read(case)

    def missing(self) -> tuple[str, ...]:
        """Return one sentence for each thing that the manifest expects and the folder lacks."""
        folders = self.case_folders()
        if not self.root.is_dir() or not folders:
            wanted = ", ".join(self.manifest.cases)
            return (
                f"{self.manifest.name}: no case in {self.root}; needs {wanted} of {self.manifest.source}",
            )
        return tuple(dict.fromkeys(sentence for case in folders for sentence in self._missing_of(case)))

    def _missing_of(self, case: str) -> Iterator[str]:
        files = [*self.manifest.series.values(), *(rule.file for rule in self.manifest.labels.values())]
        files += [self.manifest.brain_mask] if self.manifest.brain_mask else []
        for file in (_fill(file, case) for file in files):
            count = len(self._found(file))
            if count != 1:
                problem = f"is {count} paths, expected one" if count else "is missing"
                yield f"{self.manifest.name}: {file} {problem}"

    def faults(self) -> Iterator[str]:
        """Yield one sentence for each case that teaches nothing; those with missing files are left out."""
        for case in self.case_folders():
            if any(self._missing_of(case)):
                continue
            try:
                for series, volume in self.read(case).volumes.items():
                    _check(case, series, volume)
            except CaseError as error:
                yield f"{self.manifest.name}: {error}"

    def _found(self, file: str) -> list[Path]:
        """Return the paths that a filled template leads to."""
        if any(sign in file for sign in "*?["):
            return sorted(self.root.glob(file))
        return [self.root / file] if (self.root / file).exists() else []

    def _path(self, case: str, file: str) -> Path:
        found = self._found(_fill(file, case))
        if len(found) > 1:
            raise CaseError(case, f"{_fill(file, case)} is {len(found)} paths, expected one")
        return found[0] if found else self.root / _fill(file, case)

    def _image(self, case: str, series: SeriesType | None, file: str) -> Volume:
        path = self._path(case, file)
        b_values = B_VALUES.get(series) if series else None
        with _naming(case, path):
            return read_nifti(path) if is_nifti(file) else read_series(path, b_values)

    def _segments(
        self, case: str, rule: LabelRule, volumes: Mapping[SeriesType, Volume]
    ) -> dict[str, Volume]:
        """Put the parts of a Segmentation onto the grid of the image that all of them were drawn on."""
        path = self._path(case, rule.file)
        with _naming(case, path):
            held = read_segmentation(path)
            points = {
                part: held.points(values, rule.codes if part == "values" else ())
                for part, values in rule.parts.items()
            }
        for series, volume in volumes.items():
            if held.frame_of_reference and self._frame(case, series) not in ("", held.frame_of_reference):
                continue
            masks = {part: mask_on(marked, volume.grid) for part, marked in points.items()}
            on_it = {part: volume.with_array(mask) for part, mask in masks.items() if mask is not None}
            if len(on_it) == len(points):
                return on_it
        raise CaseError(
            case, f"the segments of {path.name} fit none of its images; draw them on one of these"
        )

    def _frame(self, case: str, series: SeriesType) -> str:
        """Return the Frame of Reference UID of an image; "" if it has none."""
        file = self.manifest.series[series]
        path = self._path(case, file)
        with _naming(case, path):
            return "" if is_nifti(file) else frame_of_reference(path)

    def _values(self, case: str, rule: LabelRule) -> dict[str, Volume]:
        """Return the parts of a NIfTI label, which lie on its own grid."""
        label = self._image(case, None, rule.file)
        whole = np.rint(label.array)
        values_held = np.unique(np.where(np.abs(label.array - whole) < ROUNDING, whole, label.array)).tolist()
        unknown = [value for value in values_held if value not in (0, *rule.known)]
        if unknown:
            held = ", ".join(f"{value:g}" for value in unknown[:SHOWN]) + (" ..." if unknown[SHOWN:] else "")
            known = ", ".join(map(str, sorted(rule.known)))
            raise CaseError(
                case,
                f"{self._path(case, rule.file).name} holds {held}, known are {known}; "
                f"correct the file, or values and known of {self.manifest.name}.yaml",
            )
        return {part: label.with_array(np.isin(whole, values)) for part, values in rule.parts.items()}


def _check(case: str, series: SeriesType, volume: Volume) -> None:
    """Raises: CaseError: if an image shows nothing."""
    try:
        check_image(volume)
    except InputError as error:
        raise CaseError(case, f"{series}: {error}") from error


@contextmanager
def _naming(case: str, path: Path) -> Iterator[None]:
    """Raises: CaseError: names the case and the file that cannot be read."""
    try:
        yield
    except FileNotFoundError as exc:
        raise CaseError(case, f"there is no {path}") from exc
    except UNREADABLE as exc:
        # programs' own words may have several lines
        raise CaseError(case, f"{path.name} cannot be read: {' '.join(str(exc).split())}") from exc


def _fill(template: str, case: str) -> str:
    *above, name = case.split("/")
    parent = above[-1] if above else name
    return template.replace("{case}", case).replace("{name}", name).replace("{parent}", parent)
