"""The first route that holds decides; without one, results go back to where the Study came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from engines.segments import Segment
from node.form_settings import FormSettings
from node.results.forms import Form, Masks
from node.router import Router
from node.routing import RouteSettings, SegmentCount, StudyFacts, choose_destinations
from node.settings import NodeSettings
from node.study_facts import Descriptions, read_descriptions
from tests.support.instances import mr_dataset, write_instance

DESTINATIONS = {"pacs": "PACS", "stroke": "STROKE", "web": ""}
FOUND = {
    Segment.INFARCT: SegmentCount(lesions=1, volume_ml=0.4),
    Segment.WMH: SegmentCount(lesions=12, volume_ml=7.5),
    Segment.LACUNE: SegmentCount(lesions=0, volume_ml=0.0),
}


def facts(*senders: str) -> StudyFacts:
    return StudyFacts(senders, {"MR"}, {"Kopf MRT Schlaganfall", "t2_tirm_tra"}, FOUND)


def route(**conditions: object) -> RouteSettings:
    return RouteSettings.model_validate({"destinations": ["stroke"], **conditions})


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        pytest.param({}, True, id="no-condition"),
        pytest.param({"calling_ae": "MR?"}, True, id="sender"),
        pytest.param({"calling_ae": "CT*"}, False, id="other-sender"),
        pytest.param({"modality": "MR"}, True, id="modality"),
        pytest.param({"modality": "CT"}, False, id="other-modality"),
        pytest.param({"description": "*schlaganfall*"}, True, id="study-description-in-any-case"),
        pytest.param({"description": "T2_TIRM*"}, True, id="series-description"),
        pytest.param({"description": "*tumor*"}, False, id="other-description"),
        pytest.param({"lesions": {"INFARCT": 1}}, True, id="infarct-found"),
        pytest.param({"lesions": {"LACUNE": 1}}, False, id="none-found"),
        pytest.param({"lesions": {"WMH": 13}}, False, id="too-few"),
        pytest.param({"lesions": {"MICROBLEED": 0}}, False, id="not-assessed-is-not-zero"),
        pytest.param({"volume_ml": {"WMH": 7.5}}, True, id="volume"),
        pytest.param({"volume_ml": {"WMH": 7.6}}, False, id="too-small"),
        pytest.param({"volume_ml": {"MICROBLEED": 0.0}}, False, id="volume-not-assessed"),
        pytest.param({"calling_ae": "MR1", "lesions": {"LACUNE": 1}}, False, id="all-must-hold"),
    ],
)
def test_route_holds_if_all_its_conditions_do(conditions: dict[str, object], holds: bool) -> None:
    chosen = choose_destinations(facts("MR1"), [route(**conditions)], DESTINATIONS)
    assert list(chosen) == (["stroke"] if holds else list(DESTINATIONS))


def test_first_route_that_holds_decides_and_says_so() -> None:
    routes = [route(lesions={"LACUNE": 1}), route(lesions={"INFARCT": 1}), route(destinations=["pacs"])]
    assert choose_destinations(facts("MR1"), routes, DESTINATIONS) == {
        "stroke": "route 2 (at least 1 INFARCT)"
    }


def test_route_without_destinations_keeps_results_here() -> None:
    assert choose_destinations(facts("MR1"), [route(destinations=[])], DESTINATIONS) == {}


def test_results_go_back_to_the_destination_that_sent_the_study() -> None:
    assert choose_destinations(facts("PACS"), [], DESTINATIONS) == {"pacs": "PACS sent the Study"}


def test_results_of_a_sender_that_is_no_destination_go_to_all() -> None:
    chosen = choose_destinations(facts("MR1"), [], DESTINATIONS)
    assert chosen == dict.fromkeys(DESTINATIONS, "MR1 is none of the destinations: they go to all")
    chosen = choose_destinations(facts("MR1"), [route(lesions={"WMH": 99})], DESTINATIONS)
    said = "no route holds, and MR1 is none of the destinations: they go to all"
    assert chosen == dict.fromkeys(DESTINATIONS, said)


def test_the_only_destination_needs_no_other_reason() -> None:
    assert choose_destinations(facts("MR1"), [], {"pacs": "PACS"}) == {"pacs": "it is the only destination"}
    chosen = choose_destinations(facts("MR1"), [route(lesions={"WMH": 99})], {"pacs": "PACS"})
    assert chosen == {"pacs": "no route holds, and it is the only destination"}


def test_study_of_two_senders_goes_where_each_is_routed() -> None:
    chosen = choose_destinations(facts("PACS", "STROKE"), [], DESTINATIONS)
    assert chosen == {"pacs": "PACS sent the Study", "stroke": "STROKE sent the Study"}


def test_descriptions_are_read_from_the_files(tmp_path: Path) -> None:
    dataset = mr_dataset()
    dataset.StudyDescription, dataset.SeriesDescription = "Brain", "FLAIR"
    (tmp_path / "broken.dcm").write_text("not DICOM")
    described = read_descriptions(
        [write_instance(tmp_path, dataset), tmp_path / "broken.dcm", tmp_path / "missing.dcm"]
    )
    assert (described.modalities, described.texts) == ({"MR"}, {"Brain", "FLAIR"})


def test_destination_gets_binary_masks_and_the_report_unless_it_says_otherwise() -> None:
    settings = FormSettings()
    assert settings.choice.forms == {Form.BINARY, Form.REPORT}
    assert settings.choice.masks is Masks.BOTH
    assert settings.fallback_choice.forms == {Form.KEY_IMAGES, Form.PDF}


def test_fallback_does_not_repeat_what_is_sent_anyway() -> None:
    settings = FormSettings(forms=(Form.BINARY, Form.PDF))
    assert settings.fallback_choice.forms == {Form.KEY_IMAGES}


@pytest.mark.parametrize(
    ("destination", "made_at_once"),
    [
        pytest.param({}, {Form.BINARY, Form.REPORT}, id="pictures-wait-for-a-refusal"),
        pytest.param(
            {"fallback": ["labelmap", "pdf"]},
            {Form.BINARY, Form.REPORT, Form.LABELMAP},
            id="masks-can-not-be-made-later",
        ),
        pytest.param(
            {"forms": ["key-images"], "fallback": ["pdf"]}, {Form.KEY_IMAGES}, id="pictures-that-are-wanted"
        ),
    ],
)
def test_pictures_of_a_fallback_are_not_made_at_once(
    destination: dict[str, object], made_at_once: set[Form]
) -> None:
    peer = {"ae_title": "PACS", "host": "localhost", "port": 104, **destination}
    settings = NodeSettings.model_validate({"destinations": {"pacs": peer}})
    router = Router(settings, {"MR1"}, Descriptions(frozenset(), frozenset()))
    choices = router.choices(router.destinations({}))
    assert {form for choice in choices for form in choice.forms} == made_at_once


@pytest.mark.parametrize("name", ["forms", "fallback"])
def test_two_encodings_for_one_destination_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="choose one of binary, labelmap"):
        FormSettings.model_validate({name: ["binary", "labelmap"]})
