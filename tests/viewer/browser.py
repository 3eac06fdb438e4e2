"""The viewer in a headless browser: open a Study, accept its Segmentation, take pictures, read it out."""

from __future__ import annotations

import base64
import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.viewer.site import FOLDER, NODE, viewer_installed

ANSWER_S = 240.0
"""The viewer needs some seconds for a Study; a loaded machine many more."""


class ViewerError(RuntimeError):
    """The browser did not start, or the viewer did not get as far as the overlay."""


@dataclass(frozen=True, slots=True)
class SliceReference:
    """An image as DICOMweb addresses it: SOP Instance UID and 1-based frame."""

    instance: str
    frame: int = 1


@dataclass(frozen=True, slots=True)
class Photograph:
    """What one viewport displays.

    Attributes:
        slice: which image; None for a plane through a reformatted volume.
        plain: (height, width, 3) uint8, without overlay.
        overlay: (height, width, 3) uint8, with it.
        to_lps: (3, 3); columns are the canvas origin and the steps for one pixel right and down, LPS mm.
    """

    slice: SliceReference | None
    plain: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    to_lps: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShownSegment:
    """A segment as the viewer lists it.

    Attributes:
        number: Segment Number.
        name: Segment Label.
        colour: red, green, blue, 0 to 255.
        voxels: by image, (rows, columns) bool; images without the segment are left out.
    """

    number: int
    name: str
    colour: tuple[int, int, int]
    voxels: dict[SliceReference, NDArray[np.bool_]]

    @property
    def voxel_count(self) -> int:
        """How many voxels the viewer's labelmap holds."""
        return sum(int(plane.sum()) for plane in self.voxels.values())


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen of one Study.

    Attributes:
        label: what the viewer calls the Segmentation.
        segments: by Segment Number.
        photographs: of the slices asked for, then of three planes through each point asked for.
        fill: share of the colour inside a segment.
        modalities: of the Series that the viewer lists.
        faults: uncaught errors of the page and failed requests.
    """

    label: str
    segments: dict[int, ShownSegment]
    photographs: tuple[Photograph, ...]
    fill: float
    modalities: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A measurement group of a report as the viewer holds it.

    Attributes:
        name: Tracking Identifier.
        uid: Tracking Unique Identifier.
        series_uid: of the Series that the viewer shows it on; empty if on none.
        labels: value with unit by name of the measurement.
        point: where it is marked, LPS mm; empty if nowhere.
    """

    name: str
    uid: str
    series_uid: str
    labels: dict[str, str]
    point: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReportInspection:
    """What was seen of a report.

    Attributes:
        groups: in the order of the report.
        texts: what is written over the image of the first group.
        picture: (height, width, 3) uint8 of the whole page.
        faults: uncaught errors of the page and failed requests.
    """

    groups: tuple[ShownGroup, ...]
    texts: str
    picture: NDArray[np.uint8]
    faults: tuple[str, ...]


