"""Each mode renders from a plan what its backend reads after it has written that plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from kproxy.api import manifests
from kproxy.api.types import KubernetesObject, Metadata, ServiceCIDR, ServiceCIDRSpec
from kproxy.backend import load, modes
from kproxy.config import ProxyConfig
from kproxy.config.file import read_text
from kproxy.config.types import DetectLocal, IptablesSection, IpvsSection, NftablesSection
from kproxy.testing.node import CONFIG
from kproxy.testing.random_cluster import RandomCluster
from kproxy.versions import Version
from netns_tests.modes import MODES, USERSPACE, Mode
from netns_tests.node import synced

CASES = sorted((Path(__file__).parent / "conformance/cases").glob("*/objects.yaml"))
ALL_MODES = [*MODES, USERSPACE]
NOT_IPVS = [mode for mode in ALL_MODES if isinstance(mode, Mode)]
IPVS = Mode("ipvs", "legacy")


def masquerade(*, everything: bool = False, bit: int = 14) -> ProxyConfig:
    return replace(
        CONFIG,
        iptables=IptablesSection(masquerade_all=everything, masquerade_bit=bit),
        nftables=NftablesSection(masquerade_all=everything, masquerade_bit=bit),
    )


def detecting(mode: str, **how: str) -> ProxyConfig:
    return replace(CONFIG, detect_local_mode=mode, detect_local=DetectLocal(**how))


LOCALHOST_GATE = {"KubeProxyNFTablesLocalhostNodePorts": True}
CONFIGS: dict[str, ProxyConfig] = {
    "defaults": CONFIG,
    "v1.36": replace(CONFIG, emulate=Version.V1_36),
    "masquerade-all": masquerade(everything=True),
    "masquerade-bit-31": masquerade(bit=31),
    "bridge": detecting("BridgeInterface", bridge_interface="cni0"),
    "prefix": detecting("InterfaceNamePrefix", interface_name_prefix="veth"),
    "no-detector": replace(CONFIG, cluster_cidr=""),
    "odd-cidr": replace(CONFIG, cluster_cidr="10.128.0.0/9,fd00::/15"),
    "primary": replace(CONFIG, node_port_addresses=("primary",)),
    "addresses": replace(
        CONFIG, node_port_addresses=("192.168.10.0/24", "127.0.0.0/8", "fd00:192::/64")
    ),
    "no-addresses": replace(CONFIG, node_port_addresses=("192.0.2.0/24", "2001:db8::/32")),
    "no-localhost": replace(CONFIG, iptables=IptablesSection(localhost_node_ports=False)),
    "localhost-rejected": replace(CONFIG, feature_gates=LOCALHOST_GATE),
    "localhost-served": replace(
        CONFIG, feature_gates=LOCALHOST_GATE, node_port_addresses=("primary", "localhost")
    ),
    "scheduler": replace(CONFIG, ipvs=IpvsSection(scheduler="mh")),
}
OF_IPVS = ("defaults", "addresses", "no-detector", "scheduler")

RIVAL = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.{number}
  clusterIPs: [10.96.0.{number}, "fd00:10:96::{number}"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [198.51.100.7, "fd00:51::7"]
  externalTrafficPolicy: {policy}
  healthCheckNodePort: {health}
  sessionAffinity: {affinity}
  loadBalancerSourceRanges:
  - 0.0.0.0/1
  - 10.0.0.0/9
  - 10.128.0.0/9
  - 203.0.113.9/32
  - 255.255.255.254/31
  - fd00::/64
  - fd00:0:0:1::/64
  - ffff::/16
  ports: [{{port: 80, protocol: TCP, nodePort: 300{number}}}]
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.9}}, {{ip: "fd00:203::9"}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-4, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints:
- {{addresses: [10.244.0.{number}], nodeName: node-0}}
- {{addresses: [10.244.1.7], nodeName: node-1}}
- {{addresses: [10.244.1.{number}], nodeName: node-1}}
ports: [{{port: 8080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-6, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv6
endpoints:
- {{addresses: ["fd00:10:244::{number}"], nodeName: node-0}}
- {{addresses: ["fd00:10:244:1::{number}"], nodeName: node-1}}
ports: [{{port: 8080, protocol: TCP}}]
---
"""


