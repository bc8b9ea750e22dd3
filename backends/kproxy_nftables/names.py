"""Names of tables, sets and chains. Those of one service port end in a name of `hashed_names`."""

from __future__ import annotations

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
