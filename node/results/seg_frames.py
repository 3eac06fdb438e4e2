"""The frames of a Segmentation: which planes there are, what each says of itself, and their bits.

Frames are ordered by segment, then by plane along the normal. What frames of one plane have in common is
encoded once for all segments: 400 planes of 4 segments would else take seconds.

Source: PS3.3 C.7.6.16 (functional groups), C.8.20.3; PS3.5 7.5 (items), 8.1.1 and D.1 (single bits).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds

from node.model import SourceVolume
from node.results import codes
from node.results.explicit_vr import (
    code_sequence,
    element,
    encoded_sequence,
    instance_reference,
    item,
    sequence,
    text_element,
)

PER_FRAME_FUNCTIONAL_GROUPS = Tag(0x5200, 0x9230)
_INDICES, _PLACE, _SEGMENT = struct.Struct("<II"), struct.Struct("<I"), struct.Struct("<H")

MAXIMUM_FRACTION = 255
"""Maximum Fractional Value (0062,000E): what stands for a probability of 1."""


FRAMES_AT_A_TIME = 64
"""Frames that are packed together: eight or a multiple end on a whole byte, however many voxels they have."""


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Which frames a Segmentation has.

    Attributes:
        planes: (planes,) slice indices of the source that any frame lies on, ascending; never empty.
        frames: (segment number, slice index) of each frame, in order; each segment has at least one. The
            number is 0 for a frame that holds all segments.
    """

    planes: tuple[int, ...]
    frames: tuple[tuple[int, int], ...]

    @property
    def is_contiguous_stack(self) -> bool:
        """Whether the frames are one stack without gaps."""
        return self.planes[-1] - self.planes[0] + 1 == len(self.frames) == len(self.planes)


def plan_frames(masks: Sequence[NDArray[np.bool_]]) -> FramePlan:
    """Choose a frame for each plane on which a segment has a voxel.

    A segment without any voxel keeps one frame, on the first plane that another segment has or else in the
    middle: readers that look for the frames of each segment find one, and an empty result is a valid object.

    Args:
        masks: one a segment, each (slices, rows, columns).
    """
    filled = [np.flatnonzero(mask.any(axis=(1, 2))).tolist() for mask in masks]
    planes = sorted({plane for some in filled for plane in some}) or [masks[0].shape[0] // 2]
    frames = [(number, plane) for number, some in enumerate(filled, 1) for plane in (some or planes[:1])]
    return FramePlan(tuple(planes), tuple(frames))


def plan_planes(masks: Sequence[NDArray[np.bool_]]) -> FramePlan:
    """Choose one frame for each plane on which any segment has a voxel, or else one in the middle."""
    planes = plan_frames(masks).planes
    return FramePlan(planes, tuple((0, plane) for plane in planes))


def pack_frames(masks: Sequence[NDArray[np.bool_]], plan: FramePlan) -> bytes:
    """Return Pixel Data: one bit a voxel, first voxel in the lowest bit, frames without gaps, even length."""
    frames = [masks[number - 1][plane] for number, plane in plan.frames]
    packed = b"".join(
        np.packbits(np.stack(frames[first : first + FRAMES_AT_A_TIME]), bitorder="little").tobytes()
        for first in range(0, len(frames), FRAMES_AT_A_TIME)
    )
    return packed + b"\0" * (len(packed) % 2)


def pack_fractions(
    masks: Sequence[NDArray[np.bool_]], fractions: Sequence[NDArray[np.float32]], plan: FramePlan
) -> bytes:
    """Return Pixel Data: one byte a voxel, ``MAXIMUM_FRACTION`` for certainty, zero outside of the mask.

    A voxel of the mask is at least 1: whoever counts what is not zero counts the mask.

    Args:
        masks: one a segment, each (slices, rows, columns).
        fractions: probabilities in 0..1, of the same shapes.
        plan: which frames there are.
    """
    voxels = np.zeros((len(plan.frames), *masks[0].shape[1:]), dtype=np.uint8)
    for place, (number, plane) in enumerate(plan.frames):
        inside = masks[number - 1][plane]
        scaled = np.rint(fractions[number - 1][plane][inside] * MAXIMUM_FRACTION)
        voxels[place][inside] = np.clip(scaled, 1, MAXIMUM_FRACTION)
    return _padded(voxels)


def pack_labels(masks: Sequence[NDArray[np.bool_]], plan: FramePlan) -> bytes:
    """Return Pixel Data: one byte a voxel, the number of its segment, zero for background."""
    voxels = np.zeros((len(plan.frames), *masks[0].shape[1:]), dtype=np.uint8)
    for place, (_, plane) in enumerate(plan.frames):
        for number, mask in enumerate(masks, 1):
            voxels[place][mask[plane]] = number
    return _padded(voxels)


def _padded(voxels: NDArray[np.uint8]) -> bytes:
    return voxels.tobytes() + b"\0" * (voxels.size % 2)


def overlap(masks: Sequence[NDArray[np.bool_]]) -> bool:
    """Say whether any voxel belongs to two segments."""
    taken = np.zeros_like(masks[0])
    for mask in masks:
        if (taken & mask).any():
            return True
        taken |= mask
    return False


def functional_groups(plan: FramePlan, source: SourceVolume) -> RawDataElement:
    """Return the Per-Frame Functional Groups Sequence, encoded in Explicit VR Little Endian.

    Each item holds, by ascending tag: Derivation Image (the frame it was drawn on), Frame Content (its place
    among the dimensions), Plane Position, Segment Identification unless the frame holds all segments.
    """
    derivations = {plane: _derivation(plane, source) for plane in plan.planes}
    positions = {plane: _position(plane, source) for plane in plan.planes}
    place_of = {plane: place for place, plane in enumerate(plan.planes, 1)}
    items = [
        item(
            derivations[plane],
            sequence(0x00209111, item(element(0x00209157, b"UL", _indices(number, place_of[plane])))),
            positions[plane],
            _segment(number),
        )
        for number, plane in plan.frames
    ]
    return encoded_sequence(PER_FRAME_FUNCTIONAL_GROUPS, items)


def _indices(number: int, place: int) -> bytes:
    return _INDICES.pack(number, place) if number else _PLACE.pack(place)


def _segment(number: int) -> bytes:
    if not number:
        return b""
    return sequence(0x0062000A, item(element(0x0062000B, b"US", _SEGMENT.pack(number))))


def image_position(plane: int, source: SourceVolume) -> list[str]:
    """Return Image Position (Patient) of a slice, LPS mm."""
    first = source.volume.grid.to_lps(np.array([[plane, 0, 0]]))[0]
    # Adding zero turns a negative zero into zero.
    return [format_number_as_ds(float(value) + 0.0) for value in first]


def _derivation(plane: int, source: SourceVolume) -> bytes:
    frame = source.frames[plane]
    number = b"" if frame.frame_number is None else element(0x00081160, b"IS", b"%d" % frame.frame_number)
    reference = item(
        instance_reference(frame.sop_class_uid, frame.sop_instance_uid),
        number,
        # A tile is a part of its image: what is at a pixel of the mask is elsewhere in the mosaic.
        element(0x0028135A, b"CS", b"NO" if source.is_mosaic else b"YES"),
        code_sequence(0x0040A170, codes.SOURCE_IMAGE),
    )
    made_by = code_sequence(0x00089215, codes.SEGMENTATION)
    return sequence(0x00089124, item(sequence(0x00082112, reference), made_by))


def _position(plane: int, source: SourceVolume) -> bytes:
    position = text_element(0x00200032, b"DS", *image_position(plane, source))
    return sequence(0x00209113, item(position))
