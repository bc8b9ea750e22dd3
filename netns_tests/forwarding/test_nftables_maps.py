"""nftables mode looks each packet up once, in maps and sets that all Services share: the outcomes
where Services have something in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from kproxy.api.types import Endpoint, EndpointPort, KubernetesObject, ServicePort
from kproxy.lab import service, slices_for
from kproxy.testing import Expectation, LabFactory, ProbedLab, delivered, dropped, refused
from netns_tests.forwarding.survey import build_lab
from netns_tests.modes import NFTABLES

FIRST, SECOND = "10.96.0.1", "10.96.0.2"
VIP, EXTERNAL_IP = "203.0.113.1", "192.0.2.1"
STRANGERS = ("198.18.0.0/15",)


class Shop(NamedTuple):
    """A Service. Its endpoints are `pods`, or `astray`: an address and port on no known node."""

    cluster_ip: str
    pods: Sequence[str] = ()
    astray: tuple[str, int] | None = None
    policy: str = "Cluster"
    vips: Sequence[str] = ()
    external_ips: Sequence[str] = ()
    ranges: Sequence[str] = ()

    def objects(self, lab: ProbedLab, name: str) -> list[KubernetesObject]:
        made = service(
            name,
            cluster_ips=[self.cluster_ip],
            ports=[ServicePort(port=80, target_port=8080)],
            type="LoadBalancer",
            load_balancer_ips=self.vips,
            external_ips=tuple(self.external_ips),
            external_traffic_policy=self.policy,
            load_balancer_source_ranges=tuple(self.ranges),
        )
        slices = slices_for(made, [lab.pods[each] for each in self.pods])
        if self.astray is None:
            return [made, *slices]
        address, port = self.astray
        endpoint = Endpoint(addresses=(address,))
        return [
            made,
            *(
                replace(one, ports=(EndpointPort(port=port),), endpoints=(endpoint,))
                for one in slices
            ),
        ]


POD_A = ("10.244.1.11", 8080)
SITUATIONS: list[tuple[Sequence[Shop], str, str, Expectation]] = [  # client, asks -> outcome
    # Two Services claim a VIP: the first by name has it, in each map that holds the VIP.
    (
        (Shop(FIRST, ["pod-a"], vips=[VIP]), Shop(SECOND, ["pod-b"], vips=[VIP])),
        *("outside", VIP, delivered("pod-a", source="node-a")),
    ),
    (
        (Shop(FIRST, vips=[VIP]), Shop(SECOND, ["pod-b"], vips=[VIP])),
        *("outside", VIP, delivered("pod-b", source="node-a")),
    ),
    (
        (Shop(FIRST, ["pod-a"], vips=[VIP]), Shop(SECOND, ["pod-b"], vips=[VIP], ranges=STRANGERS)),
        *("outside", VIP, dropped("node-a")),
    ),
    (
        (
            Shop(FIRST, ["pod-b"], vips=[VIP], policy="Local"),  # leads nowhere from node-a
            Shop(SECOND, ["pod-a"], vips=[VIP]),
        ),
        *("outside", VIP, dropped("node-a")),
    ),
    # The mark for cluster IPs ignores port and Service.
    (
        (Shop(FIRST, ["pod-a"], external_ips=[EXTERNAL_IP], policy="Local"),),
        *("outside", EXTERNAL_IP, delivered("pod-a", source="outside")),
    ),
    (
        (
            Shop(FIRST, ["pod-a"], external_ips=[SECOND], policy="Local"),
            Shop(SECOND),
        ),
        *("outside", SECOND, delivered("pod-a", source="node-a")),
    ),
    # Nor may a packet be forwarded to a cluster IP, also if it is translated to one.
    (
        (Shop(FIRST, astray=(SECOND, 80)), Shop(SECOND, ["pod-a"])),
        *("visitor-a", FIRST, refused("node-a")),
    ),
    # An endpoint on no known node is no hairpin, unless another Service knows better.
    ((Shop(FIRST, astray=POD_A),), "pod-a", FIRST, dropped("pod-a")),
    (
        (Shop(FIRST, astray=POD_A), Shop(SECOND, ["pod-a"])),
        *("pod-a", FIRST, delivered("pod-a", source="node-a")),
    ),
]


@pytest.fixture(scope="module", params=NFTABLES, ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    return build_lab(kproxy_module_lab, request.param)


@pytest.mark.parametrize(("shops", "client", "asks", "outcome"), SITUATIONS)
def test_what_services_share(
    lab: ProbedLab, shops: Sequence[Shop], client: str, asks: str, outcome: Expectation
) -> None:
    lab.replace(
        obj for number, shop in enumerate(shops) for obj in shop.objects(lab, f"shop-{number}")
    )
    assert lab.ask(client, asks, 80) == outcome
    assert lab.connect(client, asks, 80) == outcome
    assert lab.predict(client, asks, 80) == outcome
