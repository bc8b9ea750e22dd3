"""Names of chains. Those of services contain a hash.

They are the same on every node and after every restart, so the first sync recognises the chains of
a predecessor by them. They take 25 of the 28 characters that iptables allows.
"""

from __future__ import annotations

from kproxy.forwarding.plan import Endpoint, ServicePortName
from kproxy.kernel.hashing import sixteen_characters

SERVICE_CHAIN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")
CHAIN_PURPOSES = {
    "KUBE-SVC-": "chooses among all endpoints of the Service",
    "KUBE-SVL-": "chooses among the endpoints on this node",
    "KUBE-SEP-": "the endpoint that was chosen",
    "KUBE-FW-": "lets in only loadBalancerSourceRanges",
    "KUBE-EXT-": "for clients outside the cluster",
    "KUBE-MARK-MASQ": "marks it to be masqueraded",
}
CANARY = "KUBE-PROXY-CANARY"
KUBELET_FIREWALL = "KUBE-FIREWALL"  # shared with the kubelet: never deleted

# Chains that hold rules of many services; they are edited rule by rule.
DISPATCH_CHAINS = (
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "KUBE-NODEPORTS"),
    ("filter", "KUBE-PROXY-FIREWALL"),
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
)
# Chains of rules that belong to no service.
FIXED_CHAINS = (
    ("mangle", CANARY),
    ("filter", CANARY),
    ("nat", CANARY),
    ("filter", "KUBE-FORWARD"),
    ("nat", "KUBE-POSTROUTING"),
    ("nat", "KUBE-MARK-MASQ"),
)


def service_hash(name: ServicePortName) -> str:
    """Return the 16 base32 characters that the SVC, SVL, EXT and FW chains of a service port share.

    Source: kube-proxy v1.36 portProtoHash; default/web:http, TCP -> CDGGSHYLG3RE2FKL
    """
    return sixteen_characters(f"{name}{name.protocol.lower()}")


def endpoint_chain(name: ServicePortName, endpoint: Endpoint) -> str:
    """Return the name of an endpoint's chain, which is also the name of its `recent` list.

    Source: kube-proxy v1.36 servicePortEndpointChainName; ns1/svc1:p80, TCP, 10.180.0.1:80
    -> KUBE-SEP-SXIVWICOYRO3J4NJ
    """
    return "KUBE-SEP-" + sixteen_characters(f"{name}{name.protocol.lower()}{endpoint}")
