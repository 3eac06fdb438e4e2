"""The public challenges: the layout that each manifest expects, and what is said when a file of it lacks."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from engines.segments import Segment
from training.dataset_manifest import read_manifest
from training.datasets import Dataset

MANIFESTS = Path(__file__).parents[3] / "training" / "manifests"

LAYOUTS = {
    "wmh2017": (
        Segment.WMH,
        "wmh2017_training_Amsterdam_GE3T_100",
        "training/Amsterdam/GE3T/100/wmh.nii.gz",
        ("training/Amsterdam/GE3T/100/orig/FLAIR.nii.gz", "training/Amsterdam/GE3T/100/orig/T1.nii.gz"),
    ),
    "valdo_lacunes": (
        Segment.LACUNE,
        "valdo3_sub-101",
        "Task3/sub-101/sub-101_space-T1_desc-Rater1_Lacunes.nii.gz",
        (
            "Task3/sub-101/sub-101_space-T1_desc-masked_T1.nii.gz",
            "Task3/sub-101/sub-101_space-T1_desc-masked_FLAIR.nii.gz",
        ),
    ),
    "valdo_microbleeds": (
        Segment.MICROBLEED,
        "valdo2_sub-101",
        "Task2/sub-101/sub-101_space-T2S_CMB.nii.gz",
        ("Task2/sub-101/sub-101_space-T2S_desc-masked_T2S.nii.gz",),
    ),
    "isles2022": (
        Segment.INFARCT,
        "isles2022_sub-strokecase0001",
        "ISLES-2022/derivatives/sub-strokecase0001/ses-0001/sub-strokecase0001_ses-0001_msk.nii.gz",
        ("ISLES-2022/sub-strokecase0001/ses-0001/dwi/sub-strokecase0001_ses-0001_dwi.nii.gz",),
    ),
}


def test_other_pathology_of_the_wmh_challenge_neither_teaches_nor_counts() -> None:
    # Source: evaluation of the WMH challenge 2017, which masks label 2 out of result and reference
    rule = read_manifest(MANIFESTS / "wmh2017.yaml").labels[Segment.WMH]
    assert (rule.values, rule.unsure, rule.excluded) == ((1,), (), (2,))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_challenge_is_read_and_a_missing_file_is_named(name, tmp_path) -> None:
    segment, patient, label, images = LAYOUTS[name]
    for file in (label, *images):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 3), np.uint8), np.eye(4)), tmp_path / file)
    dataset = Dataset(read_manifest(MANIFESTS / f"{name}.yaml"), tmp_path)
    assert dataset.missing() == ()
    (case,) = dataset.iterate()
    assert case.provenance.patient == patient
    assert bool(case.masks[segment].array.all())
    (tmp_path / label).unlink()
    assert dataset.missing() == (f"{name}: {label} is missing",)
