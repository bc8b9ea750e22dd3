"""Every network: connectivity without any Service, source addresses, and what is unreachable.

Sources are those that the model promises. Lost probes are explained from what was observed.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.explain.reason import Mechanism
from kproxy.forwarding.network import Packet
from kproxy.kernel import sysctl
from kproxy.kernel.process import run
from kproxy.lab import Lab
from kproxy.lab.models import MODELS
from kproxy.lab.names import POD_BRIDGE
from netns_tests.lab.networks import BOTH, V4, V6, address, followed, met, names, spec

FAMILIES = {"IPv4": (V4,), "IPv6": (V6,), "dual": BOTH}

PATHS = {  # client, target -> the pod that answers, the source that it sees: in every network
    ("a-1", "a-1"): ("a-1", "a-1"),
    ("a-1", "a-2"): ("a-2", "a-1"),
    ("a-1", "b-1"): ("b-1", "a-1"),
    ("b-1", "a-2"): ("a-2", "b-1"),
    ("a-1", "host-a"): ("host-a", "a-1"),
    ("node-a", "a-1"): ("a-1", "gateway of node-a"),
    ("host-b", "b-1"): ("b-1", "gateway of node-b"),
    ("node-a", "host-b"): ("host-b", "node-a"),
    ("host-b", "host-a"): ("host-a", "node-b"),
    # public addresses, both ways and back to oneself
    ("outside", "EIP of node-b"): ("host-b", "outside"),
    ("node-a", "EIP of node-b"): ("host-b", "EIP of node-a"),
    ("node-a", "EIP of node-a"): ("host-a", "EIP of node-a"),
}
SOURCES = {  # the sources as which b-1 sees node-a, host-b a-1, the internet a-1 ("": unseen)
    "routed": ("node-a", "a-1", ""),
    "vpc": ("node-a", "a-1", "EIP of node-a"),
    "tunnel": ("tunnel of node-a", "node-a", "EIP of node-a"),
    "flannel-vxlan": ("tunnel of node-a", "node-a", "EIP of node-a"),
    "flannel-host-gw": ("node-a", "node-a", "EIP of node-a"),
    "eni": ("node-a", "a-1", ""),
    "eni-shared": ("node-a", "a-1", ""),
}


def paths(network: str) -> dict[tuple[str, str], tuple[str, str]]:
    node, pod, public = SOURCES[network]
    own = {("node-a", "b-1"): ("b-1", node), ("a-1", "host-b"): ("host-b", pod)}
    if public:
        own |= {("a-1", f"EIP of node-{each}"): (f"host-{each}", public) for each in "ab"}
    return PATHS | own


@pytest.fixture(
    scope="module",
    params=[(network, families) for network in MODELS for families in FAMILIES],
    ids=lambda param: "-".join(param),
)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    network, families = request.param
    with Lab(spec(network, FAMILIES[families]), mode=None) as up:
        yield up


def test_every_network_is_tested() -> None:
    assert SOURCES.keys() == ENDS.keys() == SETTINGS.keys() == MODELS.keys()


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_paths(lab: Lab, protocol: str) -> None:
    wanted = paths(lab.spec.network)
    for family in lab.spec.families:
        assert met(lab, list(wanted), family, protocol) == wanted


def test_the_internet_sees_public_addresses(lab: Lab) -> None:
    public = SOURCES[lab.spec.network][2]
    for family in lab.spec.families:
        for client in ("node-a", *(["a-1"] if public else [])):
            assert seen_outside(lab, client, family) == "EIP of node-a"


def seen_outside(lab: Lab, client: str, family: Family) -> str:
    """Return the name of the source that a server on the internet sees for a client."""
    where = (address(lab, "outside", family), 8000)
    with lab.hosts["outside"].namespace.entered():
        server = socket.create_server(where, family=family.socket_family)
    with lab.hosts[client].namespace.entered():
        asking = socket.socket(family.socket_family)
    with server, asking:
        for sock in (server, asking):
            sock.settimeout(5)
        asking.connect(where)
        accepted, (source, *_) = server.accept()
        accepted.close()
        return names(lab, family).get(str(source), f"unknown: {source}")


End = tuple[str, Mechanism, str]  # where, why, words of the reason

CHECK = "source/destination check of the port of"
NODE_B: End = ("router", Mechanism.RULE, f'raw SOURCE-node-b "{CHECK} node-b"')
NODE_A: End = ("router", Mechanism.RULE, f'raw SOURCE-node-a "{CHECK} node-a"')
POD: End = ("router", Mechanism.RULE, f'raw SOURCE-a-1 "{CHECK} a-1"')
MARTIAN: End = ("node-a", Mechanism.MARTIAN, "an address of its own")
STRICT: End = ("node-a", Mechanism.REVERSE_PATH, "the way back is eth0")
ELSEWHERE: End = ("node-a", Mechanism.BYPASS, "")  # it arrives; node-a gets the answer
ARRIVES: End = ("node-b", Mechanism.UNKNOWN, "")  # its answer goes to whoever has that address
ARRIVES_A: End = ("node-a", Mechanism.UNKNOWN, "")
UNKNOWN: End = ("gateway", Mechanism.RULE, 'filter OUTWARDS "the source has no public address"')
PRIVATE: End = ("gateway", Mechanism.RULE, '"private addresses are not known outside"')

STRANGER = {V4: "172.31.0.9", V6: "fd00:31::9"}
ENDS = {  # IPv4 from a-1 to node-b: with node-a's source, with an unknown one; the same for IPv6;
    # from node-b with an unknown source
    "routed": (MARTIAN, ARRIVES, ELSEWHERE, ARRIVES, ARRIVES_A),
    "vpc": (MARTIAN, STRICT, ELSEWHERE, NODE_A, NODE_B),
    "tunnel": (MARTIAN, STRICT, ELSEWHERE, NODE_A, NODE_B),
    "flannel-vxlan": (MARTIAN, STRICT, ELSEWHERE, NODE_A, NODE_B),
    "flannel-host-gw": (MARTIAN, STRICT, ELSEWHERE, ARRIVES, ARRIVES_A),
    "eni": (POD, POD, POD, POD, NODE_B),
    "eni-shared": (MARTIAN, STRICT, ELSEWHERE, NODE_A, NODE_B),
}


@pytest.mark.parametrize("network", MODELS)
def test_what_ends_on_the_way(network: str) -> None:
    """IPv6 has neither martians nor a reverse path filter; there, the VPC's own check remains."""
    as_node, as_stranger, as_node_v6, as_stranger_v6, node = ENDS[network]
    with Lab(spec(network), mode=None) as lab:
        for family, as_its_node, as_a_stranger in (
            (V4, as_node, as_stranger),
            (V6, as_node_v6, as_stranger_v6),
        ):
            node_a = address(lab, "node-a", family)
            asked = [  # client, target, source, end
                ("a-1", "node-b", node_a, as_its_node),
                ("a-1", "node-b", STRANGER[family], as_a_stranger),
                ("node-b", "node-a", STRANGER[family], node),
                ("outside", "a-1", "", PRIVATE),
                ("outside", "node-a", "", PRIVATE),
            ]
            if not SOURCES[network][2]:
                asked.append(("a-1", "EIP of node-b", "", UNKNOWN))
            assert ends(lab, family, asked) == [row[-1] for row in asked]


