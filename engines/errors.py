"""The error tree of ``engines``: what can be wrong with arrays, geometry and models."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that ``engines`` raises on purpose."""


class GeometryError(EngineError):
    """A volume's affine or shape cannot describe a place in patient space."""


class BundleError(EngineError):
    """A model bundle cannot be served; the message names the bundle and the field."""

    def __init__(self, bundle: str, field: str, problem: str) -> None:
        self.bundle, self.field, self.problem = bundle, field, problem
        super().__init__(f"Bundle {bundle}: {field}: {problem}")


class InputError(EngineError):
    """A volume cannot be segmented: empty, constant, or not finite."""


class RunnerError(EngineError):
    """A runtime could not open or run a model."""


class RunnerUnavailableError(RunnerError):
    """This machine cannot run a model this way: a package, a driver or a device is missing."""

    def __init__(self, runner: str, problem: str) -> None:
        self.runner, self.problem = runner, problem
        super().__init__(f"{runner} cannot be used: {problem}")


class NoDriverError(RunnerUnavailableError):
    """There is no NVIDIA driver, or it shows no GPU."""


class WrongGpuError(RunnerUnavailableError):
    """The GPU that is asked for is not among those that are here, or the runtime does not serve it.

    It does not pass by itself: somebody has to name another GPU, or another runner.
    """


class OldDriverError(RunnerUnavailableError):
    """The NVIDIA driver is older than the runtime needs."""

    def __init__(self, runner: str, driver: str, found: str, needed: str) -> None:
        self.driver, self.found, self.needed = driver, found, needed
        super().__init__(
            runner,
            f"the driver {driver} speaks CUDA {found}, the runtime needs CUDA {needed}: update the driver",
        )


class NotProvenError(RunnerError):
    """A runner did not agree with the reference, so it may not serve."""

    def __init__(self, runner: str, reason: str) -> None:
        self.runner, self.reason = runner, reason
        super().__init__(f"{runner} cannot be used: {reason}")


class DeviceError(RunnerError):
    """A GPU failed while it opened or ran a model; the CPU can do the work."""


class DeviceMemoryError(DeviceError):
    """A GPU has too little free memory for a batch."""


class PlanError(RunnerError):
    """A network cannot be compiled to a plan, or a plan not be opened; the message says what is lacking."""

    def __init__(self, model: str, problem: str) -> None:
        self.model, self.problem = model, problem
        super().__init__(f"{model}: {problem}")


class PlanCacheError(EngineError):
    """The folder of the compiled plans cannot be read or written, or the disk is full."""

    def __init__(self, folder: str, problem: str) -> None:
        self.folder, self.problem = folder, problem
        super().__init__(f"Plan cache {folder}: {problem}")