class Browser:
    """A browser process that serves one request after the other."""

    def __enter__(self) -> Browser:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        if not viewer_installed():
            raise ViewerError("the viewer is not installed: `make viewer-tools` does it")
        self._process = subprocess.Popen(
            [str(NODE), "browser.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _stop(self) -> None:
        # the script closes the browser when its input ends
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.communicate()

    def inspect(
        self,
        url: str,
        segmentation_series_uid: str,
        slices: Sequence[SliceReference],
        window: tuple[float, float],
        folder: Path,
        points: Sequence[tuple[float, float, float]] = (),
        late: Mapping[str, int] | None = None,
    ) -> Inspection:
        """Open a Study, accept a Segmentation and look at some slices.

        Args:
            url: of the Study.
            segmentation_series_uid: Series Instance UID of the Segmentation to accept.
            slices: which images to photograph.
            window: lowest and highest displayed value.
            folder: where the screenshots go.
            points: LPS mm; the volume is reformatted along three planes through each.
            late: Series Instance UIDs that reach the viewer once it has so many Series of images.

        Raises:
            ViewerError: if the viewer does not get to the overlay; failure.png shows how far it came.
        """
        folder.mkdir(parents=True, exist_ok=True)
        answer = self._ask(
            {
                "url": url,
                "segmentation": segmentation_series_uid,
                "slices": [{"instance": part.instance, "frame": part.frame} for part in slices],
                "range": window,
                "points": points,
                "late": [{"series": uid, "images": images} for uid, images in (late or {}).items()],
                "folder": str(folder),
            }
        )
        return _inspection(answer)

    def read_report(self, url: str, series_uid: str, folder: Path) -> ReportInspection:
        """Open a Study and its report.

        Args:
            url: of the Study.
            series_uid: Series Instance UID of the report.
            folder: where the screenshot goes.

        Raises:
            ViewerError: if the viewer does not show it; failure.png shows how far it came.
        """
        folder.mkdir(parents=True, exist_ok=True)
        answer = self._ask({"url": url, "report": series_uid, "folder": str(folder)})
        picture = np.asarray(Image.open(folder / "report.png").convert("RGB"))
        groups = tuple(map(_group, answer["groups"]))
        return ReportInspection(groups, "\n".join(answer["texts"]), picture, tuple(answer["faults"]))

    def read_picture(self, url: str, series_uid: str, instance: str, folder: Path) -> NDArray[np.uint8]:
        """Open a Study and a Series of pictures.

        Args:
            url: of the Study.
            series_uid: Series Instance UID of the pictures.
            instance: SOP Instance UID of the first.
            folder: where the screenshot goes.

        Returns: (rows, columns, 3) RGB, the pixels of the first picture as the viewer has them.

        Raises:
            ViewerError: if the viewer does not show it; failure.png shows how far it came.
        """
        folder.mkdir(parents=True, exist_ok=True)
        answer = self._ask({"url": url, "picture": series_uid, "instance": instance, "folder": str(folder)})
        values = np.array(answer["values"], dtype=np.uint8)
        return values.reshape(answer["rows"], answer["columns"], -1)[..., :3]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            # a late answer must not be taken for that of the next request
            self._stop()
            self._start()
            raise ViewerError(f"{request['url']}: the browser ended or gave no answer in {ANSWER_S:.0f} s")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ViewerError(f"{request['url']}: {answer['error']}")
        return answer


def _inspection(answer: dict[str, Any]) -> Inspection:
    seen = answer["segmentation"]
    segments = [_segment(segment, seen["images"]) for segment in seen["segments"]]
    return Inspection(
        label=seen["label"],
        segments={segment.number: segment for segment in segments},
        photographs=tuple(_photograph(shot) for shot in answer["shots"]),
        fill=seen["fill"],
        modalities=tuple(series["modality"] for series in answer["series"]),
        faults=tuple(answer["faults"]),
    )


def _segment(segment: dict[str, Any], images: list[dict[str, Any]]) -> ShownSegment:
    voxels: dict[SliceReference, NDArray[np.bool_]] = {}
    for image in images:
        values = np.frombuffer(base64.b64decode(image["values"]), dtype=np.uint8)
        plane = (values == segment["value"]).reshape(image["rows"], image["columns"])
        if image["labelmap"] == segment["labelmap"] and plane.any():
            place = SliceReference(image["instance"], image["frame"])
            voxels[place] = voxels[place] | plane if place in voxels else plane
    red, green, blue = segment["colour"]
    return ShownSegment(segment["number"], segment["name"], (red, green, blue), voxels)


def _group(group: dict[str, Any]) -> ShownGroup:
    labels = {name: " ".join(value.split()) for name, value in group["labels"]}
    return ShownGroup(group["name"], group["uid"], group["series"] or "", labels, tuple(group["point"]))


def _photograph(shot: dict[str, Any]) -> Photograph:
    origin, right, below = (np.array(corner) for corner in shot["corners"])
    return Photograph(
        slice=SliceReference(shot["instance"], shot["frame"]) if "instance" in shot else None,
        plain=np.asarray(Image.open(shot["plain"]).convert("RGB")),
        overlay=np.asarray(Image.open(shot["overlay"]).convert("RGB")),
        to_lps=np.stack([origin, right - origin, below - origin], axis=1),
    )
