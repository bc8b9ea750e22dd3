"""Protobuf bodies of kubectl 1.37.1, each with what it prints as JSON with `--dry-run=client`."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode

from kproxy.apiserver.protobuf import MAGIC, decoded
from kproxy.controlplane.plane import Json, Refused

RECORDED: list[Json] = decode(Path(__file__).with_name("protobuf_bodies.json").read_bytes())
BODIES = [b64decode(each["body"]) for each in RECORDED]


def message(*parts: tuple[int, bytes | int]) -> bytes:
    """Encode fields; numbers and lengths below 16,384."""
    made = b""
    for number, value in parts:
        made += varint(number << 3 | (2 if isinstance(value, bytes) else 0))
        made += varint(len(value)) + value if isinstance(value, bytes) else varint(value)
    return made


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])


DEEP = message((1, b'{"a":' * 2000))


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = message((1, api_version.encode()), (2, kind.encode()))
    return MAGIC + message((1, meta), (2, raw), (3, b""), (4, b""))


def empty_left_out(value: Any) -> Any:
    """Without empty objects, which Go writes into JSON for structs that are not pointers."""
    if isinstance(value, dict):
        pruned = {key: empty_left_out(each) for key, each in value.items()}
        return {key: each for key, each in pruned.items() if each not in ({}, None)}
    return [empty_left_out(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: each["command"])
def test_what_kubectl_sends(recorded: Json) -> None:
    assert empty_left_out(decoded(b64decode(recorded["body"]))) == recorded["document"]


def test_times_numbers_and_json() -> None:
    time = message((1, 1_700_000_000), (2, 120_000_000))
    minus_one = (1 << 64) - 1
    metadata = message((1, b"e"), (17, message((1, b"m"), (7, message((1, b'{"f:x":{}}'))))))
    event = message((1, metadata), (2, time), (14, time), (15, minus_one))
    assert decoded(body("events.k8s.io/v1", "Event", event)) == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e", "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}]},
        "eventTime": "2023-11-14T22:13:20.120000Z",
        "deprecatedLastTimestamp": "2023-11-14T22:13:20Z",
        "deprecatedCount": -1,
    }


def test_quantities_are_texts() -> None:
    requests = message((1, b"cpu"), (2, message((1, b"500m"))))
    container = message((1, b"c"), (8, message((2, requests))))
    pod = decoded(body("v1", "Pod", message((2, message((2, container))))))
    assert pod["spec"]["containers"] == [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]


def test_a_source_of_a_volume_is_a_field_of_the_volume() -> None:
    volume = message((1, b"v"), (2, message((2, b""))))
    pod = decoded(body("v1", "Pod", message((2, message((1, volume))))))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_a_stated_zero_is_kept_and_an_unknown_field_dropped() -> None:
    scaled = decoded(body("apps/v1", "Deployment", message((2, message((1, 0))), (99, b"x"))))
    assert scaled == {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0}}


def test_delete_options_belong_to_any_group() -> None:
    options = decoded(body("apps/v1", "DeleteOptions", message((1, 30), (4, b"Orphan"))))
    assert options["gracePeriodSeconds"] == 30
    assert options["propagationPolicy"] == "Orphan"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (body("v1", "Toy", b""), 'no kind "Toy" is registered for version "v1"'),
        (body("v1", "Pod", b"\x0a\x7f"), "ends too early"),
        (body("v1", "Pod", b"\x0b"), "wire type 3"),
        (body("v1", "Pod", b"\xff" * 12), "too long"),
        (body("v1", "Pod", message((1, 1))), "bytes are expected"),
        (body("v1", "Pod", message((1, message((1, b"\xff"))))), "utf-8"),
        (body("events.k8s.io/v1", "Event", message((2, message((1, 1 << 62))))), "no protobuf"),
        (
            body("v1", "Pod", message((1, message((17, message((7, message((1, b"{"))))))))),
            "truncated",
        ),
        (body("v1", "Pod", message((1, message((17, message((7, DEEP))))))), "recursion"),
    ],
)
def test_refused(text: bytes, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        decoded(text)
    assert refused.value.status == 400


@given(st.sampled_from(BODIES), st.integers(4, 400), st.binary(max_size=8))
def test_damage_is_refused_or_read_but_no_other_error(text: bytes, at: int, change: bytes) -> None:
    with suppress(Refused):
        decoded(text[:at] + change + text[at + len(change) :])
