"""The proxies of a lab's nodes: connections reach the pods that the objects ask for."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.api.types import Service, ServicePort
from kproxy.backend import BackendOptions, load
from kproxy.config import ProxyConfig
from kproxy.config.types import Conntrack, Seconds
from kproxy.errors import BadInput, NamespaceBusy
from kproxy.kernel import sysctl
from kproxy.kernel.ownership import claim_namespace
from kproxy.kernel.process import run
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, service
from kproxy.lab.objects import pod_object
from kproxy.testing import LabFactory
from kproxy.versions import Version
from netns_tests.modes import MODES, Mode

PORTS = (PortSpec(port=8080, name="http"),)
SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            zone="east",
            pods=(PodSpec(name="web-1", ports=PORTS, labels={"app": "web"}), PodSpec(name="shell")),
        ),
        NodeSpec(
            name="node-b",
            config={
                "iptables": {"masqueradeAll": True},
                "nftables": {"masqueradeAll": True},
                "conntrack": {"tcpBeLiberal": True},
            },
        ),
    ),
    clients=(ClientSpec(name="outside"),),
    routes={"10.96.0.0/16": "node-b", "fd00:10:96::/112": "node-b"},
)
CLUSTER_IPS = ("10.96.0.10", "fd00:10:96::a")


def web(name: str = "web", cluster_ips: tuple[str, ...] = CLUSTER_IPS) -> Service:
    return service(
        name,
        cluster_ips=cluster_ips,
        ports=(ServicePort(port=80, target_port="http"),),
        selector={"app": "web"},
    )


@pytest.fixture(scope="module", params=MODES, ids=str)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    mode: Mode = request.param
    with Lab(SPEC, mode.name, options=mode.options) as lab:
        lab.apply([web(), *lab.slices(web())])
        yield lab


def ask(lab: Lab, client: str, address: str, port: int = 80) -> tuple[object, object]:
    """Return the pod that answered, and the source that it saw."""
    with (
        lab.hosts[client].namespace.entered(),
        socket.create_connection((address, port), timeout=5) as sock,
    ):
        sock.sendall(b"\n")
        answer = json.loads(sock.recv(1000))
    return answer["pod"], answer["source"]


ASKED = [  # client, the pod sees in IPv4, in IPv6
    ("shell", "10.244.1.12", "fd00:10:244:1::12"),
    ("web-1", "10.244.1.1", "fd00:10:244:1::1"),  # hairpin: the gateway
    ("node-a", "10.244.1.1", "fd00:10:244:1::1"),
    ("outside", "192.168.10.12", "fd00:192::12"),  # routed to node-b, which is off the pod's node
]


@pytest.mark.parametrize(("client", "ipv4", "ipv6"), ASKED)
def test_a_cluster_ip(lab: Lab, client: str, ipv4: str, ipv6: str) -> None:
    assert ask(lab, client, CLUSTER_IPS[0]) == ("web-1", ipv4)
    assert ask(lab, client, CLUSTER_IPS[1]) == ("web-1", ipv6)


@pytest.mark.parametrize("family", list(Family))
def test_plans_hold_what_the_nodes_were_told(lab: Lab, family: Family) -> None:
    plans = lab.plans(family)
    assert set(plans) == {"node-a", "node-b"}
    settings = plans["node-a"].settings
    assert (settings.node_name, settings.zone) == ("node-a", "east")
    assert settings.node_ip == lab.nodes["node-a"].addresses[family]
    assert settings.detector
    assert settings.detector.value == dict(zip(Family, SPEC.pod_cidrs, strict=True))[family]
    assert not settings.masquerade_all
    assert plans["node-b"].settings.masquerade_all  # the node's own configuration
    (plan,) = plans["node-a"].services.values()
    assert [endpoint.address for endpoint in plan.cluster] == [lab.pods["web-1"].addresses[family]]


def test_conntrack_settings_of_a_node(lab: Lab) -> None:
    name = "net/netfilter/nf_conntrack_tcp_be_liberal"
    found = {
        node.name: node.namespace.run(lambda: sysctl.read(name)) for node in lab.nodes.values()
    }
    assert found == {"node-a": "0", "node-b": "1"}


def test_apply_delete_replace() -> None:
    with Lab(SPEC) as lab:
        other = web("other", ("10.96.0.11",))
        reports = lab.apply([other, *lab.slices(other)])
        assert set(reports) == {"node-a", "node-b"}
        assert ask(lab, "shell", "10.96.0.11")[0] == "web-1"
        assert lab.apply([other]) == {"node-a": [], "node-b": []}
        lab.delete([("EndpointSlice", "default", "other-ipv4")])
        with pytest.raises(ConnectionRefusedError):
            ask(lab, "shell", "10.96.0.11")
        lab.replace([web(), *lab.slices(web())])
        assert ask(lab, "shell", CLUSTER_IPS[0])[0] == "web-1"
        assert [str(name) for name in lab.plans(Family.IPV4)["node-b"].services] == ["default/web"]
        assert lab.plans(Family.IPV4)["node-a"].settings.zone == "east"  # own objects remain


def test_objects_from_a_file(tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(
        """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ports: [{port: 80}]
