"""Addresses in a configuration, beyond what `kproxy.api.addresses` reads."""

from __future__ import annotations

from kproxy.address import host_port
from kproxy.api.addresses import parse_ip


def with_port(text: str, port: int) -> str:
    """Return `text` with `port` appended if it is an address without one; else as it is.

    Source: proxyutil.AppendPortIfNeeded
    """
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return host_port(address, port) if parse_ip(address) else address
