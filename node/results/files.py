"""Results as Part 10 files: the same bytes each time, under their name only once complete."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from node.durable_files import DurableWriter
from node.results.build import ResultObject
from node.results.errors import EncodingFailedError, WritingFailedError


def encode(result: ResultObject) -> bytes:
    """Return the Part 10 file of a result.

    Raises:
        EncodingFailedError: if a value can not be encoded.
    """
    buffer = BytesIO()
    try:
        result.dataset.save_as(buffer, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        # The error's text may quote the patient's data: its class has to do.
        raise EncodingFailedError(
            str(result.dataset.StudyInstanceUID), "", result.role, type(error).__name__
        ) from error
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
