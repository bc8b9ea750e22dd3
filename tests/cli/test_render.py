"""`kproxy render`: the text of rules, without root and without any program of the kernel's."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.warm_kproxy import run_kproxy

OBJECTS = """
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.11}
  - {type: InternalIP, address: "2001:db8::11"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:10:96::a"]
  ipFamilies: [IPv4, IPv6]
  ports: [{name: http, port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.1.7], nodeName: node-1}]
ports: [{name: http, port: 8080}]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "web.yaml"
    path.write_text(OBJECTS)
    return path


def kproxy(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": ""}  # no program can be found
    return run_kproxy([*map(str, arguments)], env=env)


def rendered(manifest: Path, *arguments: str) -> str:
    done = kproxy("render", "--manifests", manifest, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_iptables_of_one_family_is_what_its_program_reads(manifest: Path) -> None:
    text = rendered(manifest, "--family", "6", "--no-nfacct")
    assert text.startswith("*filter\n:KUBE-PROXY-CANARY - [0:0]\n")
    assert 'default/web:http has no endpoints" -m tcp -p tcp -d fd00:10:96::a' in text
    assert "nfacct" not in text


def test_several_inputs_are_named(manifest: Path) -> None:
    text = rendered(manifest)
    assert re.findall("^# (.*)", text, re.MULTILINE) == [
        "nfacct restore",
        "iptables-restore --noflush",
        "ip6tables-restore --noflush",
    ]


def test_counters_are_made_for_either_family(manifest: Path) -> None:
    for family in "46":
        text = rendered(manifest, "--family", family)
        assert text.startswith("# nfacct restore\n{ pkts = 00000000000000000000, ")
        made = {*re.findall(r"\} = (\S+);", text)}
        assert made >= {*re.findall(r"--nfacct-name (\S+)", text)} > set()


def test_the_variant_names_the_program_and_the_legacy_one_has_one_transaction(
    manifest: Path,
) -> None:
    text = rendered(manifest, "--iptables-variant", "legacy", "--only", "iptables-legacy-restore")
    assert text.count("COMMIT\n") == 3


def test_both_families_of_nftables_are_one_text(manifest: Path) -> None:
    text = rendered(manifest, "--mode", "nftables")
    assert text.startswith("table ip kube-proxy\ndelete table ip kube-proxy\n")
    assert "\ntable ip6 kube-proxy {\n" in text
    assert not re.search("^#", text, re.MULTILINE)
    # Node ports answer on the primary address, which is that of the Node object.
    assert "elements = { 192.0.2.11 }" in text


def test_an_address_that_the_node_object_lacks(manifest: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        "mode: nftables\nnodePortAddresses: [198.51.100.0/24]\n"
    )
    arguments = ("--config", str(config), "--family", "4")
    assert "198.51.100.3" not in rendered(manifest, *arguments)
    assert "elements = { 198.51.100.3 }" in rendered(
        manifest, *arguments, "--address", "198.51.100.3"
    )


def test_ipvs_has_its_programs_in_the_order_of_a_sync(manifest: Path) -> None:
    found = json.loads(rendered(manifest, "--mode", "ipvs", "--family", "4", "--json"))
    assert (found["mode"], found["node"]) == ("ipvs", "node-1")
    assert [each["program"][0] for each in found["inputs"]] == [
        "ipset",
        "iptables-restore",
        "ip",
        "ip",
        "ipvsadm",
    ]
    *_, device, addresses, servers = (each["text"] for each in found["inputs"])
    assert device == "link add kube-ipvs0 type dummy\n"
    assert addresses == "address add 10.96.0.10/32 dev kube-ipvs0\n"
    of_both = json.loads(rendered(manifest, "--mode", "ipvs", "--json"))
    assert [each["text"] for each in of_both["inputs"]].count(device) == 1
    assert "-A -t 192.0.2.11:30080 -s rr\n-a -t 192.0.2.11:30080 -r 10.244.1.7:8080 -m -w 1" in (
        servers
    )


def test_the_version_counts(manifest: Path) -> None:
    arguments = ("--mode", "nftables", "--family", "4")
    old = rendered(manifest, *arguments, "--emulate", "1.36")
    assert old != rendered(manifest, *arguments, "--emulate", "1.37")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--mode", "userspace"), "has no rules that a program could load"),
        (("--only", "ebtables"), "has input for nfacct, iptables-restore"),
        (("--address", "10.0.0"), "'10.0.0' is no IP address"),
        (("--config", "/nowhere"), "there is no file /nowhere"),
        (("--backend-option", "colour=red"), "colour"),
    ],
)
def test_bad_input(manifest: Path, arguments: tuple[str, ...], told: str) -> None:
    done = kproxy("render", "--manifests", manifest, *arguments)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_of_several_nodes_one_must_be_named(manifest: Path) -> None:
    second = manifest.with_name("node.yaml")
    second.write_text("apiVersion: v1\nkind: Node\nmetadata: {name: node-2}\n")
    done = kproxy("render", "--manifests", manifest.parent)
    assert done.returncode == 2
    assert "--node: name one of the nodes: node-1, node-2" in done.stderr
    assert rendered(manifest.parent, "--node", "node-2").startswith("# nfacct")


def test_a_configuration_of_another_node_does_not_tell_the_address(
    manifest: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        "mode: nftables\nhostnameOverride: node-2\nbindAddress: 192.0.2.12\n"
    )
    text = rendered(manifest, "--config", str(config), "--node", "node-1", "--family", "4")
    answering = text.partition("set nodeport-ips {")[2].partition("map ")[0]
    assert "elements = { 192.0.2.11 }" in answering
