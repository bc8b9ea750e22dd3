"""Names of chains but for the whole of those of services, which contain a hash: `hashed_names`."""

from __future__ import annotations

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
