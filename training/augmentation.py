"""Random changes of a batch that imitate other scanners, matrices and patients, on tensors of any device.

Convention: images are (batch, channels, rows, columns) with air 0 and white matter 1, the channels being the
slices k - n to k + n of each input; targets are (batch, 1, rows, columns) uint8 with 0, 1 or ``IGNORE``, and
``FALSE_ALARM`` before they are changed.
All draws come from the generator that is passed in, so a step can be repeated exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.losses import FALSE_ALARM, IGNORE
from training.recipe import AugmentationSettings

BIAS_KNOTS = 4
"""Random gains along each side of an image; cubic interpolation between them is as smooth as a coil."""

AROUND_LESION = 0.7
"""Chance that the window of a slice with a lesion or a false alarm is laid around it."""

SOME = 0.5
"""Share of a batch that each disturbance of the signal (noise, blur) touches."""


def augment(
    images: Tensor, targets: Tensor, settings: AugmentationSettings, neighbours: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Return a randomly changed copy of a batch.

    Args:
        images: float32.
        targets: uint8.
        settings: how far to go.
        neighbours: slices on each side of the middle one that are channels.
        generator: the source of chance, on the CPU.
    """
    images = _shift_inputs(images, settings, neighbours, generator)
    # From here on there is only the window, a third of the pixels in most recipes.
    images, targets = _move(images, targets, settings, generator)
    images = _drop_inputs(images, settings, neighbours, generator)
    images = _vary_neighbours(images, settings, neighbours, generator)
    images = _rescale_intensity(images, settings, generator)
    images = _lower_resolution(images, settings, generator)
    return _add_noise(images, settings, generator), targets


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _chance(count: int, probability: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < probability


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device).view(-1, 1, 1, 1)


def _shift_inputs(
    images: Tensor, settings: AugmentationSettings, neighbours: int, generator: Generator
) -> Tensor:
    """Shift the inputs after the first by whole pixels, as a registration that is a little off does."""
    first, most = 2 * neighbours + 1, settings.input_shift
    if most == 0 or images.shape[1] == first:
        return images
    shifts = torch.randint(-most, most + 1, (images.shape[0], 2), generator=generator).tolist()
    moved = [torch.roll(image[first:], shift, (1, 2)) for image, shift in zip(images, shifts, strict=True)]
    return torch.cat([images[:, :first], torch.stack(moved)], dim=1)


def _drop_inputs(
    images: Tensor, settings: AugmentationSettings, neighbours: int, generator: Generator
) -> Tensor:
    """Blank every input but the first for some of the batch, as serving does with one that is missing.

    The changes of intensity that follow lay a little offset and noise over the blank.
    """
    if settings.input_drop == 0:
        return images
    dropped = _chance(images.shape[0], settings.input_drop, generator).to(images.device)
    later = torch.arange(images.shape[1], device=images.device) > 2 * neighbours
    return images.masked_fill((dropped[:, None] & later[None])[..., None, None], 0.0)


def _vary_neighbours(
    images: Tensor, settings: AugmentationSettings, neighbours: int, generator: Generator
) -> Tensor:
    """Turn the stack upside down for half of the batch; replace the neighbours of some by the slice itself.

    The channels hold one window per input. All windows turn together; neighbours are replaced in each by
    itself, since one Series may have thicker slices than the other.
    """
    if neighbours == 0:
        return images
    count = images.shape[0]
    windows = images.view(count, -1, 2 * neighbours + 1, *images.shape[2:])
    turned = _chance(count, 0.5, generator).to(images.device).view(-1, 1, 1, 1, 1)
    windows = torch.where(turned, windows.flip(2), windows)
    dropped = _chance(count * windows.shape[1], settings.neighbour_drop, generator).to(images.device)
    middle = windows[:, :, neighbours : neighbours + 1].expand_as(windows)
    return torch.where(dropped.view(count, -1, 1, 1, 1), middle, windows).reshape(images.shape)


