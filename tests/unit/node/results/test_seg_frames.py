from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node.results.explicit_vr import element, item, sequence
from node.results.seg_frames import overlap, pack_frames, plan_frames


def mask(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = (5, 2, 3)) -> np.ndarray:
    array = np.zeros(shape, dtype=bool)
    for voxel in voxels:
        array[voxel] = True
    return array


def test_frames_are_ordered_by_segment_then_plane_and_empty_planes_left_out() -> None:
    plan = plan_frames([mask((1, 0, 0), (3, 1, 1)), mask((3, 0, 0))])
    assert plan.planes == (1, 3)
    assert plan.frames == ((1, 1), (1, 3), (2, 3))


def test_segment_without_voxels_keeps_one_frame_on_a_plane_of_the_others() -> None:
    plan = plan_frames([mask(), mask((2, 0, 0), (4, 0, 0))])
    assert plan.planes == (2, 4)
    assert plan.frames == ((1, 2), (2, 2), (2, 4))


def test_no_voxels_at_all_leave_one_frame_a_segment_in_the_middle() -> None:
    plan = plan_frames([mask(), mask()])
    assert plan.planes == (2,)
    assert plan.frames == ((1, 2), (2, 2))


@pytest.mark.parametrize(("planes", "expected"), [((1, 2, 3), True), ((1, 3), False), ((2,), True)])
def test_stack_is_contiguous_without_gaps(planes: tuple[int, ...], expected: bool) -> None:
    assert plan_frames([mask(*((plane, 0, 0) for plane in planes))]).is_contiguous_stack is expected


def test_two_segments_are_no_contiguous_stack() -> None:
    assert not plan_frames([mask((1, 0, 0)), mask((1, 1, 0))]).is_contiguous_stack


def test_bits_are_packed_from_the_lowest_and_across_frames() -> None:
    # Frame 1 (2 x 3): 1 0 0 / 0 0 1; frame 2: 0 1 0 / 0 0 0. Bits in order: 100001 01 0000 -> 0xA1, 0x00.
    masks = [mask((0, 0, 0), (0, 1, 2), (1, 0, 1))]
    assert pack_frames(masks, plan_frames(masks)) == bytes([0b10100001, 0b0])


def test_bits_follow_each_other_without_gaps_over_many_frames() -> None:
    """130 frames of 15 voxels: PS3.5 8.1.1 wants one run of bits, padded at its end only."""
    voxels = np.random.default_rng(1).random((130, 3, 5)) < 0.5
    voxels[:, 0, 0] = True  # no frame is left out
    packed = pack_frames([voxels], plan_frames([voxels]))
    bits = [byte >> place & 1 for byte in packed for place in range(8)]
    assert len(packed) == 244  # 1950 bits
    assert bits[:1950] == voxels.ravel().astype(int).tolist()
    assert not any(bits[1950:])


def test_packed_length_is_even() -> None:
    masks = [mask((0, 0, 0))]  # 6 bits make one byte, and a second one pads
    assert len(pack_frames(masks, plan_frames(masks))) == 2


def test_overlap_is_a_voxel_in_two_segments() -> None:
    assert overlap([mask((1, 0, 0)), mask(), mask((1, 0, 0))])
    assert not overlap([mask((1, 0, 0)), mask((1, 0, 1))])


def test_encoded_sequence_is_what_pydicom_writes() -> None:
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3"
    inner.ReferencedFrameNumber = 7
    inner.SpatialLocationsPreserved = "YES"
    outer = Dataset()
    outer.SourceImageSequence = [inner, inner]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, outer)
    encoded = item(
        element(0x00081155, b"UI", b"1.2.3"),
        element(0x00081160, b"IS", b"7"),
        element(0x0028135A, b"CS", b"YES"),
    )
    assert sequence(0x00082112, encoded, encoded) == buffer.getvalue()
