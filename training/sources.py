"""Where the cases of a recipe come from: data sets with a manifest, and the pool of the simulator."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from engines.segments import Segment
from training.cases import Case, CaseKind
from training.dataset_manifest import read_manifest
from training.datasets import Dataset
from training.errors import ManifestError
from training.pool import Split, iterate
from training.recipe import SegmentRecipe


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders that hold cases.

    Attributes:
        mri: holds the data sets that manifests describe, if it is there, or None.
        pool: filled by the simulator, if it is there, or None.
    """

    mri: Path | None
    pool: Path | None

    @property
    def searched(self) -> tuple[Path, ...]:
        """The folders, whether they are there or not."""
        return tuple(path for path in (self.mri, self.pool) if path is not None)

    def real(self, segment: Segment, patients: Collection[str] | None = None) -> Iterator[Case]:
        """Read the real cases that are labelled for a segment, of all patients or some; reserved ones not."""
        for dataset in self._labelled(segment):
            yield from dataset.iterate(patients)

    def patients(self, segment: Segment) -> list[str]:
        """Name the patient of each real case that is labelled for a segment; no image is read for it."""
        return [d.patient(case) for d in self._labelled(segment) for case in d.case_folders()]

    def _labelled(self, segment: Segment) -> list[Dataset]:
        if self.mri is None or not self.mri.is_dir():
            return []
        return [dataset for dataset in self.datasets() if segment in dataset.manifest.labels]

    def datasets(self) -> tuple[Dataset, ...]:
        """Return the data sets of the shipped manifests and of those that lie in the folder of the real data.

        Raises: ManifestError: names the key that is wrong, or the name that two of them have.
        """
        if self.mri is None:
            return ()
        shipped = Path(str(files("training"))) / "manifests"
        paths = [
            *sorted(shipped.glob("*.yaml")),
            *sorted((*self.mri.glob("*.yaml"), *self.mri.glob("*.yml"))),
        ]
        found = {path: Dataset(read_manifest(path), self.mri) for path in paths}
        names: dict[str, Path] = {}
        for path, dataset in found.items():
            other = names.setdefault(dataset.manifest.name, path)
            if other != path:
                raise ManifestError(
                    path.name, "name", f"{dataset.manifest.name} is that of {other.name}, too"
                )
        return tuple(found.values())

    def made(self, segment: Segment, split: Split, kinds: Sequence[CaseKind]) -> Iterator[Case]:
        """Read simulated and painted cases of a split."""
        if self.pool is not None:
            yield from (c for c in iterate(self.pool, segment, split) if c.provenance.kind in kinds)

    def cases(self, recipe: SegmentRecipe, split: Split) -> Iterator[Case]:
        """Read the cases of a recipe's kinds in a split; real ones all belong to training, split by folds."""
        if split is Split.TRAIN and CaseKind.REAL in recipe.sources:
            yield from self.real(recipe.segment)
        yield from self.made(recipe.segment, split, list(recipe.sources))


def folds(patients: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Split patients into ``count`` groups of like size, each data set spread evenly over them.

    Sorted names of a data set stand together, so dealing them out in turn spreads every data set.
    """
    ordered = sorted(set(patients))
    return [tuple(ordered[start::count]) for start in range(count)]
