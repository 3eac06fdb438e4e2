"""Divides a Series into stacks: the sets of frames that each form one candidate volume.

A Series may hold b0 beside b1000, several echoes, magnitude beside phase, ADC beside trace, the three
orientations of a localizer, or a time series.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from node.headers import FrameHeader, ImageHeader, Plane

SAME_ORIENTATION_DEG = 10.0
"""Frames tilted by more belong to different stacks; less is one stack, whose volume may then be refused."""

POSITION_CELL_MM = 0.1
"""Positions are counted in cells of this size; older systems round positions to it."""


@dataclass(frozen=True, slots=True)
class StackFrame:
    """A frame with the Instance that holds it."""

    instance: ImageHeader
    frame: FrameHeader

    @property
    def plane(self) -> Plane | None:
        """Where it lies."""
        return self.frame.plane


@dataclass(frozen=True, slots=True)
class SeriesContext:
    """What a frame's Series tells about the frame, counted over all its stacks.

    Attributes:
        stacks: number of stacks.
        orientations: number of distinct orientations.
        echo_times_ms: the distinct echo times, ascending.
        inversion_times_ms: the distinct inversion times, ascending.
        b_values: the distinct b-values, ascending.
        components: the distinct complex components.
        volumes_alike: the most stacks that differ in nothing but time or gradient direction; at least 1.
        acquisitions: the distinct numbers of acquisitions that are stacks of their own, ascending.
    """

    stacks: int
    orientations: int
    echo_times_ms: tuple[float, ...]
    inversion_times_ms: tuple[float, ...]
    b_values: tuple[float, ...]
    components: tuple[str, ...]
    volumes_alike: int
    acquisitions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stack:
    """The frames of one candidate volume, in no particular order, and never empty.

    Attributes:
        frames: with their Instances.
        context: what the whole Series tells.
        label: what sets this stack apart from the others of its Series; empty if it is alone.
        positions: number of distinct positions.
        repeats: frames at the position that has most of them; above 1 the stack cannot be a volume.
    """

    frames: tuple[StackFrame, ...]
    context: SeriesContext
    label: str
    positions: int
    repeats: int

    @property
    def header(self) -> ImageHeader:
        """The Instance of the first frame, which speaks for all in what a Series has in common."""
        return self.frames[0].instance

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return self.header.study_uid

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return self.header.series_uid

    @property
    def acquired_at(self) -> datetime | None:
        """When its acquisition began; None if not stated."""
        return min(filter(None, (item.instance.acquired_at for item in self.frames)), default=None)

    @property
    def first(self) -> FrameHeader:
        """The first frame, which speaks for all in how the stack was acquired."""
        return self.frames[0].frame

    @property
    def acquisition(self) -> int | None:
        """Acquisition Number, if all frames have the same: some vendors count it slice by slice."""
        return _acquisition(self.frames)


_Frames = tuple[StackFrame, ...]


def split_stacks(headers: Sequence[ImageHeader]) -> tuple[Stack, ...]:
    """Divide the Instances of one Series into stacks.

    Frames are always set apart by orientation, image type, component, echo and b-value. Time, gradient
    direction, acquisition and Instance divide further only where positions repeat, because vendors also count
    these slice by slice.

    Args:
        headers: all Instances of a Series, in any order.

    Returns: the stacks in a fixed order that does not depend on the order of the headers.
    """
    frames = [StackFrame(header, frame) for header in headers for frame in header.frames]
    if not frames:
        return ()
    parts: list[_Frames] = []
    orientations = _by_orientation(frames)
    for group in orientations:
        for part in _grouped(group, _fixed_key):
            parts += _without_repeats(part)
    parts = [tuple(sorted(part, key=_frame_key)) for part in parts]
    context = _context(parts, len([group for group in orientations if group[0].plane is not None]))
    stacks = []
    for part in parts:
        cells = _cells(part)
        stacks.append(Stack(part, context, _label(part, context), len(cells), max(cells.values())))
    return tuple(sorted(stacks, key=_stack_key))


def _fixed_key(item: StackFrame) -> Hashable:
    acquisition, diffusion = item.frame.acquisition, item.frame.diffusion
    return (
        acquisition.component,
        acquisition.image_type,
        _rounded(acquisition.echo_time_ms, 1),
        _rounded(acquisition.inversion_time_ms, 0),
        _rounded(diffusion.b_value, 0),
        diffusion.directionality,
    )


_SOFT_KEYS: tuple[Callable[[StackFrame], Hashable], ...] = (
    lambda item: item.frame.temporal_position,
    lambda item: tuple(round(part, 3) for part in item.frame.diffusion.gradient or ()),
    lambda item: item.instance.sop_instance_uid if _holds_volume(item) else "",
    lambda item: (item.frame.acquisition.echo_number, item.frame.acquisition.flip_angle_deg),
    lambda item: item.frame.acquisition_number,
)
"""What may divide a group whose positions repeat, in the order in which it is tried."""


def _holds_volume(item: StackFrame) -> bool:
    """Whether the Instance holds a volume by itself: a mosaic or a multi-frame object."""
    return item.instance.mosaic_tiles_across > 0 or item.instance.is_multi_frame


def _without_repeats(part: _Frames) -> list[_Frames]:
    """Divide until no position repeats or nothing is left to divide by."""
    parts = [part]
    for key in _SOFT_KEYS:
        parts = [new for one in parts for new in ([one] if _repeats(one) == 1 else _grouped(one, key))]
    return parts


def _grouped(frames: Iterable[StackFrame], key: Callable[[StackFrame], Hashable]) -> list[_Frames]:
    groups: dict[Hashable, list[StackFrame]] = defaultdict(list)
    for item in frames:
        groups[key(item)].append(item)
    return [tuple(group) for group in groups.values()]


def _by_orientation(frames: Sequence[StackFrame]) -> list[_Frames]:
    """Group by both cosines within ``SAME_ORIENTATION_DEG``; frames without a plane form their own group."""
    limit = math.cos(math.radians(SAME_ORIENTATION_DEG))
    groups: list[tuple[tuple[float, ...] | None, list[StackFrame]]] = []
    for item in sorted(frames, key=_frame_key):
        cosines = item.plane.orientation if item.plane else None
        for known, group in groups:
            if _same_orientation(known, cosines, limit):
                group.append(item)
                break
        else:
            groups.append((cosines, [item]))
    return [tuple(group) for _, group in groups]


def _same_orientation(
    first: tuple[float, ...] | None, second: tuple[float, ...] | None, limit: float
) -> bool:
    if first is None or second is None:
        return first is second
    if first == second:
        return True
    rows = sum(a * b for a, b in zip(first[:3], second[:3], strict=True))
    columns = sum(a * b for a, b in zip(first[3:], second[3:], strict=True))
    return rows >= limit and columns >= limit


def _cells(frames: _Frames) -> Counter[tuple[int, ...]]:
    """Count the frames at each position; frames without a position lie each at its own."""
    places = [item.plane.position_mm if item.plane else (float(n),) for n, item in enumerate(frames)]
    return Counter(tuple(round(value / POSITION_CELL_MM) for value in place) for place in places)


def _repeats(frames: _Frames) -> int:
    return max(_cells(frames).values())


def _context(parts: Sequence[_Frames], orientations: int) -> SeriesContext:
    frames = [part[0].frame for part in parts]
    echoes = _distinct((frame.acquisition.echo_time_ms for frame in frames), 1)
    inversions = _distinct((frame.acquisition.inversion_time_ms for frame in frames), 0)
    alike = Counter((_fixed_key(part[0]), part[0].plane and part[0].plane.orientation) for part in parts)
    return SeriesContext(
        stacks=len(parts),
        orientations=max(1, orientations),
        echo_times_ms=echoes,
        inversion_times_ms=inversions,
        b_values=_distinct((frame.diffusion.b_value for frame in frames), 0),
        components=tuple(sorted({frame.acquisition.component for frame in frames})),
        volumes_alike=max(alike.values()),
        acquisitions=tuple(sorted({number for part in parts if (number := _acquisition(part)) is not None})),
    )


def _distinct(values: Iterable[float | None], digits: int) -> tuple[float, ...]:
    return tuple(sorted({round(value, digits) for value in values if value is not None}))


def _acquisition(part: _Frames) -> int | None:
    numbers = {item.frame.acquisition_number for item in part}
    return numbers.pop() if len(numbers) == 1 else None


def _label(part: _Frames, context: SeriesContext) -> str:
    """Say what sets a stack apart, as far as its Series has others."""
    if context.stacks == 1:
        return ""
    frame = part[0].frame
    said = []
    if len(context.b_values) > 1 and frame.diffusion.b_value is not None:
        said.append(f"b {frame.diffusion.b_value:g}")
    if frame.diffusion.gradient is not None:
        said.append("direction " + "/".join(f"{value:.2f}" for value in frame.diffusion.gradient))
    if len(context.echo_times_ms) > 1 and frame.acquisition.echo_time_ms is not None:
        said.append(f"TE {frame.acquisition.echo_time_ms:g} ms")
    if len(context.components) > 1:
        said.append(frame.acquisition.component.lower())
    if context.orientations > 1 and part[0].plane is not None:
        said.append("orientation " + "/".join(f"{value:.2f}" for value in part[0].plane.orientation))
    if context.volumes_alike > 1 and frame.temporal_position is not None:
        said.append(f"time {frame.temporal_position}")
    if context.volumes_alike > 1 and len(context.acquisitions) > 1 and _acquisition(part) is not None:
        said.append(f"acquisition {_acquisition(part)}")
    return ", ".join(said)


def _frame_key(item: StackFrame) -> tuple[str, int, int]:
    return (item.instance.sop_instance_uid, item.frame.number or 0, item.frame.tile or 0)


def _stack_key(stack: Stack) -> tuple[object, ...]:
    frame = stack.first
    plane = stack.frames[0].plane
    return (
        plane.orientation if plane else (),
        frame.acquisition.component,
        frame.diffusion.b_value or 0.0,
        frame.acquisition.echo_time_ms or 0.0,
        frame.temporal_position or 0,
        _frame_key(stack.frames[0]),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
