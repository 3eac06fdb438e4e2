"""The whole way of one Study on one machine: a sender, the node, and a receiver that stands for the PACS."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.errors import DemonstrationError
from node.listing import StudyRow, study_rows
from node.outbound import DestinationSettings, SenderSettings
from node.part10 import read_part10
from node.receiver_settings import ReceiverSettings
from node.sender import send
from node.service import Service, now
from node.settings import NodeSettings
from node.stand_in_pacs import StandInPacs
from node.store import Store
from node.study_states import StudyState
from node.telemetry import LogSettings
from node.web.settings import WebSettings

SCANNER, NODE, PACS = "SCANNER", "CSVD", "PACS"
"""AE titles of the three sides."""

PATIENCE_S = 600.0
"""Within this time all results must have arrived, s; a slow machine needs about a minute."""

QUIET_S = 2.0
"""The demonstration's sender is on the same machine: a shorter quiet time than in a hospital is enough, s."""

POLL_S = 0.3
"""Pause between two looks at how far the Study is, s."""

ENDED = frozenset({StudyState.DELIVERED, StudyState.FALLBACK, StudyState.FAILED})


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What came of it.

    Attributes:
        received: the files that the PACS has now.
        pictures: the overlays as PNG, in the node's store.
        findings: the summary of the findings, as the node wrote it, for people.
    """

    received: tuple[Path, ...]
    pictures: tuple[Path, ...]
    findings: str


def demonstrate(study: Path, output: Path, progress: Callable[[str], None]) -> Demonstration:
    """Push a Study to a fresh node and wait until its results are in the PACS.

    Args:
        study: folder of DICOM files of one Study.
        output: a folder; everything goes into a new folder below it, named by the time.
        progress: told what happens.

    Raises:
        DemonstrationError: if the Study was not taken, failed, or not all results arrived in time.
    """
    folder = output / f"{now():%Y%m%d-%H%M%S}"
    with StandInPacs(folder / "pacs", PACS) as pacs:
        settings = _settings(folder / "node", pacs.port)
        with Service(settings) as service:
            progress("pushing the Study over DICOM")
            _push(study, service.receiver.port)
            row = _wait(settings, progress)
        return _collect(settings, row, pacs)


def _settings(root: Path, pacs_port: int) -> NodeSettings:
    return NodeSettings(
        root=root,
        receiver=ReceiverSettings(ae_title=NODE, port=0, calling_aes=(SCANNER,)),
        completeness=CompletenessSettings(series_quiet_s=QUIET_S),
        destinations={"pacs": DestinationSettings(ae_title=PACS, host="127.0.0.1", port=pacs_port)},
        web=WebSettings(port=None),
        log=LogSettings(level="ERROR"),
    )


def _push(study: Path, port: int) -> None:
    files = sorted(path for path in study.rglob("*.dcm") if path.is_file())
    if not files:
        raise DemonstrationError(f"{study} holds no DICOM files (*.dcm)")
    node = DestinationSettings(ae_title=NODE, host="127.0.0.1", port=port)
    outcomes = send(files, node, SenderSettings(ae_title=SCANNER))
    lost = [outcome for outcome in outcomes if outcome.state is not DeliveryState.DELIVERED]
    if lost:
        raise DemonstrationError(f"{len(lost)} of {len(files)} Instances were not taken: {lost[0].comment}")


def _wait(settings: NodeSettings, progress: Callable[[str], None]) -> StudyRow:
    deadline = time.monotonic() + PATIENCE_S
    with closing(Database(settings.index_url)) as database:
        while time.monotonic() < deadline:
            rows = study_rows(database, now(), settings.completeness)
            if rows and rows[0].state in ENDED:
                return rows[0]
            if rows:
                progress(_said(rows[0]))
            time.sleep(POLL_S)
    raise DemonstrationError(f"the results did not arrive within {PATIENCE_S:g} s")


def _said(row: StudyRow) -> str:
    if row.state is StudyState.EVALUATING and row.progress:
        return row.progress
    return f"{row.state.value}: {row.extent}"


def _collect(settings: NodeSettings, row: StudyRow, pacs: StandInPacs) -> Demonstration:
    if row.state is StudyState.FAILED or row.evaluation_id is None:
        raise DemonstrationError(row.reason)
    store = Store(settings.root)
    with closing(Database(settings.index_url)) as database:
        sent = Deliveries(database).of_evaluation(row.evaluation_id)
    received = {read_part10(path).header.sop_instance_uid: path for path in pacs.received()}
    missing = [delivery.path for delivery in sent if delivery.sop_instance_uid not in received]
    if missing or not sent:
        raise DemonstrationError(f"the PACS lacks {', '.join(missing) or 'every result'}")
    folder = store.path(sent[0].path).parent
    return Demonstration(
        received=tuple(received.values()),
        pictures=tuple(sorted(folder.glob("*.png"))),
        findings=next(folder.glob("*findings.txt")).read_text(encoding="utf-8"),
    )
