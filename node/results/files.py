"""Results as Part 10 files: the same bytes each time, under their name only once complete."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from node.durable_files import DurableWriter
from node.results.errors import EncodingFailedError, WritingFailedError
from node.results.explicit_vr import element
from node.results.result_object import ResultObject
from node.results.seg_frames import PER_FRAME_FUNCTIONAL_GROUPS


def encode(result: ResultObject) -> bytes:
    """Return the Part 10 file of a result.

    Functional groups that are encoded already are copied: pydicom would read and write them one by one.

    Raises:
        EncodingFailedError: if a value can not be encoded.
    """
    buffer = BytesIO()
    try:
        _write(result.dataset, buffer)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, OSError) as error:
        # pydicom quotes the value, which may be the patient's name: neither log nor traceback may hold it.
        raise EncodingFailedError(
            str(result.dataset.StudyInstanceUID), "", result.role, type(error).__name__
        ) from None
    return buffer.getvalue()


def write_results(objects: Sequence[ResultObject], folder: Path) -> tuple[Path, ...]:
    """Write each result as ``<role>.dcm``; doing it again changes nothing.

    Args:
        objects: of one evaluation.
        folder: made if missing.

    Returns: the files, in the order of the objects.

    Raises:
        EncodingFailedError: if a value can not be encoded.
        WritingFailedError: if the disk does not take a file.
    """
    paths = []
    for result in objects:
        path = folder / f"{result.role}.dcm"
        content = encode(result)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            DurableWriter(folder, folder).replace(path, (content,))
        except OSError as error:
            problem = error.strerror or type(error).__name__
            raise WritingFailedError(str(result.dataset.StudyInstanceUID), str(path), problem) from error
        paths.append(path)
    return tuple(paths)


def _write(dataset: Dataset, buffer: BytesIO) -> None:
    groups = dataset.get_item(PER_FRAME_FUNCTIONAL_GROUPS)
    if not isinstance(groups, RawDataElement):
        dataset.save_as(buffer, enforce_file_format=True)
        return
    head = dataset[:PER_FRAME_FUNCTIONAL_GROUPS]
    head.file_meta, head.preamble = dataset.file_meta, dataset.preamble
    head.save_as(buffer, enforce_file_format=True)
    buffer.write(element(PER_FRAME_FUNCTIONAL_GROUPS, b"SQ", groups.value or b""))
    for last in dataset[PER_FRAME_FUNCTIONAL_GROUPS + 1 :]:
        buffer.write(element(last.tag, b"OB", last.value))
