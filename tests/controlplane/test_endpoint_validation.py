"""Endpoints written by hand that the API server would not store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kproxy.address import family_of
from kproxy.api.types import (
    Endpoint,
    EndpointAddress,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Metadata,
    NamedHint,
)
from kproxy.controlplane.endpoint_validation import endpoints_problems, slice_problems

SPECIAL = [
    ("0.0.0.0", "unspecified (0.0.0.0)"),
    ("127.0.0.1", "in the loopback range (127.0.0.0/8, ::1/128)"),
    ("169.254.1.1", "in the link-local range (169.254.0.0/16, fe80::/10)"),
    ("224.0.0.1", "in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ("::1", "in the loopback range (127.0.0.0/8, ::1/128)"),
    ("fe80::1", "in the link-local range (169.254.0.0/16, fe80::/10)"),
]


def endpoint_slice(*endpoints: Endpoint, ports: int = 1, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name="web-a"),
        address_type=family,
        endpoints=endpoints,
        ports=tuple(EndpointPort(name=f"p{i}", port=80) for i in range(ports)),
    )


ONE = Endpoint(addresses=("10.0.0.1",))
SLICES = [  # the slice, what is said of it
    (endpoint_slice(ONE), []),
    (endpoint_slice(*[ONE] * 1000), []),
    (
        endpoint_slice(*[ONE] * 1001),
        ["endpoints: Too many: 1001: must have at most 1000 items"],
    ),
    (
        endpoint_slice(Endpoint()),
        ["endpoints[0].addresses: Required value: must contain at least 1 address"],
    ),
    (
        endpoint_slice(ONE, Endpoint(addresses=("10.0.0.1",) * 101)),
        ["endpoints[1].addresses: Too many: 101: must have at most 100 items"],
    ),
    (
        endpoint_slice(ports=20_001),
        ["ports: Too many: 20001: must have at most 20000 items"],
    ),
    *(
        (
            endpoint_slice(Endpoint(addresses=(address,)), family=family_of(address)),
            [f'endpoints[0].addresses[0]: Invalid value: "{address}": may not be {told}'],
        )
        for address, told in SPECIAL
    ),
]


@pytest.mark.parametrize(("wanted", "told"), SLICES)
def test_slices(wanted: EndpointSlice, told: list[str]) -> None:
    assert [*slice_problems(wanted, None)] == told


def test_a_hostname_is_a_label() -> None:
    (problem,) = slice_problems(
        endpoint_slice(Endpoint(addresses=("10.0.0.1",), hostname="A_b")), None
    )
    assert problem.startswith('endpoints[0].hostname: Invalid value: "A_b": a lowercase RFC 1123 ')


HINTED = [  # names of zones, or of nodes -> what is said of them
    ("abcdefgh", ""),
    ("abcdefghi", ": Too many: 9: must have at most 8 items"),
    ("aba", '[2].name: Duplicate value: "a"'),
]


@pytest.mark.parametrize(("names", "told"), HINTED)
def test_hints(names: str, told: str) -> None:
    hints = tuple(NamedHint(name=each) for each in names)
    for field, given in (
        ("forZones", EndpointHints(for_zones=hints)),
        ("forNodes", EndpointHints(for_nodes=hints)),
    ):
        wanted = endpoint_slice(Endpoint(addresses=("10.0.0.1",), hints=given))
        expected = [f"endpoints[0].hints.{field}{told}"] if told else []
        assert [*slice_problems(wanted, None)] == expected


def test_labels_and_annotations_are_such() -> None:
    metadata = Metadata(name="web", labels={"a b": "-"}, annotations={"/c": ""})
    wanted = replace(endpoint_slice(ONE), metadata=metadata)
    by_hand = replace(subset(EndpointAddress(ip="10.0.0.1")), metadata=metadata)
    for problems in ([*slice_problems(wanted, None)], [*endpoints_problems(by_hand, None)]):
        assert [each.split(" must ")[0] for each in problems] == [
            'metadata.labels: Invalid value: "a b": name part',
            'metadata.labels: Invalid value: "-": a valid label',
            'metadata.annotations: Invalid value: "/c": prefix part',
        ]


def test_a_port_of_endpoints_has_a_number() -> None:
    only = EndpointSubset(
        addresses=(EndpointAddress(ip="10.0.0.1"),), ports=(EndpointPort(name="web"),)
    )
    wanted = Endpoints(metadata=Metadata(name="web"), subsets=(only,))
    assert [*endpoints_problems(wanted, None)] == [
        "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
    ]


def subset(*ready: EndpointAddress, not_ready: tuple[EndpointAddress, ...] = ()) -> Endpoints:
    only = EndpointSubset(addresses=ready, not_ready_addresses=not_ready)
    return Endpoints(metadata=Metadata(name="web"), subsets=(only,))


def test_endpoints() -> None:
    good = EndpointAddress(ip="10.0.0.1")
    assert [*endpoints_problems(subset(good), None)] == []
    assert [*endpoints_problems(subset(not_ready=(good,)), None)] == []
    assert [*endpoints_problems(subset(), None)] == [
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"
    ]
    for address, told in SPECIAL:
        (problem,) = endpoints_problems(subset(good, EndpointAddress(ip=address)), None)
        field = "subsets[0].addresses[1].ip"
        assert problem == f'{field}: Invalid value: "{address}": may not be {told}'
