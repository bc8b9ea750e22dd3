"""IP families, and how an address with a port is written. The ground that every room stands on.

Addresses travel as canonical text (as `ipaddress` prints them); they were checked where they
entered, so the family of one is read off its colons. Nothing here imports anything of kproxy.
"""

from __future__ import annotations

import enum
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, AddressFamily


class Family(enum.StrEnum):
    """A family is equal to its name in Kubernetes' objects, where msgspec reads and writes it."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def other(self) -> Family:
        return Family.IPV6 if self is Family.IPV4 else Family.IPV4

    @property
    def socket_family(self) -> AddressFamily:
        return AF_INET if self is Family.IPV4 else AF_INET6


def family_of(address: str) -> Family:
    """Return the family of an address or CIDR in canonical text. Text without a colon is IPv4."""
    return Family.IPV6 if ":" in address else Family.IPV4


def family_of_parsed(value: IPv4Address | IPv4Network | IPv6Address | IPv6Network) -> Family:
    """Return the family of an object of `ipaddress`."""
    return Family.IPV4 if value.version == 4 else Family.IPV6


def socket_family(address: str) -> AddressFamily:
    """Return what a socket for this address is made with."""
    return AF_INET6 if ":" in address else AF_INET


def bracketed(address: str) -> str:
    """Return the address as it stands before a port or in a URL: `10.0.0.1`, `[fd00::1]`."""
    return f"[{address}]" if ":" in address else address


def unbracketed(text: str) -> str:
    """Return the text without a pair of brackets around it, as an address has in a URL."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def host_port(address: str, port: int) -> str:
    """Return `10.0.0.1:80` or `[fd00::1]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_host_port(text: str) -> tuple[str, str] | None:
    """Split `1.2.3.4:80` or `[::1]:80` into host and port, as Go's SplitHostPort does.

    Returns None for anything else. Neither part is checked.
    """
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([^\[\]:]*)", text)
    return (match[1] if match[1] is not None else match[2], match[3]) if match else None
