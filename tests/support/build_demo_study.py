"""Make the demo Study from a published case.

Run ``python -m tests.support.build_demo_study --data DATA --out tests/data/demo_study``; DATA holds
``mri/``. Needs the packages of the extra ``train``, for NIfTI. README.md and LICENSE.txt are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from engines.volume import Volume
from tests.support import demo_volumes as volumes
from tests.support import header_patterns as patterns
from tests.support.demo_anatomy import Source, read_source, refine
from tests.support.demo_contrasts import tissue_maps
from tests.support.demo_lesions import LESIONS
from tests.support.header_patterns import HeaderPattern
from tests.support.series_files import Patient, uid_from, write_series

CASE = "ms3seg_112776"
PATIENT = Patient("CSVD^DEMO", "CSVD-DEMO-1", "19600101", "O")
STUDY_UID = uid_from("csvd-node demo study", "study")
FRAME_OF_REFERENCE_UID = uid_from("csvd-node demo study", "frame of reference")


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """One Series to write: the parts follow one another in it, each under its own header pattern."""

    folder: str
    number: int
    transfer_syntax: UID
    thickness_mm: float
    parts: tuple[tuple[HeaderPattern, Volume], ...]

    @property
    def series_uid(self) -> UID:
        """The Series Instance UID, the same at each run."""
        return uid_from("csvd-node demo study", self.folder)

    def write(self, dicom: Path) -> list[Path]:
        """Write all Instances below ``dicom`` and return their paths."""
        paths: list[Path] = []
        for pattern, volume in self.parts:
            paths += write_series(
                volume, pattern, dicom / self.folder, study_uid=STUDY_UID,
                frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=self.number,
                series_uid=self.series_uid, transfer_syntax=self.transfer_syntax,
                thickness_mm=self.thickness_mm, patient=PATIENT, first_instance=len(paths) + 1,
            )  # fmt: skip
        return paths


def demo_series(source: Source) -> list[DemoSeries]:
    """Return the Series of the Study: the four that are looked for, a localizer and an ADC map."""
    anatomy = tissue_maps(refine(source), volumes.SEED)
    b0, b1000, adc = volumes.diffusion_volumes(source, anatomy)
    localizers = tuple((patterns.LOCALIZER, plane) for plane in volumes.localizer_volumes(source, anatomy))
    flair, t1 = volumes.flair_volume(source), volumes.t1_volume(source, anatomy)
    t2_star = volumes.t2_star_volume(source, anatomy)
    diffusion = ((patterns.SIEMENS_EP2D_TRACEW_B0, b0), (patterns.SIEMENS_EP2D_TRACEW_B1000, b1000))
    return [
        DemoSeries("localizer", 1, JPEGLSLossless, 8.0, localizers),
        DemoSeries("t2_flair", 2, JPEG2000Lossless, 5.0, ((patterns.SIEMENS_FLAIR_TSE, flair),)),
        DemoSeries("t1", 3, ExplicitVRLittleEndian, 4.5, ((patterns.SIEMENS_T1_SE, t1),)),
        DemoSeries("dwi", 4, ExplicitVRLittleEndian, 4.5, diffusion),
        DemoSeries("adc", 5, JPEGLSLossless, 4.5, ((patterns.SIEMENS_EP2D_ADC, adc),)),
        DemoSeries("t2_star", 6, RLELossless, 4.0, ((patterns.SIEMENS_T2STAR_FL2D, t2_star),)),
    ]


def _rounded(values: NDArray[np.float64], digits: int) -> Any:
    return np.round(values, digits).tolist()


def _rotation_deg(motion: NDArray[np.float64]) -> float:
    return float(np.rad2deg(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1))))


def truth(source: Source, written: Sequence[DemoSeries]) -> dict[str, Any]:
    """Return what was painted and moved: lesions in LPS mm for each Series, and the motions."""
    motions = {
        "t2_flair": np.eye(4), "t1": volumes.motion_of(volumes.T1, source),
        "dwi": volumes.motion_of(volumes.DWI, source), "t2_star": volumes.motion_of(volumes.T2_STAR, source),
    }  # fmt: skip
    centre = np.append(volumes.centre_lps(source), 1.0)
    series = {
        part.folder: {
            "series_uid": str(part.series_uid),
            "shape": list(part.parts[0][1].grid.shape),
            "spacing_mm": [round(value, 4) for value in part.parts[0][1].grid.spacing_mm],
            "instances": sum(volume.grid.shape[0] for _, volume in part.parts),
        }
        for part in written
    }
    for folder, motion in motions.items():
        series[folder] |= {
            "flair_to_series": _rounded(motion, 9),
            "rotation_deg": round(_rotation_deg(motion), 4),
            "shift_of_head_centre_mm": _rounded((motion @ centre - centre)[:3], 4),
        }
    lesions = [
        {
            "segment": lesion.segment.value,
            "place": lesion.name,
            "diameters_mm": list(lesion.diameters_mm),
            "centre_lps_mm": {
                folder: _rounded((motion @ np.append(lesion.centre_lps(source.grid), 1.0))[:3], 3)
                for folder, motion in motions.items()
            },
        }
        for lesion in LESIONS
    ]
    return {
        "study_uid": str(STUDY_UID),
        "frame_of_reference_uid": str(FRAME_OF_REFERENCE_UID),
        "head_centre_lps_mm": _rounded(centre[:3], 3),
        "series": series,
        "lesions": lesions,
    }


def build(data: Path, out: Path) -> None:
    """Write the DICOM files, truth.json and flair_labels.npz of the Study below ``out``."""
    source = read_source(data / "mri" / CASE)
    shutil.rmtree(out / "dicom", ignore_errors=True)
    written = demo_series(source)
    for series in written:
        series.write(out / "dicom")
    (out / "truth.json").write_text(json.dumps(truth(source, written), indent=1) + "\n")
    masks = {"wmh": source.label == 1, "ventricle": source.label == 2, "brain": source.brain > 0}
    packed: dict[str, Any] = {name: np.packbits(mask) for name, mask in masks.items()}
    packed["shape"] = np.array(source.grid.shape)
    np.savez_compressed(out / "flair_labels.npz", **packed)


def main() -> None:
    """Read the arguments and build."""
    parser = argparse.ArgumentParser(description="Make the demo Study from a published case")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mri/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the demo Study")
    arguments = parser.parse_args()
    build(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
