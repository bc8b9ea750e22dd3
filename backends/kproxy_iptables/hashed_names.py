"""Names of chains of services, which contain a hash.

They are the same on every node and after every restart, so the first sync recognises the chains of
a predecessor by them. They take 25 of the 28 characters that iptables allows.
"""

from __future__ import annotations

from kproxy.forwarding.plan import Endpoint, ServicePortName
from kproxy.kernel.hashing import sixteen_characters


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
