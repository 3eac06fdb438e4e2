"""What lies between the signal and the pixel: coil, motion, ghosts, noise, interpolation, skull strip."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

from training.simulation.fields import smooth_field

Planes = NDArray[np.float32]


def shade(planes: Planes, voxel_mm: tuple[float, float, float], rng: np.random.Generator) -> Planes:
    """Multiply with the sensitivity of a coil: smooth, and brighter or darker towards the rim.

    Chosen: a smooth field of up to 14% (standard deviation), and 5% darker to 20% brighter at 0.6 of the way
    to the edge of the image. Source: inhomogeneity of 10 to 40% at 1.5 and 3 T (Vovk et al., IEEE Trans Med
    Imaging 2007).
    """
    field = smooth_field(planes.shape, [90 / size for size in voxel_mm], rng) * rng.uniform(0.0, 0.14)
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in planes.shape[1:])
    rim = (rows[:, None] ** 2 + columns[None, :] ** 2) * rng.uniform(-0.15, 0.5)
    return planes * np.exp(field + rim[None]).astype(np.float32)


def ghost(planes: Planes, rng: np.random.Generator, *, echo_planar: bool) -> Planes:
    """Add ghosts along the rows or columns: half a field of view away in EPI."""
    if rng.random() > 0.3:
        return planes
    axis = 1 if echo_planar else int(rng.choice([1, 2]))
    size = planes.shape[axis]
    away = size // 2 if echo_planar else int(rng.integers(size // 12, size // 2))
    strength = rng.uniform(0.01, 0.05)
    ghosts = np.roll(planes, away, axis) + (0 if echo_planar else np.roll(planes, -away, axis))
    ghosted: Planes = np.abs(planes + np.float32(strength) * ghosts * np.cos(rng.uniform(0, np.pi)))
    return ghosted


def move(planes: Planes, rng: np.random.Generator) -> Planes:
    """Disturb some k-space lines by the phase of a shift, as a head does that moves during the scan."""
    if rng.random() > 0.2:
        return planes
    axis = int(rng.choice([1, 2]))
    spectrum = fft.fft(planes, axis=axis)
    size = planes.shape[axis]
    frequency = np.fft.fftfreq(size)
    moved = (np.abs(frequency) > 0.03) & (rng.random(size) < rng.uniform(0.05, 0.25))
    shift = rng.uniform(0.3, 1.6)
    phase = np.where(moved, np.exp(2j * np.pi * frequency * shift * rng.normal(size=size)), 1)
    phase = phase.astype(np.complex64)
    lines = np.expand_dims(phase, tuple(i for i in range(3) if i != axis))
    result: Planes = np.abs(fft.ifft(spectrum * lines, axis=axis)).astype(np.float32)
    return result


def add_noise(planes: Planes, reference: float, rng: np.random.Generator) -> Planes:
    """Add Rician noise at a signal-to-noise ratio of 12 to 60 in white matter.

    Args:
        planes: magnitude.
        reference: brightness of white matter.
        rng: of the noise.
    Source: Gudbjartsson and Patz, Magn Reson Med 1995, for the distribution; the ratios are chosen.
    """
    sigma = np.float32(reference / np.exp(rng.uniform(np.log(12), np.log(60))))
    real = rng.standard_normal(planes.shape, dtype=np.float32) * sigma + planes
    imaginary = rng.standard_normal(planes.shape, dtype=np.float32) * sigma
    noisy: Planes = np.hypot(real, imaginary)
    return noisy


def enlarge(planes: Planes, matrix: tuple[int, int], rng: np.random.Generator) -> Planes:
    """Interpolate slices to another matrix: by zero-filling, which rings at edges, or by cubic splines."""
    if planes.shape[1:] == matrix:
        return planes
    if rng.random() < 0.5 and matrix[0] >= planes.shape[1] and matrix[1] >= planes.shape[2]:
        return zero_fill(planes, matrix)
    return resize(planes, matrix, "bicubic")


def resize(planes: Planes, matrix: tuple[int, int], mode: str) -> Planes:
    """Interpolate slices, edges aligned."""
    tensor = torch.from_numpy(np.ascontiguousarray(planes))[:, None]
    resized = torch.nn.functional.interpolate(tensor, matrix, mode=mode, align_corners=False)
    result: Planes = resized[:, 0].numpy()
    return result


def zero_fill(planes: Planes, matrix: tuple[int, int]) -> Planes:
    """Enlarge slices by zeros around their spectrum, edges aligned."""
    spectrum = np.fft.fftshift(fft.fft2(planes.astype(np.float32)), axes=(1, 2))
    # soften the spectrum's end as scanners do, or every edge would ring
    windows = [np.clip((1 - np.abs(np.linspace(-1, 1, size))) / 0.3, 0, 1) for size in planes.shape[1:]]
    taper = np.sin(np.pi / 2 * windows[0])[:, None] * np.sin(np.pi / 2 * windows[1])[None, :]
    spectrum *= taper.astype(np.float32)
    before = [target // 2 - size // 2 for target, size in zip(matrix, planes.shape[1:], strict=True)]
    after = [
        target - size - front for target, size, front in zip(matrix, planes.shape[1:], before, strict=True)
    ]
    padded = np.pad(spectrum, ((0, 0), (before[0], after[0]), (before[1], after[1])))
    image = fft.ifft2(np.fft.ifftshift(padded, axes=(1, 2)))
    gain = matrix[0] * matrix[1] / (planes.shape[1] * planes.shape[2])
    # index 0 of either grid is the corner of the first pixel's centre: move by the half pixel they differ
    result: Planes = (image.real * gain).astype(np.float32)
    moves = [0.5 * (target / size - 1) for target, size in zip(matrix, planes.shape[1:], strict=True)]
    shifted = ndimage.shift(result, (0, *moves), order=1, mode="nearest")
    return np.asarray(shifted, np.float32)


def strip_skull(planes: Planes, brain: Planes, pixel_mm: float, rng: np.random.Generator) -> Planes:
    """Set everything but the brain to zero, along a border that errs by some mm as extraction tools do."""
    inside = brain > rng.uniform(0.4, 0.6)
    if rng.random() < 0.6:
        # sinuses and vessels are no brain, yet most tools keep what lies inside of it
        inside = np.stack([ndimage.binary_fill_holes(plane) for plane in inside])
    steps = int(rng.uniform(0, 3.5) / pixel_mm)
    if steps:
        inside = ndimage.binary_erosion(inside, np.ones((1, 3, 3), np.bool_), iterations=steps)
    return np.where(inside, planes, 0).astype(np.float32)


def scale_to_integers(planes: Planes, reference: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """Bend the contrast a little and write as a vendor would: white matter between 60 and 6000.

    Siemens and GE headers of the sample files hold hundreds, Philips and Toshiba thousands to 16383.
    """
    bent = planes / np.float32(max(reference, 1e-9))
    gamma = np.exp(rng.normal() * 0.08)
    bent = np.sign(bent) * np.abs(bent) ** np.float32(gamma)
    white = float(np.exp(rng.uniform(np.log(60), np.log(6000))))
    limit = np.iinfo(np.int16).max
    pixels: NDArray[np.int16] = np.clip(np.round(bent * white), -limit, limit).astype(np.int16)
    return pixels
