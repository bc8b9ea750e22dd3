"""The frame: top-level chains, the jumps into them, and the rules that belong to no service. Pure.

Source: kube-proxy v1.36 iptables/proxier.go, iptablesJumpChains and syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from kproxy.address import Family
from kproxy.backend import masquerade
from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.iptables_save import Jump
from kproxy_iptables.names import KUBELET_FIREWALL

INVALID_COUNTER = "ct_state_invalid_dropped_pkts"
ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"

_NEW = "-m conntrack --ctstate NEW -m comment --comment"
_PORTALS = '"kubernetes service portals" -j KUBE-SERVICES'
_EXTERNAL = f'{_NEW} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
_LB_FIREWALL = f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'


# Each is inserted at the top of its chain, so the last one here is evaluated first.
JUMPS = (
    Jump("filter", "INPUT", _EXTERNAL),
    Jump("filter", "FORWARD", _EXTERNAL),
    Jump(
        "filter",
        "INPUT",
        '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
    ),
    Jump("filter", "FORWARD", f"{_NEW} {_PORTALS}"),
    Jump("filter", "OUTPUT", f"{_NEW} {_PORTALS}"),
    Jump("filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
    Jump("filter", "INPUT", _LB_FIREWALL),
    Jump("filter", "OUTPUT", _LB_FIREWALL),
    Jump("filter", "FORWARD", _LB_FIREWALL),
    Jump("nat", "OUTPUT", f"-m comment --comment {_PORTALS}"),
    Jump("nat", "PREROUTING", f"-m comment --comment {_PORTALS}"),
    Jump(
        "nat",
        "POSTROUTING",
        '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    ),
    Jump("filter", "INPUT", f"-j {KUBELET_FIREWALL}"),
    Jump("filter", "OUTPUT", f"-j {KUBELET_FIREWALL}"),
)


class FrameOptions(Struct, frozen=True, kw_only=True):
    """Facts about the namespace that the fixed rules depend on, read once at the start."""

    drop_invalid: bool  # net/netfilter/nf_conntrack_tcp_be_liberal is 0
    invalid_counter: bool = False  # the nfacct counter exists


def firewall_rules(settings: NodeSettings) -> Iterator[str]:
    """Yield the fixed rule of KUBE-FIREWALL, where kube-proxy writes that chain at all.

    With route_localnet on, packets from the network could reach services that only listen on
    127.0.0.1 (CVE-2020-8558).
    """
    if settings.family is Family.IPV4 and settings.localhost_node_ports:
        yield (
            f"-A {KUBELET_FIREWALL} -m comment"
            ' --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8'
            " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        )


def forward_rules(settings: NodeSettings, options: FrameOptions) -> Iterator[str]:
    """Yield the fixed rules of filter KUBE-FORWARD."""
    if options.drop_invalid:
        # Conntrack does not translate INVALID packets back: untranslated, a late packet of
        # a pod would make the client reset its connection (kubernetes issue 74839).
        count = f" -m nfacct --nfacct-name {INVALID_COUNTER}" if options.invalid_counter else ""
        yield f"-A KUBE-FORWARD -m conntrack --ctstate INVALID{count} -j DROP"
    yield from masquerade.forward_rules(settings)
