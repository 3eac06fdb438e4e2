from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from engines.segments import Segment
from node.results.uids import (
    derived_uid,
    dimension_organization_uid,
    model_device_uid,
    node_device_uid,
    result_instance_uid,
    result_series_uid,
    tracking_uid,
)
from tests.support.result_studies import context, model_of


def test_uid_is_the_decimal_of_a_version_8_uuid() -> None:
    uid = derived_uid("series", "x")
    number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert (number.version, number.variant) == (8, uuid.RFC_4122)


def test_uid_of_known_parts_never_changes() -> None:
    # printf 'csvd-node results 1\0series\0x' | sha256sum, 16 bytes, version 8 and variant 10 set by hand
    expected = int("d7c4336854ca8518a99138b65d9ffa41", 16)
    assert derived_uid("series", "x") == f"2.25.{expected}"


def test_parts_are_kept_apart() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc")


def test_equal_evaluations_have_equal_uids() -> None:
    assert result_instance_uid(context(), "sr") == result_instance_uid(context(), "sr")


def test_every_uid_of_an_evaluation_is_unique() -> None:
    made = context()
    uids = [
        make(made, role)
        for make in (result_instance_uid, result_series_uid, dimension_organization_uid)
        for role in ("seg-WMH", "seg-combined", "sr")
    ]
    uids += [tracking_uid(made, segment, lesion) for segment in Segment for lesion in (None, 1, 2)]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("changed", [{"fingerprint": "6a" * 32}, {"study_uid": "1.2.3"}])
def test_another_evaluation_has_other_uids(changed: dict[str, str]) -> None:
    other = context(**changed)
    assert result_instance_uid(other, "sr") != result_instance_uid(context(), "sr")
    assert tracking_uid(other, Segment.WMH, 1) != tracking_uid(context(), Segment.WMH, 1)


def test_time_changes_no_uid() -> None:
    later = context(created_at=context().created_at.replace(year=2030))
    assert result_series_uid(later, "sr") == result_series_uid(context(), "sr")


@pytest.mark.parametrize("changed", [{"name": "other"}, {"version": "9"}, {"sha256": "f" * 64}])
def test_device_uid_changes_with_the_model(changed: dict[str, str]) -> None:
    model = model_of(Segment.WMH)
    assert model_device_uid(replace(model, **changed)) != model_device_uid(model)


def test_device_uid_of_a_model_is_the_same_on_every_runtime() -> None:
    model = model_of(Segment.WMH)
    assert model_device_uid(replace(model, runner="openvino")) == model_device_uid(model)


@pytest.mark.parametrize("changed", [{"software_version": "2"}, {"station_name": "other"}])
def test_device_uid_of_the_node_changes_with_version_and_machine(changed: dict[str, str]) -> None:
    assert node_device_uid(context(**changed)) != node_device_uid(context())