def _move(
    images: Tensor, targets: Tensor, settings: AugmentationSettings, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Rotate, scale, shear, shift and mirror images and targets together, and cut out what is learned from.

    Only the pixels of the window are interpolated: what lies outside is never computed.
    """
    transform = _draw_transform(images.shape[0], settings, generator)
    size = (images.shape[2], images.shape[3])
    if 0 < settings.crop < min(size):
        transform = _window(transform, targets, settings.crop, generator)
        size = (settings.crop, settings.crop)
    grid = functional.affine_grid(transform, [len(images), 1, *size], align_corners=False).to(images.device)
    # Beyond the edge the edge repeats: that is air in every normalisation, while 0 is air in one only.
    moved = functional.grid_sample(images, grid, align_corners=False, padding_mode="border")
    layers = torch.cat([targets == 1, targets == IGNORE], dim=1).to(images.dtype)
    moved_layers = functional.grid_sample(layers, grid, align_corners=False)
    lesion, ignored = moved_layers[:, :1], moved_layers[:, 1:]
    result = (lesion >= 0.5).to(torch.uint8)
    return moved, result.masked_fill_((ignored >= 0.5) & (lesion < 0.5), IGNORE)


def _draw_transform(count: int, settings: AugmentationSettings, generator: Generator) -> Tensor:
    """Return (count, 2, 3) from places in the result to places in the image: x, y from -1 to 1."""
    angle = _uniform(count, -1, 1, generator) * math.radians(settings.rotation_deg)
    zoom = torch.exp(-_uniform(count, -1, 1, generator) * math.log(settings.scale))
    shear = _uniform(count, -1, 1, generator) * settings.shear
    mirror_x = torch.where(_chance(count, settings.flip, generator), -1.0, 1.0)
    mirror_y = torch.where(_chance(count, settings.flip, generator), -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0], transform[:, 0, 1] = cos * mirror_x, (shear * cos - sin) * mirror_y
    transform[:, 1, 0], transform[:, 1, 1] = sin * mirror_x, (shear * sin + cos) * mirror_y
    transform[:, :, 2] = torch.rand(count, 2, generator=generator).mul(4).sub(2) * settings.shift
    return transform


def _window(transform: Tensor, targets: Tensor, side: int, generator: Generator) -> Tensor:
    """Narrow transforms to square windows: often around a lesion or a false alarm, else anywhere."""
    size = torch.tensor([targets.shape[3], targets.shape[2]], dtype=torch.float32)
    share = side / size
    narrowed = transform.clone()
    for number, target in enumerate(targets):
        marked = ((target[0] == 1) | (target[0] == FALSE_ALARM)).nonzero()
        wanted, pick = torch.rand(2, generator=generator).tolist()
        centre = torch.rand(2, generator=generator) * 2 - 1
        turn, move = transform[number, :, :2], transform[number, :, 2]
        if len(marked) and wanted < AROUND_LESION:
            place = (marked[int(pick * len(marked))].cpu().flip(0) + 0.5) / size * 2 - 1
            centre = torch.linalg.solve(turn, place - move) + centre * 0.6 * share
        else:
            centre = centre * (1 - share)
        centre = centre.clamp(share - 1, 1 - share)
        narrowed[number, :, :2], narrowed[number, :, 2] = turn * share, turn @ centre + move
    return narrowed


def _rescale_intensity(images: Tensor, settings: AugmentationSettings, generator: Generator) -> Tensor:
    """Apply an exponent, a smooth gain, a factor and an offset; the exponent keeps white matter at 1."""
    count = images.shape[0]
    exponent = torch.exp(torch.randn(count, generator=generator) * settings.gamma)
    factor = torch.exp(torch.randn(count, generator=generator) * settings.brightness)
    offset = torch.randn(count, generator=generator) * settings.offset
    knots = torch.randn(count, 1, BIAS_KNOTS, BIAS_KNOTS, generator=generator) * settings.bias_field
    gain = functional.interpolate(
        knots.to(images.device), size=images.shape[2:], mode="bicubic", align_corners=True
    )
    if settings.gamma > 0:
        images = images.clamp(min=0).pow(_per_image(exponent, images))
    return images * (_per_image(factor, images) * torch.exp(gain)) + _per_image(offset, images)


def _lower_resolution(images: Tensor, settings: AugmentationSettings, generator: Generator) -> Tensor:
    """Sample half of the batch more coarsely and interpolate back, one factor a batch."""
    factor = float(_uniform(1, 1.0, settings.blur, generator))
    chosen = _chance(images.shape[0], SOME, generator)
    if factor < 1.05 or not chosen.any():
        return images
    size = [max(8, round(side / factor)) for side in images.shape[2:]]
    chosen = chosen.to(images.device)
    coarse = functional.interpolate(images[chosen], size=size, mode="bilinear", antialias=True)
    images = images.clone()
    images[chosen] = functional.interpolate(coarse, size=images.shape[2:], mode="bilinear")
    return images


def _add_noise(images: Tensor, settings: AugmentationSettings, generator: Generator) -> Tensor:
    """Add Gaussian noise of a random strength to half of the batch."""
    if settings.noise == 0:
        return images
    count = images.shape[0]
    strength = _uniform(count, 0, settings.noise, generator) * _chance(count, SOME, generator)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return images + noise * _per_image(strength, images)
