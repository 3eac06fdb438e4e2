"""The pages say in words what the node keeps in values of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.segments import Segment, SeriesType
from node.deliveries import Delivery, DeliveryState
from node.results.forms import Form, key_image_role, mask_role, presentation_state_role
from node.words import delivered_form, delivered_result, delivery_state, series_name
from tests.support.arrivals import at

DELIVERY = Delivery(
    sop_instance_uid="1.2",
    destination="pacs",
    evaluation_id="one",
    study_uid="1.1",
    kind="sr",
    sop_class_uid="1.3",
    path="sr.dcm",
    state=DeliveryState.PENDING,
    attempts=1,
    last_status=None,
    last_comment="",
    first_queued_at=at(0),
    last_attempt_at=at(1),
    next_attempt_at=at(9),
)


@pytest.mark.parametrize(
    ("state", "will_go_on", "given_up"),
    [
        (DeliveryState.PENDING, "not tried yet", "not tried yet, given up"),
        (
            DeliveryState.SENT,
            "sent, waiting for the archive's commitment",
            "sent, the archive did not commit, given up",
        ),
        (DeliveryState.DELIVERED, "delivered", "delivered"),
        (DeliveryState.WARNING, "delivered, with a remark", "delivered, with a remark"),
        (DeliveryState.FAILED, "not delivered", "not delivered, given up"),
        (
            DeliveryState.REFUSED,
            "not accepted by the destination",
            "not accepted by the destination, given up",
        ),
        (
            DeliveryState.REPLACED,
            "not accepted by the destination, another form sent instead",
            "not accepted by the destination, another form sent instead",
        ),
    ],
)
def test_each_state_of_a_delivery_has_words(state: DeliveryState, will_go_on: str, given_up: str) -> None:
    delivery = replace(DELIVERY, state=state)
    assert delivery_state(delivery) == will_go_on
    assert delivery_state(replace(delivery, next_attempt_at=None)) == given_up


@pytest.mark.parametrize(
    ("role", "form", "result"),
    [
        (mask_role(Form.BINARY, None), "Segmentation", "Segmentation, all segments"),
        (
            mask_role(Form.FRACTIONAL, Segment.WMH),
            "Segmentation with probabilities",
            "Segmentation with probabilities, white matter hyperintensity",
        ),
        (mask_role(Form.LABELMAP, Segment.LACUNE), "label map", "label map, lacune"),
        ("sr-labelmap-combined", "report", "report"),
        (key_image_role(12), "key image", "key image 12"),
        ("pdf", "PDF", "PDF"),
        (
            presentation_state_role(Segment.LACUNE),
            "Presentation State",
            "Presentation State, lacune",
        ),
    ],
)
def test_each_result_has_a_name(role: str, form: str, result: str) -> None:
    delivery = replace(DELIVERY, kind=role)
    assert (delivered_form(delivery), delivered_result(delivery)) == (form, result)


def test_each_type_of_series_has_a_name() -> None:
    assert [series_name(kind.value) for kind in SeriesType] == ["T2-FLAIR", "T1", "DWI b1000", "T2*"]
    assert series_name("localizer") == "localizer"
