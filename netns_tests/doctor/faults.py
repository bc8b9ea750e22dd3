"""Faults that are made in a running lab, and undone after the block."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.backend import load
from kproxy.dns import DnsServer, Records
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links
from kproxy.kernel.process import run
from kproxy.lab import Lab
from kproxy.lab.names import interface
from kproxy.scenario.former import written
from netns_tests import conntrack_entries
from netns_tests.control_plane.plane_lab import PlaneLab, deployment, objects, service
from netns_tests.modes import Mode

Fault = Callable[[PlaneLab], AbstractContextManager[object]]
NODE = "node-b"
_MOST = "net/netfilter/nf_conntrack_max"


def applied(*wanted: KubernetesObject, but: Iterable[str] = ()) -> Fault:
    """Return a fault that consists in these objects; those of a healthy lab are there, too, except
    the Services and Deployments named in `but`.
    """

    @contextmanager
    def fault(lab: PlaneLab) -> Iterator[None]:
        lab.replace([*(each for each in HEALTHY if each.metadata.name not in but), *wanted])
        try:
            yield
        finally:
            lab.replace(HEALTHY)

    return fault


def submitted(text: str) -> Fault:
    """Return a fault that consists in the objects of a manifest, of any kind."""

    @contextmanager
    def fault(lab: PlaneLab) -> Iterator[None]:
        with TemporaryDirectory() as folder:
            file = Path(folder, "manifest.yaml")
            file.write_text(text)
            lab.apply(file)
        try:
            yield
        finally:
            lab.replace(HEALTHY)

    return fault


def broken(spec: str) -> Service:
    """Return a Service `broken` with this spec, in YAML."""
    (found,) = objects(f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: broken}}
        spec: {spec}
        """)
    assert isinstance(found, Service)
    return found


HEALTHY: tuple[KubernetesObject, ...] = (deployment(), service())
"""Pods on each node, behind a load balancer and node ports, in both families."""


@contextmanager
def setting(lab: Lab, host: str, name: str, value: int | str) -> Iterator[None]:
    """Change a setting of a host."""
    with lab.hosts[host].namespace.entered():
        former = sysctl.read(name)
        sysctl.write(name, value)
    try:
        yield
    finally:
        with lab.hosts[host].namespace.entered():
            sysctl.write(name, former)


@contextmanager
def commands(lab: Lab, host: str, lines: Iterable[str]) -> Iterator[None]:
    """Run commands on a host."""

    def run_all() -> None:
        for line in lines:
            run(line.split())

    lab.hosts[host].namespace.run(run_all)
    yield


def switched_off(name: str) -> Fault:
    """Return a fault: a setting of a node is 0."""
    return lambda lab: setting(lab, NODE, name, 0)


def other_rules(mode: Mode) -> Fault:
    """Return a fault: a node has the rules of another mode, too."""
    return lambda lab: rules_of(lab, mode)


def rule(command: str, *, host: str = NODE) -> Fault:
    """Return a fault: a rule of iptables, given as its -A or -I, is on a node. It stays."""
    return lambda lab: commands(lab, host, [command])


@contextmanager
def rules_of(lab: PlaneLab, mode: Mode, node: str = NODE) -> Iterator[None]:
    """Write the rules of another mode on a node, for the Services there are."""
    plans = {family: lab.plans(family)[node] for family in Family}
    with written(lab, node, load(mode.name), plans, mode.options):
        yield


@contextmanager
def nft_rules(
    lab: Lab, *rules: str, policy: str = "accept", hook: str = "filter hook forward"
) -> Iterator[None]:
    """Add a table `firewall` with a base chain `guard`, by default for what a node forwards."""
    chain = "add chain inet firewall guard"
    hook = f"{{ type {hook} priority 0; policy {policy}; }}"
    lines = ["add table inet firewall", f"{chain} {hook}"]
    lines += [f"add rule inet firewall guard {each}" for each in rules]
    lab.nodes[NODE].namespace.run(lambda: run(["nft", "-f", "-"], [f"{each}\n" for each in lines]))
    yield


@contextmanager
def second_process(lab: PlaneLab) -> Iterator[None]:
    """Let a process called kube-proxy run on a node."""
    with TemporaryDirectory() as folder:
        program = Path(folder, "kube-proxy")
        program.symlink_to("/bin/cat")
        with lab.nodes[NODE].namespace.entered():
            running = subprocess.Popen([program], stdin=subprocess.PIPE)
        with running:
            yield
            assert running.stdin
            running.stdin.close()


@contextmanager
def mtu(lab: Lab, host: str, link: str, bytes_: int) -> Iterator[None]:
    """Change the MTU of a link."""
    with lab.hosts[host].namespace.entered(), Links() as links:
        links.set_mtu(link, bytes_)
    yield


@contextmanager
def unready(lab: PlaneLab, pod: str = "web-1") -> Iterator[None]:
    """Let a pod be not ready."""
    lab.pod(pod).fail_readiness()
    try:
        yield
    finally:
        lab.pod(pod).pass_readiness()


@contextmanager
def scaled(lab: PlaneLab, name: str, namespace: str, replicas: int) -> Iterator[None]:
    """Let another number of a Deployment's Pods run."""
    lab.scale(name, replicas, namespace=namespace)
    try:
        yield
    finally:
        lab.scale(name, 1, namespace=namespace)


