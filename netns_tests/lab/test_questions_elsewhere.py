"""Labs of a network that the oracle does not know answer only by packets and connections."""

from __future__ import annotations

import pytest

from kproxy.errors import BadInput
from kproxy.lab import ClientSpec, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.spec import EdgeSpec
from kproxy.testing import delivered, dropped
from kproxy.testing.lab import LabFactory, ProbedLab

POD = PodSpec(name="pod", ports=(PortSpec(port=8080),))
NODES = (NodeSpec(name="node-a", pods=(POD,)), NodeSpec(name="node-b"))
CLIENTS = (ClientSpec(name="outside"),)


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    spec = LabSpec(nodes=NODES, clients=CLIENTS, network="vpc", edge=EdgeSpec())
    return kproxy_module_lab(spec, mode=None)


def test_packets_and_connections(lab: ProbedLab) -> None:
    assert lab.ask("node-b", "10.244.1.11", 8080) == delivered("pod", source="node-b")
    assert lab.connect("node-b", "10.244.1.11", 8080) == delivered("pod", source="node-b")
    assert lab.ask("outside", "10.244.1.11", 8080) == dropped("gateway")


def test_the_oracle_says_that_it_does_not_know(lab: ProbedLab) -> None:
    with pytest.raises(BadInput, match="the oracle knows the network `routed`"):
        lab.predict("node-b", "10.244.1.11", 8080)
