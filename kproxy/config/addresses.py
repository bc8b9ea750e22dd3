"""Addresses as people write them in a configuration, read as liberally as kube-proxy does."""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from kproxy.forwarding.plan import Family

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_PREFIX_LENGTH = re.compile(r"[0-9]{1,3}")


def parse_ip(text: str) -> Address | None:
    """None if it is no address. Leading zeros are decimal; no zone; IPv4-mapped is IPv4.

    Source: netutils.ParseIPSloppy
    """
    try:
        address = ip_address(text if ":" in text else _LEADING_ZEROS.sub("", text))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address


def parse_cidr(text: str) -> Network | None:
    """None if it is no `address/length`; bits beyond the length are cleared."""
    address_text, _, length = text.partition("/")
    address = parse_ip(address_text)
    if address is None or not _PREFIX_LENGTH.fullmatch(length):
        return None
    try:
        return ip_network((str(address), int(length)), strict=False)
    except ValueError:
        return None


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
