"""Service ports that share addresses, node ports, endpoints and source ranges, in the kernel.

tests/backends/test_nftables_contents.py does the same without a kernel.
"""

from __future__ import annotations

from random import Random

import pytest

from kproxy.address import Family
from kproxy.forwarding.plan import Delta, Plan
from netns_tests.conformance.comparison import State
from netns_tests.modes import NFTABLES, Mode
from netns_tests.node import bench
from tests.forwarding import plans

STEPS = 60
CHECKED_EVERY = 10

SHARED = {  # cluster IPs; other addresses; source ranges; pods
    Family.IPV4: (
        ("10.96.0.10", "10.96.0.11"),
        ("198.51.100.7", "198.51.100.8", "10.96.0.10"),
        (
            *("203.0.113.0/24", "203.0.113.128/25", "203.0.113.128/32", "10.244.0.0/16"),
            *("0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "255.255.255.255/32"),
        ),
        ("pod-a", "pod-a2", "pod-b", "pod-c", "node-a", "10.244.9.9:8080"),
    ),
    Family.IPV6: (
        ("fd00:96::10", "fd00:96::11"),
        ("fd00:51::7", "fd00:51::8", "fd00:96::10"),
        (
            *("fd00:203::/64", "fd00:203::/112", "fd00:203::9/128", "fd00:244::/32"),
            *("::/1", "8000::/1", "::/0", "ffff::/16"),
        ),
        ("pod-a", "pod-a2", "pod-b", "node-a", "fd00:244:9::9:8080"),
    ),
}


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
@pytest.mark.parametrize("seed", [1, 2])
def test_who_has_what_is_settled_as_by_a_fresh_start(mode: Mode, family: Family, seed: int) -> None:
    random = Random(seed)
    webs: dict[str, plans.Web] = {}
    with bench(mode) as node:
        backend = node.backends[family]
        former = planned(family, webs)
        backend.sync(former, Delta(full=True))
        for step in range(STEPS):
            for name in random.sample("abcd", random.randint(1, 3)):
                webs.pop(name, None)
                if random.random() < 0.8:
                    webs[name] = random_web(random, family, name)
            plan = planned(family, webs)
            backend.sync(plan, difference(former, plan))
            assert backend.intact()
            former = plan
            if step % CHECKED_EVERY == 0:
                assert node.state() == fresh_state(mode, plan), f"after step {step}"


def planned(family: Family, webs: dict[str, plans.Web]) -> Plan:
    detector = plans.CLUSTER_CIDR if family is Family.IPV4 else plans.CLUSTER_CIDR_6
    return plans.plan(webs.values(), plans.settings("node-a", family=family, detector=detector))


def difference(before: Plan, after: Plan) -> Delta:
    names = before.services.keys() | after.services.keys()
    return Delta(
        before={
            name: before.services.get(name)
            for name in names
            if before.services.get(name) != after.services.get(name)
        }
    )


def fresh_state(mode: Mode, plan: Plan) -> State:
    with bench(mode) as fresh:
        fresh.backends[plan.family].sync(plan, Delta(full=True))
        return fresh.state()


def random_web(random: Random, family: Family, name: str) -> plans.Web:
    cluster_ips, addresses, cidrs, pods = SHARED[family]

    def some(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(random.sample(values, random.randint(0, len(values))))

    return plans.Web(
        name=name,
        on=some(pods),
        external=random.choice(("Cluster", "Local")),
        internal=random.choice(("Cluster", "Local")),
        protocol=random.choice(("TCP", "TCP", "TCP", "UDP")),
        cluster_ip=random.choice(cluster_ips),
        external_ips=some(addresses),
        vips=some(addresses),
        source_ranges=some(cidrs),
        node_port=random.choice((30080, 30081)),
        affinity_timeout_s=random.choice((0, 0, 0, 10, 10800)),
    )
