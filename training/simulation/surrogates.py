"""Real images made to look like those of which hardly any are at hand.

T2-FLAIR becomes b1000 and T2*-weighted images, and a healthy T2-weighted scan T2-FLAIR. They show real heads,
with real cortex, vessels, artefacts and noise, of more people than the real scans do. Where T2-FLAIR shows a
lesion, b1000 shows what T2 leaves of it, which is no infarct.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.volume import Volume

LEVEL = 1000.0
"""Signal of brain tissue on a surrogate."""

SHINE_THROUGH = 0.2
"""Share of the contrast above brain tissue that stays: a lesion that is 60% brighter than brain on T2-FLAIR
is 12% brighter on the surrogate. On b1000 old lesions hardly shine: their diffusivity of about 1.1 instead of
0.75 (in 1e-3 mm2/s) takes 30% of the signal, which is about what their T2 adds. Chosen."""

FAT_LEFT, FAT_EDGE_MM = 0.12, 2.5
"""Share of the signal of scalp and skull that fat suppression leaves on b1000, and the standard deviation of
the change from brain to it, mm. Chosen."""

BLUR_MM = 0.8
"""Standard deviation of the blur in plane of an echo-planar readout with pixels of 1.7 to 2 mm, mm."""

BRIGHT_CSF = 1.25
"""Signal of CSF on a gradient echo with a small flip angle, as a share of brain tissue. Chosen."""

FLUID = (0.5, 0.75)
"""Below the first share of brain tissue a voxel of T2-FLAIR is CSF; above the second it has none. Chosen."""

BRIGHTEST_TISSUE = 1.35
"""On a T2-weighted scan, as a share of brain tissue: what is brighter holds CSF. Chosen by looking."""

FLUID_LEFT = 0.15
"""Signal of CSF on T2-FLAIR, as a share of brain tissue. Chosen."""


def as_diffusion(flair: Volume, brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return T2-FLAIR as a b1000 image: no fat, a coarser readout, weaker contrast of lesions.

    Args:
        flair: (slices, rows, columns).
        brain: brain without skull, on its grid.
    """
    spacing = np.array(flair.grid.spacing_mm)
    near = ndimage.gaussian_filter(brain.astype(np.float32), FAT_EDGE_MM / spacing)
    image = _dimmed(flair, brain) * (FAT_LEFT + (1 - FAT_LEFT) * np.clip(2 * near, 0, 1))
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(image, [0, *(BLUR_MM / spacing[1:])])
    return blurred


def as_t2_star(flair: Volume, brain: NDArray[np.bool_], *, bright_csf: bool) -> NDArray[np.float32]:
    """Return T2-FLAIR as a gradient echo, whose CSF is dark or bright as its flip angle decides.

    Args:
        flair: (slices, rows, columns).
        brain: brain without skull, on its grid.
        bright_csf: whether CSF is brighter than brain tissue.
    """
    image = _dimmed(flair, brain)
    if not bright_csf:
        return image
    whole, none = FLUID
    fluid = np.clip((none - image / LEVEL) / (none - whole), 0, 1) * brain
    bright: NDArray[np.float32] = image + fluid.astype(np.float32) * (BRIGHT_CSF * LEVEL - image)
    return bright


def as_flair(t2: Volume, brain: NDArray[np.bool_], *, grey_contrast: float) -> NDArray[np.float32]:
    """Return a T2-weighted scan without lesions as T2-FLAIR: dark CSF, and fat suppressed along with it.

    A voxel between the brightest tissue and CSF is a mixture of the two, so its share of CSF is known, and
    what is left of it once CSF is dark.

    Args:
        t2: (slices, rows, columns).
        brain: brain without skull, with ventricles, on its grid.
        grey_contrast: share of the contrast of cortex to brain tissue that stays.
    """
    image = np.clip(t2.array.astype(np.float32), 0, None)
    share = image / np.median(image[brain])
    fluid = np.clip((share - BRIGHTEST_TISSUE) / (np.percentile(share[brain], 99.5) - BRIGHTEST_TISSUE), 0, 1)
    tissue = np.where(share > 1, 1 + grey_contrast * (np.minimum(share, BRIGHTEST_TISSUE) - 1), share)
    dark: NDArray[np.float32] = (tissue + fluid * (FLUID_LEFT - tissue)).astype(np.float32)
    return LEVEL * dark


def _dimmed(flair: Volume, brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bring brain tissue to ``LEVEL`` and what is brighter nearer to it."""
    image = np.clip(flair.array.astype(np.float32), 0, None)
    share = image / np.median(image[brain])
    dimmed: NDArray[np.float32] = np.where(share > 1, 1 + SHINE_THROUGH * (share - 1), share)
    return LEVEL * dimmed.astype(np.float32)
