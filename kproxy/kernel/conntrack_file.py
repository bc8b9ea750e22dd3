"""UDP flows from the kernel's text about tracked connections, /proc/net/nf_conntrack.

To list connections by netlink, the kernel takes and gives back a lock for each bucket of the table
of all namespaces: 13 ms for 262,144 buckets, even if there is one connection. To write its text it
takes none, and needs 0.4 ms. Some kernels have no text. At a new page 6.18 goes on in the bucket
where it was; older ones count the connections from the first bucket again, and miss one if another
has ended meanwhile: of these, only a text of one page is used.
Source: Linux 6.18, net/netfilter/nf_conntrack_standalone.c; its output
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import NamedTuple

from kproxy.address import Family

_PATH = "/proc/thread-self/net/nf_conntrack"
_PAGE_BYTES = 4096
_LONGEST_BYTES = 1024  # more than a line has: one that does not fit into a page comes with the next
_READ_BYTES = 1 << 16
_GOES_ON = (6, 18)
_UDP = re.compile(
    rb"ipv([46]) +\d+ udp +17 .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)"
    rb" .*?src=(\S+) dst=\S+ sport=(\d+) "
)
_ZONE = re.compile(rb" zone=(\d+)")
_ZONES = b" zone-"  # a zone of one direction


class UdpLine(NamedTuple):
    """A UDP flow: its client, what that asked for, and who answers."""

    family: Family
    client: tuple[str, int]
    destination: tuple[str, int]
    backend: tuple[str, int]
    zone: int


def udp_lines() -> list[UdpLine] | None:
    """Return the UDP flows of the calling thread's namespace; None if the text may lack some."""
    text = read()
    return None if text is None else parsed(text)


def read() -> bytes | None:
    """Return the text about the calling thread's namespace; None if it may not be whole."""
    with suppress(OSError):
        descriptor = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pages = [os.read(descriptor, _READ_BYTES)]
            if len(pages[0]) + _LONGEST_BYTES <= _PAGE_BYTES:
                return pages[0]
            if _goes_on(os.uname().release):
                while pages[-1]:
                    pages.append(os.read(descriptor, _READ_BYTES))
                return b"".join(pages)
        finally:
            os.close(descriptor)
    return None


def parsed(text: bytes) -> list[UdpLine] | None:
    """Return the UDP flows of a text; None if one has zones of which the text does not tell all."""
    found: list[UdpLine] = []
    for line in text.splitlines():
        if b" udp " not in line or not (parts := _UDP.match(line)):
            continue
        if _ZONES in line:
            return None
        number, source, to, port, to_port, backend, backend_port = parts.groups()
        family = Family.IPV4 if number == b"4" else Family.IPV6
        zone = _ZONE.search(line)
        found.append(
            UdpLine(
                family,
                (_canonical(source, family), int(port)),
                (_canonical(to, family), int(to_port)),
                (_canonical(backend, family), int(backend_port)),
                int(zone[1]) if zone else 0,
            )
        )
    return found


def _goes_on(release: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _GOES_ON


def _canonical(address: bytes, family: Family) -> str:
    """Return an address as others write it: the text has all zeros of IPv6."""
    text = address.decode()
    if family is Family.IPV4:
        return text
    return socket.inet_ntop(family.socket_family, socket.inet_pton(family.socket_family, text))
