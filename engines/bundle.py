"""Model bundles: a folder with an ONNX file, a manifest and a model card.

Convention: the ONNX file takes float32 (batch, channels, rows, columns) and returns float32 logits
(batch, 1, rows, columns). The batch is dynamic; rows and columns are the manifest's pixel grid or dynamic;
channels = inputs * (2 * neighbours + 1), in the order of ``engines.preprocessing.prepare``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from engines.errors import BundleError, RunnerError
from engines.manifest import Manifest, SampleFile
from engines.runners.onnx_runtime import open_session

MANIFEST_NAME = "manifest.yaml"
"""Name of the manifest in every bundle."""

MODEL_NAME = "model.onnx"
"""Name that an export gives the ONNX file."""

CARD_NAME = "card.md"
"""Name of the model card, for people."""

SAMPLES_NAME = "samples.npz"
"""Name of the sample slices, if there are any."""

SAMPLE_SLICES = 6
"""Neighbouring slices kept for the proof of faster runners: about 1.5 MB in half precision."""

FLOAT_TENSOR = "tensor(float)"
"""onnxruntime's name of float32."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    folder: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.manifest.model.file


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it against its own manifest.

    Args:
        folder: holds ``manifest.yaml`` and the ONNX file named in it.

    Raises: BundleError: names the bundle and the field that is missing, unknown or wrong: the hash, or a
        tensor's name, type or shape.
    """
    manifest = read_manifest(folder)
    bundle = Bundle(folder, manifest)
    _check_file(bundle, "model", manifest.model.file, manifest.model.sha256)
    _check_tensors(bundle)
    read_samples(bundle)
    return bundle


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises: BundleError: names each field that is missing, unknown or wrong.
    """
    return check_manifest(read_fields(folder / MANIFEST_NAME, folder.name), folder.name)


def read_fields(path: Path, bundle: str) -> object:
    """Read what a YAML file of a bundle holds, unchecked.

    Raises: BundleError: if the file cannot be read.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise BundleError(bundle, path.name, f"cannot be read: {exc}") from exc


def check_manifest(content: object, bundle: str) -> Manifest:
    """Check the fields of a manifest.

    Raises: BundleError: names each field that is missing, unknown or wrong.
    """
    try:
        return Manifest.model_validate(content)
    except ValidationError as exc:
        # pydantic puts "Value error" before what a check of the manifest's own says
        faults = [(_place(one["loc"]), one["msg"].removeprefix("Value error, ")) for one in exc.errors()]
        (field, problem), *others = faults
        more = "".join(f"; {place}: {told}" for place, told in others)
        raise BundleError(bundle, field, problem + more) from exc


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write a bundle's manifest in the order of its fields and return its path."""
    path = folder / MANIFEST_NAME
    content = manifest.model_dump(mode="json")
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100), encoding="utf-8")
    return path


def write_samples(folder: Path, slices: NDArray[np.float32]) -> SampleFile:
    """Write sample slices beside a model, in half precision, and return what the manifest says of them.

    Args:
        folder: the bundle's folder.
        slices: (n, channels, rows, columns) prepared slices that follow each other and show lesions.
    """
    np.savez_compressed(folder / SAMPLES_NAME, slices=slices.astype(np.float16))
    return SampleFile(file=SAMPLES_NAME, sha256=file_sha256(folder / SAMPLES_NAME))


