"""The iptables rules behind the masquerade mark, the same in iptables mode and ipvs mode, and
their purposes. Pure.

A packet that must get this node's address is marked on its way in (KUBE-MARK-MASQ) and masqueraded
on its way out (KUBE-POSTROUTING). Source: kube-proxy v1.36, syncProxyRules of both modes.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.backend.listing import Purpose
from kproxy.forwarding.plan import DetectLocal, LocalDetector, NodeSettings

HOOK = "PREROUTING|OUTPUT|INPUT|FORWARD|POSTROUTING"
MARKED = "leaves with this node's address"
MASQUERADE_PURPOSES = (
    Purpose(HOOK, "-j KUBE-POSTROUTING", "gives marked packets this node's address"),
    Purpose(HOOK, "-j KUBE-FORWARD", "lets packets of Services be forwarded"),
    Purpose("KUBE-MARK-MASQ", "", "sets the masquerade mark"),
    Purpose("KUBE-POSTROUTING", "-j RETURN", "leaves packets without the mark as they are"),
    Purpose("KUBE-POSTROUTING", "-j MARK", "takes the mark away: once is enough"),
    Purpose("KUBE-POSTROUTING", "-j MASQUERADE", "gives the packet this node's address"),
    Purpose("KUBE-FORWARD", "-m mark", "forwards marked packets"),
    Purpose("KUBE-FORWARD", "RELATED,ESTABLISHED", "forwards packets of known connections"),
)


def mark_text(settings: NodeSettings) -> str:
    return f"0x{settings.masquerade_mark:08x}"


def local_match(detector: LocalDetector, *, negate: bool = False) -> str:
    """Return the match for packets of local pods or, with `negate`, for all others."""
    word = {
        DetectLocal.CIDR: f"-s {detector.value}",
        DetectLocal.BRIDGE: f"-i {detector.value}",
        DetectLocal.PREFIX: f"-i {detector.value}+",
    }[detector.mode]
    return f"! {word}" if negate else word


def nat_rules(settings: NodeSettings) -> Iterator[str]:
    """Yield the rules of both chains of the nat table, each beginning with "-A CHAIN "."""
    mark = mark_text(settings)
    yield f"-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN"
    # The mark is removed, so that a packet that passes here again is not masqueraded twice.
    yield f"-A KUBE-POSTROUTING -j MARK --xor-mark {mark}"
    yield (
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT"'
        " -j MASQUERADE --random-fully"
    )
    yield f"-A KUBE-MARK-MASQ -j MARK --or-mark {mark}"


def forward_rules(settings: NodeSettings) -> Iterator[str]:
    """Yield the last rules of filter KUBE-FORWARD, which let services work with policy DROP."""
    mark = mark_text(settings)
    yield (
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules"'
        f" -m mark --mark {mark}/{mark} -j ACCEPT"
    )
    yield (
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    )
