"""The merge of `kubectl apply` for a Service that exists already."""

from __future__ import annotations

from random import Random
from typing import Any

from kproxy.api.types import Service, ServiceSpec
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.kubectl_apply import merged
from tests.controlplane.services import DUAL, service

Values = dict[str, Any]


def applied(before: Values, after: Values) -> ServiceSpec:
    """Return the spec after `kubectl apply` of both."""
    cluster = Cluster(DUAL, random=Random(0))
    last = service(**before)
    cluster.apply([last])
    (stored,) = cluster.objects(Service)
    cluster.apply([merged(stored, last, service(**after))])
    return cluster.objects(Service)[0].spec


def test_apply_keeps_the_node_port_of_a_renamed_port() -> None:
    """The API server alone goes by the names of ports."""
    cluster = Cluster(DUAL, random=Random(0))
    last = service(type="NodePort", ports=[{"name": "http", "port": 80}])
    cluster.apply([last])
    (stored,) = cluster.objects(Service)
    wanted = service(type="NodePort", ports=[{"name": "web", "port": 80}])
    (port,) = merged(stored, last, wanted).spec.ports
    assert (port.name, port.node_port) == ("web", stored.spec.ports[0].node_port)
    cluster.apply([wanted])
    assert cluster.objects(Service)[0].spec.ports[0].node_port != port.node_port


def test_apply_removes_what_is_no_longer_said() -> None:
    spec = applied({"type": "NodePort", "externalIPs": ["203.0.113.1"]}, {})
    assert (spec.type, spec.external_ips) == ("ClusterIP", ())
    assert [port.node_port for port in spec.ports] == [0]
    balancer = {"type": "LoadBalancer"}
    spec = applied(balancer, {**balancer, "allocateLoadBalancerNodePorts": False})
    assert all(port.node_port for port in spec.ports)  # a PUT would drop them


def test_apply_takes_ports_of_one_number_for_one() -> None:
    both = [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]
    spec = applied({"ports": both[:1]}, {"ports": both})
    assert [(port.name, port.protocol) for port in spec.ports] == [("a", "UDP")]
    spec = applied({"ports": both}, {"ports": both, "externalIPs": ["203.0.113.1"]})
    assert [(port.name, port.protocol) for port in spec.ports] == [("a", "TCP"), ("b", "UDP")]
