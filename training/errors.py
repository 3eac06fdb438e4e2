"""The error tree of ``training``: each error names the case, the key or the file, and what to do."""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """Base of every error that ``training`` raises on purpose."""


class RecipeError(TrainingError):
    """A recipe holds a key or a value that its dataclass does not know."""

    def __init__(self, recipe: str, key: str, problem: str) -> None:
        self.recipe, self.key, self.problem = recipe, key, problem
        super().__init__(f"Recipe {recipe}: {key}: {problem}; correct this key in the YAML file")


class CaseError(TrainingError):
    """A case can not be trained on: a missing or unreadable file, or a label that does not fit its image."""

    def __init__(self, case: str, problem: str) -> None:
        self.case, self.problem = case, problem
        super().__init__(f"Case {case}: {problem}")


class ManifestError(TrainingError):
    """A data set's manifest is missing, or holds a key or a value that no reader knows."""

    def __init__(self, manifest: str, key: str, problem: str) -> None:
        self.manifest, self.key, self.problem = manifest, key, problem
        super().__init__(f"Manifest {manifest}: {key}: {problem}; correct this key in the YAML file")


class ReaderStudyError(TrainingError):
    """A reader study can not be evaluated: what is missing or wrong, and where."""

    def __init__(self, place: Path, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(f"Reader study {place}: {problem}")


class SimulationSourceError(TrainingError):
    """What a simulation starts from is missing or unreadable: a label map, a lesion library, a real scan."""

    def __init__(self, source: Path, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Simulation source {source}: {problem}; fetch it again or name another folder")


class NoSamplesError(TrainingError):
    """A segmentor has nothing to learn from: no case of its sources was found."""

    def __init__(self, recipe: str, segment: str, searched: tuple[Path, ...]) -> None:
        self.recipe, self.segment, self.searched = recipe, segment, searched
        places = ", ".join(str(path) for path in searched)
        super().__init__(
            f"Recipe {recipe}, {segment}: no case found in {places}; fill the folder or name another"
        )


class OtherSegmentError(TrainingError):
    """The operating point of a bundle can not be kept: it is of a segmentor for another segment."""

    def __init__(self, bundle: Path, found: str, wanted: str) -> None:
        self.bundle, self.found, self.wanted = bundle, found, wanted
        super().__init__(
            f"Bundle {bundle} finds {found}, not {wanted}: name one of the same segment (--segment)"
        )


class CheckpointError(TrainingError):
    """A checkpoint can not be resumed: unreadable, or of another recipe or architecture."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(
            f"Checkpoint {path}: {problem}; resume with its own recipe or start in another folder"
        )


class StorageError(TrainingError):
    """The run folder can not hold what the run must write; asked before hours are spent, not after."""

    def __init__(self, path: Path, needed_mb: float, free_mb: float) -> None:
        self.path, self.needed_mb, self.free_mb = path, needed_mb, free_mb
        super().__init__(
            f"{path}: {free_mb:.0f} MB free, {needed_mb:.0f} MB needed; free space or move the run"
        )


class MemoryShortError(TrainingError):
    """A step or a validation found no memory; the run's checkpoint is as it was last written."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        super().__init__(
            f"Out of memory; {checkpoint} is safe. Free memory, or lower schedule.batch or "
            "schedule.validation_slices, and run the same command again"
        )


class ExportError(TrainingError):
    """The exported model does not agree with the trained one, or breaks a limit of the bundle."""

    def __init__(self, bundle: str, problem: str) -> None:
        self.bundle, self.problem = bundle, problem
        super().__init__(f"Export of {bundle}: {problem}")
