"""`kproxy trace --node`: a process in a node's namespace follows packets that others send."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import RawPcapNgReader

from kproxy.address import Family, host_port, socket_family
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.lab import LabHost
from kproxy.testing import LabFactory
from netns_tests.modes import PACKET_FILTERS
from netns_tests.run.running import until
from netns_tests.trace.test_traces import CLUSTER_IPS, OTHER_IPS, V4, V6, built
from netns_tests.trace.watched import (
    NODE,
    PATIENCE_S,
    Node,
    ask,
    effects,
    hops,
    result,
)
from netns_tests.up.machine import KPROXY
from tests.explain.trace_schema import schema_problems


@pytest.fixture(scope="module", params=PACKET_FILTERS, ids=str)
def node(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> Iterator[Node]:
    found = Node(built(kproxy_module_lab, request.param))
    yield found
    found.close()


@contextmanager
def asking(host: LabHost, address: str, port: int) -> Iterator[None]:
    """Send a SYN, and wait for nothing."""
    with host.namespace.entered():
        client = socket.socket(socket_family(address))
    with client:
        client.setblocking(False)
        client.connect_ex((address, port))
        yield


@contextmanager
def dropping(host: LabHost, address: str, port: int) -> Iterator[None]:
    """Have a rule of somebody else drop what the host forwards there."""
    rules = (
        "add table ip strict; add chain ip strict first { type filter hook forward priority -5; };"
        f"add rule ip strict first ip daddr {address} tcp dport {port} drop"
    )
    with host.namespace.entered():
        run(["nft", rules])
    try:
        yield
    finally:
        with host.namespace.entered():
            run(["nft", "delete table ip strict"])


@pytest.mark.parametrize("family", [V4, V6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_pod_asks_a_service(node: Node, family: Family, kind: int) -> None:
    port = 80 if kind == socket.SOCK_STREAM else 53
    asked = host_port(CLUSTER_IPS[family], port)
    before = node.left()
    with node.tracing(asked, "--json") as process:
        ask(node.host("visitor"), CLUSTER_IPS[family], port, kind=kind)
        values = result(process)
    assert node.left() == before
    assert schema_problems(values) == []
    found = node.short(values)
    assert (found["outcome"], found["answered"], found["at"]) == ("delivered", True, "web")
    assert found["question"]["from"] == "visitor"
    ways = [[hop["host"] for hop in hops(found, role)] for role in ("request", "reply")]
    assert ways == [
        ["visitor", "node-a", "node-b", "web"],  # the router is not watched
        ["web", "node-b", "node-a", "visitor"],
    ]
    pod = node.lab.pods["web"].addresses[family]
    (endpoint,) = found["endpoints"]
    assert (endpoint["address"], endpoint["port"]) == (pod, 8080)
    assert (endpoint["host"], endpoint["chosen_by"]) == ("web", "node-a")
    chosen, back = hops(found, "request")[1], hops(found, "reply")[2]
    assert chosen["kind"] == "node"
    assert "dnat" in effects(chosen)
    assert chosen["after"]["destination"] == pod
    assert chosen["conntrack"]["original"] == chosen["before"]
    assert back["steps"]
    assert "dnat" not in effects(back)
    assert back["after"]["source"] == CLUSTER_IPS[family]


def test_a_client_from_elsewhere_is_masqueraded(node: Node) -> None:
    address = node.lab.nodes[NODE].addresses[V4]
    with node.tracing(f"{address}:30080", "--json", watched=(NODE,)) as process:
        ask(node.host("outside"), address, 30080)
        found = node.short(result(process))
    assert found["answered"]
    assert found["question"]["from"] == node.lab.clients["outside"].addresses[V4]
    (request,) = hops(found, "request")
    assert effects(request)[-1] == "masquerade"
    assert {"dnat", "mark"} <= {*effects(request)}
    assert request["after"]["source"] == address
    pod = node.lab.pods["web"].addresses[V4]
    assert found["at"] == f"{pod}:8080"
    assert found["unseen"] == [
        "its way before it came in to node-a by eth0",
        "its way after it left node-a by eth0",
    ]
    (reply,) = hops(found, "reply")
    assert (reply["after"]["source"], reply["after"]["source_port"]) == (address, 30080)
    assert reply["steps"]


def test_a_node_asks(node: Node) -> None:
    """The rules translate before any tap sees the packet."""
    with node.tracing(f"{CLUSTER_IPS[V4]}:80", "--json") as process:
        ask(node.host(NODE), CLUSTER_IPS[V4], 80)
        found = node.short(result(process))
    assert (found["question"]["from"], found["at"]) == (NODE, "web")
    first = hops(found, "request")[0]
    assert first["before"]["destination"] == CLUSTER_IPS[V4]
    hooks = [step["hook"] for step in first["steps"] if step["effect"] == "dnat"]
    assert hooks == ["output"]
    assert first["after"]["destination"] == node.lab.pods["web"].addresses[V4]


def test_a_refusal(node: Node) -> None:
    with node.tracing(f"{OTHER_IPS[V4]}:80", "--json") as process:
        ask(node.host("visitor"), OTHER_IPS[V4], 80)
        found = node.short(result(process, status=1))
    assert (found["outcome"], found["at"]) == ("refused", NODE)
    assert effects(hops(found, "request")[1])[-1] == "reject"
    assert hops(found, "error")[0]["packet"] == "ICMP port unreachable"
    assert hops(found, "error")[-1]["host"] == "visitor"


def test_other_packets_are_neither_marked_nor_shown(node: Node) -> None:
    pod = node.lab.pods["web"].addresses[V4]
    visitor = node.lab.pods["visitor"].addresses[V4]
    arguments = ("--from", visitor, f"{CLUSTER_IPS[V4]}:80", "--count", "2", "--json")
    with node.host(NODE).namespace.entered():
        seen = subprocess.Popen(["nft", "monitor", "trace"], stdout=subprocess.PIPE, text=True)
    with seen, node.tracing(*arguments) as process:
        ask(node.host("visitor"), pod, 8080)  # another destination
        ask(node.host("neighbour"), CLUSTER_IPS[V4], 80)  # another source
        ask(node.host("visitor"), CLUSTER_IPS[V4], 53, kind=socket.SOCK_DGRAM)  # another port
        for _ in range(2):
            ask(node.host("visitor"), CLUSTER_IPS[V4], 80)
        found = node.short(result(process))
        seen.kill()
        assert seen.stdout
        packets = [line for line in seen.stdout if " packet: " in line]
    assert [each["question"]["address"] for each in found] == [CLUSTER_IPS[V4]] * 2
    ports = [hops(each, "request")[0]["before"]["source_port"] for each in found]
    assert len({*ports}) == 2
    assert packets
    assert all(any(str(port) in line for port in ports) for line in packets)


@pytest.mark.parametrize("protocol", ["SCTP", "ICMP", "UDP"])
def test_protocols_without_a_service(node: Node, protocol: str) -> None:
    """An INIT and a datagram are refused, an echo request is answered."""
    pod = node.lab.pods["web"].addresses[V4]
    port = 0 if protocol == "ICMP" else 9
    target = f"{pod}:{port}" if port else pod
    with node.tracing(target, "--proto", protocol.lower(), "--json") as process:
        asked = Packet(client="visitor", address=pod, port=port, protocol=protocol)
        node.lab.prober.follow_many([asked])
        found = node.short(result(process, status=1 if port else 0))
    outcome = "refused" if port else "delivered"
    assert (found["outcome"], found["at"], found["answered"]) == (outcome, "web", not port)
    first = {"SCTP": "INIT", "ICMP": "echo request", "UDP": "UDP"}[protocol]
    assert [hop["packet"] for hop in hops(found, "request")] == [first] * 4
    back = hops(found, "error" if port else "reply")
    assert [hop["host"] for hop in back] == ["web", "node-b", "node-a", "visitor"]
    crossed = [hop for hop in found["hops"] if hop["host"] in ("node-a", "node-b")]
    assert all("forward" in [step["hook"] for step in hop["steps"]] for hop in crossed)


def test_a_rule_that_drops(node: Node) -> None:
    pod = node.lab.pods["web"].addresses[V4]
    with (
        dropping(node.host(NODE), pod, 81),
        node.tracing(f"{pod}:81", "--json") as process,
        asking(node.host("visitor"), pod, 81),
    ):
        found = node.short(result(process, status=1))
    assert (found["outcome"], found["at"]) == ("dropped", NODE)
    assert [hop["host"] for hop in found["hops"]] == ["visitor", NODE]
    (step,) = (each for each in found["hops"][-1]["steps"] if each["effect"] == "drop")
    assert (step["table"], step["hook"]) == ("strict", "forward")
    assert found["unseen"] == ["an answer"]


def test_what_leaves_may_end_anywhere(node: Node) -> None:
    pod = node.lab.pods["web"].addresses[V4]
    with (
        dropping(node.host("node-b"), pod, 82),
        node.tracing(f"{pod}:82", "--json", watched=(NODE, "visitor")) as process,
        asking(node.host("visitor"), pod, 82),
    ):
        found = node.short(result(process, status=1))
    assert (found["outcome"], found["answered"], found["at"]) == ("unknown", False, NODE)
    assert found["sentence"] == "node-a sends it out by eth0, and no answer was seen"
    assert found["unseen"] == ["its way after it left node-a by eth0", "an answer"]


def test_packets_are_written(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "way.pcapng"
    with node.tracing(f"{CLUSTER_IPS[V4]}:80", "--pcap", str(file)) as process:
        ask(node.host("visitor"), CLUSTER_IPS[V4], 80)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    with RawPcapNgReader(str(file)) as reader:
        packets = [IP(data) for data, _ in reader]
    assert len(packets) == 12  # each leaves and enters, there and back; two cables are in between
    assert {str(packet[TCP].flags) for packet in packets} == {"S", "SA"}
    lines = out.splitlines()
    assert max(map(len, lines)) <= 200
    assert "the answer: SYN-ACK" in lines


def test_it_needs_root(node: Node) -> None:
    less = ("-net_admin", "-net_raw")
    argv = ["setpriv", "--bounding-set", ",".join(less), "--inh-caps", ",".join(less), *KPROXY]
    done = subprocess.run(
        [*argv, "trace", "--node", f"{CLUSTER_IPS[V4]}:80", "--netns", node.names[NODE]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CAP_NET_ADMIN is missing" in done.stderr
    assert "try: run as root (sudo) on the node" in done.stderr


def test_it_ends_in_time(node: Node) -> None:
    before = node.left()
    with node.tracing("192.0.2.9:80", "--time", "0.2", "--json") as process:
        out, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    words = " ".join(said.split())
    assert "no packet in 0.2 s: waited for TCP/UDP/SCTP to 192.0.2.9:80 in " in words
    assert node.left() == before


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_if_it_is_killed(node: Node, end: signal.Signals) -> None:
    before = node.left()
    guarded = node.lab.iptables_variant(V4) == "legacy"
    with node.tracing(f"{CLUSTER_IPS[V4]}:80") as process:
        assert "kproxy-trace-" in str(node.left())
        assert guarded == ("nfnetlink_log" in str(node.left()))
        children = children_of(process.pid)
        assert bool(children) == guarded
        process.send_signal(end)
        process.wait()
        until("nothing is left", lambda: node.left() == before)
        until(
            "its processes have ended",
            lambda: not any(Path(f"/proc/{each}").exists() for each in children),
        )


def children_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_by_its_source_it_is_marked_on_every_node(node: Node) -> None:
    """The source of a pod stays: so the rules of a second node on this machine show, too."""
    visitor = node.lab.pods["visitor"].addresses[V4]
    with node.tracing("--from", visitor, "--proto", "tcp", "--json") as process:
        ask(node.host("visitor"), CLUSTER_IPS[V4], 80)
        found = node.short(result(process))
    assert found["unseen"] == []
    crossed = [hop for hop in found["hops"] if hop["host"] in ("node-a", "node-b")]
    assert [bool(hop["steps"]) for hop in crossed] == [True] * 4
