from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import TensorProto
from pydantic import ValidationError

from engines.bundle import (
    MANIFEST_NAME,
    MODEL_NAME,
    file_sha256,
    load_bundle,
    read_samples,
    shipped_bundles,
    write_manifest,
    write_samples,
)
from engines.errors import BundleError
from engines.manifest import Manifest, SampleFile
from engines.segments import Segment, SeriesType
from tests.support.onnx_models import threshold_manifest, write_threshold_bundle, write_threshold_model


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / MANIFEST_NAME
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_a_written_bundle_loads_as_it_was_written(tmp_path: Path) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh", Segment.WMH, size_limits_mm=(2.0, None))
    assert bundle.manifest.segment is Segment.WMH
    assert bundle.manifest.inputs == (SeriesType.T2_FLAIR,)
    assert bundle.manifest.size_limits_mm == (2.0, None)
    assert bundle.manifest == threshold_manifest(bundle.model_path, size_limits_mm=(2.0, None))
    assert load_bundle(bundle.folder) == bundle


def test_a_digest_is_that_of_the_standard(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B.1: the digest of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(lambda m: m["model"].update(sha256="0" * 64), "model.sha256", id="wrong-hash"),
        pytest.param(lambda m: m["model"].update(sha256="short"), "model.sha256", id="no-hash"),
        pytest.param(lambda m: m["model"].update(file="other.onnx"), "model.file", id="no-such-file"),
        pytest.param(
            lambda m: m["model"].update(file="../model.onnx"), "model.file", id="outside-the-folder"
        ),
        pytest.param(lambda m: m["model"].update(input="image"), "model.input", id="input-name"),
        pytest.param(lambda m: m["model"].update(output="mask"), "model.output", id="output-name"),
        pytest.param(lambda m: m["preprocessing"].update(neighbours=1), "model.input", id="channels"),
        pytest.param(lambda m: m["preprocessing"].update(pixel_grid=[32, 64]), "model.input", id="rows"),
        pytest.param(
            lambda m: m["preprocessing"].update(pixel_grid=[64, 4]), "preprocessing.pixel_grid.1", id="tiny"
        ),
        pytest.param(lambda m: m.update(segment="TUMOUR"), "segment", id="segment"),
        pytest.param(lambda m: m.update(inputs=["T2"]), "inputs.0", id="series-type"),
        pytest.param(lambda m: m.update(inputs=[]), "inputs", id="no-input"),
        pytest.param(lambda m: m.pop("licence"), "licence", id="missing"),
        pytest.param(lambda m: m.update(thresold=0.4), "thresold", id="unknown"),
        pytest.param(
            lambda m: m["postprocessing"].update(threshold=1.0), "postprocessing.threshold", id="range"
        ),
        pytest.param(lambda m: m.update(inputs=["T1", "T1"]), "inputs", id="input-twice"),
        pytest.param(
            lambda m: m.update(optional_inputs=["T2_FLAIR"]), "optional_inputs", id="first-optional"
        ),
        pytest.param(lambda m: m.update(size_limits_mm=[5, 5]), "size_limits_mm", id="empty-limits"),
        pytest.param(lambda m: m.update(name="a\\b"), "name", id="name"),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    bundle = write_threshold_bundle(tmp_path / "mine")
    edit(bundle.folder, change)
    with pytest.raises(BundleError) as refusal:
        load_bundle(bundle.folder)
    assert "mine" in str(refusal.value)
    assert field in str(refusal.value)
    assert "Value error" not in str(refusal.value), "a word of pydantic's"


@pytest.mark.parametrize(
    ("model", "field", "problem"),
    [
        pytest.param({"batch": 1}, "model.input", "fixed batch of 1", id="fixed-batch"),
        pytest.param({"rows": 32}, "model.input", "32 rows, expected 64", id="rows"),
        pytest.param({"columns": 96}, "model.input", "96 columns, expected 64", id="columns"),
        pytest.param({"channels": 3}, "model.input", "3 channels, expected 1", id="channels"),
        pytest.param({"dtype": TensorProto.FLOAT16}, "model.input", "float16", id="half-precision"),
    ],
)
def test_a_model_of_another_shape_is_refused(
    tmp_path: Path, model: dict[str, Any], field: str, problem: str
) -> None:
    write_threshold_model(tmp_path / MODEL_NAME, **model)
    write_manifest(tmp_path, threshold_manifest(tmp_path / MODEL_NAME))
    with pytest.raises(BundleError, match=problem) as refusal:
        load_bundle(tmp_path)
    assert refusal.value.field == field


def test_a_model_with_dynamic_rows_and_columns_is_accepted(tmp_path: Path) -> None:
    write_threshold_model(tmp_path / MODEL_NAME, rows="rows", columns="columns")
    write_manifest(tmp_path, threshold_manifest(tmp_path / MODEL_NAME))
    assert load_bundle(tmp_path).manifest.channels == 1


def test_channels_are_inputs_times_the_window(tmp_path: Path) -> None:
    write_threshold_model(tmp_path / MODEL_NAME, channels=6)
    manifest = threshold_manifest(tmp_path / MODEL_NAME, inputs=("T2_FLAIR", "T1"), optional_inputs=("T1",))
    manifest = manifest.model_copy(
        update={"preprocessing": manifest.preprocessing.model_copy(update={"neighbours": 1})}
    )
    write_manifest(tmp_path, manifest)
    assert load_bundle(tmp_path).manifest.channels == 6


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL_NAME).write_bytes(b"not a model")
    write_manifest(tmp_path, threshold_manifest(tmp_path / MODEL_NAME))
    with pytest.raises(BundleError, match="onnxruntime cannot open"):
        load_bundle(tmp_path)


