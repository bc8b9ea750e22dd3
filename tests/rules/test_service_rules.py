"""The rules of one Service from rendered rulesets: order, depth, purposes, and other Services."""

from __future__ import annotations

import msgspec
import pytest

from kproxy.address import Family
from kproxy.api import manifests
from kproxy.api.types import KubernetesObject
from kproxy.backend import (
    BadInput,
    HostFacts,
    ListedRule,
    Listing,
    Mode,
    RuleLine,
    Sought,
    complete_options,
    load,
    uncounted,
)
from kproxy.config import ProxyConfig
from kproxy.rules.difference import effects
from kproxy.rules.paper import NodeOnPaper, Paper, node_on_paper
from kproxy.rules.report import rule_lines
from kproxy.rules.service import service_rules, sought_in, values

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  clusterIP: 10.96.0.{number}
  ports:
  - {{name: http, port: 80, nodePort: 300{number}}}
  - {{name: admin, port: 81, nodePort: 310{number}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-4, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints:
- {{addresses: [10.244.0.{number}], nodeName: node-1}}
- {{addresses: [10.244.1.{number}], nodeName: node-2}}
ports: [{{name: http, port: 8080}}, {{name: admin, port: 8081}}]
---
"""
MODES = ["iptables", "nftables", "nftables:flat", "ipvs", "userspace"]


def objects() -> tuple[KubernetesObject, ...]:
    text = "".join(SERVICE.format(name=name, number=10 + n) for n, name in enumerate("ab"))
    return manifests.decode_texts({"services": text}).objects


def paper(name: str) -> Paper:
    config = ProxyConfig()
    mode_name, _, variant = name.partition(":")
    mode = load(mode_name)
    options = mode.options_with(**{mode.variant_option: variant} if variant else {})
    return Paper(config=config, mode=mode, options=complete_options(mode, config, options))


def node(given: Paper) -> NodeOnPaper:
    facts = HostFacts(addresses=frozenset(["192.0.2.11"]))
    return node_on_paper(objects(), given, "node-1", [Family.IPV4], facts)


def rendered(name: str) -> tuple[Mode, Listing, NodeOnPaper]:
    given = paper(name)
    found = node(given)
    assert given.mode.render
    ruleset = given.mode.render(found.plans[Family.IPV4], found.facts.addresses)
    return given.mode, uncounted(ruleset), found


def rules(name: str, service: str = "a", port: str = "") -> tuple[RuleLine, ...]:
    mode, listing, found = rendered(name)
    return service_rules(
        mode, listing, sought_in(found.plans[Family.IPV4], "default", service, port)
    )


@pytest.mark.parametrize("name", MODES)
def test_nothing_of_another_service_is_shown(name: str) -> None:
    own, others = (str(rules(name, service)) for service in "ab")
    assert "10.96.0.10" in own
    assert "10.244.1.10" in own
    for word in ("10.96.0.11", "10.244.1.11", "30011", "default/b"):
        assert word not in own
    assert "10.96.0.11" in others


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("port", ["admin", "81"])
def test_one_port(name: str, port: str) -> None:
    found = str(rules(name, "a", port))
    assert "8081" in found
    assert "8080" not in found


@pytest.mark.parametrize("name", MODES[:-1])
def test_each_rule_says_what_it_is_for_in_a_few_words(name: str) -> None:
    found = rules(name)
    assert found
    for each in found:
        assert 0 < len(each.purpose) <= 80, each


@pytest.mark.parametrize("name", MODES[:-1])
def test_depth_counts_the_jumps(name: str) -> None:
    depth = -1
    for each in rules(name):
        assert 0 <= each.depth <= depth + 1, each
        depth = each.depth


@pytest.mark.parametrize("name", MODES)
def test_a_service_of_another_family_has_no_rules(name: str) -> None:
    mode, listing, _ = rendered(name)
    sought = Sought(family=Family.IPV6, namespace="default", name="a", plans=())
    assert service_rules(mode, listing, sought) == ()


@pytest.mark.parametrize("name", ["iptables", "nftables"])
def test_a_name_is_enough_where_rules_have_it(name: str) -> None:
    mode, listing, _ = rendered(name)
    by_name = service_rules(
        mode, listing, Sought(family=Family.IPV4, namespace="default", name="a")
    )
    assert [each for each in rules(name) if "hairpin" not in each.chain + each.rule] == [*by_name]
    nobody = Sought(family=Family.IPV4, namespace="default", name="c")
    assert service_rules(mode, listing, nobody) == ()


@pytest.mark.parametrize("name", ["nftables:flat", "ipvs", "userspace"])
def test_a_name_is_not_enough_where_they_have_not(name: str) -> None:
    mode, listing, _ = rendered(name)
    with pytest.raises(BadInput) as caught:
        service_rules(mode, listing, Sought(family=Family.IPV4, namespace="default", name="a"))
    assert "--manifests" in caught.value.remedy


def test_a_port_that_is_not_there() -> None:
    plan = node(paper("iptables")).plans[Family.IPV4]
    with pytest.raises(BadInput, match="has no port https; it has: admin, http"):
        sought_in(plan, "default", "a", "https")


def test_the_order_is_that_of_a_packet() -> None:
    chains = [each.chain.rpartition("-")[0] or each.chain for each in rules("iptables", "a", "80")]
    assert [*dict.fromkeys(chains)] == [
        "PREROUTING",
        "KUBE",
        "KUBE-SVC",
        "KUBE-SEP",
        "KUBE-MARK",
        "KUBE-EXT",
        "OUTPUT",
        "INPUT",
        "FORWARD",
        "POSTROUTING",
    ]


def test_a_chain_that_several_rules_lead_to_is_shown_once() -> None:
    found = rules("iptables")
    marks = [each for each in found if each.chain == "KUBE-MARK-MASQ"]
    assert len(marks) == 1
    again = [each for each in found if "-j KUBE-MARK-MASQ" in each.rule]
    assert [each.purpose.endswith("(as above)") for each in again] == [False, *[True] * 5]


def test_counters_stay_with_their_rules() -> None:
    mode, listing, found = rendered("iptables")
    counted = {
        table: {
            chain: tuple(ListedRule(each.text, len(each.text)) for each in lines)
            for chain, lines in chains.items()
        }
        for table, chains in listing.items()
    }
    sought = sought_in(found.plans[Family.IPV4], "default", "a")
    assert all(each.packets == len(each.rule) for each in service_rules(mode, counted, sought))


def test_json() -> None:
    found = rules("nftables")
    encoded = msgspec.json.decode(msgspec.json.encode(values(found)))
    assert [*encoded[0]] == ["table", "chain", "depth", "rule", "purpose", "packets"]
    assert encoded[0]["packets"] is None
    assert msgspec.convert(encoded, tuple[RuleLine, ...]) == found


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_fits(name: str, width: int) -> None:
    lines = [*rule_lines(rules(name), width)]
    assert max(map(len, lines)) <= width
    assert sum(line.lstrip().startswith("# ") for line in lines) == sum(
        bool(each.purpose) for each in rules(name)
    )


def test_what_differs_in_effect() -> None:
    found = effects(objects(), paper("iptables"), paper("ipvs"), "default/a")
    (localhost,) = (each for each in found if each.what == "node port on 127.0.0.1")
    assert (localhost.before, localhost.after) == ("works (IPv4)", "refused")
    assert effects(objects(), paper("nftables"), paper("nftables:flat"), "default/a") == []


def test_of_a_mode_that_does_not_tell_addresses_and_ports_are_looked_for() -> None:
    mode, _, found = rendered("userspace")
    others = ("10.96.0.10:800", "110.96.0.10:80", "10.96.0.100:80", "10.96.0.100", "30010")
    mine = ("10.96.0.10:80", "to 10.96.0.10:80/TCP", "10.96.0.10", "127.0.0.1:30010")
    listing = {"t": {"c": tuple(map(ListedRule, (*others, *mine)))}}
    sought = sought_in(found.plans[Family.IPV4], "default", "a")
    assert tuple(each.rule for each in service_rules(mode, listing, sought)) == mine
