"""A refusal is answered with pictures drawn for it; where that cannot be, it waits and says why."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from node.commitment_desk import CommitmentDesk
from node.commitments import Commitments
from node.courier import Courier
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.results.forms import Form, form_of
from node.settings import NodeSettings
from tests.support.arrivals import Clock
from tests.support.evaluated_study import Evaluated, evaluated_study
from tests.support.peers import LOOPBACK, scripted_pacs

OLD_VIEWER = [SecondaryCaptureImageStorage, EncapsulatedPDFStorage, Comprehensive3DSRStorage]
SEGMENTATION = "seg-WMH"
FALLBACK = ["report", "key-images", "pdf"]


def courier_to(evaluated: Evaluated, port: int, clock: Clock) -> Courier:
    """Falls back to a form that is there already and to one that is drawn."""
    peer = {"ae_title": "OLD", "host": LOOPBACK, "port": port, "forms": ["binary"], "fallback": FALLBACK}
    settings = NodeSettings.model_validate({"destinations": {"old": peer}})
    books = (evaluated.evaluations, evaluated.outcomes, Deliveries(evaluated.database))
    desk = CommitmentDesk(settings, Commitments(evaluated.database), clock)
    return Courier(settings, evaluated.store, *books, evaluated.pictures, desk, clock)


def deliveries_of(evaluated: Evaluated) -> dict[str, Delivery]:
    listed = Deliveries(evaluated.database).of_evaluation(evaluated.evaluation_id)
    return {one.kind: one for one in listed}


def test_refusal_waits_with_the_reason_until_its_pictures_can_be_drawn(tmp_path: Path) -> None:
    with evaluated_study(tmp_path) as evaluated, scripted_pacs(sop_classes=OLD_VIEWER, ae_title="OLD") as old:
        clock = Clock()
        courier = courier_to(evaluated, old.port, clock)
        mask = evaluated.outcome().instances[SEGMENTATION]
        Deliveries(evaluated.database).queue(evaluated.evaluation_id, "old", [mask], clock())
        content = evaluated.kept.read_bytes()
        evaluated.kept.write_bytes(content[:100])
        courier.attempt(evaluated.evaluation_id, "old")
        waiting = deliveries_of(evaluated)
        evaluated.kept.write_bytes(content)
        clock.second = 60
        courier.attempt(evaluated.evaluation_id, "old")
        replaced = deliveries_of(evaluated)
        courier.attempt(evaluated.evaluation_id, "old")
        sent = deliveries_of(evaluated)
        received = set(old.received)
    assert set(waiting) == {SEGMENTATION}, "not even the report that is there: half of a fallback stays half"
    assert waiting[SEGMENTATION].state is DeliveryState.REFUSED
    assert "no presentation context accepted" in waiting[SEGMENTATION].last_comment
    assert "its fallback cannot be made: Study" in waiting[SEGMENTATION].last_comment
    assert waiting[SEGMENTATION].next_attempt_at is not None
    assert replaced[SEGMENTATION].state is DeliveryState.REPLACED
    assert replaced[SEGMENTATION].next_attempt_at is None
    pictures = {role: one for role, one in sent.items() if role != SEGMENTATION}
    assert {form_of(role) for role in pictures} == {Form.REPORT, Form.KEY_IMAGES, Form.PDF}
    assert all(one.state is DeliveryState.DELIVERED for one in pictures.values())
    assert received == {one.sop_instance_uid for one in pictures.values()}


def test_destination_that_takes_everything_has_nothing_drawn(tmp_path: Path) -> None:
    with evaluated_study(tmp_path) as evaluated, scripted_pacs(ae_title="OLD") as pacs:
        clock = Clock()
        courier = courier_to(evaluated, pacs.port, clock)
        evaluated.evaluations.start(evaluated.evaluation_id, clock())
        courier.queue(evaluated.evaluation_id)
        courier.attempt(evaluated.evaluation_id, "old")
        states = {one.state for one in deliveries_of(evaluated).values()}
    assert states == {DeliveryState.DELIVERED}
    assert evaluated.forms() == {Form.BINARY, Form.REPORT}
