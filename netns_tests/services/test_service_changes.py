"""Services change their type, families and source of endpoints, and lose what they had."""

from __future__ import annotations

import re

from kproxy.forwarding.network import Packet
from kproxy.forwarding.plan import FrontendKind
from kproxy.testing import Expectation, ProbedLab, delivered, dropped, refused
from netns_tests.modes import Mode
from netns_tests.services.service_lab import (
    BOTH,
    V4,
    V6,
    WEB,
    applied,
    balancer_ips,
    node_port,
    objects,
    of_family,
    packet,
    probed,
    resolve_all,
    stored,
    told,
)


def changing(spec: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: changing}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: http}}]
  {spec}
"""


OF_THE_WORLD = """
apiVersion: v1
kind: Service
metadata: {name: changing}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
"""
CLUSTER_IP, NODE_PORT = {FrontendKind.CLUSTER_IP}, {FrontendKind.NODE_PORT}
VIP = {FrontendKind.LOAD_BALANCER}


def frontends(lab: ProbedLab, service: str) -> set[FrontendKind]:
    """Return the kinds of frontends in all nodes' plans."""
    return {
        frontend.kind
        for family in BOTH
        for plan in lab.plans(family).values()
        for name, port in plan.services.items()
        if name.name == service
        for frontend in port.frontends
    }


def held(lab: ProbedLab, name: str) -> list[str]:
    """Return what a LoadBalancer has: cluster IPs, addresses, its node port."""
    spec = stored(lab, name).spec
    return [*spec.cluster_ips, *balancer_ips(lab, name), str(node_port(lab, name))]


def found(words: list[str], text: str) -> list[str]:
    return [word for word in words if re.search(rf"\b{re.escape(word)}\b", text)]


def unallocated(mode: Mode) -> Expectation:
    """Return what a pod sees of an address in the ServiceCIDR that is no cluster IP any more."""
    return dropped() if mode.name == "nftables" else refused()


def test_the_type_changes(lab: ProbedLab, mode: Mode) -> None:
    with applied(lab, changing("type: ClusterIP")):
        by_ip = [packet(lab, "shell", "changing", "cluster IP", family) for family in BOTH]
        cluster_ips = stored(lab, "changing").spec.cluster_ips
        assert frontends(lab, "changing") == CLUSTER_IP

        lab.apply(objects(changing("type: NodePort")))
        by_node = [packet(lab, "outside", "changing", "node-b", family) for family in BOTH]
        for seen in told(lab, *by_node):
            assert seen == delivered(*WEB, source="node-b")
        assert frontends(lab, "changing") == CLUSTER_IP | NODE_PORT

        lab.apply(objects(changing("type: LoadBalancer")))
        by_vip = [packet(lab, "outside", "changing", "VIP", family) for family in BOTH]
        everything = held(lab, "changing")
        assert len(everything) == 5
        for seen in told(lab, *by_ip, *by_node, *by_vip):
            assert seen == delivered(*WEB)
        assert frontends(lab, "changing") == CLUSTER_IP | NODE_PORT | VIP
        assert stored(lab, "changing").spec.cluster_ips == cluster_ips
        assert node_port(lab, "changing") == by_node[0].port

        lab.apply(objects(changing("type: ClusterIP")))
        for seen in told(lab, *by_ip):
            assert seen == delivered(*WEB, source="shell")
        for seen in probed(lab, *by_node):
            assert seen == refused("node-b")
        for seen in probed(lab, by_vip[1]):
            assert seen == refused("router")
        assert frontends(lab, "changing") == CLUSTER_IP
        assert balancer_ips(lab, "changing") == []
        assert not found(everything, " ".join(lab.network.routes))
        assert stored(lab, "changing").spec.cluster_ips == cluster_ips

        lab.apply(objects(OF_THE_WORLD))
        for seen in probed(lab, by_ip[1]):
            assert seen == unallocated(mode)
        assert frontends(lab, "changing") == set()
        written = lab.nodes["node-b"].namespace.run(mode.dump)
        assert found(held(lab, "api"), written) == held(lab, "api")
        assert not found(everything, written)
        web = sorted(stored(lab, "web").spec.cluster_ips)
        assert resolve_all(lab, ["changing"]) == {"changing": web}


