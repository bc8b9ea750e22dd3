"""Faults of ServiceCIDRs and IPAddresses, in the words of the API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy.api.decode import decode, decode_texts
from kproxy.api.types import IPAddress, Metadata
from tests.api.objects import ABSENT, IP_ADDRESS, SERVICE_CIDR, Manifest, edited, problems_of

NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
ZEROS = "must not have leading 0s in IP or prefix length"
MAPPED = "must not have an IPv4-mapped IPv6 address"
BITS = "must not have bits set beyond the prefix length"
ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)


def canonical(text: str) -> str:
    return f'must be in canonical form ("{text}")'


LISTS: list[tuple[Any, str]] = [  # ranges -> problem of spec.cidrs
    (ABSENT, "Required value: at least one CIDR required"),
    ([], "Required value: at least one CIDR required"),
    ("10.96.0.0/12", "expected a list, got '10.96.0.0/12'"),
    *(
        (cidrs, f"Invalid value: {json.dumps({'CIDRs': cidrs}, separators=(',', ':'))}: {told}")
        for cidrs, told in [
            (["10.96.0.0/12", "fd00::/112", "fd01::/112"], "may only hold up to 2 values"),
            (["10.96.0.0/12", "10.0.0.0/8"], ONE_EACH),
            (["fd00::/112", "fd01::/112"], ONE_EACH),
            (["10.96.0.0", "fd00::/112"], ONE_EACH),
            (["10.96.0.0/12", "::ffff:10.0.0.0/104"], ONE_EACH),
        ]
    ),
]


@pytest.mark.parametrize(("cidrs", "told"), LISTS)
def test_lists_of_ranges(cidrs: Any, told: str) -> None:
    assert problems_of(edited(SERVICE_CIDR, "spec.cidrs", cidrs)) == [f"spec.cidrs: {told}"]


RANGES = [
    ("10.96.0.0", NO_CIDR),
    ("", NO_CIDR),
    ("10.96.0.0/33", NO_CIDR),
    ("10.96.0.1/12", BITS),
    ("10.96.0.0/012", ZEROS),
    ("10.096.0.0/12", ZEROS),
    ("::ffff:10.96.0.0/108", MAPPED),
    ("fd00::1/112", BITS),
    ("FD00::/112", canonical("fd00::/112")),
    ("fd00:0::/112", canonical("fd00::/112")),
    ("fd00::/0112", NO_CIDR),
    ("fd00::/064", ZEROS),
]


@pytest.mark.parametrize(("text", "told"), RANGES)
def test_single_ranges(text: str, told: str) -> None:
    (problem,) = problems_of(edited(SERVICE_CIDR, "spec.cidrs", [text]))
    assert problem == f'spec.cidrs[0]: Invalid value: "{text}": {told}'


ADDRESSES: list[tuple[str, Any, str]] = [  # field, value -> problem
    ("metadata.name", ABSENT, "metadata.name: missing"),
    *(
        ("metadata.name", text, f'metadata.name: Invalid value: "{text}": {told}')
        for text, told in [
            ("web", NO_IP),
            ("10.96.0.300", NO_IP),
            ("10.96.0.010", canonical("10.96.0.10")),
            ("FD00::1", canonical("fd00::1")),
            ("::ffff:10.0.0.1", canonical("10.0.0.1")),
        ]
    ),
    ("spec", ABSENT, "spec.parentRef: Required value"),
    ("spec.parentRef", ABSENT, "spec.parentRef: Required value"),
    ("spec.parentRef.resource", ABSENT, "spec.parentRef.resource: Required value"),
    ("spec.parentRef.name", "", "spec.parentRef.name: Required value"),
]


@pytest.mark.parametrize(("path", "value", "problem"), ADDRESSES)
def test_addresses(path: str, value: Any, problem: str) -> None:
    assert problems_of(edited(IP_ADDRESS, path, value)) == [problem]


@pytest.mark.parametrize("path", ["spec.parentRef.group", "spec.parentRef.namespace"])
def test_what_need_not_be_there(path: str) -> None:
    assert problems_of(edited(IP_ADDRESS, path, ABSENT)) == []


def text(manifest: Manifest) -> str:
    return json.dumps(manifest)


def test_an_address_is_in_no_namespace_and_not_for_proxies() -> None:
    (found,) = decode(text(edited(IP_ADDRESS, "metadata.namespace", "shop")), "f").objects
    assert isinstance(found, IPAddress)
    assert found.metadata == Metadata(name="10.96.0.50", namespace="")
    skipped = decode_texts({"f": text(IP_ADDRESS)})
    assert not skipped.objects
    assert not skipped.problems
    assert skipped.notices == ("f:1: kind IPAddress is not used by a service proxy; skipped",)
