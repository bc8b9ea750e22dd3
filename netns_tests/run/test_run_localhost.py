"""`kproxy run` with node ports on localhost: how it begins and ends, and what is left behind."""

from __future__ import annotations

import signal
import socket

import pytest

from kproxy.address import Family
from kproxy.kernel.links import Links
from netns_tests.run.running import Place, Running

CONFIG = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
featureGates: {%s}
nodePortAddresses: [%s]
"""
GATE = "KubeProxyNFTablesLocalhostNodePorts: true"
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  ipFamilies: [IPv4, IPv6]
  ports: [{port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1]}]
ports: [{port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints: [{addresses: ["::1"]}]
ports: [{port: 8080}]
"""
SERVED, REJECTED, OFF = (GATE, "localhost"), (GATE, "10.0.0.0/8"), ("", "localhost")
LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}


@pytest.fixture(autouse=True)
def _node(place: Place) -> None:
    """Give the node a loopback interface that is up."""
    with place.namespace.entered(), Links() as links:
        links.up("lo")
    place.write("web.yaml", MANIFEST)


def flags(place: Place, setting: tuple[str, str]) -> list[str]:
    path = place.write("config.yaml", CONFIG % setting)
    return ["--config", str(path), "--manifests", str(place.folder / "web.yaml")]


def start(place: Place, setting: tuple[str, str]) -> Running:
    return place.start(*flags(place, setting))


def listening(place: Place) -> set[str]:
    """Return the addresses that are listened on, without those of health and metrics."""
    addresses = {line.split()[3] for line in place.tool("ss", "-Hltn").splitlines()}
    return {each for each in addresses if not each.endswith((":10256", ":10249"))}


def connect(place: Place, family: Family) -> socket.socket:
    with place.namespace.entered():
        client = socket.socket(family.socket_family)
    client.settimeout(10)
    client.connect((LOOPBACK[family], 30080))
    return client


BOTH = {"127.0.0.1:30080", "[::1]:30080"}


def test_killed_and_started_again(place: Place) -> None:
    """Rules stay, and listeners and connections do not. The next one finds the ports free."""
    with place.namespace.entered():
        server = socket.create_server(("127.0.0.1", 8080))
    with server:
        running = start(place, SERVED)
        assert listening(place) == BOTH | {"127.0.0.1:8080"}
        rules = place.tool("nft", "--stateless", "list", "ruleset")
        assert "localhost-nodeport-reject-udp" in rules
        with connect(place, Family.IPV4) as client:
            end, _ = server.accept()
            running.stop(signal.SIGKILL)
            assert client.recv(1) == b""
            assert end.recv(1) == b""
            end.close()
        assert place.tool("nft", "--stateless", "list", "ruleset") == rules
        assert listening(place) == {"127.0.0.1:8080"}
        running = start(place, SERVED)
        assert place.tool("nft", "--stateless", "list", "ruleset") == rules
        with connect(place, Family.IPV4) as client:
            end, _ = server.accept()
            client.sendall(b"?")
            assert end.recv(1) == b"?"
            end.close()
        assert "Failed" not in running.log
        assert running.stop() == 0


@pytest.mark.parametrize("fate", [SERVED, REJECTED, OFF])
def test_whatever_was_before_a_start_is_as_good_as_new(place: Place, fate: tuple[str, str]) -> None:
    start(place, fate).stop()
    fresh = place.tool("nft", "--stateless", "list", "ruleset")
    for former in (REJECTED, SERVED, OFF):
        start(place, former).stop()
        running = start(place, fate)
        found = place.tool("nft", "--stateless", "list", "ruleset")
        assert sorted(found.splitlines()) == sorted(fresh.splitlines())
        assert listening(place) == (BOTH if fate is SERVED else set())
        assert "refused" not in running.log
        running.stop()
    assert listening(place) == set()
    assert place.once("--cleanup", "--proxy-mode", "nftables").returncode == 0
    assert place.tool("nft", "list", "ruleset") == ""


@pytest.mark.parametrize(("fate", "told"), [(SERVED, True), (REJECTED, False), (OFF, False)])
def test_once_says_that_it_does_not_go_on(place: Place, fate: tuple[str, str], told: bool) -> None:
    done = place.once("--once", *flags(place, fate))
    assert done.returncode == 0, done.stderr
    warning = "--once: node ports are served on localhost only while kproxy runs"
    assert (warning in done.stderr) == told
    assert listening(place) == set()
