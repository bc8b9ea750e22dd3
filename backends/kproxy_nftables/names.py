"""Names of tables, sets and chains. Those with a "/" belong to one service port.

Source: kube-proxy v1.36 nftables/proxier.go, servicePortChainNameBase.
"""

from __future__ import annotations

from functools import lru_cache

from kproxy.forwarding.plan import Endpoint, ServicePortName
from kproxy.kernel.hashing import eight_characters

TABLE = "kube-proxy"

# Sets and maps of both layouts.
HAIRPIN = "hairpin-connections"
CLUSTER_IPS = "cluster-ips"
NODE_PORT_IPS = "nodeport-ips"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
NO_ENDPOINT_NODE_PORTS = "no-endpoint-nodeports"
FIREWALL_IPS = "firewall-ips"
SERVICE_IPS = "service-ips"
SERVICE_NODE_PORTS = "service-nodeports"

# Chains of both layouts.
NODE_PORT_ENDPOINTS_CHECK = "nodeport-endpoints-check"
SERVICE_ENDPOINTS_CHECK = "service-endpoints-check"
FIREWALL_CHECK = "firewall-check"
SERVICES = "services"
MASQUERADING = "masquerading"
CLUSTER_IPS_CHECK = "cluster-ips-check"
REJECT = "reject-chain"

CHAIN_PURPOSES = {
    "service-": "chooses among all endpoints of the Service",
    "local-": "chooses among the endpoints on this node",
    "endpoint-": "the endpoint that was chosen",
    "external-": "for clients outside the cluster",
    "firewall-": "lets in only loadBalancerSourceRanges",
    "lb-": "chooses among all endpoints of the Service",
    "masq-lb-": "chooses among all endpoints, for a source that is masqueraded",
    "local-lb-": "chooses among the endpoints on this node",
    "nodeport-lb-": "chooses among all endpoints of the Service",
    "nodeport-masq-lb-": "chooses among all endpoints, for a source that is masqueraded",
    "nodeport-local-lb-": "chooses among the endpoints on this node",
    "short-circuit": "pods and processes of this node use all endpoints",
    "source-ranges-check": "lets in only loadBalancerSourceRanges",
    REJECT: "there is no endpoint",
    # These only lead on, though their names begin as those of Services' chains.
    FIREWALL_CHECK: "",
    SERVICE_ENDPOINTS_CHECK: "",
}

_MOST_CHARACTERS = 240


@lru_cache(maxsize=4)  # one service port's chains are named together
def service_base(name: ServicePortName) -> str:
    """Return the end of the names of its chains: testing/service:http, TCP
    -> P4ZYZVCF-testing/service/tcp/http
    """
    return _base(_text(name))


def endpoint_base(name: ServicePortName, endpoint: Endpoint) -> str:
    """Return the same as `service_base` for one endpoint: ns5/svc5:p80, TCP, 10.180.0.3:80
    -> GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80
    """
    return _base(f"{_text(name)}__{endpoint.address.replace(':', '.')}/{endpoint.port}")


def _text(name: ServicePortName) -> str:
    return f"{name.namespace}/{name.name}/{name.protocol.lower()}/{name.port}"


def _base(text: str) -> str:
    base = f"{eight_characters(text)}-{text}"
    return base if len(base) <= _MOST_CHARACTERS else base[: _MOST_CHARACTERS - 3] + "..."
