"""``csvd-node bundle`` as a person runs it, and a network of MONAI served beside the node's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from engines.bundle import load_bundle, read_samples, shipped_bundles
from tests.support.demo_study import DEMO_DICOM
from tests.support.running_node import run_command

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

DESCRIBED = ("model", "samples", "created")
"""Fields that an import fills in by itself."""


def csvd_node(*arguments: str | Path, succeeds: bool = True) -> str:
    told = run_command(*map(str, arguments))
    assert (told.returncode == 0) is succeeds, told.stdout + told.stderr
    return told.stdout + told.stderr


@pytest.fixture
def description(tmp_path: Path) -> Path:
    """The shipped WMH model, described as a stranger would."""
    manifest = load_bundle(shipped_bundles() / "wmh").manifest.model_dump(mode="json")
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in manifest.items() if key not in DESCRIBED}))
    return path


def test_a_model_is_imported_with_samples_of_a_study(tmp_path: Path, description: Path) -> None:
    model, target = shipped_bundles() / "wmh" / "model.onnx", tmp_path / "mine"
    said = csvd_node(
        "bundle", "import", model, "--manifest", description, "--study", DEMO_DICOM, "-o", target
    )
    bundle = load_bundle(target)
    samples = read_samples(bundle)
    assert samples is not None
    assert samples.shape == (6, 3, 224, 224)
    assert "onnxruntime" in said
    assert "openvino" in said
    assert bundle.manifest.model.sha256 in said.replace("\n", "").replace("│", "").replace(" ", "")


def test_prepared_slices_from_a_file_become_samples(tmp_path: Path, description: Path) -> None:
    """Half precision holds 1 and 2 exactly."""
    slices = np.ones((2, 3, 224, 224), np.float32)
    slices[:, :, 100:110, 100:110] = 2
    np.savez(tmp_path / "s.npz", slices=slices)
    model, target = shipped_bundles() / "wmh" / "model.onnx", tmp_path / "mine"
    csvd_node(
        "bundle", "import", model, "--manifest", description, "--samples", tmp_path / "s.npz", "-o", target
    )
    np.testing.assert_array_equal(read_samples(load_bundle(target)), slices)


def test_a_study_without_the_series_is_named(tmp_path: Path, description: Path) -> None:
    model = shipped_bundles() / "wmh" / "model.onnx"
    t1_alone = DEMO_DICOM / "t1"
    said = csvd_node(
        *("bundle", "import", model, "--manifest", description, "--study", t1_alone, "-o", tmp_path / "mine"),
        succeeds=False,
    )
    assert "T2_FLAIR" in said
    assert not (tmp_path / "mine").exists()


def test_inspect_shows_operators_and_scores() -> None:
    said = csvd_node("bundle", "inspect", shipped_bundles() / "wmh")
    assert "Conv" in said
    assert "dice" in said
    assert "against the reference" in said


@pytest.mark.slow
def test_a_network_of_monai_is_exported_imported_and_served_beside_ours(tmp_path: Path) -> None:
    model, bundle = tmp_path / "monai.onnx", tmp_path / "monai"
    subprocess.run([sys.executable, EXAMPLES / "monai_network.py", model], check=True, capture_output=True)
    csvd_node("bundle", "import", model, "--manifest", EXAMPLES / "monai_manifest.yaml", "-o", bundle)
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "data"), "segmentors": {"WMH": str(bundle)}}))
    assert "monai-wmh 0.0.1" in csvd_node("check-config", "--config", config)
    results = tmp_path / "results"
    said = csvd_node("process", DEMO_DICOM, "--config", config, "-o", results)
    assert "by monai-wmh 0.0.1" in " ".join(said.split())
    assert "by csvd-infarct" in " ".join(said.split())
