"""Whoever reads a file says in words of its own that it is damaged and how, and quotes no patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
)

from engines.segments import SeriesType
from node.deliveries import DeliveryState
from node.header_reader import read_image_header
from node.model import SourceVolume
from node.outbound import DestinationSettings, SenderSettings
from node.part10 import encode_file_meta, read_part10
from node.results.build import build_results
from node.results.errors import SourceUnreadableError
from node.results.files import encode
from node.results.source_header import read_source_header
from node.sender import send
from node.stacks import Stack, split_stacks
from node.stored_segmentation import UnreadableSegmentationError, read_segmentation
from node.study_facts import read_descriptions
from node.volume_errors import PixelDataError
from node.volume_reader import read_volume
from tests.support.peers import LOOPBACK
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    context,
    findings_on,
    source_from,
)
from tests.support.series_files import DEMO_PATIENT, write_series

FLAIR = SeriesType.T2_FLAIR
NOISE = np.random.default_rng(6).bytes(4000)
UNKNOWN_SYNTAX = UID("1.2.3.4")


@dataclass(frozen=True)
class Files:
    """A source Series, a Segmentation of it, and where a damaged copy goes."""

    source: SourceVolume
    stack: Stack
    segmentation: Path
    damaged: Path

    def source_with(self, content: bytes | None) -> SourceVolume:
        return replace(self.source, paths=(self.write(content), *self.source.paths[1:]))

    def write(self, content: bytes | None) -> Path:
        """Write a file, or see that none is there."""
        self.damaged.unlink(missing_ok=True)
        if content is not None:
            self.damaged.write_bytes(content)
        return self.damaged


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((4, 16, 16), (9, 12, 12)))
    paths = write_series(
        volume, PATTERN_OF[FLAIR], folder / "source", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1,
    )  # fmt: skip
    source = source_from(paths)
    made = build_results(findings_on({FLAIR: source}), {FLAIR: source}, context())
    segmentation = folder / "drawn.dcm"
    segmentation.write_bytes(encode(next(one for one in made if one.role == "seg-WMH")))
    (stack,) = split_stacks([read_image_header(path) for path in paths])
    return Files(source, stack, segmentation, folder / "damaged.dcm")


def said_to_be_in(syntax: UID) -> Callable[[Path], bytes]:
    """Return what changes the transfer syntax that a file names, and nothing of its data set."""

    def damage(path: Path) -> bytes:
        part10 = read_part10(path)
        header = replace(part10.header, transfer_syntax_uid=str(syntax))
        return encode_file_meta(header, "MR1") + path.read_bytes()[part10.dataset_offset :]

    return damage


def cut_after(share: float) -> Callable[[Path], bytes]:
    """Return what leaves the File Meta Information and a share of the data set."""

    def damage(path: Path) -> bytes:
        content, offset = path.read_bytes(), read_part10(path).dataset_offset
        return content[: offset + int(share * (len(content) - offset))]

    return damage


DAMAGES: Mapping[str, Callable[[Path], bytes | None]] = {
    "gone": lambda _: None,
    "zero-length": lambda _: b"",
    "garbage": lambda _: NOISE,
    "garbage-behind-the-preamble": lambda _: bytes(128) + b"DICM" + NOISE,
    "garbage-as-data-set": lambda path: path.read_bytes()[: read_part10(path).dataset_offset] + NOISE,
    "cut-in-the-header": cut_after(0.1),
    "cut-in-the-pixels": cut_after(0.95),
    "big-endian-it-is-not": said_to_be_in(ExplicitVRBigEndian),
    "deflated-it-is-not": said_to_be_in(DeflatedExplicitVRLittleEndian),
    "compressed-it-is-not": said_to_be_in(JPEG2000Lossless),
    "syntax-nobody-knows": said_to_be_in(UNKNOWN_SYNTAX),
}

HEADER_IS_WHOLE = {"cut-in-the-pixels", "compressed-it-is-not", "syntax-nobody-knows"}
"""Damages of the pixels alone."""

IS_NO_SEGMENTATION = {"zero-length", "garbage", "garbage-behind-the-preamble", "garbage-as-data-set"}
"""What is left names no SOP Class, so that it may as well be any other file."""


def each_damage(*but: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in but])


def names_nobody(error: BaseException) -> bool:
    told = f"{error} {error.__cause__}"
    return not any(word in told for word in (DEMO_PATIENT.patient_id, *DEMO_PATIENT.name.split("^")))


@each_damage(*HEADER_IS_WHOLE)
def test_header_of_a_source_can_not_be_read(files: Files, damage: str) -> None:
    source = files.source_with(DAMAGES[damage](files.source.paths[0]))
    with pytest.raises(SourceUnreadableError, match=r"its header cannot be read: .+; send") as caught:
        read_source_header(source, STUDY_UID)
    assert names_nobody(caught.value)


@each_damage("gone")
def test_pixels_of_a_source_can_not_be_used(files: Files, damage: str) -> None:
    first = files.stack.frames[0].instance.sop_instance_uid
    by_uid = {read_part10(path).header.sop_instance_uid: path for path in files.source.paths}
    paths = {**by_uid, first: files.write(DAMAGES[damage](by_uid[first]))}
    with pytest.raises(PixelDataError, match=r"cannot be used: .+; send the Instance again") as caught:
        read_volume(files.stack, paths)
    assert caught.value.sop_instance_uid == first
    assert names_nobody(caught.value)


@each_damage(*IS_NO_SEGMENTATION, "big-endian-it-is-not")
def test_segmentation_can_not_be_read_and_is_named(files: Files, damage: str) -> None:
    path = files.write(DAMAGES[damage](files.segmentation))
    with pytest.raises(
        UnreadableSegmentationError, match=r"^damaged\.dcm is no readable Seg.+: .+"
    ) as caught:
        read_segmentation(path)
    assert names_nobody(caught.value)


@pytest.mark.parametrize("damage", sorted(IS_NO_SEGMENTATION))
def test_file_that_does_not_say_what_it_is_is_no_segmentation(files: Files, damage: str) -> None:
    assert read_segmentation(files.write(DAMAGES[damage](files.segmentation))) is None


@each_damage("compressed-it-is-not")
def test_damaged_result_fails_alone_before_anybody_is_asked(files: Files, damage: str) -> None:
    path = files.write(DAMAGES[damage](files.segmentation))
    destination = DestinationSettings(ae_title="PACS", host=LOOPBACK, port=1, deflate=True, rle=True)
    (outcome,) = send([path], destination, SenderSettings())
    assert outcome.state is DeliveryState.FAILED
    assert outcome.comment.startswith("cannot be read: ")


@each_damage(*HEADER_IS_WHOLE)
def test_damaged_file_describes_nothing(files: Files, damage: str) -> None:
    path = files.write(DAMAGES[damage](files.source.paths[0]))
    assert read_descriptions([path]).modalities == frozenset()
