"""Names of chains, of which those of services are hashes.

The same on every node and after every restart: by them the first sync recognises the chains of a
predecessor. 25 of the 28 characters that iptables allows.
"""

from __future__ import annotations

from hashlib import sha256

from kproxy.forwarding.plan import Endpoint, ServicePortName

SERVICE_CHAIN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")
CANARY = "KUBE-PROXY-CANARY"
KUBELET_FIREWALL = "KUBE-FIREWALL"  # shared with the kubelet: never deleted

# Rules of many services stand in these; they are edited rule by rule.
DISPATCH_CHAINS = (
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "KUBE-NODEPORTS"),
    ("filter", "KUBE-PROXY-FIREWALL"),
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
)
# Rules that no service owns.
FIXED_CHAINS = (
    ("mangle", CANARY),
    ("filter", CANARY),
    ("nat", CANARY),
    ("filter", "KUBE-FORWARD"),
    ("nat", "KUBE-POSTROUTING"),
    ("nat", "KUBE-MARK-MASQ"),
)


def service_hash(name: ServicePortName) -> str:
    """16 base32 characters that the SVC, SVL, EXT and FW chains of one service port share.

    Source: kube-proxy v1.36 portProtoHash; default/web:http, TCP -> CDGGSHYLG3RE2FKL
    """
    return _hash(f"{name}{name.protocol.lower()}")


def endpoint_chain(name: ServicePortName, endpoint: Endpoint) -> str:
    """Name of the chain of one endpoint of a service port, which is also its `recent` list.

    Source: kube-proxy v1.36 servicePortEndpointChainName; ns1/svc1:p80, TCP, 10.180.0.1:80
    -> KUBE-SEP-SXIVWICOYRO3J4NJ
    """
    return "KUBE-SEP-" + _hash(f"{name}{name.protocol.lower()}{endpoint}")


def _hash(text: str) -> str:
    number = int.from_bytes(sha256(text.encode()).digest()[:10], "big")  # 80 bits: 16 characters
    pairs = _PAIRS
    return (
        pairs[number >> 70]
        + pairs[number >> 60 & 1023]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


# base64.b32encode takes eight times as long, which is 0.5 s of a cold start of 10,000 Services.
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
