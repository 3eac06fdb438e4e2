"""The error tree of ``engines``: what can be wrong with arrays, geometry and models."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that ``engines`` raises on purpose."""


class GeometryError(EngineError):
    """A volume's affine or shape can not describe a place in patient space."""


class BundleError(EngineError):
    """A model bundle can not be served; the message names the bundle and the field."""

    def __init__(self, bundle: str, field: str, problem: str) -> None:
        self.bundle, self.field, self.problem = bundle, field, problem
        super().__init__(f"Bundle {bundle}: {field}: {problem}")


class InputError(EngineError):
    """A volume can not be segmented: empty, constant, or not finite."""


class RunnerError(EngineError):
    """A runtime could not open or run a model."""
