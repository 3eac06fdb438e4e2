"""The OHIF Viewer shows the node's Segmentation over the voxels that the node marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.segments import Segment
from tests.viewer.archive import Archive
from tests.viewer.browser import Browser, Inspection
from tests.viewer.cases import RECIPES, WINDOW, Case, make_case
from tests.viewer.overlay import compare, label_map
from tests.viewer.segmentations import slice_references, telling_slices, write_segmentation
from tests.viewer.site import Site, viewer_installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not viewer_installed(), reason="`make viewer-tools` installs viewer and browser"),
]

REFORMATTED = {"oblique": (30.0, -20.0, 12.0)}
"""Cases that are also cut along three planes through a point, LPS mm, inside a lesion."""

LABELS = {
    Segment.WMH: "White matter hyperintensity",
    Segment.LACUNE: "Lacune",
    Segment.INFARCT: "Recent small subcortical infarct",
    Segment.MICROBLEED: "Cerebral microbleed",
}

READABLE = 90
"""Least difference between the channels of a colour that is to be told from grey, of 255."""


Moved = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A case and what the viewer showed of it; ``slices`` by image."""

    case: Case
    inspection: Inspection
    slices: dict[tuple[str, int], int]

    def labels(self) -> NDArray[np.uint8]:
        return label_map([self.case.masks[segment] for segment in Segment])

    def colours(self) -> dict[int, tuple[int, int, int]]:
        return {number: segment.colour for number, segment in self.inspection.segments.items()}


@dataclass(frozen=True, slots=True)
class Stage:
    """One archive, one site and one browser for all cases."""

    archive: Archive
    site: Site
    browser: Browser


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("archive")
    with Archive(folder) as archive, Site(archive.address) as site, Browser() as browser:
        yield Stage(archive, site, browser)


def look(stage: Stage, name: str, folder: Path) -> Seen:
    case = make_case(name, folder / "source")
    written = write_segmentation(case, folder / "segmentation.dcm")
    stage.archive.upload([*case.files, written.path])
    references = slice_references(written.source)
    inspection = stage.browser.inspect(
        stage.site.study_url(case.study_uid),
        written.series_uid,
        [references[index] for index in telling_slices(case.masks)],
        WINDOW,
        folder / "screenshots",
        [REFORMATTED[name]] if name in REFORMATTED else [],
    )
    return Seen(case, inspection, {(image.instance, image.frame): i for i, image in enumerate(references)})


@pytest.fixture(scope="module", params=list(RECIPES))
def seen(request: pytest.FixtureRequest, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return look(stage, request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.timeout(300)
def test_viewer_holds_every_voxel_of_every_mask_and_no_other(seen: Seen) -> None:
    for number, segment in enumerate(Segment, 1):
        held = np.zeros_like(seen.case.masks[segment])
        for image, plane in seen.inspection.segments[number].voxels.items():
            held[seen.slices[image.instance, image.frame]] |= plane
        np.testing.assert_array_equal(held, seen.case.masks[segment], err_msg=segment.value)


def test_overlay_lies_over_the_mask_and_over_the_lesions_of_the_picture(seen: Seen) -> None:
    lesions = any(mask.any() for mask in seen.case.masks.values())
    for photograph in seen.inspection.photographs:
        colours = seen.colours() if photograph.slice else {}
        agreement = compare(photograph, seen.case.picture.grid, seen.labels(), colours, seen.inspection.fill)
        assert agreement.exact, agreement
        assert (agreement.expected > 0) == lesions


def test_viewer_lists_all_segments_with_name_and_readable_colour(seen: Seen) -> None:
    assert {n: s.name for n, s in seen.inspection.segments.items()} == dict(enumerate(LABELS.values(), 1))
    colours = list(seen.colours().values())
    assert len(set(colours)) == len(Segment)
    assert all(max(colour) - min(colour) >= READABLE for colour in colours), colours


def test_viewer_meets_no_fault(seen: Seen) -> None:
    assert sorted(seen.inspection.modalities) == ["MR", "SEG"]
    assert not seen.inspection.faults


@pytest.mark.parametrize("seen", ["oblique"], indirect=True)
@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(lambda labels: labels[:, :, ::-1], id="left-right"),
        pytest.param(lambda labels: labels[:, ::-1], id="front-back"),
        pytest.param(lambda labels: labels[::-1], id="slices-reversed"),
        pytest.param(lambda labels: np.roll(labels, 1, axis=2), id="one-voxel-aside"),
        pytest.param(lambda labels: np.roll(labels, 1, axis=0), id="one-slice-off"),
        pytest.param(lambda labels: np.where(labels == 1, 2, labels), id="wrong-segment"),
    ],
)
def test_comparison_notices_a_mask_that_lies_elsewhere(seen: Seen, moved: Moved) -> None:
    labels, grid, fill = moved(seen.labels()), seen.case.picture.grid, seen.inspection.fill
    slices = [photograph for photograph in seen.inspection.photographs if photograph.slice is not None]
    assert not all(compare(one, grid, labels, seen.colours(), fill).exact for one in slices)
