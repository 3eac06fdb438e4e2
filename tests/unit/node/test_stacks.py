"""A Series is divided into the sets of frames that each form a volume."""

from __future__ import annotations

from pydicom.uid import EnhancedMRImageStorage

from node.header_reader import read_image_header
from node.headers import Component, ImageHeader
from node.stacks import Stack, split_stacks
from tests.support.mr_headers import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    enhanced_dataset,
    item,
    mr_dataset,
    mr_series,
    one_stack,
    sequence,
)


def described(stacks: tuple[Stack, ...]) -> list[tuple[str, int]]:
    return [(stack.label, len(stack.frames)) for stack in stacks]


def test_plain_series_is_one_stack_without_label() -> None:
    stack = one_stack(mr_series(24))
    assert (stack.label, stack.positions, stack.repeats) == ("", 24, 1)
    assert stack.series_uid == "1.2.3.4"


def test_series_without_instances_has_no_stacks() -> None:
    assert split_stacks([]) == ()


def test_b_values_are_set_apart() -> None:
    headers = mr_series(5, DiffusionBValue=0.0) + mr_series(5, first=6, DiffusionBValue=1000.0)
    assert described(split_stacks(headers)) == [("b 0", 5), ("b 1000", 5)]


def test_computed_image_without_b_value_lies_beside_those_that_state_one() -> None:
    adc = mr_series(4, first=9, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    headers = mr_series(4, DiffusionBValue=0.0) + mr_series(4, first=5, DiffusionBValue=1000.0) + adc
    assert sorted(described(split_stacks(headers))) == [("", 4), ("b 0", 4), ("b 1000", 4)]


def test_echoes_are_set_apart() -> None:
    headers = mr_series(5, EchoTime=5.0) + mr_series(5, first=6, EchoTime=20.0)
    stacks = split_stacks(headers)
    assert described(stacks) == [("TE 5 ms", 5), ("TE 20 ms", 5)]
    assert stacks[0].context.echo_times_ms == (5.0, 20.0)


def test_magnitude_and_phase_are_set_apart() -> None:
    headers = mr_series(4) + mr_series(4, first=5, ImageType=["ORIGINAL", "PRIMARY", "P"])
    stacks = split_stacks(headers)
    assert [stack.first.acquisition.component for stack in stacks] == [Component.MAGNITUDE, Component.PHASE]
    assert stacks[0].context.components == ("MAGNITUDE", "PHASE")


def test_adc_beside_trace_is_set_apart() -> None:
    trace = mr_series(4, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"])
    adc = mr_series(4, first=5, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    assert [len(stack.frames) for stack in split_stacks(trace + adc)] == [4, 4]


def test_three_planes_of_a_localizer_are_set_apart() -> None:
    headers = [
        header
        for number, orientation in enumerate((AXIAL, SAGITTAL, CORONAL))
        for header in mr_series(3, first=1 + 3 * number, orientation=orientation)
    ]
    stacks = split_stacks(headers)
    assert [len(stack.frames) for stack in stacks] == [3, 3, 3]
    assert {stack.context.orientations for stack in stacks} == {3}
    # Row cosines, then column cosines.
    assert {stack.label for stack in stacks} == {
        "orientation 1.00/0.00/0.00/0.00/1.00/0.00",
        "orientation 0.00/1.00/0.00/0.00/0.00/-1.00",
        "orientation 1.00/0.00/0.00/0.00/0.00/-1.00",
    }


def test_temporal_phases_are_set_apart() -> None:
    headers = mr_series(5, TemporalPositionIdentifier=1) + mr_series(5, first=6, TemporalPositionIdentifier=2)
    stacks = split_stacks(headers)
    assert described(stacks) == [("time 1", 5), ("time 2", 5)]
    assert stacks[0].context.volumes_alike == 2


def test_temporal_position_counted_slice_by_slice_does_not_tear_a_volume_apart() -> None:
    headers = [
        read_image_header(mr_dataset(number, TemporalPositionIdentifier=number)) for number in range(1, 11)
    ]
    assert one_stack(headers).positions == 10


def test_gradient_directions_are_set_apart() -> None:
    headers = mr_series(4, DiffusionBValue=1000.0, DiffusionGradientOrientation=[1.0, 0.0, 0.0])
    headers += mr_series(4, first=5, DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 1.0, 0.0])
    labels = [label for label, _ in described(split_stacks(headers))]
    assert sorted(labels) == ["direction 0.00/1.00/0.00", "direction 1.00/0.00/0.00"]


def test_acquisitions_are_set_apart_where_positions_repeat() -> None:
    headers = mr_series(5, AcquisitionNumber=1) + mr_series(5, first=6, AcquisitionNumber=2)
    assert [(stack.positions, stack.repeats) for stack in split_stacks(headers)] == [(5, 1), (5, 1)]


def test_repeated_position_that_nothing_explains_stays_in_the_stack() -> None:
    headers = [*mr_series(5), read_image_header(mr_dataset(99, ImagePositionPatient=[0.0, 0.0, 10.0]))]
    stack = one_stack(headers)
    assert (stack.positions, stack.repeats) == (5, 2)


def multi_frame(uid: str, b_values: tuple[float, ...], slices: int = 4) -> ImageHeader:
    shared = item(
        PlaneOrientationSequence=sequence(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=sequence(PixelSpacing=[1.0, 1.0]),
    )
    frames = [
        item(
            PlanePositionSequence=sequence(ImagePositionPatient=[0.0, 0.0, 5.0 * place]),
            MRDiffusionSequence=sequence(DiffusionBValue=b_value),
        )
        for b_value in b_values
        for place in range(slices)
    ]
    return read_image_header(
        enhanced_dataset(shared, frames, SOPInstanceUID=uid, SOPClassUID=EnhancedMRImageStorage)
    )


def test_volumes_of_one_multi_frame_instance_are_set_apart() -> None:
    stacks = split_stacks([multi_frame("1.5", (0.0, 1000.0))])
    assert described(stacks) == [("b 0", 4), ("b 1000", 4)]
    assert [item.frame.number for item in stacks[1].frames] == [5, 6, 7, 8]


def test_multi_frame_instances_at_the_same_positions_are_volumes_of_their_own() -> None:
    stacks = split_stacks([multi_frame("1.5", (0.0,)), multi_frame("1.6", (0.0,))])
    assert [(stack.positions, stack.repeats) for stack in stacks] == [(4, 1), (4, 1)]


def test_slight_tilt_stays_in_one_stack_for_the_geometry_to_judge() -> None:
    # 2 degrees about the x axis: cosine 0.99939, sine 0.03490
    tilted = mr_dataset(9, ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 0.99939, 0.03490])
    assert one_stack([*mr_series(8), read_image_header(tilted)]).context.orientations == 1


def test_order_of_arrival_does_not_matter() -> None:
    headers = mr_series(6, DiffusionBValue=0.0) + mr_series(6, first=7, DiffusionBValue=1000.0)
    assert split_stacks(headers[::2][::-1] + headers[1::2]) == split_stacks(headers)


def test_frames_without_geometry_form_one_stack() -> None:
    headers = [read_image_header(mr_dataset(number, ImagePositionPatient=None)) for number in range(1, 4)]
    stack = one_stack(headers)
    assert (stack.positions, stack.repeats, stack.context.orientations) == (3, 1, 1)