def rivals() -> list[KubernetesObject]:
    """Return Services that claim the same addresses and ranges, and share an endpoint."""
    kinds = [("Local", 31010, "ClientIP"), ("Cluster", 0, "None"), ("Local", 31012, "None")]
    text = "".join(
        RIVAL.format(name=name, number=number, policy=policy, health=health, affinity=affinity)
        for number, (name, (policy, health, affinity)) in enumerate(
            zip("bac", kinds, strict=True), 10
        )
    )
    return list(manifests.decode(text, "rivals").objects)


def random_objects(seed: int, *cidrs: str) -> list[KubernetesObject]:
    cluster = RandomCluster(seed)
    for _ in range(60):
        cluster.edit()
    allotted = ServiceCIDR(metadata=Metadata(name="allotted"), spec=ServiceCIDRSpec(cidrs=cidrs))
    return [*cluster.objects.values(), *([allotted] if cidrs else [])]


def check(mode: Mode, config: ProxyConfig, objects: Iterable[KubernetesObject]) -> None:
    """Sync a fresh node to these objects, and compare what is there with what was rendered."""
    chosen = load(mode.name)
    assert chosen.render
    with synced(mode, config, objects) as (proxy, backends, addresses):
        for family, backend in backends.items():
            rendered = chosen.render(proxy.plans[family], addresses)
            # `comparable` may leave out too much: a table must at least be there.
            assert rendered.keys() == (read := backend.read()).keys()
            assert differing(chosen.comparable(rendered), chosen.comparable(read)) == {}


def differing(rendered: object, read: object) -> dict[str, tuple[object, object]]:
    """Return what differs, by table and name, instead of two whole rulesets."""
    assert isinstance(rendered, Mapping)
    assert isinstance(read, Mapping)
    found = {}
    for table in rendered:
        for name in rendered[table].keys() | read[table].keys():
            one, other = rendered[table].get(name), read[table].get(name)
            if one != other:
                found[f"{table} {name}"] = (one, other)
    return found


def test_every_mode_renders() -> None:
    assert {name for name in modes() if not load(name).render} == set()


@pytest.mark.parametrize("mode", NOT_IPVS, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_settings(mode: Mode, name: str) -> None:
    check(mode, CONFIGS[name], [*random_objects(31), *rivals()])


@pytest.mark.ipvs
def test_no_fallback_in_ipvs_mode() -> None:
    check(Mode("ipvs", "legacy", local_fallback=False), CONFIG, rivals())


@pytest.mark.ipvs
@pytest.mark.parametrize("name", OF_IPVS)
def test_settings_in_ipvs_mode(name: str) -> None:
    check(IPVS, CONFIGS[name], [*random_objects(31), *rivals()])


@pytest.mark.parametrize("mode", ALL_MODES, ids=str)
@pytest.mark.parametrize("seed", [32, 33])
def test_random_clusters(mode: Mode, seed: int) -> None:
    check(mode, CONFIG, random_objects(seed, "10.96.0.0/16", "fd00:10:96::/112"))


@pytest.mark.parametrize("mode", ALL_MODES, ids=str)
def test_no_objects(mode: Mode) -> None:
    check(mode, CONFIG, [])


@pytest.mark.parametrize("mode", NOT_IPVS, ids=str)
def test_several_service_cidrs(mode: Mode) -> None:
    """Neighbours are merged where they are a set, and may be no prefix then."""
    cidrs = ("10.96.0.0/16", "10.97.0.0/16", "10.98.0.0/15", "10.112.0.0/20", "fd00:10:96::/112")
    assert len({ip_network(each).version for each in cidrs}) == 2
    check(mode, CONFIG, random_objects(34, *cidrs, "fd00:10:98::/112"))


@pytest.mark.parametrize("mode", NOT_IPVS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_recorded_cases(mode: Mode, case: Path) -> None:
    recorded(mode, case)


@pytest.mark.ipvs
@pytest.mark.parametrize("case", CASES[::6], ids=lambda path: path.parent.name)
def test_recorded_cases_in_ipvs_mode(case: Path) -> None:
    recorded(IPVS, case)


def recorded(mode: Mode, case: Path) -> None:
    check(mode, *of_case(case, mode))


def of_case(case: Path, mode: Mode) -> tuple[ProxyConfig, tuple[KubernetesObject, ...]]:
    """Return configuration and objects of a recorded case."""
    every = {name: load(name).config for name in modes()}
    text = (case.parent / "config.yaml").read_text() + f"mode: {mode.name}\n"
    return read_text(text, every).config, manifests.load([case], stored=True).objects
