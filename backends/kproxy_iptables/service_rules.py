"""The rules of one Service, in the order in which a packet meets them, and their purposes. Pure."""

from __future__ import annotations

import re

from kproxy.backend import Listing, Purpose, RuleLine, Sought, purposes
from kproxy.backend.masquerade import HOOK, MARKED, MASQUERADE_PURPOSES
from kproxy.backend.saved_walk import SavedWalk
from kproxy.kernel.iptables_save import Table
from kproxy_iptables.names import (
    DISPATCH_CHAINS,
    FIXED_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)

# In the order of hooks; a packet passes those of PREROUTING or those of OUTPUT.
_HOOKS: tuple[tuple[Table, str], ...] = (
    ("nat", "PREROUTING"),
    ("nat", "OUTPUT"),
    ("filter", "INPUT"),
    ("filter", "FORWARD"),
    ("filter", "OUTPUT"),
    ("nat", "POSTROUTING"),
)
_SHARED = {name for _, name in (*DISPATCH_CHAINS, *FIXED_CHAINS)} | {KUBELET_FIREWALL}
_NAMED = re.compile(r'--comment "?([a-z0-9.-]+/[a-z0-9.:-]+)')  # namespace/name[:port]

PURPOSES = (
    Purpose(HOOK, "-j KUBE-SERVICES$", "looks whether the packet is for a Service"),
    Purpose(HOOK, "-j KUBE-EXTERNAL-SERVICES", "looks for addresses that have no endpoint"),
    Purpose(HOOK, "-j KUBE-NODEPORTS", "lets health checks of load balancers in"),
    Purpose(HOOK, "-j KUBE-PROXY-FIREWALL", "looks whether source ranges forbid the packet"),
    Purpose(HOOK, "-j KUBE-FIREWALL", "protects what listens on the loopback address only"),
    Purpose("KUBE-SERVICES", "no endpoints", "refuses: the Service has no endpoint"),
    Purpose("KUBE-SERVICES", "no local endpoints", "drops: no endpoint is on this node"),
    Purpose("KUBE-SERVICES", "-j KUBE-NODEPORTS", "tries node ports, if the address is the node's"),
    Purpose("KUBE-SERVICES", "-j KUBE-SV[CL]-", "takes packets to the cluster IP"),
    Purpose("KUBE-SERVICES", "external IP", "takes packets to an external IP"),
    Purpose("KUBE-SERVICES", "loadbalancer IP", "takes packets to the load balancer's address"),
    Purpose("KUBE-EXTERNAL-SERVICES", "-j REJECT", "refuses: the Service has no endpoint"),
    Purpose("KUBE-EXTERNAL-SERVICES", "-j DROP", "drops: no endpoint is on this node"),
    Purpose("KUBE-PROXY-FIREWALL", "", "drops what KUBE-FW did not let pass"),
    Purpose("KUBE-NODEPORTS", "health check", "lets the health checks of this Service in"),
    Purpose("KUBE-NODEPORTS", "nfacct", "takes and counts packets to the node port on localhost"),
    Purpose("KUBE-NODEPORTS", "", "takes packets to the node port"),
    Purpose("KUBE-FW-.*", "-j KUBE-EXT-", "lets a source range pass"),
    Purpose("KUBE-FW-.*", "", "only counts: all other sources, which are dropped later"),
    Purpose("KUBE-EXT-.*", "masquerade traffic for", MARKED + ": the policy is Cluster"),
    Purpose("KUBE-EXT-.*", "pod traffic for", "pods of this node may use all endpoints"),
    Purpose("KUBE-EXT-.*", "masquerade LOCAL", "what this node itself sends " + MARKED),
    Purpose("KUBE-EXT-.*", "route LOCAL", "this node itself may use all endpoints"),
    Purpose("KUBE-EXT-.*", "-j KUBE-SVL-", "clients outside get an endpoint of this node"),
    Purpose("KUBE-EXT-.*", "-j KUBE-SVC-", "chooses among all endpoints"),
    Purpose("KUBE-SV[CL]-.*", "-j KUBE-MARK-MASQ", MARKED + ": not from a pod of the cluster"),
    Purpose("KUBE-SV[CL]-.*", "-m recent", "a known client goes back to its endpoint"),
    Purpose("KUBE-SV[CL]-.*", "-m statistic", "this endpoint takes its share at random"),
    Purpose("KUBE-SV[CL]-.*", "-j KUBE-SEP-", "the last endpoint, or the only one, takes the rest"),
    Purpose("KUBE-SEP-.*", "-j KUBE-MARK-MASQ", "an endpoint that reaches itself " + MARKED),
    Purpose("KUBE-SEP-.*", "-m recent", "remembers the client and sends it to the endpoint"),
    Purpose("KUBE-SEP-.*", "-j DNAT", "sends the connection to the endpoint"),
    Purpose("KUBE-FORWARD", "INVALID", "drops what conntrack cannot translate back"),
    Purpose("KUBE-FIREWALL", "", "drops packets from outside to 127.0.0.0/8"),
)
_purpose = purposes((*PURPOSES, *MASQUERADE_PURPOSES))


def service_rules(listing: Listing, sought: Sought) -> list[RuleLine]:
    """Return the rules of a Service, read or rendered; of it, only its name need be known. See
    `Mode.service_rules`.
    """

    def owns(_table: str, _chain: str, rule: str) -> bool | None:
        named = _NAMED.search(rule)
        return sought.is_named(named[1]) if named else None

    walk = SavedWalk(listing, _is_ours, owns, _purpose)
    found = [line for table, chain in _HOOKS for line in walk.through(table, chain)]
    return found if any(line.depth and owns("", "", line.rule) for line in found) else []


def _is_ours(chain: str) -> bool:
    return chain in _SHARED or chain.startswith(SERVICE_CHAIN_PREFIXES)
