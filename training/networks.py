"""The networks that the recipes name: 2D U-Nets over slices, built from plain convolutions.

Convention: tensors are (batch, channels, rows, columns); a forward pass in training returns logits at full
resolution and, with deep supervision, at each coarser decoder level; in evaluation only the full one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipe import NetworkSettings

PRIOR_LOGIT = -4.0
"""Start value of the output bias: a lesion voxel is rare (about 2%), so training begins without alarms."""


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU: one block of the FLAIR study's U-Net."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """A ``ConvBlock`` with its input added, through a 1x1 convolution where the channels differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = ConvBlock(inputs, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, rows, columns) to (batch, outputs, rows, columns)."""
        result: Tensor = self.body(x) + self.skip(x)
        return result


class SlabBlock(nn.Module):
    """A ``ConvBlock`` whose first convolution is 3x3x3: over a slice and the two beside it.

    Slices of a slab follow each other along the batch. A 3x3x3 convolution of a slab is a 3x3 convolution of
    each slice joined with the slices beside it as channels, zeros beyond the ends; so every runtime serves it
    with 2D operators.
    """

    def __init__(self, inputs: int, outputs: int, slab: int) -> None:
        super().__init__()
        self.slab = slab
        self.body = ConvBlock(3 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch * slab, inputs, rows, columns) to (batch * slab, outputs, rows, columns)."""
        slabs = x.reshape(-1, self.slab, *x.shape[1:])
        nothing = torch.zeros_like(slabs[:, :1])
        below = torch.cat([nothing, slabs[:, :-1]], dim=1)
        above = torch.cat([slabs[:, 1:], nothing], dim=1)
        result: Tensor = self.body(torch.cat([below, slabs, above], dim=2).flatten(0, 1))
        return result


class UNet(nn.Module):
    """U-Net with max pooling, bilinear upsampling and concatenation.

    With a ``fold`` above 1 a strided convolution takes the slice to that part of its resolution before the
    first block, and the last layer predicts the pixels of each cell at once (pixel shuffle): with 2 about a
    third of the arithmetic of the same network at full resolution, and no pixel of the input is lost as long
    as the first level has as many channels as a cell has values.

    Args:
        inputs: channels of the input (slice and its neighbours, times Series).
        channels: channels by level, finest first; the FLAIR study's 16, 32, 64, 128, 256 give 19 layers.
        block: makes the block of a level, of its numbers of channels in and out.
        fold: side of a cell, pixels; 1 for none.
        deep_supervision: whether coarser levels predict too, in training.
        slim_decoder: whether a 1x1 convolution brings a coarser level to the channels of the finer one before
            it is upsampled, which saves a sixth of the arithmetic.

    Source: Ronneberger et al., MICCAI 2015 (U-Net, whose up-convolution halves the channels, too); Shi et
    al., CVPR 2016 (pixel shuffle).
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        block: Callable[[int, int], nn.Module],
        *,
        fold: int = 1,
        deep_supervision: bool = False,
        slim_decoder: bool = False,
    ) -> None:
        super().__init__()
        widths = list(channels)
        self.stem = nn.Identity() if fold == 1 else nn.Conv2d(inputs, widths[0], fold, stride=fold)
        first = inputs if fold == 1 else widths[0]
        self.encoder = nn.ModuleList(
            block(before, width) for before, width in zip([first, *widths], widths, strict=False)
        )
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.narrowing = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) if slim_decoder else nn.Identity() for coarse, fine in upwards
        )
        self.decoder = nn.ModuleList(
            block(2 * fine if slim_decoder else coarse + fine, fine) for coarse, fine in upwards
        )
        self.head = nn.Conv2d(widths[0], fold * fold, 1)
        self.fold = fold
        coarse_widths = widths[-2:0:-1] if deep_supervision else []
        self.auxiliary = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in coarse_widths)
        for layer in (self.head, *self.auxiliary):
            nn.init.constant_(layer.bias, PRIOR_LOGIT)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map (batch, inputs, rows, columns) to logits (batch, 1, rows, columns), finest first if several.

        Rows and columns are multiples of ``fold * 2 ** (levels - 1)``.
        """
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        coarse: list[Tensor] = []
        for level, block in enumerate(self.decoder):
            narrowed = self.narrowing[level](x)
            x = functional.interpolate(narrowed, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips[-2 - level]], dim=1))
            if self.training and level < len(self.auxiliary):
                coarse.append(self.auxiliary[level](x))
        logits: Tensor = self.head(x)
        if self.fold > 1:
            logits = functional.pixel_shuffle(logits, self.fold)
        return [logits, *reversed(coarse)] if coarse else logits


class SlabUNet(UNet):
    """3D U-Net over a slab of neighbouring slices, which says what it finds on the middle one.

    Blocks have one 3x3x3 and one 1x3x3 convolution; slices are 6 to 8 mm thick, so pooling is in plane only,
    and the slab keeps its slices at every level. Input and output are those of a 2D network whose channels
    are the neighbouring slices, so it is trained, exported and served like one; as each slice is computed
    within each slab that holds it, at more than ``slab`` times the arithmetic.

    Args:
        series: of the input; channels of a Series follow each other from the lowest slice up.
        slab: slices that are seen at once.
        channels: channels by level, finest first.

    Source: Cicek et al., MICCAI 2016 (3D U-Net); in-plane pooling as for thick slices in nnU-Net.
    """

    def __init__(self, series: int, slab: int, channels: Sequence[int]) -> None:
        super().__init__(series, channels, partial(SlabBlock, slab=slab))
        self.slab = slab

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, series * slab, rows, columns) to logits (batch, 1, rows, columns)."""
        # (batch, series * slab, ...) -> (batch, slab, series, ...) -> (batch * slab, series, ...)
        size = x.shape[2:]
        slices = x.reshape(-1, x.shape[1] // self.slab, self.slab, *size).transpose(1, 2).flatten(0, 1)
        logits = super().forward(slices)
        finest = logits if isinstance(logits, Tensor) else logits[0]
        return finest.reshape(-1, self.slab, 1, *size)[:, self.slab // 2]


def average(members: Sequence[UNet]) -> UNet:
    """Return the mean of networks, weight by weight: as good as the mean of their results at the cost of one.

    Args:
        members: of one architecture, all trained on from the same weights.

    Source: Wortsman et al., ICML 2022 (model soups).
    """
    mean = copy.deepcopy(members[0])
    states = [member.state_dict() for member in members]
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return mean


def build(settings: NetworkSettings, inputs: int) -> UNet:
    """Return the network that a recipe describes, freshly initialised.

    Args:
        settings: the recipe's ``network`` block.
        inputs: channels of the input.
    """
    if settings.slab > 1:
        return SlabUNet(inputs // settings.slab, settings.slab, settings.channels)
    return UNet(
        inputs,
        settings.channels,
        ResidualBlock if settings.residual else ConvBlock,
        fold=settings.fold,
        deep_supervision=settings.deep_supervision,
        slim_decoder=settings.slim_decoder,
    )
