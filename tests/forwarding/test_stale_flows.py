"""The UDP flows that are cut, and the moments at which they are checked."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    KubernetesObject,
    Metadata,
    Service,
    ServicePort,
)
from kproxy.forwarding.plan import NodeSettings
from kproxy.forwarding.planner import Planner
from kproxy.forwarding.stale_flows import UdpEndpoints, removed_ports, stale
from kproxy.lab import service
from kproxy.lab.objects import NOT_READY, READY, TERMINATING
from kproxy.store import SERVICE_NAME_LABEL, Store
from kproxy.versions import Version

V1_36, V1_37, V1_38 = Version
IPV4 = NodeSettings(family=Family.IPV4, node_name="node-a", node_ip="192.168.10.11", emulate=V1_37)
IPV6 = NodeSettings(family=Family.IPV6, node_name="node-a")
SERVES_UNREADY = EndpointConditions(ready=False, serving=True, terminating=False)
UDP, TCP = EndpointPort(name="dns", protocol="UDP", port=5353), EndpointPort(name="tcp", port=8080)

DNS = service(
    "dns",
    cluster_ips=["10.96.0.10", "fd00:10:96::10"],
    ports=[
        ServicePort(name="dns", protocol="UDP", port=53, node_port=30053),
        ServicePort(name="tcp", port=53, node_port=30054),
    ],
    type="LoadBalancer",
    external_ips=("203.0.113.5",),
    load_balancer_ips=["203.0.113.9"],
)
NOBODY = service(
    "nobody",
    cluster_ips=["10.96.0.20"],
    ports=[
        ServicePort(name="dns", protocol="UDP", port=53, node_port=30055),
        ServicePort(name="tcp", port=53, node_port=30056),
    ],
    type="NodePort",
)
BARE = service(
    "bare",
    cluster_ips=["10.96.0.30"],
    ports=[ServicePort(name="dns", protocol="UDP", port=53)],
)


class Flow(NamedTuple):
    destination: tuple[str, int]
    backend: tuple[str, int]


def endpoints(
    of: str = "dns",
    *addresses: str,
    ports: tuple[EndpointPort, ...] = (UDP, TCP),
    conditions: EndpointConditions = READY,
    name: str = "",
    node: str = "node-b",
    family: Literal["IPv4", "IPv6"] = "IPv4",
) -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=name or f"{of}-1", labels={SERVICE_NAME_LABEL: of}),
        address_type=family,
        ports=ports,
        endpoints=tuple(
            Endpoint(addresses=(address,), conditions=conditions, node_name=node)
            for address in addresses
        ),
    )


CLUSTER: list[KubernetesObject] = [
    DNS,
    NOBODY,
    BARE,
    endpoints("dns", "10.244.1.1"),
    endpoints("dns", "10.244.1.2", conditions=TERMINATING, name="dns-2"),
    endpoints("dns", "10.244.1.3", conditions=SERVES_UNREADY, name="dns-3"),
    endpoints("dns", "10.244.1.4", conditions=NOT_READY, name="dns-4"),
    endpoints("dns", "10.244.1.8", ports=(TCP,), name="dns-5"),
    endpoints("nobody", "10.244.1.4", conditions=NOT_READY),
    endpoints("dns", "fd00::1", family="IPv6", name="dns-6"),
]

FLOWS = [  # destination, backend -> cut
    ("10.96.0.10", 53, "10.244.1.1", 5353, False),
    ("10.96.0.10", 53, "10.244.1.2", 5353, False),  # terminating, but it serves
    ("10.96.0.10", 53, "10.244.1.3", 5353, False),  # not ready, but it serves
    ("10.96.0.10", 53, "10.244.1.4", 5353, True),
    ("10.96.0.10", 53, "10.244.1.8", 5353, True),  # of another port of the Service
    ("10.96.0.10", 53, "10.244.9.9", 5353, True),
    ("10.96.0.10", 53, "10.244.1.1", 5354, True),  # the pod lives, its port is another
    ("10.96.0.10", 53, "10.96.0.10", 53, True),  # never translated: older than the rules
    ("10.96.0.10", 54, "10.244.9.9", 5353, False),  # no port of the Service
    ("203.0.113.5", 53, "10.244.1.1", 5353, False),
    ("203.0.113.5", 53, "10.244.9.9", 5353, True),
    ("203.0.113.9", 53, "10.244.1.1", 5353, False),
    ("203.0.113.9", 53, "10.244.9.9", 5353, True),
    ("192.168.10.11", 30053, "10.244.1.1", 5353, False),
    ("192.168.10.11", 30053, "10.244.9.9", 5353, True),
    ("198.51.100.7", 30053, "198.51.100.7", 30053, True),  # not ours, but of the same number
    ("192.168.10.11", 30054, "10.244.9.9", 8080, False),  # a node port of TCP
    ("10.96.0.20", 53, "10.244.1.4", 5353, True),  # no endpoint serves there
    ("192.168.10.11", 30055, "10.244.1.4", 5353, False),  # but its node port is left out
    ("192.168.10.11", 30056, "10.244.1.4", 5353, False),  # TCP
    ("10.96.0.30", 53, "10.244.1.4", 5353, True),  # has no slice at all
    ("192.168.10.11", 53, "192.168.10.11", 53, False),
    ("10.244.9.9", 5353, "10.244.9.9", 5353, False),  # asked without a Service
]


@pytest.mark.parametrize(("address", "port", "backend", "backend_port", "cut"), FLOWS)
def test_flows(address: str, port: int, backend: str, backend_port: int, cut: bool) -> None:
    store, planner, known = Store(), Planner(IPV4), UdpEndpoints()
    store.replace(CLUSTER)
    changes = store.take_changes().services
    planner.update(store, changes)
    known.update(store, changes, IPV4)
    flow = Flow((address, port), (backend, backend_port))
    assert stale(planner.plan, known.serving, [flow]) == [flow] * cut


UNSERVED = [  # flows to service ports without a serving endpoint, that 1.36 leaves alone
    ("10.96.0.20", 53, "10.244.1.4", 5353),
    ("10.96.0.30", 53, "10.244.1.4", 5353),
]


def test_1_36_leaves_flows_of_unserved_ports_alone() -> None:
    former = replace(IPV4, emulate=V1_36)
    store, planner, known = Store(), Planner(former), UdpEndpoints()
    store.replace(CLUSTER)
    changes = store.take_changes().services
    planner.update(store, changes)
    known.update(store, changes, former)
    for address, port, backend, backend_port, cut in FLOWS:
        flow = Flow((address, port), (backend, backend_port))
        left = (address, port, backend, backend_port) in UNSERVED
        assert stale(planner.plan, known.serving, [flow]) == [flow] * (cut and not left)


OTHER = service(  # has the external IP of DNS as well
    "other",
    cluster_ips=["10.96.0.40"],
    ports=[ServicePort(name="dns", protocol="UDP", port=53)],
    external_ips=("203.0.113.5",),
)
RENAMED = replace(
    DNS,
    spec=replace(DNS.spec, ports=(replace(DNS.spec.ports[0], name="new"), DNS.spec.ports[1])),
)
MOVED = replace(
    DNS,
    spec=replace(DNS.spec, ports=(replace(DNS.spec.ports[0], port=54), DNS.spec.ports[1])),
)
OF_ANOTHER_PROXY = replace(
    DNS,
    metadata=replace(DNS.metadata, labels={"service.kubernetes.io/service-proxy-name": "other"}),
)
HEADLESS_NOW = replace(DNS, spec=replace(DNS.spec, cluster_ip="None", cluster_ips=("None",)))
REMOVALS: list[tuple[str, list[KubernetesObject], list[KubernetesObject], str]] = [
    # what happens, before, after -> frontends whose flows 1.38 cuts
    ("the Service goes", [DNS], [], "10.96.0.10 203.0.113.5 203.0.113.9"),
    ("the Service and its slice go", [DNS, endpoints("dns", "10.244.9.9")], [],
     "10.96.0.10 203.0.113.5 203.0.113.9"),
    ("its port has another name", [DNS], [RENAMED], "10.96.0.10 203.0.113.5 203.0.113.9"),
    ("it is headless", [DNS], [HEADLESS_NOW], "10.96.0.10 203.0.113.5 203.0.113.9"),
    ("it is of another proxy", [DNS], [OF_ANOTHER_PROXY], "10.96.0.10 203.0.113.5 203.0.113.9"),
    ("its port has another number", [DNS], [MOVED], ""),
    ("an address is still served", [DNS, OTHER, endpoints("other", "10.244.9.9")],
     [OTHER, endpoints("other", "10.244.9.9")], "10.96.0.10 203.0.113.9"),
    ("nothing", [DNS, endpoints("dns", "10.244.9.9")], [DNS, endpoints("dns", "10.244.9.9")], ""),
]  # fmt: skip


@pytest.mark.parametrize("version", Version, ids=str)
@pytest.mark.parametrize(
    ("before", "after", "cut"), [pytest.param(*row[1:], id=row[0]) for row in REMOVALS]
)
def test_flows_of_removed_service_ports(
    before: list[KubernetesObject], after: list[KubernetesObject], cut: str, version: Version
) -> None:
    settings = replace(IPV4, emulate=version)
    store, planner, known = Store(), Planner(settings), UdpEndpoints()
    for objects in (before, after):
        store.replace(objects)
        changes = store.take_changes().services
        delta = planner.update(store, changes)
        known.update(store, changes, settings)
    removed = removed_ports(filter(None, delta.before.values()), planner.plan)
    flows = [
        Flow((address, port), ("10.244.9.9", 5353))
        for address, port in [
            ("10.96.0.10", 53),
            ("203.0.113.5", 53),
            ("203.0.113.9", 53),
            ("192.168.10.11", 30053),
        ]
    ]
    serving = {name: places for name, places in known.serving.items() if places}
    found = stale(planner.plan, serving, flows, removed)
    expected = cut.split() if version is V1_38 else []
    assert [flow.destination[0] for flow in found] == expected


FIRST = endpoints("dns", "10.244.1.1")
FIRST_6 = endpoints("dns", "fd00::1", family="IPv6", name="dns-6")
HEADLESS = Metadata(
    name="dns-1", labels={SERVICE_NAME_LABEL: "dns", "service.kubernetes.io/headless": ""}
)
WITHOUT_EXTERNAL_IP: Service = replace(DNS, spec=replace(DNS.spec, external_ips=()))
TRIGGERS: list[tuple[str, list[KubernetesObject], list[KubernetesObject], str]] = [
    # what changes, before, after -> families that look
    ("nothing", [DNS, FIRST], [DNS, FIRST], ""),
    ("an endpoint", [DNS, FIRST], [DNS, endpoints("dns", "10.244.1.2")], "IPv4"),
    ("the last endpoint", [DNS, FIRST], [DNS, endpoints("dns")], "IPv4"),
    ("the last slice", [DNS, FIRST], [DNS], "IPv4"),
    ("the first slice", [DNS], [DNS, FIRST], "IPv4"),
    ("a condition", [DNS, FIRST], [DNS, endpoints("dns", "10.244.1.1", node="node-c")], "IPv4"),
    ("the Service", [DNS, FIRST], [WITHOUT_EXTERNAL_IP, FIRST], ""),
    ("the Service goes", [DNS, FIRST], [FIRST], ""),
    ("the Service comes", [FIRST], [DNS, FIRST], ""),
    (
        "TCP only",
        [DNS, endpoints("dns", "10.244.1.1", ports=(TCP,))],
        [DNS, endpoints("dns", "10.244.1.2", ports=(TCP,))],
        "",
    ),
    (
        "TCP, in a Service with UDP",
        [DNS, FIRST, endpoints("dns", "10.244.1.1", ports=(TCP,), name="dns-2")],
        [DNS, FIRST, endpoints("dns", "10.244.1.2", ports=(TCP,), name="dns-2")],
        "IPv4",
    ),
    ("UDP goes", [DNS, FIRST], [DNS, endpoints("dns", "10.244.1.1", ports=(TCP,))], "IPv4"),
    ("no address", [DNS, endpoints("dns")], [DNS, endpoints("dns", name="dns-2")], ""),
    (
        "headless",
        [DNS, replace(FIRST, metadata=HEADLESS)],
        [DNS, replace(endpoints("dns", "10.244.1.2"), metadata=HEADLESS)],
        "",
    ),
    ("IPv6", [DNS, FIRST], [DNS, FIRST, FIRST_6], "IPv6"),
]


@pytest.mark.parametrize(
    ("before", "after", "families"), [pytest.param(*row[1:], id=row[0]) for row in TRIGGERS]
)
def test_when_flows_are_looked_at(
    before: list[KubernetesObject], after: list[KubernetesObject], families: str
) -> None:
    store = Store()
    known = {settings: UdpEndpoints() for settings in (IPV4, IPV6)}
    store.replace(before)
    changes = store.take_changes().services
    for settings, endpoints_known in known.items():
        endpoints_known.update(store, changes, settings)
    store.replace(after)
    changes = store.take_changes().services
    looking = [
        settings.family.value
        for settings, endpoints_known in known.items()
        if endpoints_known.update(store, changes, settings)
    ]
    assert looking == families.split()
    afresh = UdpEndpoints()
    afresh.update(store, [("default", "dns")], IPV4)
    assert known[IPV4].serving == afresh.serving  # whatever the history