def test_sample_slices_return_in_half_precision(tmp_path: Path) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh")
    slices = np.linspace(0, 2, 3 * 64 * 64, dtype=np.float32).reshape(3, 1, 64, 64)
    samples = write_samples(bundle.folder, slices)
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    loaded = load_bundle(bundle.folder)
    returned = read_samples(loaded)
    assert returned is not None
    np.testing.assert_allclose(returned, slices, rtol=2**-11)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [((0, 1, 64, 64), "samples.file"), ((2, 2, 64, 64), "samples.file"), ((2, 1, 64, 32), "samples.file")],
)
def test_sample_slices_of_another_shape_are_refused(
    tmp_path: Path, shape: tuple[int, ...], problem: str
) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh")
    samples = write_samples(bundle.folder, np.zeros(shape, np.float32))
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    with pytest.raises(BundleError, match=problem):
        load_bundle(bundle.folder)


@pytest.mark.parametrize("value", [np.nan, np.float32(1e5)], ids=["nan", "beyond-half-precision"])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh")
    with np.errstate(over="ignore"):
        samples = write_samples(bundle.folder, np.full((2, 1, 64, 64), value, np.float32))
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    with pytest.raises(BundleError, match=r"wmh: samples\.file: some values are no finite numbers"):
        load_bundle(bundle.folder)


def test_samples_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    bundle = write_threshold_bundle(tmp_path / "wmh")
    (bundle.folder / "samples.npz").write_bytes(b"text")
    samples = SampleFile(sha256=file_sha256(bundle.folder / "samples.npz"))
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(bundle.folder)


@pytest.mark.parametrize("content", [None, "a: [", "just text"], ids=["absent", "broken", "no-mapping"])
def test_a_manifest_that_can_not_be_read_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST_NAME).write_text(content)
    with pytest.raises(BundleError):
        load_bundle(tmp_path)


def test_a_manifest_can_not_be_changed(tmp_path: Path) -> None:
    manifest: Manifest = write_threshold_bundle(tmp_path / "wmh").manifest
    with pytest.raises(ValidationError):
        manifest.version = "2"  # type: ignore[misc]


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in shipped_bundles().glob("*/" + MANIFEST_NAME))
)
def test_every_shipped_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert folder.name == bundle.manifest.segment.lower()
    assert (folder / "card.md").is_file()