"""
    )
    with Lab(SPEC) as lab:
        lab.apply(manifest)
        with pytest.raises(ConnectionRefusedError):
            ask(lab, "shell", "10.96.0.10")
        manifest.write_text("kind: Service\napiVersion: v1\nmetadata: {name: 'a b'}")
        with pytest.raises(BadInput, match=r"web\.yaml:3: Service a b: metadata\.name"):
            lab.apply(str(manifest))
        assert [str(name) for name in lab.plans(Family.IPV4)["node-a"].services] == ["default/web"]


def test_the_configuration_is_that_of_all_nodes() -> None:
    config = ProxyConfig(cluster_cidr="10.244.0.0/20", conntrack=Conntrack(udp_timeout=Seconds(7)))
    with Lab(SPEC, config=config) as lab:
        for node, plan in lab.plans(Family.IPV4).items():
            assert plan.settings.detector
            assert plan.settings.detector.value == "10.244.0.0/20"
            inside = lab.nodes[node].namespace
            assert inside.run(lambda: sysctl.read("net/netfilter/nf_conntrack_udp_timeout")) == "7"


def test_a_configuration_that_cannot_be() -> None:
    config = ProxyConfig(detect_local_mode="Guess")
    lab = Lab(SPEC, config=config)
    with pytest.raises(BadInput, match="configuration of node-a: detectLocalMode"), lab:
        pass
    assert lab.hosts == {}


def test_an_error_of_one_node_is_told_after_all_had_their_turn() -> None:
    config = ProxyConfig(detect_local_mode="NodeCIDR")
    with Lab(SPEC, config=config) as lab:
        lab.apply([web(), *lab.slices(web())])
        with pytest.raises(BadInput, match="NodeCIDR: no Node node-a") as caught:
            lab.delete([("Node", "", "node-a"), ("Service", "default", "web")])
        assert caught.value.__notes__ == ["while syncing node-a"]
        plans = lab.plans(Family.IPV4)
        assert not plans["node-a"].services
        assert not plans["node-b"].services


def test_a_mode_that_nobody_installed() -> None:
    with pytest.raises(BadInput, match="no backend called 'magic'"), Lab(SPEC, mode="magic"):
        pass


def test_nodes_belong_to_the_lab(lab: Lab) -> None:
    with (
        lab.nodes["node-a"].namespace.entered(),
        pytest.raises(NamespaceBusy, match="this process already runs a kproxy"),
        claim_namespace(),
    ):
        pass


def test_the_machine_has_no_rules_of_the_lab(lab: Lab) -> None:
    assert lab.hosts
    for program in ("iptables-legacy-save", "iptables-nft-save"):
        assert "KUBE-" not in run([program])
    assert "kube-proxy" not in run(["nft", "list", "tables"])


def test_two_labs_with_the_same_services(lab: Lab) -> None:
    with Lab(SPEC) as other:
        assert ask(lab, "shell", CLUSTER_IPS[0])[0] == "web-1"
        with pytest.raises(OSError, match="No route to host"):  # node-b sends it back: no Service
            ask(other, "outside", CLUSTER_IPS[0])
        other.apply([web()])
        with pytest.raises(ConnectionRefusedError):
            ask(other, "shell", CLUSTER_IPS[0])
    assert ask(lab, "shell", CLUSTER_IPS[0])[0] == "web-1"


def test_inside_an_event_loop() -> None:
    async def main() -> list[str]:
        with Lab(LabSpec(nodes=(NodeSpec(name="node-a"),))) as lab:
            lab.route("203.0.113.0/24", via="node-a")
            return list(lab.hosts)

    assert asyncio.run(main()) == ["node-a", "router"]


def test_own_objects(lab: Lab) -> None:
    own = lab.own_objects()
    assert [obj.metadata.name for obj in own] == ["node-a", "node-b", "web-1", "shell"]
    assert own[2] == pod_object(lab.pods["web-1"])


def test_proxies_restarted_with_other_options(kproxy_lab: LabFactory) -> None:
    """Connections go on in the same lab, by the rules that the new options ask for."""
    lab = kproxy_lab(SPEC, mode="nftables", manifests=[web()])
    lab.apply(lab.slices(web()))
    before = ask(lab, "shell", CLUSTER_IPS[0])
    flat = load("nftables").options_with(nftables_layout="flat")
    with lab.nodes["node-a"].namespace.entered():
        assert "map endpoints-tcp" not in run(["nft", "list", "table", "ip", "kube-proxy"])
    lab.restart_proxies(flat)
    with lab.nodes["node-a"].namespace.entered():
        assert "map endpoints-tcp" in run(["nft", "list", "table", "ip", "kube-proxy"])
    assert ask(lab, "shell", CLUSTER_IPS[0]) == before
    with pytest.raises(BadInput, match="options of nftables mode"):
        lab.restart_proxies(load("iptables").options_with())


def test_no_proxies_to_restart(kproxy_lab: LabFactory) -> None:
    lab = kproxy_lab(SPEC, mode=None)
    with pytest.raises(BadInput, match="no proxies"):
        lab.restart_proxies(BackendOptions())


@pytest.mark.parametrize("version", Version, ids=str)
def test_a_lab_behaves_like_a_version_until_it_is_upgraded(
    kproxy_lab: LabFactory, version: Version
) -> None:
    lab = kproxy_lab(SPEC, mode="nftables", manifests=[web()], emulate=str(version))
    lab.apply(lab.slices(web()))

    def rules() -> str:
        namespace = lab.nodes["node-a"].namespace
        return namespace.run(lambda: run(["nft", "list", "table", "ip", "kube-proxy"]))

    assert ("numgen random mod 1 map" in rules()) == (version is Version.V1_36)
    before = ask(lab, "shell", CLUSTER_IPS[0])
    lab.restart_proxies(emulate=Version.V1_37)
    assert "numgen" not in rules()
    assert "dnat to 10.244.1.11:8080" in rules()
    assert ask(lab, "shell", CLUSTER_IPS[0]) == before


def test_a_node_of_another_version(kproxy_lab: LabFactory) -> None:
    older = NodeSpec(name="old", config={"emulate": "1.36"})
    lab = kproxy_lab(LabSpec(nodes=(older, NodeSpec(name="new"))), mode="nftables")
    plans = lab.plans(Family.IPV4)
    assert plans["old"].settings.emulate is Version.V1_36
    assert plans["new"].settings.emulate is Version.V1_37
