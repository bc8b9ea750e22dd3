"""`kproxy run` cuts UDP flows to removed endpoints: those it finds, and those of later changes."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel import conntrack
from netns_tests.conntrack_entries import Entry, ends, write
from netns_tests.run.running import Place, until

DNS = """
apiVersion: v1
kind: Service
metadata: {{name: dns, namespace: default}}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ipFamilies: [IPv4]
  ports: [{{name: dns, port: 53, protocol: UDP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: dns-1, namespace: default, labels: {{kubernetes.io/service-name: dns}}}}
addressType: IPv4
endpoints: [{{addresses: ["{endpoint}"]}}]
ports: [{{name: dns, port: 53, protocol: UDP}}]
"""
SERVICE, FIRST, SECOND = ("10.96.0.10", 53), ("10.244.1.1", 53), ("10.244.1.2", 53)


@pytest.fixture(autouse=True)
def _flows(place: Place) -> None:
    entries = [Entry(("10.244.3.3", port), SERVICE, (FIRST, SECOND)[port % 2]) for port in (10, 11)]
    place.namespace.run(lambda: write(entries))


def flows(place: Place) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    return ends(place.namespace.run(lambda: conntrack.flows(Family.IPV4)))


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_once(place: Place, mode: str) -> None:
    path = place.write("dns.yaml", DNS.format(endpoint=SECOND[0]))
    done = place.once("--proxy-mode", mode, "--manifests", str(path), "--once")
    assert done.returncode == 0, done.stderr
    assert "IPv4: cut 1 UDP flows to removed endpoints" in done.stderr
    assert flows(place) == [(SERVICE, SECOND)]


def test_watching(place: Place) -> None:
    place.write("dns.yaml", DNS.format(endpoint=FIRST[0]))
    place.start("--manifests", str(place.folder))
    assert flows(place) == [(SERVICE, FIRST)]
    place.write("dns.yaml", DNS.format(endpoint=SECOND[0]))
    until("the flow is cut", lambda: flows(place) == [])