def ends(lab: Lab, family: Family, asked: Sequence[tuple[str, str, str, End]]) -> list[End]:
    """Return where and why packets ended, with the wanted words, or the whole text without them."""
    packets = [
        Packet(client=client, address=address(lab, target, family), port=80, source=source)
        for client, target, source, _ in asked
    ]
    reasons = [reason for _, reason in followed(lab, packets)]
    return [
        (reason.at, reason.mechanism, words if words in reason.text else reason.text)
        for reason, (*_, (_, _, words)) in zip(reasons, asked, strict=True)
    ]


NO_ROUTE: End = ("node-a", Mechanism.NO_ROUTE, "node-a drops it: it has no route to")


@pytest.mark.parametrize("network", ["vpc", "tunnel"])
def test_a_node_without_a_route(network: str) -> None:
    """The reason is not the way back, by a bridge or not."""
    with Lab(spec(network, (V4,)), mode=None) as lab:
        black_hole = ["ip", "route", "add", "blackhole", address(lab, "EIP of node-b", V4)]
        lab.nodes["node-a"].namespace.run(lambda: run(black_hole))
        assert ends(lab, V4, [("a-1", "EIP of node-b", "", NO_ROUTE)]) == [NO_ROUTE]


def test_an_answer_that_nobody_translates_back() -> None:
    """The cause is a DNAT to the neighbour on a bridge, without a Service."""
    with Lab(spec("vpc", (V4,)), mode=None) as lab:
        rule = "-t nat -A PREROUTING -p tcp --dport 81 -j DNAT --to"
        target = f"{address(lab, 'a-2', V4)}:80"
        lab.nodes["node-a"].namespace.run(lambda: run(["iptables", *rule.split(), target]))
        packet = Packet(client="a-1", address=address(lab, "node-a", V4), port=81)
        ((_, reason),) = followed(lab, [packet])
        assert (reason.at, reason.mechanism) == ("a-1", Mechanism.BYPASS)
        assert f"from {target} instead of {packet.address}:81" in reason.text


SETTINGS = {  # bridged packets pass netfilter, hairpin of a pod's port (None: no bridge), rp_filter
    "routed": ("0", None, "0"),
    "vpc": ("0", False, "1"),
    "tunnel": ("0", None, "1"),
    "flannel-vxlan": ("1", True, "1"),
    "flannel-host-gw": ("1", True, "1"),
    "eni": ("0", None, "1"),
    "eni-shared": ("0", None, "2"),
}


@pytest.mark.parametrize("network", MODELS)
def test_kernel_settings_of_nodes(network: str) -> None:
    with Lab(spec(network), mode=None) as lab:
        for node, pod in (("node-a", "a-1"), ("node-b", "b-1")):
            with lab.nodes[node].namespace.entered():
                assert settings(pod) == SETTINGS[network], node


def settings(pod: str) -> tuple[str, bool | None, str]:
    """Return bridge netfilter, hairpin of the pod's port and rp_filter in the thread's namespace.

    Without the module br_netfilter nothing is filtered.
    """
    (filtered,) = {
        sysctl.read(f"net/bridge/bridge-nf-call-{tables}")
        if Path("/proc/sys/net/bridge").exists()
        else "0"
        for tables in ("iptables", "ip6tables")
    }
    (link,) = json.loads(run(["ip", "-json", "-details", "link", "show", pod]))
    hairpin = link["linkinfo"]["info_slave_data"]["hairpin"] if "master" in link else None
    assert link.get("master", POD_BRIDGE) == POD_BRIDGE
    return filtered, hairpin, sysctl.read("net/ipv4/conf/eth0/rp_filter")


@pytest.mark.ipvs
@pytest.mark.parametrize("network", MODELS)
def test_pods_reach_each_other_on_the_kernel_with_ipvs(network: str) -> None:
    wanted = {path: seen for path, seen in paths(network).items() if path[0] in ("a-1", "b-1")}
    with Lab(spec(network, (V4,)), mode=None) as lab:
        assert met(lab, list(wanted), V4, "TCP") == wanted
