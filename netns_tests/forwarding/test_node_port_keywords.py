"""The keywords of nodePortAddresses, which 1.37 takes and mixes with CIDRs, by packets."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.errors import BadInput
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, service, slices_for
from kproxy.testing import LabFactory, ProbedLab, delivered, refused
from kproxy.testing.lab import WEB_PORTS
from kproxy.versions import Version
from netns_tests.forwarding.survey import BOTH
from netns_tests.modes import MODES, Mode

NODE_PORT = 30080
LISTS = {  # by node: the list -> which of its addresses answer, without those of IPv4 loopback
    "keyword-primary": (["primary"], {"primary"}),
    "keyword-localhost": (["localhost"], set()),
    "keyword-all": (["all"], {"primary", "gateway"}),
    "both": (["primary", "localhost"], {"primary"}),
    "mixed": (["localhost", "10.244.0.0/16", "fd00:10:244::/56"], {"gateway"}),
}
ANSWER_ON_LOOPBACK = {*LISTS} - {"keyword-primary"}  # in iptables mode


def spec(version: Version = Version.V1_37) -> LabSpec:
    return LabSpec(
        nodes=tuple(
            NodeSpec(
                name=node,
                config={"nodePortAddresses": listed},
                pods=tuple(PodSpec(name=f"{pod}-{node}", ports=WEB_PORTS) for pod in ("web", "to")),
            )
            for node, (listed, _) in LISTS.items()
        ),
        clients=(ClientSpec(name="outside"),),
        emulate=version,
    )


@pytest.fixture(scope="module", params=MODES, ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    mode: Mode = request.param
    lab = kproxy_module_lab(spec(), mode=mode.name, options=mode.options)
    web = service(
        "web",
        type="NodePort",
        cluster_ips=["10.96.0.10", "fd00:10:96::10"],
        ports=[ServicePort(port=80, target_port=8080, node_port=NODE_PORT)],
    )
    lab.apply([web, *slices_for(web, [lab.pods[f"web-{node}"] for node in LISTS])])
    return lab


@pytest.mark.parametrize("node", LISTS)
@pytest.mark.parametrize("family", BOTH)
def test_which_addresses_answer(lab: ProbedLab, family: Family, node: str) -> None:
    answer = {*LISTS[node][1]}
    if lab.mode == "iptables" and family is Family.IPV4 and node in ANSWER_ON_LOOPBACK:
        answer.add("loopback")
    asked = {
        "primary": ("outside", lab.nodes[node].addresses[family]),
        "gateway": (f"to-{node}", lab.nodes[node].gateways[family]),
        "loopback": (node, {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}[family]),
    }
    pods = [f"web-{each}" for each in LISTS]
    for name, (client, address) in asked.items():
        expected = delivered(*pods) if name in answer else refused(node)
        assert lab.connect(client, address, NODE_PORT) == expected, name
        assert lab.predict(client, address, NODE_PORT) == expected, name


def test_1_36_refuses_them() -> None:
    with pytest.raises(BadInput) as refusal, Lab(spec(Version.V1_36), "iptables"):
        pass
    assert "configuration of keyword-localhost" in str(refusal.value)
    assert "'localhost' is neither a CIDR nor 'primary' (kube-proxy 1.37 takes it)" in str(
        refusal.value
    )
