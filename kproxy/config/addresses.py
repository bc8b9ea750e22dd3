"""Addresses in a configuration, beyond what `kproxy.api.addresses` reads."""

from __future__ import annotations

import re

from kproxy.address import Family
from kproxy.api.addresses import Address, Network, parse_ip


def family_of(value: Address | Network) -> Family:
    return Family.IPV4 if value.version == 4 else Family.IPV6


def split_host_port(text: str) -> tuple[str, str] | None:
    """`1.2.3.4:80` or `[::1]:80` -> host, port. None for anything else, as Go's SplitHostPort."""
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([^\[\]:]*)", text)
    return (match[1] if match[1] is not None else match[2], match[3]) if match else None


def with_port(text: str, port: int) -> str:
    """`text` with `port` appended if it is a lone address; else as it is.

    Source: proxyutil.AppendPortIfNeeded
    """
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    address = parse_ip(text)
    if address is None:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