def densest(slices: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the neighbouring slices around the one on which most is found: what a proof is made on.

    Args:
        slices: (n, channels, rows, columns) prepared slices of one volume.
        found: (n, rows, columns) which pixels of a slice or of its volume are lesion.
    """
    centre = int(np.argmax(found.sum(axis=(1, 2))))
    start = int(np.clip(centre - SAMPLE_SLICES // 2, 0, max(0, len(slices) - SAMPLE_SLICES)))
    return np.ascontiguousarray(slices[start : start + SAMPLE_SLICES])


def read_samples(bundle: Bundle) -> NDArray[np.float32] | None:
    """Read the sample slices of a bundle.

    Returns: (n, channels, rows, columns) float32, or None if it has none.
    Raises: BundleError: if the file is missing, another, has another shape, or values that are not finite.
    """
    samples, shape = bundle.manifest.samples, bundle.manifest.input_shape
    if samples is None:
        return None
    _check_file(bundle, "samples", samples.file, samples.sha256)
    try:
        with np.load(bundle.folder / samples.file, allow_pickle=False) as arrays:
            slices = np.asarray(arrays["slices"], dtype=np.float32)
    except (OSError, ValueError, KeyError, BadZipFile) as exc:
        raise BundleError(bundle.folder.name, "samples.file", f"cannot be read: {exc}") from exc
    if slices.shape[1:] != shape or not len(slices):
        raise BundleError(bundle.folder.name, "samples.file", f"shape {slices.shape}, expected (n, *{shape})")
    if not np.isfinite(slices).all():
        problem = (
            "some values are no finite numbers of half precision: prepare the slices as the manifest says"
        )
        raise BundleError(bundle.folder.name, "samples.file", problem)
    return slices


def file_sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def shipped_bundles() -> Path:
    """Return the folder of the bundles that come with the product, one folder for each segment."""
    return Path(__file__).parent / "bundles"


def _place(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "the whole file"


def _check_file(bundle: Bundle, field: str, file: str, sha256: str) -> None:
    path = bundle.folder / file
    if not path.is_file():
        raise BundleError(bundle.folder.name, f"{field}.file", f"there is no file {file}")
    digest = file_sha256(path)
    if digest != sha256:
        raise BundleError(bundle.folder.name, f"{field}.sha256", f"the file has {digest}, not {sha256}")


def _check_tensors(bundle: Bundle) -> None:
    name, manifest = bundle.folder.name, bundle.manifest
    try:
        session = open_session(bundle.model_path, threads=1, optimised=False)
    except RunnerError as exc:
        raise BundleError(name, "model.file", str(exc)) from exc
    shapes = {"input": manifest.input_shape, "output": (1, *manifest.preprocessing.pixel_grid)}
    for role, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        wanted = getattr(manifest.model, role)
        if [tensor.name for tensor in tensors] != [wanted]:
            found = ", ".join(tensor.name for tensor in tensors)
            raise BundleError(name, f"model.{role}", f"the model has {found}, not {wanted}")
        if tensors[0].type != FLOAT_TENSOR:
            told = f"{wanted} is a {tensors[0].type}, not {FLOAT_TENSOR}: export it in float32"
            raise BundleError(name, f"model.{role}", told)
        _check_shape(name, f"model.{role}", tensors[0].shape, shapes[role])


def _check_shape(
    bundle: str, field: str, found: Sequence[int | str | None], wanted: tuple[int, int, int]
) -> None:
    """Compare a tensor's shape, in which a dynamic size is a name or None, with (channels, rows, columns)."""
    if len(found) != 4:
        raise BundleError(bundle, field, f"rank {len(found)}, expected 4 (batch, channels, rows, columns)")
    if isinstance(found[0], int):
        raise BundleError(bundle, field, f"a fixed batch of {found[0]}: export it with a dynamic one")
    channels = wanted[0]
    if channels != found[1] and tuple(found[2:]) != wanted[1:] and found[3] == channels:
        raise BundleError(
            bundle, field, "channels are the last axis: export it with channels after the batch"
        )
    if field == "model.output" and found[1] != 1 and tuple(found[2:]) == wanted[1:]:
        told = f"{found[1]} channels, expected 1: export the logit of lesion less that of background"
        raise BundleError(bundle, field, told)
    axes = zip(("channels", "rows", "columns"), found[1:], wanted, strict=True)
    for axis, size, expected in axes:
        dynamic = not isinstance(size, int) and axis != "channels"
        if not dynamic and size != expected:
            raise BundleError(bundle, field, f"{size} {axis}, expected {expected}")
