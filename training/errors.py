"""The error tree of ``training``: each error names the case, the key or the file, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError


class TrainingError(Exception):
    """Base of every error that ``training`` raises on purpose."""

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[object, ...]]:
        """Pickle it as it is: processes of the simulator raise some, and a message is not made of its own."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[TrainingError], args: tuple[object, ...], data: dict[str, object]) -> Exception:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(data)
    return error


WHOLE = "file"
"""In place of a key: the file as a whole."""


SHOWN_KEYS = 3
"""Further wrong keys that an error lists."""


def _at(key: str, problem: str) -> str:
    return problem if key == WHOLE else f"{key}: {problem}; correct this key in the YAML file"


def wrong_keys(error: ValidationError) -> tuple[str, str]:
    """Return the first wrong key of a YAML file, and what is wrong with it and with the others."""
    places = [".".join(str(part) for part in one["loc"] if part != "[key]") for one in error.errors()]
    # pydantic puts "Value error" before what a check of our own says, and calls a list of YAML a tuple
    told = [
        one["msg"].removeprefix("Value error, ").replace("valid tuple", "list").replace("Tuple", "List")
        for one in error.errors()
    ]
    keys = {place or WHOLE: problem for place, problem in zip(places, told, strict=True)}
    # a misspelt key is what makes another one missing
    ordered = sorted(keys, key=lambda key: keys[key] == "Field required")
    first, others = ordered[0], [f"{key}: {keys[key]}" for key in ordered[1:]]
    more = [f"{len(others) - SHOWN_KEYS} more"] if len(others) > SHOWN_KEYS else []
    return first, "; ".join([keys[first], *others[:SHOWN_KEYS], *more])


class RecipeError(TrainingError):
    """A recipe cannot be read, or holds a key or a value that is unknown or impossible."""

    def __init__(self, recipe: str, key: str, problem: str) -> None:
        self.recipe, self.key, self.problem = recipe, key, problem
        super().__init__(f"Recipe {recipe}: {_at(key, problem)}")


class CaseError(TrainingError):
    """A case cannot be trained on: a missing or unreadable file, or a label that does not fit its image."""

    def __init__(self, case: str, problem: str) -> None:
        self.case, self.problem = case, problem
        super().__init__(f"Case {case}: {problem}")


class ManifestError(TrainingError):
    """A data set's manifest is missing, or holds a key or a value that no reader knows."""

    def __init__(self, manifest: str, key: str, problem: str) -> None:
        self.manifest, self.key, self.problem = manifest, key, problem
        super().__init__(f"Manifest {manifest}: {_at(key, problem)}")


class ReaderStudyError(TrainingError):
    """A reader study cannot be evaluated: what is missing or wrong, and where."""

    def __init__(self, place: Path, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(f"Reader study {place}: {problem}")


class ComparisonError(TrainingError):
    """Evaluations cannot be compared: one is missing, or is of other cases."""

    def __init__(self, evaluation: str, problem: str) -> None:
        self.evaluation, self.problem = evaluation, problem
        super().__init__(f"{evaluation} {problem}; evaluate each on the same cases (csvd-train evaluate)")


class SimulationSourceError(TrainingError):
    """What a simulation starts from is missing or unreadable: a label map, a lesion library, a real scan."""

    def __init__(self, source: Path, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Simulation source {source}: {problem}; fetch it again or name another folder")


class SimulationStoppedError(TrainingError):
    """A process of the simulator was ended from outside, as the system does that is short of memory."""

    def __init__(self, pool: Path) -> None:
        self.pool = pool
        super().__init__(
            f"A process of the simulator was ended, as for want of memory; the cases in {pool} are safe. "
            "Run the same command again, with fewer --workers if memory is short"
        )


class NoSamplesError(TrainingError):
    """There is no case to learn from, to score or to show."""

    def __init__(self, wanted_by: str, searched: tuple[Path, ...]) -> None:
        self.wanted_by, self.searched = wanted_by, searched
        places = ", ".join(str(path) for path in searched)
        super().__init__(f"{wanted_by}: no case found in {places}; fill a folder or name another")


class OtherSegmentError(TrainingError):
    """The operating point of a bundle cannot be kept: it is of a segmentor for another segment."""

    def __init__(self, bundle: Path, found: str, wanted: str) -> None:
        self.bundle, self.found, self.wanted = bundle, found, wanted
        super().__init__(
            f"Bundle {bundle} finds {found}, not {wanted}: name one of the same segment (--segment)"
        )


class CheckpointError(TrainingError):
    """A run folder does not fit what is asked of it: unreadable, or of another recipe, data or network."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(
            f"Run {path}: {problem}; go on with what it was begun with, or start in another folder (--runs)"
        )


class WarmStartError(TrainingError):
    """The weights of a bundle cannot be trained on: unreadable, or of another network than the recipe's."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path} {problem}; begin with a bundle of the recipe's network and inputs")


class MissingWeightsError(TrainingError):
    """A training has not ended yet, so that there is no network to score or export."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"There is no {path}: train first, to the end (csvd-train run)")


class BusyError(TrainingError):
    """Two trainings at once in one folder would write over each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"{folder}: another process trains here; wait for it or name another (--runs)")


class StorageError(TrainingError):
    """The run folder cannot hold what the run must write; asked before hours are spent, not after."""

    def __init__(self, path: Path, needed_mb: float, free_mb: float) -> None:
        self.path, self.needed_mb, self.free_mb = path, needed_mb, free_mb
        super().__init__(
            f"{path}: {round(free_mb, 1):g} MB free, {round(needed_mb, 1):g} MB needed; "
            "free space or move the run"
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
