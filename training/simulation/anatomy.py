"""A head without lesions: tissues at 1 mm, where lesions may sit, and how air disturbs the main field."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from scipy import ndimage

from training.errors import SimulationSourceError
from training.nifti import read_nifti
from training.simulation.fields import smooth_field
from training.simulation.tissues import Tissue
from training.whole_files import opened_whole

LICENCE = "Apache-2.0 (BBillot/SynthSeg, label maps)"

SOFT_TISSUE = 507
"""Label of everything between skin and skull; split here into fat and muscle."""

TISSUE_OF_LABEL: Mapping[Tissue, tuple[int, ...]] = {
    # 25, 57 (lesion) and 30, 62 (vessel) are abnormal white matter of the donors: painted over as healthy
    Tissue.WHITE_MATTER: (2, 41, 25, 57, 30, 62, 77),
    Tissue.CORTEX: (3, 42),
    Tissue.SULCAL_CSF: (24,),
    Tissue.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Tissue.THALAMUS: (10, 49),
    Tissue.CAUDATE: (11, 50),
    Tissue.PUTAMEN: (12, 51, 26, 58),
    Tissue.PALLIDUM: (13, 52),
    Tissue.HIPPOCAMPUS: (17, 53, 18, 54),
    Tissue.BRAINSTEM: (16, 28, 60),
    Tissue.CEREBELLAR_WHITE: (7, 46),
    Tissue.CEREBELLAR_CORTEX: (8, 47),
    Tissue.CHOROID: (136, 137, 163, 164),
    Tissue.ARTERY: (502,),
    Tissue.VEIN: (514,),
    Tissue.EYE: (506,),
    Tissue.MUSCLE: (SOFT_TISSUE, 508),
    Tissue.MUCOSA: (509,),
    Tissue.SKIN: (511,),
    Tissue.BONE: (515,),
    Tissue.MARROW: (516,),
    Tissue.NERVE: (85, 512, 530),
}
"""Labels of the SynthSeg maps (FreeSurfer's, and 500 and above outside the brain, identified by their
place)."""

PARENCHYMA = tuple(t for t in Tissue if Tissue.WHITE_MATTER <= t <= Tissue.CHOROID)
"""Everything inside the skull but vessels: what a brain extraction keeps."""

BELOW_BRAIN_MM = 12
"""How much of the neck below the cerebellum is kept, mm: routine coverage starts at the foramen magnum."""

AIR_TISSUE_PPM = 9.4
"""Difference of the magnetic susceptibility of air and tissue. Source: Schenck, Med Phys 1996."""

COARSE_MM = 4
"""Resolution of the field map, mm; what air in sinuses does varies over centimetres."""

SITE_SAMPLES = 20000
"""Places kept per site; enough that a lesion lands almost anywhere."""


class Site(StrEnum):
    """A region that lesions or their mimics prefer."""

    DEEP_WHITE = "deep white matter"
    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    BASAL_GANGLIA = "basal ganglia"
    THALAMUS = "thalamus"
    CAPSULE = "capsule"
    BRAINSTEM = "brainstem"
    CEREBELLUM = "cerebellum"
    CORTEX = "cortex"
    SULCUS = "sulcus"
    PALLIDUM = "pallidum"
    CHOROID = "choroid"
    PINEAL = "pineal"
    MIDLINE = "midline"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One head, slices from bottom to top, rows to the back, columns to the left, 1 mm voxels.

    Attributes:
        name: of its label map.
        tissue: (slices, rows, columns) uint8 of ``Tissue``.
        brain: bool, what is inside the skull.
        ventricle_mm: float16, distance to the lateral ventricles; 60 at most.
        field_ppm: float32 at ``COARSE_MM``, deviation of the main field after shimming.
        sites: (n, 3) int16 voxels by site; n may be 0.
        mni_affine: (4, 4) from MNI mm (RAS) to voxels, from the size of the brain and its ventricles.
    """

    name: str
    tissue: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    ventricle_mm: NDArray[np.float16]
    field_ppm: NDArray[np.float32]
    sites: Mapping[Site, NDArray[np.int16]]
    mni_affine: NDArray[np.float64]


def load_anatomy(label_map: Path, cache: Path) -> Anatomy:
    """Read an anatomy, from the cache where it was prepared before.

    Raises:
        SimulationSourceError: if the label map is missing, unreadable or without a brain.
        StorageError: if the cache's disk is full.
    """
    name = label_map.name.removesuffix(".gz").removesuffix(".nii")
    cached = cache / f"{name}.npz"
    try:
        with np.load(cached) as held:
            return Anatomy(
                name,
                held["tissue"],
                held["brain"],
                held["ventricle_mm"],
                held["field_ppm"],
                {site: held[site.name] for site in Site},
                held["mni_affine"],
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        anatomy = prepare_anatomy(label_map, name)
    cache.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "tissue": anatomy.tissue,
        "brain": anatomy.brain,
        "ventricle_mm": anatomy.ventricle_mm,
        "field_ppm": anatomy.field_ppm,
        "mni_affine": anatomy.mni_affine,
        **{site.name: places for site, places in anatomy.sites.items()},
    }
    with opened_whole(cached, sum(array.nbytes for array in arrays.values()) / 1e6) as file:
        np.savez(file, **arrays)
    return anatomy


