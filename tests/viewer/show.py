"""Serve Studies and their results in the OHIF Viewer until Ctrl-C: ``python -m tests.viewer.show FOLDER``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.misc import is_dicom

from tests.support.peers import orthanc
from tests.viewer.site import Site, viewer_installed


def dicom_files(folders: Sequence[Path]) -> Iterator[Path]:
    """List the Part 10 files under some folders."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path))


def show(files: Sequence[Path], port: int) -> None:
    """Put all files into an archive, print where to look, and wait to be interrupted."""
    studies = sorted(
        {str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID) for path in files}
    )
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder), dicomweb=True) as archive:
        archive.upload(files)
        with Site(archive.http_port, port) as site:
            print(f"{len(files)} objects of {len(studies)} Studies are in the archive.")
            for study_uid in studies:
                print(f"Open {site.study_url(study_uid)}")
            print("Double-click a Series, then a SEG of it in the list on the left, and answer Yes.")
            print("Ctrl-C ends.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of DICOM files")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; any free one by default")
    arguments = parser.parse_args()
    if not viewer_installed():
        print("the viewer is not installed: make viewer-tools", file=sys.stderr)
        return 1
    files = list(dicom_files(arguments.folders))
    if not files:
        print(f"no DICOM files in {' '.join(map(str, arguments.folders))}", file=sys.stderr)
        return 1
    # A shell starts what runs in its background with interrupts ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    show(files, arguments.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
