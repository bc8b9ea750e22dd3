"""`lab.trace`: the ways of real packets in every mode, there and back."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.backend import load
from kproxy.errors import BadInput
from kproxy.explain.itinerary import Ends, Hop, Itinerary
from kproxy.explain.pcapng import pcapng
from kproxy.explain.targets import Wanted
from kproxy.explain.tracing import Tracer
from kproxy.kernel.process import run
from kproxy.lab import service
from kproxy.probe.foreign import foreign
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.modes import MODES, PACKET_FILTERS, USERSPACE, Mode
from netns_tests.trace.captures import shown
from tests.explain.trace_schema import schema_problems

V4, V6 = Family.IPV4, Family.IPV6
CLUSTER_IPS = {V4: "10.96.0.11", V6: "fd00:10:96::11"}
OTHER_IPS = {V4: "10.96.0.12", V6: "fd00:10:96::12"}
PORTS = [
    ServicePort(name="http", port=80, target_port=8080, node_port=30080),
    ServicePort(name="dns", port=53, protocol="UDP", target_port=8080, node_port=30053),
]


def built(factory: LabFactory, mode: Mode) -> ProbedLab:
    lab = factory(
        nodes=("node-a", "node-b"),
        pods={"web": "node-b", "visitor": "node-a", "neighbour": "node-b"},
        mode=mode.name,
        options=mode.options,
    )
    made = [
        service(
            "web",
            cluster_ips=list(CLUSTER_IPS.values()),
            ports=PORTS,
            type="NodePort",
            selector={"app": "web"},
        ),
        service(
            "empty",
            cluster_ips=list(OTHER_IPS.values()),
            ports=[ServicePort(port=80, target_port=8080)],
            selector={"app": "nobody"},
        ),
    ]
    for each in made:
        lab.apply([each, *lab.slices(each)])
    return lab


@pytest.fixture(scope="module", params=[*MODES, USERSPACE], ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    return built(kproxy_module_lab, request.param)


@pytest.fixture(scope="module", params=PACKET_FILTERS, ids=str)
def filtered(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    return built(kproxy_module_lab, request.param)


def role(found: Itinerary, wanted: str) -> list[Hop]:
    return [hop for hop in found.hops if hop.role == wanted]


def on(found: Itinerary, host: str, wanted: str = "request") -> Hop:
    (hop,) = (hop for hop in role(found, wanted) if hop.host == host)
    return hop


def check_ends(found: Itinerary) -> None:
    """Each hop must begin with what the last one has ended with, and the answer turn it round."""
    for wanted in ("request", "reply"):
        hops = role(found, wanted)
        for here, there in pairwise(hops):
            assert here.after == there.before, (here, there)
    first, last = found.hops[0], found.hops[-1]
    assert last.after == first.before.turned


@pytest.mark.parametrize("family", [V4, V6])
@pytest.mark.parametrize("port", ["http", "dns"])
def test_a_pod_asks_a_service(lab: ProbedLab, family: Family, port: str) -> None:
    found = lab.trace("visitor", "web", port=port, family=family)
    assert schema_problems(json.loads(json.dumps(found.values))) == []
    assert (found.outcome, found.answered) == ("delivered", True)
    question = found.question
    assert (question.address, question.family) == (CLUSTER_IPS[family], family.value)
    assert question.protocol == ("TCP" if port == "http" else "UDP")
    assert lab.mode
    if load(lab.mode).forwards_itself and port == "http":
        return  # see test_relays.py
    assert found.at == "web"
    ways = [[hop.host for hop in role(found, each)] for each in ("request", "reply")]
    assert ways == [
        ["visitor", "node-a", "router", "node-b", "web"],
        ["web", "node-b", "router", "node-a", "visitor"],
    ]
    check_ends(found)
    (endpoint,) = found.endpoints
    pod = lab.pods["web"].addresses[family]
    assert (endpoint.address, endpoint.port, endpoint.host) == (pod, 8080, "web")
    assert endpoint.chosen_by == "node-a"
    chosen = on(found, "node-a")
    assert (chosen.entry, chosen.exit) == ("visitor", "eth0")
    assert chosen.route
    assert (chosen.route.kind, chosen.route.dev) == ("unicast", "eth0")
    if load(lab.mode).forwards_itself:
        return
    entry = chosen.conntrack
    assert entry
    assert entry.original == chosen.before
    assert entry.reply == chosen.after.turned
    assert entry.state == ("CLOSE" if port == "http" else "REPLIED")
    back = on(found, "node-a", "reply")
    assert back.conntrack == entry
    assert back.after == chosen.before.turned
    if load(lab.mode).needs_ip_vs:
        assert chosen.ipvs
        assert chosen.ipvs.scheduler == "rr"
        assert chosen.ipvs.real_server.endswith(":8080")
    else:
        assert "dnat" in [step.effect for step in chosen.steps]
        assert all(step.hook == "prerouting" for step in chosen.steps if step.effect == "dnat")


ENDS = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport")
UDP_ENDS = ("udp.srcport", "udp.dstport")


def test_captures_open_in_tshark_with_the_rules(lab: ProbedLab, tmp_path: Path) -> None:
    """It reads every packet with its interface and ends, and every rule that did something."""
    asked = [
        Wanted(source=source, target="web", port=port, family=family)
        for source in ("visitor", "outside")
        for port in ("http", "dns")
        for family in (V4, V6)
    ]
    with Tracer(lab) as tracer:
        traced = tracer.trace_all(asked)
    path = tmp_path / "ways.pcapng"
    packets = sorted((p for each in traced for p in each.packets), key=lambda each: each.time_ns)
    path.write_bytes(pcapng(packets, "kproxy"))
    rows = shown(path, "frame.interface_name", *ENDS, *UDP_ENDS, "frame.comment")
    read = [(row[0], [each for each in row[1:-1] if each]) for row in rows]
    expected = []
    for packet in packets:
        known = foreign(packet.data)
        assert known
        source, source_port, destination, port = known.ends
        ends = [source, destination, str(source_port), str(port)]
        expected.append((packet.interface, ends))
    assert read == expected
    comments: dict[str, str] = {}
    for row in rows:
        host = row[0].partition("/")[0]
        comments[host] = comments.get(host, "") + row[-1] + r"\n"
    rules = [
        (hop.host, f"{step.hook} {step.table} {step.rule}")
        for each in traced
        for hop in each.itinerary.hops
        for step in hop.steps
        if step.effect
    ]
    assert [rule for host, rule in rules if f"{rule}\\n" not in comments[host]] == []
    assert lab.mode
    assert bool(rules) is not load(lab.mode).forwards_itself
    assert {each.itinerary.answered for each in traced} == {True}


@pytest.mark.parametrize("family", [V4, V6])
def test_a_client_outside_asks_a_node_port(filtered: ProbedLab, family: Family) -> None:
    address = filtered.nodes["node-a"].addresses[family]
    found = filtered.trace("outside", address, port=30080)
    assert found.answered
    check_ends(found)
    node = on(found, "node-a")
    effects = {step.effect: step.hook for step in node.steps if step.effect}
    assert effects["dnat"] == "prerouting"
    assert effects["masquerade"] == "postrouting"
    assert effects["mark"] in ("prerouting", "postrouting")
    assert node.after.source == address
    assert node.conntrack
    assert node.conntrack.reply == node.after.turned
    # Translated back without a rule:
    back = on(found, "node-a", "reply")
    assert (back.after.source, back.after.source_port) == (address, 30080)
    assert not {"dnat", "snat", "masquerade"} & {step.effect for step in back.steps}
    assert all(step.hook and step.table and step.chain for hop in found.hops for step in hop.steps)
    assert all(step.rule for step in node.steps if step.effect)


def test_a_node_asks_itself(filtered: ProbedLab) -> None:
    """Its answer is translated back behind the last tap: only conntrack tells."""
    found = filtered.trace("node-b", "node/node-b:30080")
    assert (found.at, found.answered) == ("web", True)
    assert [step.hook for step in on(found, "node-b").steps if step.effect == "dnat"] == ["output"]
    last = found.hops[-1]
    assert (last.host, last.role, last.exit) == ("node-b", "reply", "")
    assert last.before != last.after == found.hops[0].before.turned


@pytest.mark.parametrize("family", [V4, V6])
@pytest.mark.parametrize("client", ["visitor", "node-a"])
def test_a_service_without_endpoints(filtered: ProbedLab, client: str, family: Family) -> None:
    found = filtered.trace(client, "empty", family=family)
    assert (found.outcome, found.at, found.answered) == ("refused", "node-a", False)
    assert [step.effect for step in on(found, "node-a").steps if step.effect][-1] == "reject"
    errors = role(found, "error")
    assert errors[-1].host == client
    assert {hop.packet for hop in errors} == {"ICMP port unreachable"}
    assert on(found, "node-a").conntrack is None  # it was never confirmed


@pytest.mark.parametrize("family", [V4, V6])
def test_a_datagram_that_is_refused_comes_back_as_icmp(filtered: ProbedLab, family: Family) -> None:
    """The error crosses hosts, and their rules see it."""
    address = filtered.pods["web"].addresses[family]
    found = filtered.trace("visitor", address, port=9, protocol="udp")
    assert (found.outcome, found.at) == ("refused", "web")
    errors = role(found, "error")
    assert [hop.host for hop in errors] == ["web", "node-b", "router", "node-a", "visitor"]
    assert {hop.packet for hop in errors} == {"ICMP port unreachable"}
    assert errors[0].before == Ends(address, 0, filtered.pods["visitor"].addresses[family], 0)
    for hop in (errors[1], errors[3]):
        assert "forward" in [step.hook for step in hop.steps]
        assert hop.conntrack
        assert hop.conntrack.state == "UNREPLIED"


def test_a_reset_is_an_error_as_well(filtered: ProbedLab) -> None:
    found = filtered.trace("visitor", "pod/web:9")
    assert (found.outcome, found.at) == ("refused", "web")
    assert {hop.packet for hop in role(found, "error")} == {"RST"}
    entry = on(found, "node-b").conntrack
    assert entry
    assert entry.deleted


def test_an_echo(filtered: ProbedLab) -> None:
    for family in (V4, V6):
        found = filtered.trace("visitor", "neighbour", protocol="icmp", family=family)
        assert (found.at, found.answered) == ("neighbour", True)
        assert [hop.packet for hop in found.hops] == ["echo request"] * 5 + ["echo reply"] * 5
        entry = on(found, "node-b").conntrack
        assert entry
        assert entry.original == on(found, "node-b").before


def test_sctp_on_its_way(lab: ProbedLab) -> None:
    """The pod refuses it: by an ABORT, or with ICMP if its kernel has no SCTP."""
    found = lab.trace("visitor", "pod/web:9", protocol="sctp")
    assert [hop.packet for hop in role(found, "request")] == ["INIT"] * 5
    assert found.outcome == "refused"
    assert role(found, "error")[-1].host == "visitor"
    assert role(found, "error")[0].packet in ("ABORT", "ICMP protocol unreachable")


def test_a_rule_that_drops(filtered: ProbedLab) -> None:
    """A rule of somebody else is found, too, and where nobody answers there is no way back."""
    pod = filtered.pods["web"].addresses[V4]
    rules = (
        "add table ip strict; add chain ip strict first { type filter hook forward priority -5; };"
        f"add rule ip strict first ip daddr {pod} tcp dport 81 drop"
    )
    with filtered.nodes["node-b"].namespace.entered():
        run(["nft", rules])
    try:
        found = filtered.trace("visitor", pod, port=81)
    finally:
        with filtered.nodes["node-b"].namespace.entered():
            run(["nft", "delete table ip strict"])
    assert (found.outcome, found.at) == ("dropped", "node-b")
    last = found.hops[-1]
    assert (last.host, last.exit, last.role) == ("node-b", "", "request")
    if filtered.iptables_variant(V4) == "nft":  # the trace of legacy tables sees no others
        (dropping,) = (step for step in last.steps if step.effect == "drop")
        assert (dropping.hook, dropping.table, dropping.chain) == ("forward", "strict", "first")
        assert f"ip daddr {pod}" in dropping.rule


def test_a_packet_that_cannot_leave(filtered: ProbedLab) -> None:
    found = filtered.trace("router", "192.0.2.1:80")
    assert (found.outcome, found.at) == ("dropped", "router")
    (hop,) = found.hops
    assert hop.route
    assert hop.route.problem


BAD = [
    ("nobody", "web:http", "no host is called 'nobody'"),
    ("visitor", "web", "web: which port? it has 80/TCP (http), 53/UDP (dns)"),
    ("visitor", "nothing:1", "no host or Service is called 'nothing'"),
]


@pytest.mark.parametrize(("source", "target", "said"), BAD)
def test_bad_input(filtered: ProbedLab, source: str, target: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        filtered.trace(source, target)
    assert said in caught.value.problems[0]


def test_nothing_is_left_behind(filtered: ProbedLab) -> None:
    def left() -> dict[str, list[str]]:
        found = {}
        for name, host in filtered.hosts.items():
            with host.namespace.entered():
                saved = run(["iptables-legacy-save"]) + run(["ip6tables-legacy-save"])
                found[name] = [
                    run(["nft", "--stateless", "list", "ruleset"]),
                    *(line for line in saved.splitlines() if line.startswith(("*", "-"))),
                    *Path("/proc/thread-self/net/packet").read_text().splitlines()[1:],
                ]
        return found

    filtered.trace("visitor", "web:http")  # an empty table raw of legacy iptables stays
    before = left()
    filtered.trace("visitor", "web:dns")
    with pytest.raises(BadInput):
        filtered.trace("visitor", "web")
    assert left() == before
    assert "kproxy-trace" not in str(before)