def prepare_anatomy(label_map: Path, name: str) -> Anatomy:
    """Turn a label map into an anatomy; takes some seconds.

    Raises:
        SimulationSourceError: if the label map is missing, unreadable or without a brain.
    """
    try:
        labels = read_nifti(label_map).array.astype(np.int32)
    except (OSError, ImageFileError, ValueError, EOFError) as exc:
        raise SimulationSourceError(label_map, f"cannot be read: {exc}") from exc
    table = np.zeros(max(1024, int(labels.max()) + 1), np.uint8)
    for kind, values in TISSUE_OF_LABEL.items():
        table[list(values)] = kind
    full = table[labels]
    if not (full == Tissue.WHITE_MATTER).any():
        raise SimulationSourceError(label_map, "holds no white matter")
    field = _field_ppm(full)
    box = _head_box(full)
    labels, tissue = labels[box], full[box]
    rng = np.random.default_rng(0)
    _split_soft_tissue(tissue, labels == SOFT_TISSUE, rng)
    brain = np.isin(tissue, PARENCHYMA)
    ventricle_mm = _distance_to(np.isin(labels, (4, 43, 136, 163)))
    coarse = tuple(slice(part.start // COARSE_MM, -(-part.stop // COARSE_MM)) for part in box)
    sites = _find_sites(tissue, labels, ventricle_mm, rng)
    return Anatomy(
        name,
        tissue,
        brain,
        ventricle_mm,
        np.ascontiguousarray(field[coarse]),
        sites,
        _mni_affine(tissue, labels),
    )


def _head_box(tissue: NDArray[np.uint8]) -> tuple[slice, slice, slice]:
    """Return the part from below the brain to the vertex; its starts are multiples of ``COARSE_MM``."""
    brain = np.isin(tissue, (Tissue.CEREBELLAR_CORTEX, Tissue.CORTEX, Tissue.WHITE_MATTER))
    bottom = int(np.flatnonzero(brain.any(axis=(1, 2)))[0]) - BELOW_BRAIN_MM
    starts = [max(0, bottom) // COARSE_MM * COARSE_MM]
    above = tissue[starts[0] :] > 0
    top = int(np.flatnonzero(above.sum(axis=(1, 2)) > 200)[-1])
    parts = [slice(starts[0], min(tissue.shape[0], starts[0] + top + 4))]
    for axis in (1, 2):
        other = tuple(i for i in range(3) if i != axis)
        filled = np.flatnonzero(above.sum(axis=other) > 50)
        start = max(0, int(filled[0]) - 4) // COARSE_MM * COARSE_MM
        parts.append(slice(start, min(tissue.shape[axis], int(filled[-1]) + 5)))
    return parts[0], parts[1], parts[2]


def air_field_ppm(air: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the field that air in tissue causes, along the first axis.

    Args:
        air: share of air in each voxel; its border goes on outside.

    Returns: deviation in ppm of the main field, same shape.
    Source: convolution with a dipole as a product in k-space, Salomir et al., Concepts Magn Reson B 2003.
    """
    padded = np.pad(air, [(size // 2, size // 2) for size in air.shape], mode="edge")
    k = np.meshgrid(*(np.fft.fftfreq(size) for size in padded.shape), indexing="ij", sparse=True)
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    square[0, 0, 0] = 1.0
    kernel = 1 / 3 - k[0] ** 2 / square
    inner = tuple(slice(size // 2, size // 2 + size) for size in air.shape)
    field: NDArray[np.float64] = np.fft.ifftn(np.fft.fftn(padded) * kernel).real[inner] * AIR_TISSUE_PPM
    return field


def _field_ppm(tissue: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the field of the air around and inside the head, shimmed over the brain, at ``COARSE_MM``."""
    shape = tuple(-(-size // COARSE_MM) for size in tissue.shape)
    zoom = np.divide(shape, tissue.shape)
    air = ndimage.zoom((tissue == Tissue.AIR).astype(np.float32), zoom, order=1)
    # a field that follows the voxels of a coarse border would tear holes into the brain beside it
    field = air_field_ppm(ndimage.gaussian_filter(air, 1.0))
    brain = np.isin(tissue, (Tissue.WHITE_MATTER, Tissue.CORTEX, Tissue.CEREBELLAR_CORTEX))
    inside = ndimage.zoom(brain.astype(np.float32), zoom, order=1) > 0.5
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)
    shim, *_ = np.linalg.lstsq(basis[inside], field[inside], rcond=None)
    shimmed: NDArray[np.float32] = (field - basis @ shim).astype(np.float32)
    return shimmed


def _split_soft_tissue(tissue: NDArray[np.uint8], soft: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Turn the outer layer, the orbits and random patches of the soft tissue into fat, in place."""
    outside = np.isin(tissue, (Tissue.AIR, Tissue.SKIN))
    outer = ndimage.binary_dilation(outside, iterations=5)
    orbit = ndimage.binary_dilation(tissue == Tissue.EYE, iterations=9)
    patches = smooth_field(tissue.shape, (16, 9, 9), rng) > 0.8
    tissue[soft & (outer | orbit | patches)] = Tissue.FAT


def _distance_to(there: NDArray[np.bool_]) -> NDArray[np.float16]:
    if not there.any():
        return np.full(there.shape, 60, np.float16)
    distance = ndimage.distance_transform_edt(~there)
    near: NDArray[np.float16] = np.minimum(distance, 60).astype(np.float16)
    return near


def _find_sites(
    tissue: NDArray[np.uint8],
    labels: NDArray[np.int32],
    ventricle_mm: NDArray[np.float16],
    rng: np.random.Generator,
) -> dict[Site, NDArray[np.int16]]:
    """Collect the voxels of each site."""
    white, cortex = tissue == Tissue.WHITE_MATTER, tissue == Tissue.CORTEX
    nuclei = np.isin(tissue, (Tissue.CAUDATE, Tissue.PUTAMEN, Tissue.PALLIDUM, Tissue.THALAMUS))
    near_cortex = ndimage.binary_dilation(cortex, iterations=3)
    columns = np.arange(tissue.shape[2])
    middle = float((white * columns).sum() / white.sum())
    regions: dict[Site, NDArray[np.bool_]] = {
        Site.DEEP_WHITE: white & ~near_cortex & (ventricle_mm > 4),
        Site.PERIVENTRICULAR: white & (ventricle_mm < 6),
        Site.JUXTACORTICAL: white & near_cortex,
        Site.BASAL_GANGLIA: np.isin(tissue, (Tissue.CAUDATE, Tissue.PUTAMEN, Tissue.PALLIDUM)),
        Site.THALAMUS: tissue == Tissue.THALAMUS,
        Site.CAPSULE: white & ndimage.binary_dilation(nuclei, iterations=5) & ~near_cortex,
        Site.BRAINSTEM: tissue == Tissue.BRAINSTEM,
        Site.CEREBELLUM: np.isin(tissue, (Tissue.CEREBELLAR_WHITE, Tissue.CEREBELLAR_CORTEX)),
        Site.CORTEX: cortex,
        Site.SULCUS: (tissue == Tissue.SULCAL_CSF) & ndimage.binary_dilation(cortex, iterations=2),
        Site.PALLIDUM: tissue == Tissue.PALLIDUM,
        Site.CHOROID: tissue == Tissue.CHOROID,
        Site.PINEAL: _behind_third_ventricle(labels == 14),
        Site.MIDLINE: (tissue == Tissue.SULCAL_CSF) & (np.abs(columns - middle) < 2.5) & (ventricle_mm > 8),
    }
    return {site: _sample(region, rng) for site, region in regions.items()}


def _sample(region: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int16]:
    places = np.flatnonzero(region)
    if places.size > SITE_SAMPLES:
        places = rng.choice(places, SITE_SAMPLES, replace=False)
    return np.stack(np.unravel_index(places, region.shape), axis=-1).astype(np.int16)


def _behind_third_ventricle(third: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark where the pineal gland lies: a few mm behind the upper back end of the third ventricle."""
    marked = np.zeros_like(third)
    places = np.argwhere(third)
    if places.size:
        back = places[places[:, 1] >= np.quantile(places[:, 1], 0.97)].mean(axis=0)
        slice_, row, column = np.round(back + np.array([0, 4, 0])).astype(int)
        marked[slice_ - 1 : slice_ + 2, row - 1 : row + 2, column - 1 : column + 2] = True
    return marked


def _mni_affine(tissue: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Match the cerebrum's width and length (138 and 176 mm in MNI space) and the ventricles' centre.

    The centre of the lateral ventricles lies near (0, -18, 15) mm in MNI space; a rough match is enough,
    since lesion masks are cut to white matter where they land.
    """
    cerebrum = np.argwhere(tissue == Tissue.CORTEX)
    low, high = np.quantile(cerebrum, 0.001, axis=0), np.quantile(cerebrum, 0.999, axis=0)
    width, length = (high[2] - low[2]) / 138, (high[1] - low[1]) / 176
    height = (width + length) / 2
    centre = np.argwhere(np.isin(labels, (4, 43))).mean(axis=0)
    linear = np.array([[0, 0, height], [0, -length, 0], [-width, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = centre - linear @ np.array([0.0, -18.0, 15.0])
    return affine