def growing(spec: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: growing}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: http}}]
  {spec}
"""


def test_a_second_family_is_added_and_removed(lab: ProbedLab, mode: Mode) -> None:
    with applied(lab, growing("ipFamilyPolicy: SingleStack")):
        (first,) = stored(lab, "growing").spec.cluster_ips
        before = packet(lab, "outside", "growing", "node-c", V4)
        also = Packet(client="outside", address=lab.nodes["node-c"].addresses[V6], port=before.port)
        for seen in probed(lab, also):
            assert seen == refused("node-c")

        lab.apply(objects(growing("ipFamilyPolicy: RequireDualStack")))
        both = stored(lab, "growing").spec.cluster_ips
        assert both[0] == first
        asked = [packet(lab, "shell", "growing", "cluster IP", family) for family in BOTH]
        for seen in told(lab, *asked):
            assert seen == delivered(*WEB, source="shell")
        for seen in told(lab, before, also):
            assert seen == delivered(*WEB, source="node-c")
        assert resolve_all(lab, ["growing"]) == {"growing": sorted(both)}

        lab.apply(objects(growing("ipFamilyPolicy: SingleStack")))
        assert stored(lab, "growing").spec.cluster_ips == (first,)
        for seen in told(lab, asked[0]):
            assert seen == delivered(*WEB, source="shell")
        for seen in probed(lab, asked[1]):
            assert seen == unallocated(mode)
        for seen in probed(lab, also):
            assert seen == refused()
        assert resolve_all(lab, ["growing"]) == {"growing": [first]}


def test_ipv6_may_be_the_first_family(lab: ProbedLab) -> None:
    with applied(lab, growing("ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv6, IPv4]")):
        ips = stored(lab, "growing").spec.cluster_ips
        assert ips == (of_family(ips, V6), of_family(ips, V4))
        asked = [packet(lab, "shell", "growing", "cluster IP", family) for family in BOTH]
        for seen in told(lab, *asked):
            assert seen == delivered(*WEB, source="shell")


EXTERNAL = """
apiVersion: v1
kind: Service
metadata: {name: by-hand}
spec:
  ipFamilyPolicy: PreferDualStack
  ports: [{name: http, port: 80, targetPort: 8080}]
"""


def slices_to(lab: ProbedLab, pod: str) -> str:
    return "".join(
        f"""
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: by-hand-{family.value.lower()}, labels: {{kubernetes.io/service-name: by-hand}}}}
addressType: {family.value}
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: ["{address}"]}}]
"""
        for family, address in lab.pods[pod].addresses.items()
    )


def endpoints_to(lab: ProbedLab, pod: str) -> str:
    ips = ", ".join(f'{{ip: "{each}"}}' for each in lab.pods[pod].addresses.values())
    return f"""
---
apiVersion: v1
kind: Endpoints
metadata: {{name: by-hand}}
subsets: [{{addresses: [{ips}], ports: [{{name: http, port: 8080}}]}}]
"""


def test_a_service_without_selector_follows_what_is_written_by_hand(lab: ProbedLab) -> None:
    with applied(lab, EXTERNAL):
        asked = [packet(lab, "shell", "by-hand", "cluster IP", family) for family in BOTH]
        for seen in probed(lab, *asked):
            assert seen == refused("node-a")
        for pod in ("web-1", "web-3"):
            lab.apply(objects(slices_to(lab, pod)))
            for seen in told(lab, *asked):
                assert seen == delivered(pod, source="shell")
        slices = [("EndpointSlice", "default", f"by-hand-ipv{version}") for version in (4, 6)]
        lab.delete(slices)
        for seen in probed(lab, *asked):
            assert seen == refused("node-a")


def test_endpoints_written_by_hand_are_mirrored(lab: ProbedLab) -> None:
    with applied(lab, EXTERNAL):
        asked = [packet(lab, "shell", "by-hand", "cluster IP", family) for family in BOTH]
        for pod in ("web-2", "shop-1"):
            lab.apply(objects(endpoints_to(lab, pod)))
            for seen in told(lab, *asked):
                assert seen == delivered(pod, source="shell")
        lab.delete([("Endpoints", "default", "by-hand")])
        for seen in probed(lab, *asked):
            assert seen == refused("node-a")