@contextmanager
def dns_at(lab: PlaneLab, address: str) -> Iterator[None]:
    """Give the DNS Service another address, or none: then it is deleted."""
    former = lab.get("Service", "kube-dns", namespace="kube-system")
    assert isinstance(former, Service)
    lab.delete([former])
    if address:
        spec = replace(former.spec, cluster_ip=address, cluster_ips=(address,))
        spec = replace(spec, ip_families=("IPv4",), ip_family_policy="SingleStack")
        lab.apply([replace(former, spec=spec)])
    yield


@contextmanager
def lying_dns(lab: PlaneLab) -> Iterator[None]:
    """Let the DNS server know other addresses of a Service than it has."""
    (pod,) = (each for each in lab.pods if each.startswith("coredns"))
    web = lab.service()
    lie = replace(web, spec=replace(web.spec, cluster_ips=("10.96.0.1", "fd00:10:96::1")))
    others = [each for each in lab.objects(Service) if each != web]
    records = Records([lie, *others], lab.objects(EndpointSlice))
    server = DnsServer(lambda: records)
    redirected = "-t nat -A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353"
    with ExitStack() as undo:
        undo.callback(server.close)
        with lab.hosts[pod].namespace.entered():
            server.listen(lab.pods[pod].addresses.values(), 5353)
        server.start()
        rules = [f"iptables-nft {redirected}", f"ip6tables-nft {redirected}"]
        undo.enter_context(commands(lab, pod, rules))
        yield


@contextmanager
def reverse_path_dropped(lab: PlaneLab) -> Iterator[None]:
    """Let a node drop what comes in by another link than the way back would use."""
    client = lab.clients["outside"].addresses[Family.IPV4]
    lead_away = ["ip link add away type veth peer name gone", "ip link set gone up"]
    lead_away += ["ip link set away up", f"ip route add {client}/32 dev away"]
    with setting(lab, NODE, "net/ipv4/conf/all/rp_filter", 1), commands(lab, NODE, lead_away):
        with lab.hosts["outside"].namespace.entered(), socket.socket(type=socket.SOCK_DGRAM) as to:
            to.sendto(b"?", (lab.nodes[NODE].addresses[Family.IPV4], 9))
        yield


@contextmanager
def small_table() -> Iterator[None]:
    """Let this kernel track few connections, if it is nobody else's; else as many as it does."""
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
        yield
        return
    former = sysctl.read(_MOST)
    sysctl.write(_MOST, 2000)
    try:
        yield
    finally:
        sysctl.write(_MOST, former)


def fill_conntrack(lab: PlaneLab, share: float) -> None:
    """Let a node track connections until they are this share of those that it may."""
    with lab.nodes[NODE].namespace.entered():
        most = int(sysctl.read(_MOST))
        there = int(sysctl.read("net/netfilter/nf_conntrack_count"))
        conntrack_entries.write(
            conntrack_entries.Entry(
                (f"198.18.{each >> 16}.1", each & 0xFFFF), ("198.19.0.1", 9), ("198.19.0.2", 9)
            )
            for each in range(there, int(share * most))
        )


@contextmanager
def stale(lab: PlaneLab) -> Iterator[None]:
    """Stop the proxy of a node, and let something change after that."""
    lab.stop_proxy(NODE)
    lab.apply([service("later")])
    yield


@contextmanager
def deaf(lab: PlaneLab) -> Iterator[None]:
    """Let a node's proxy lead nobody to the masquerading of what a pod sends to itself."""
    (chain, marking) = lab.nodes[NODE].namespace.run(_endpoint_rule)
    delete = f"iptables-nft -t nat -D {chain}"
    with commands(lab, NODE, [f"{delete} {marking}"]):
        yield


def _endpoint_rule() -> tuple[str, int]:
    """Return the first chain of an endpoint, and the number of its rule that marks."""
    lines = [each.split() for each in run(["iptables-nft", "-t", "nat", "-S"]).splitlines()]
    rules = [each for each in lines if each[0] == "-A" and each[1].startswith("KUBE-SEP-")]
    of_chain = [each for each in rules if each[1] == rules[0][1]]
    return rules[0][1], 1 + ["KUBE-MARK-MASQ" in each for each in of_chain].index(True)


@contextmanager
def without_hairpin(lab: PlaneLab, node: str = NODE) -> Iterator[None]:
    """Switch hairpin mode off for the pods of a node."""
    pods = [name for name, each in lab.pods.items() if each.node == node]
    off = [f"bridge link set dev {interface(pod)} hairpin off" for pod in pods]
    with commands(lab, node, off):
        yield


@contextmanager
def readdressed(lab: PlaneLab) -> Iterator[None]:
    """Let a Node tell another address than the node has."""
    document = lab.plane.get(("Node", "", NODE))
    assert document
    told = [{"type": "InternalIP", "address": "192.168.10.99"}]
    status = {**document["status"], "addresses": told}
    lab.plane.update({**document, "status": status}, subresource="status")
    yield


@contextmanager
def unregistered(lab: PlaneLab) -> Iterator[None]:
    """Delete the Node of a node."""
    lab.delete([("Node", "", NODE)])
    yield
