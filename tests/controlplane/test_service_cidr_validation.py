"""ServiceCIDRs and IPAddresses are judged as by the API server, with all faults at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy.api.manifests import decode_texts
from kproxy.controlplane.value_problems import subdomain_problems
from tests.api.objects import ABSENT, IP_ADDRESS, SERVICE_CIDR, Manifest, edited
from tests.controlplane.services import told
from tests.controlplane.test_answers import answer

NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
ZEROS = "must not have leading 0s in IP or prefix length"
MAPPED = "must not have an IPv4-mapped IPv6 address"
BITS = "must not have bits set beyond the prefix length"
ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)
NO_NAME = "metadata.name: Required value: name or generateName is required"


def canonical(text: str) -> str:
    return f'must be in canonical form ("{text}")'


def said(manifest: Manifest, *problems: str) -> list[str]:
    """Return what is said of an object with these problems."""
    name = manifest["metadata"].get("name", "")
    return told(list(problems), f'{manifest["kind"]}.networking.k8s.io "{name}"')


def shown(cidrs: list[str]) -> str:
    return json.dumps({"CIDRs": cidrs}, separators=(",", ":"))


LISTS: list[tuple[Any, str]] = [  # ranges -> problem of spec.cidrs
    (ABSENT, "Required value: at least one CIDR required"),
    ([], "Required value: at least one CIDR required"),
    (None, "Required value: at least one CIDR required"),
    *(
        (cidrs, f"Invalid value: {shown(cidrs)}: {told}")
        for cidrs, told in [
            (["10.96.0.0/12", "fd00::/112", "fd01::/112"], "may only hold up to 2 values"),
            (["10.96.0.0/12", "10.0.0.0/8"], ONE_EACH),
            (["fd00::/112", "fd01::/112"], ONE_EACH),
            (["10.96.0.0", "fd00::/112"], ONE_EACH),
            (["10.96.0.0/12", "::ffff:10.0.0.0/104"], ONE_EACH),
        ]
    ),
]


@pytest.mark.parametrize(("cidrs", "problem"), LISTS)
def test_lists_of_ranges(cidrs: Any, problem: str) -> None:
    manifest = edited(SERVICE_CIDR, "spec.cidrs", cidrs)
    assert answer(manifest) == said(manifest, f"spec.cidrs: {problem}")


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


@pytest.mark.parametrize(("text", "problem"), RANGES)
def test_single_ranges(text: str, problem: str) -> None:
    manifest = edited(SERVICE_CIDR, "spec.cidrs", [text])
    assert answer(manifest) == said(manifest, f'spec.cidrs[0]: Invalid value: "{text}": {problem}')


ADDRESSES: list[tuple[str, Any, list[str]]] = [  # field, value -> problems
    ("metadata.name", ABSENT, [NO_NAME]),
    *(
        ("metadata.name", text, [f'metadata.name: Invalid value: "{text}": {problem}'])
        for text, problem in [
            ("web", NO_IP),
            ("10.96.0.300", NO_IP),
            ("10.96.0.010", "must not have leading 0s"),
            ("FD00::1", canonical("fd00::1")),
            ("::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ]
    ),
    ("spec", ABSENT, ["spec.parentRef: Required value"]),
    ("spec.parentRef", ABSENT, ["spec.parentRef: Required value"]),
    (
        "spec.parentRef",
        {"group": "-"},
        [
            f'spec.parentRef.group: Invalid value: "-": {subdomain_problems("-")[0]}',
            "spec.parentRef.resource: Required value",
            "spec.parentRef.name: Required value",
        ],
    ),
    (
        "spec.parentRef",
        {"resource": "a/b%c", "name": "..", "namespace": "."},
        [
            "spec.parentRef.resource: Invalid value: \"a/b%c\": may not contain '/'",
            "spec.parentRef.resource: Invalid value: \"a/b%c\": may not contain '%'",
            "spec.parentRef.name: Invalid value: \"..\": may not be '..'",
            "spec.parentRef.namespace: Invalid value: \".\": may not be '.'",
        ],
    ),
]


@pytest.mark.parametrize(("path", "value", "problems"), ADDRESSES)
def test_addresses(path: str, value: Any, problems: list[str]) -> None:
    manifest = edited(IP_ADDRESS, path, value)
    assert answer(manifest) == said(manifest, *problems)


@pytest.mark.parametrize("path", ["spec.parentRef.group", "spec.parentRef.namespace"])
def test_what_need_not_be_there(path: str) -> None:
    assert answer(edited(IP_ADDRESS, path, ABSENT)) == []


def test_faults_of_metadata_and_spec_are_told_together() -> None:
    manifest = edited(edited(SERVICE_CIDR, "spec.cidrs", []), "metadata.finalizers", ["x"])
    finalizer = "name is neither a standard finalizer name nor is it fully qualified"
    assert answer(manifest) == said(
        manifest,
        f'metadata.finalizers[0]: Invalid value: "x": {finalizer}',
        "spec.cidrs: Required value: at least one CIDR required",
    )


def test_an_address_keeps_its_parent() -> None:
    other = edited(IP_ADDRESS, "spec.parentRef.name", "other")
    parent = other["spec"]["parentRef"]
    shown = json.dumps({k.capitalize(): v for k, v in parent.items()}, separators=(",", ":"))
    assert answer(IP_ADDRESS, other) == said(
        other, f"spec.parentRef: Invalid value: {shown}: field is immutable"
    )
    none = edited(IP_ADDRESS, "spec.parentRef", None)
    assert answer(IP_ADDRESS, none) == said(
        none,
        "spec.parentRef: Required value",
        'spec.parentRef: Invalid value: "null": field is immutable',
    )


def test_no_proxy_reads_addresses() -> None:
    skipped = decode_texts({"f": json.dumps(IP_ADDRESS)})
    assert not skipped.objects
    assert not skipped.problems
    assert skipped.notices == ("f:1: kind IPAddress is not used by a service proxy; skipped",)
