"""Results as Part 10 files: the same bytes each time, under their name only once complete."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.filewriter import correct_ambiguous_vr

from node.durable_files import DurableWriter
from node.results.errors import EncodingFailedError, WritingFailedError
from node.results.result_object import ResultObject


def encode(result: ResultObject) -> bytes:
    """Return the Part 10 file of a result.

    Sequences that are encoded already are copied: pydicom would read and write them item by item.

    Raises:
        EncodingFailedError: if a value cannot be encoded.
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
        EncodingFailedError: if a value cannot be encoded.
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
    """Write what is encoded as it is, and the rest through pydicom."""
    whole = Dataset()
    whole.file_meta, whole.preamble = dataset.file_meta, dataset.preamble
    whole.update({element.tag: element for element in dataset.elements() if not element.is_raw})
    correct_ambiguous_vr(whole, is_little_endian=True)
    whole.update({element.tag: element for element in dataset.elements() if element.is_raw})
    # pydicom copies elements that it takes for read in the encoding and the character set that it writes.
    is_named = "SpecificCharacterSet" in whole
    character_set = convert_encodings(whole.SpecificCharacterSet) if is_named else default_encoding
    whole.set_original_encoding(False, True, character_set)
    whole.save_as(buffer, enforce_file_format=True)
