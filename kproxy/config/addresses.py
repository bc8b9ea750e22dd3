"""Addresses in a configuration, beyond what `kproxy.api.addresses` reads."""

from __future__ import annotations

from kproxy.address import host_port
from kproxy.api.addresses import parse_ip


def with_port(text: str, port: int) -> str:
    """Return `text` with `port` appended if it is an address without one; else as it is.

    `[::1]` is neither an address nor one with a port, and so is refused later.
    Source: proxyutil.AppendPortIfNeeded
    """
    return host_port(text, port) if parse_ip(text) else text
