"""Which service ports claim an address together, however they came to it."""

from __future__ import annotations

from random import Random

import pytest
from kproxy_iptables.claims import Claims
from kproxy_iptables.rules import Context

from kproxy.forwarding.plan import FrontendKind, Plan, ServicePlan, ServicePortName
from tests.forwarding.plans import Web, plan, settings

NODE = settings("node-a")
CONTEXT = Context(settings=NODE, localhost_counter=False)
NAMES = ("a", "b", "c", "d")
SHARED = ("198.51.100.7", "198.51.100.8", "198.51.100.9")


def planned(*web: Web) -> Plan:
    return plan(web, NODE)


def addresses(service: ServicePlan) -> set[tuple[str, str, int]]:
    return {
        (service.protocol, each.address, each.port)
        for each in service.frontends
        if each.kind is not FrontendKind.NODE_PORT
    }


def contested(claims: Claims, services: dict[ServicePortName, ServicePlan]) -> set[ServicePortName]:
    """Return the service ports that would be contested if they were new."""
    return {name for name in services if claims.are_contested(services, {name: None}, CONTEXT)}


@pytest.mark.parametrize("seed", range(5))
def test_any_history_is_like_a_fresh_start(seed: int) -> None:
    random = Random(seed)
    web: dict[str, Web] = {}
    claims, former = Claims([]), planned().services
    seen: set[bool] = set()
    for _ in range(60):
        for name in random.sample(NAMES, random.randint(1, 2)):
            if random.random() < 0.3:
                web.pop(name, None)
            else:
                web[name] = Web(
                    name=name,
                    cluster_ip=f"10.96.0.{NAMES.index(name) + 1}",
                    external_ips=tuple(random.sample(SHARED, random.randint(0, 1))),
                    vips=(),
                    protocol=random.choice(("TCP", "UDP")),
                )
        services = dict(planned(*web.values()).services)
        changed = {
            name
            for name in former.keys() | services.keys()
            if former.get(name) != services.get(name)
        }
        claims.follow(services, {name: former.get(name) for name in changed})
        expected = {
            name
            for name, service in services.items()
            for rival, other in services.items()
            if rival != name and addresses(service) & addresses(other)
        }
        assert contested(claims, services) == expected
        assert contested(Claims(services.values()), services) == expected
        seen.add(bool(expected))
        former = services
    assert seen == {True, False}


def test_only_changed_rules_are_contested() -> None:
    """A change of endpoints leaves the order of rules as it is; the last one's end does not."""
    rival = Web(name="rival", cluster_ip="10.96.0.11", node_port=30081)
    former = planned(Web(), rival).services
    name = next(each for each in former if each.name == "web")
    for on, told in ((("pod-b", "pod-c"), False), ((), True)):
        claims = Claims(former.values())
        services = planned(Web(on=on), rival).services
        claims.follow(services, {name: former[name]})
        assert claims.are_contested(services, {name: former[name]}, CONTEXT) is told
