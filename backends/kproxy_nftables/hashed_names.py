"""Names of chains that belong to one service port, which have a "/" and begin with a hash.

Source: kube-proxy v1.36 nftables/proxier.go, servicePortChainNameBase.
"""

from __future__ import annotations

from functools import lru_cache

from kproxy.forwarding.plan import Endpoint, ServicePortName
from kproxy.kernel.hashing import eight_characters

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
