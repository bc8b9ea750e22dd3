"""The faults, and what is to be found of each."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kproxy.doctor import Severity
from kproxy.lab.names import TUNNEL
from netns_tests.control_plane.plane_lab import deployment, objects, service
from netns_tests.doctor import faults
from netns_tests.doctor.faults import NODE, Fault, applied, broken, rule
from netns_tests.modes import FLAT, IPTABLES, NFTABLES, PACKET_FILTERS, USERSPACE, Mode

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
PORTS = "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]"
BALANCED = f"{PORTS}, type: LoadBalancer, ipFamilyPolicy: PreferDualStack"
ELSEWHERE = "[192.0.2.0/24, '2001:db8:7::/64']"
HOST_POD = objects("""
    apiVersion: v1
    kind: Pod
    metadata: {name: agent}
    spec: {hostNetwork: true, nodeName: node-a, containers: [{name: agent, image: agent}]}
    """)


IDLE = """
apiVersion: apps/v1
kind: KIND
metadata: {name: idle}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec: {containers: [{name: answer, image: answer, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: idle}
spec: {selector: {app: idle}, ports: [{port: 80, targetPort: 8080}]}
"""
IN_WORDS = {
    "no-endpoints",
    "pods-not-ready",
    "source-ranges-shut-out",
    "source-ranges-ignored",
    "load-balancer-pending",
    "host-network-dns",
    "dns-missing",
    "resolv-conf",
    "dns-unanswered",
    "dns-wrong",
    "node-unknown",
    "node-address",
}
NFT = ("nft drops", "nft policy", "two processes")


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, the id of its findings, how bad they are, and words of the evidence."""

    name: str
    fault: Fault
    found: str
    severity: Severity
    seen: str
    mode: Mode = IPTABLES[0]
    network: str = "routed"

    @property
    def is_cured(self) -> bool:
        """Tell whether the commands of the remedy do away with it: it may be in words."""
        return self.found not in IN_WORDS and self.name not in ("namespace", "job", *NFT)

    def __str__(self) -> str:
        return f"{self.name}-{self.mode}"


LOCAL_ONE = applied(
    deployment("one", 1),
    service("one", of="one", more="type: NodePort, externalTrafficPolicy: Local"),
    but=["web"],
)
OBJECTS = [
    # name, fault -> what is found, how bad, what is seen
    Case(
        "selector",
        applied(broken("{selector: {app: wep}, ports: [{port: 80}]}")),
        "selector-matches-nothing",
        ERROR,
        "closest is Pod default/web-1, with app=web",
    ),
    Case(
        "namespace",
        applied(broken("{selector: {k8s-app: kube-dns}, ports: [{port: 80}]}")),
        "selector-matches-nothing",
        ERROR,
        "in another namespace",
    ),
    Case(
        "no Pods",
        applied(deployment("idle", 0), service("idle", of="idle", more="type: ClusterIP")),
        "no-pods",
        WARNING,
        "Deployment idle has 0 replicas",
    ),
    *(
        Case(kind, faults.submitted(IDLE.replace("KIND", kind)), "no-pods", WARNING, seen)
        for kind, seen in (
            ("StatefulSet", "StatefulSet idle has 0 replicas"),
            ("ReplicaSet", "ReplicaSet idle has 0 replicas"),
        )
    ),
    Case(
        "job",
        faults.submitted(IDLE.replace("KIND", "Job").replace("apps", "batch")),
        "selector-matches-nothing",
        ERROR,
        "this lab does not run Job default/idle",
    ),
    Case(
        "no endpoints",
        applied(broken("{ports: [{port: 80}]}")),
        "no-endpoints",
        WARNING,
        "spec.selector is empty",
    ),
    Case(
        "failing probe",
        applied(
            deployment("slow", 1, probe="{httpGet: {path: /ready, port: 9999}}"),
            service("slow", of="slow", more="type: ClusterIP"),
        ),
        "pods-not-ready",
        ERROR,
        "readinessProbe httpGet :9999/ready; readiness probe failed: connect to",
    ),
    Case("unready", faults.unready, "pods-not-ready", WARNING, "1 of 3 Pods are not ready"),
    Case(
        "target port",
        applied(broken("{selector: {app: web}, ports: [{port: 80, targetPort: 9999}]}")),
        "target-port-closed",
        ERROR,
        "it listens on 8080/TCP",
    ),
    Case(
        "protocol",
        applied(
            broken("{selector: {app: web}, ports: [{port: 53, targetPort: 53, protocol: UDP}]}")
        ),
        "target-port-closed",
        ERROR,
        "it listens on 8080/UDP",
    ),
    Case(
        "named target port",
        applied(broken("{selector: {app: web}, ports: [{port: 80, targetPort: https}]}")),
        "target-port-unnamed",
        ERROR,
        "the names there are: http (8080/TCP)",
    ),
    Case(
        "external policy",
        LOCAL_ONE,
        "external-policy-local",
        WARNING,
        "none on node-a, node-b",
    ),
    Case(
        "internal policy",
        applied(
            deployment("one", 1),
            service("one", of="one", more="type: ClusterIP, internalTrafficPolicy: Local"),
        ),
        "internal-policy-local",
        WARNING,
        "clients on these nodes",
    ),
    Case(
        "nobody's ranges",
        applied(broken(f"{{{BALANCED}, loadBalancerSourceRanges: {ELSEWHERE}}}")),
        "source-ranges-shut-out",
        ERROR,
        "none of the 2 addresses of clients",
    ),
    Case(
        "ranges of one family",
        applied(broken(f"{{{BALANCED}, loadBalancerSourceRanges: [198.51.100.0/24]}}")),
        "source-ranges-ignored",
        WARNING,
        "none is of IPv6",
    ),
    Case(
        "pending",
        applied(broken(f"{{{BALANCED}, loadBalancerClass: example.com/lb}}")),
        "load-balancer-pending",
        ERROR,
        "no controller serves spec.loadBalancerClass 'example.com/lb'",
    ),
    Case("host network", applied(*HOST_POD), "host-network-dns", NOTE, "means Default there"),
    Case(
        "no DNS pods",
        lambda lab: faults.scaled(lab, "coredns", "kube-system", 0),
        "dns-no-endpoints",
        ERROR,
        "Deployment coredns has 0 replicas",
    ),
]
IPV6_OFF = "net/ipv6/conf/all/disable_ipv6"
KERNELS = [
    Case("no DNS", lambda lab: faults.dns_at(lab, ""), "dns-missing", ERROR, "no Service of"),
    Case("resolv.conf", lambda lab: faults.dns_at(lab, "10.96.0.9"), "resolv-conf", ERROR, "is at"),
    Case(
        "silent DNS",
        rule("iptables-nft -I INPUT -p udp -j DROP", host="coredns-1.kube-system"),
        "dns-unanswered",
        ERROR,
        "10.96.0.10: no answer within 2 s",
    ),
    Case("lying DNS", faults.lying_dns, "dns-wrong", ERROR, "is told 10.96.0.1"),
    Case("no Node", faults.unregistered, "node-unknown", ERROR, "there is no Node node-b"),
    Case("node address", faults.readdressed, "node-address", ERROR, "InternalIP 192.168.10.99"),
    Case(
        "no IPv6",
        lambda lab: faults.setting(lab, NODE, IPV6_OFF, 1),
        "kernel-feature",
        ERROR,
        "disable_ipv6 = 1",
    ),
    *(
        Case(
            name,
            faults.switched_off(name),
            "forwarding-off",
            ERROR,
            f"{name.replace('/', '.')} = 0",
        )
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    ),
    Case("reverse path", faults.reverse_path_dropped, "reverse-path", WARNING, "IPReversePath"),
    Case(
        "tunnel",
        lambda lab: faults.mtu(lab, NODE, TUNNEL, 1500),
        "tunnel-mtu",
        ERROR,
        "has MTU 1500",
        network="tunnel",
    ),
    Case(
        "pod's link",
        lambda lab: faults.mtu(lab, "web-1", "eth0", 1500),
        "pod-mtu",
        WARNING,
        "eth0 has MTU 1500",
        network="tunnel",
    ),
    Case(
        "hairpin",
        faults.without_hairpin,
        "hairpin",
        WARNING,
        "hairpin mode is off",
        network="flannel-vxlan",
    ),
    Case(
        "ends before the proxy",
        rule("iptables-nft -t nat -I POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j RETURN"),
        "hairpin-masquerade",
        WARNING,
        "(iptables-nft-save -t nat) ends the way of what 10.244.2.1",
    ),
    *(
        Case(
            "bridge",
            faults.switched_off("net/bridge/bridge-nf-call-iptables"),
            "bridge-netfilter-off",
            WARNING,
            "bridge-nf-call-iptables = 0; cni0 has the ports",
            mode,
            "flannel-host-gw",
        )
        for mode in (IPTABLES[0], *NFTABLES)
    ),
    Case(
        "bridge v6",
        faults.switched_off("net/bridge/bridge-nf-call-ip6tables"),
        "bridge-netfilter-off",
        WARNING,
        "bridge-nf-call-ip6tables = 0; cni0 has the ports",
        network="flannel-vxlan",
    ),
    *(
        Case(
            "masquerade",
            rule("iptables-nft -t nat -A POSTROUTING -d 10.244.0.0/16 -j MASQUERADE"),
            "plugin-masquerade",
            WARNING,
            "it changes the source",
            mode,
        )
        for mode in (IPTABLES[0], NFTABLES[0])
    ),
    Case(
        "masquerade v6",
        rule("ip6tables-nft -t nat -A POSTROUTING -d fd00:10:244::/56 -j MASQUERADE"),
        "plugin-masquerade",
        WARNING,
        "ip6tables-nft-save -t nat",
    ),
    *(
        Case("stale rules", faults.stale, "rules-differ", ERROR, "lacks", mode)
        for mode in PACKET_FILTERS
    ),
    Case(
        "flushed",
        lambda lab: faults.commands(lab, NODE, ["iptables-nft -t nat -F KUBE-SERVICES"]),
        "rules-differ",
        ERROR,
        "IPv4 nat KUBE-SERVICES: lacks",
    ),
    *(
        Case(
            f"two-{other}",
            faults.other_rules(other),
            "two-proxies",
            ERROR,
            "there are rules of",
            mode,
        )
        for mode, other in (
            (IPTABLES[0], NFTABLES[0]),
            (IPTABLES[0], IPTABLES[1]),
            (IPTABLES[1], FLAT),
            (NFTABLES[0], IPTABLES[1]),
            (USERSPACE, IPTABLES[0]),
        )
    ),
    Case(
        "two processes", faults.second_process, "two-proxies", ERROR, "kproxy, kube-proxy (process"
    ),
    *(
        Case(name, rule(command), "foreign-rule", severity, seen, mode)
        for name, command, severity, seen, mode in (
            ("drop", "iptables-nft -A FORWARD -j DROP", ERROR, "drop", IPTABLES[0]),
            ("v6", "ip6tables-nft -A FORWARD -j DROP", ERROR, "ip6tables-nft-save", IPTABLES[0]),
            ("legacy", "iptables-legacy -A FORWARD -s 192.0.2.1 -j DROP", WARNING, "-s", FLAT),
            ("raw", "iptables-nft -t raw -A PREROUTING -p tcp -j DROP", WARNING, "raw", FLAT),
            ("accept", "iptables-nft -t nat -I PREROUTING -j ACCEPT", ERROR, "before", IPTABLES[0]),
            (
                "redirect",
                "iptables-nft -t nat -I OUTPUT -p 6 -j REDIRECT",
                WARNING,
                "",
                NFTABLES[0],
            ),
            ("input", "iptables-nft -A INPUT -p tcp --dport 80 -j DROP", WARNING, "", USERSPACE),
        )
    ),
    Case(
        "policy",
        lambda lab: faults.commands(lab, NODE, ["iptables-nft -P FORWARD DROP"]),
        "foreign-rule",
        WARNING,
        "filter FORWARD has policy DROP",
    ),
    Case(
        "nft drops",
        lambda lab: faults.nft_rules(lab, "ip daddr 192.0.2.0/24 drop"),
        "foreign-rule",
        WARNING,
        "guard: ip daddr == 192.0.2.0/24 drop",
        NFTABLES[0],
    ),
    Case(
        "nft policy",
        lambda lab: faults.nft_rules(lab, policy="drop"),
        "foreign-rule",
        WARNING,
        "policy drop, and no rule accepts",
        FLAT,
    ),
    Case(
        "nft masquerades",
        lambda lab: faults.nft_rules(
            lab, "ip daddr 10.244.0.0/16 masquerade", hook="nat hook postrouting"
        ),
        "plugin-masquerade",
        WARNING,
        "-A guard -d 10.244.0.0/16 -j MASQUERADE (nft list table inet firewall)",
        FLAT,
    ),
]


IPVS = [
    pytest.param(
        Case("stale rules", faults.stale, "rules-differ", ERROR, "lacks", Mode("ipvs", "legacy")),
        marks=pytest.mark.ipvs,
    ),
]
