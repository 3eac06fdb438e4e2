"""What `csvd-node check-config` says of destinations and routes."""

from __future__ import annotations

from typing import Any

import pytest

from node.destinations_report import describe_destinations
from node.settings import NodeSettings

PACS = {"ae_title": "PACS", "host": "10.0.0.7", "port": 104}


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        pytest.param(
            PACS,
            "PACS@10.0.0.7:104 gets binary, report, masks both; key-images, pdf instead of what it refuses",
            id="default",
        ),
        pytest.param(
            {
                **PACS,
                "forms": ["labelmap"],
                "masks": "combined",
                "deflate": True,
                "rle": True,
                "fallback": [],
            },
            "PACS@10.0.0.7:104 gets labelmap, masks combined, deflated or in RLE where accepted; "
            "nothing instead of what it refuses",
            id="smaller-and-no-fallback",
        ),
        pytest.param(
            {**PACS, "forms": ["report"], "commitment": True},
            "PACS@10.0.0.7:104 gets report, and has to commit to it; "
            "key-images, pdf instead of what it refuses",
            id="commitment",
        ),
        pytest.param(
            {**PACS, "forms": ["key-images", "pdf"], "deflate": True},
            "PACS@10.0.0.7:104 gets key-images, pdf; key-images, pdf instead of what it refuses",
            id="without-masks",
        ),
        pytest.param(
            {"stow": {"url": "https://archive/dicom-web"}, "forms": ["fractional"], "masks": "per-series"},
            "STOW-RS https://archive/dicom-web gets fractional, masks per-series; "
            "key-images, pdf instead of what it refuses",
            id="dicomweb",
        ),
    ],
)
def test_destination_is_put_into_a_sentence(destination: dict[str, Any], said: str) -> None:
    settings = NodeSettings.model_validate({"destinations": {"one": destination}})
    assert list(describe_destinations(settings)) == [f"one: {said}", "all results go to one"]


def test_several_destinations_without_routes_need_no_else() -> None:
    settings = NodeSettings.model_validate({"destinations": {"pacs": PACS, "stroke": {**PACS, "port": 105}}})
    assert list(describe_destinations(settings))[2:] == [
        "results go back to the destination that sent the Study, or to all"
    ]


def test_routes_are_put_into_sentences() -> None:
    settings = NodeSettings.model_validate(
        {
            "destinations": {"pacs": PACS, "stroke": {**PACS, "port": 105}},
            "routes": [
                {"lesions": {"INFARCT": 1}, "destinations": ["pacs", "stroke"]},
                {"calling_ae": "LAB", "destinations": []},
            ],
        }
    )
    assert list(describe_destinations(settings))[2:] == [
        "route 1: at least 1 INFARCT: to pacs, stroke",
        "route 2: calling AE LAB: to nobody",
        "else: back to the destination that sent the Study, or to all",
    ]


def test_node_without_destinations_needs_no_words() -> None:
    assert list(describe_destinations(NodeSettings())) == []
