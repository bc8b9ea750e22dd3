"""The ipsets of the calling thread's namespace.

Sets are created and read with the `ipset` program, one process each time; all else is done over
netlink. Entries are text as ipset prints it:
`10.0.0.1`, `10.0.0.1,tcp:80`, `10.0.0.1,tcp:80,10.0.0.2`, `10.0.0.1,tcp:80,10.0.0.0/8`, `30080`.
Source: linux/netfilter/ipset/ip_set.h
"""

from __future__ import annotations

import errno
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netlink import NETLINK_NETFILTER, Netlink, Request, attribute, attributes
from kproxy.kernel.process import run

_SUBSYSTEM = 6 << 8  # NFNL_SUBSYS_IPSET
_DESTROY, _FLUSH, _SWAP, _LIST, _ADD, _DEL, _GET_BYNAME = 3, 4, 6, 7, 9, 10, 14
_PROTOCOL = struct.pack("=B", 6)  # understood since Linux 2.6.39
_NEWER = struct.pack("=B", 7)  # since Linux 4.20
_A_PROTOCOL, _A_SETNAME, _A_OTHER_NAME, _A_FLAGS, _A_DATA, _A_INDEX = 1, 2, 3, 6, 7, 11
_D_IP, _D_PORT, _D_PROTO, _D_IP2, _D_CIDR2, _D_ELEMENTS = 1, 4, 7, 20, 21, 24
_NESTED, _NET_BYTE_ORDER = 0x8000, 0x4000
_LIST_HEADER = 4  # IPSET_FLAG_LIST_HEADER
_PROTO_NUMBERS = {
    "tcp": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "sctp": socket.IPPROTO_SCTP,
}
_ERRORS = {  # IPSET_ERR_*
    4097: "the set has entries of another kind",
    4100: "it is in use",
    4102: "the sets are of different types",
    4104: "the length of the network is not valid here",
    4352: "the set is full, or the port beyond its range",
}
_BE32 = struct.Struct(">L")
_GONE = frozenset([errno.ENOENT])


class SavedSet(NamedTuple):
    """One set as `ipset save` prints it."""

    type: str
    """The part of its `create` line behind the name."""
    entries: frozenset[str]


@lru_cache
def version() -> tuple[int, ...]:
    """Return the version of the `ipset` program. Raises Unsupported if it is not installed."""
    text = run(["ipset", "--version"])
    found = re.search(r"v(\d+)\.(\d+)", text)
    if not found:
        raise Unsupported(f"ipset --version printed no version: {text[:80]!r}")
    return int(found[1]), int(found[2])


def restore(lines: Iterable[str]) -> None:
    """Carry out `create`, `add` ... lines in one process.

    Adding what exists or removing what does not is no error. A set that exists with another type or
    other parameters is an error, but one of the other family passes.
    Raises KernelRefused with the number of the first bad line. Of the lines before it, `create`
    has been carried out, `add` and `del` perhaps.
    """
    run(["ipset", "restore", "-exist"], "".join(f"{line}\n" for line in lines))


def destroy(names: Iterable[str]) -> dict[str, str]:
    """Destroy each of these sets, whether or not others fail, and return the reasons of failures.

    Those that do not exist are no failures. Starts no process.
    """
    failures = {}
    with Netlink(NETLINK_NETFILTER, _ERRORS) as netlink:
        for name in names:
            request = Request(_SUBSYSTEM | _DESTROY, _head(name), ("destroy ipset", name), 0, _GONE)
            try:
                netlink.send([request])
            except KernelRefused as error:
                failures[name] = str(error)
    return failures


def flush(names: Iterable[str]) -> None:
    """Remove all entries of these sets, as far as they exist. Raises KernelRefused."""
    with Netlink(NETLINK_NETFILTER, _ERRORS) as netlink:
        netlink.send(
            Request(_SUBSYSTEM | _FLUSH, _head(name), ("flush ipset", name), 0, _GONE)
            for name in names
        )


def swap(name: str, other: str) -> None:
    """Exchange the names of two sets of one type, also in rules: these match the other set then.

    Raises KernelRefused if their types or families differ.
    """
    body = _head(name) + attribute(_A_OTHER_NAME, other.encode() + b"\0")
    with Netlink(NETLINK_NETFILTER, _ERRORS) as netlink:
        netlink.send([Request(_SUBSYSTEM | _SWAP, body, ("swap ipsets", name, other))])


def index(name: str) -> int:
    """Return the number by which rules refer to a set. Raises KernelRefused if there is none."""
    request = Request(_SUBSYSTEM | _GET_BYNAME, _head(name, _NEWER), ("find ipset", name))
    with Netlink(NETLINK_NETFILTER) as netlink:
        fields = dict(attributes(netlink.ask(request)[4:]))
    return int.from_bytes(fields[_A_INDEX], "big")


def save() -> dict[str, SavedSet]:
    """Return all sets with all of their entries."""
    types: dict[str, str] = {}
    entries: dict[str, list[str]] = {}
    for line in run(["ipset", "save"]).splitlines():
        verb, name, rest = line.split(" ", 2)
        if verb == "create":
            types[name], entries[name] = rest, []
        elif verb == "add":
            entries[name].append(rest.split(" ", 1)[0])
    return {name: SavedSet(types[name], frozenset(entries[name])) for name in types}


def sizes() -> dict[str, int]:
    """Return the number of entries of each set, without reading them."""
    flags = attribute(_A_FLAGS | _NET_BYTE_ORDER, _BE32.pack(_LIST_HEADER))
    request = Request(_SUBSYSTEM | _LIST, _head() + flags, ("list the ipsets",))
    found = {}
    with Netlink(NETLINK_NETFILTER) as netlink:
        for body in netlink.dump(request):
            fields = dict(attributes(body[4:]))
            name = bytes(fields[_A_SETNAME]).rstrip(b"\0").decode()
            found[name] = _BE32.unpack(dict(attributes(fields[_A_DATA]))[_D_ELEMENTS])[0]
    return found


def edit(add: Iterable[tuple[str, str]], delete: Iterable[tuple[str, str]]) -> None:
    """Add and delete entries, each given as the name of its set and its text. Starts no process.

    Adding one that exists or deleting one that does not is no error. Raises KernelRefused.
    """
    requests = [*_requests(_ADD, "add", add), *_requests(_DEL, "delete", delete)]
    if requests:
        with Netlink(NETLINK_NETFILTER, _ERRORS) as netlink:
            netlink.send(requests)


def _requests(command: int, verb: str, entries: Iterable[tuple[str, str]]) -> Iterator[Request]:
    for name, text in entries:
        body = _head(name) + attribute(_A_DATA | _NESTED, _entry(text))
        yield Request(_SUBSYSTEM | command, body, ("ipset", verb, name, text))


def _head(name: str = "", protocol: bytes = _PROTOCOL) -> bytes:
    """Return nfgenmsg, the version of the protocol, and the name of the set if given."""
    head = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_A_PROTOCOL, protocol)
    return head + attribute(_A_SETNAME, name.encode() + b"\0") if name else head


def _entry(text: str) -> bytes:
    first, _, rest = text.partition(",")
    if first.isdigit():
        return _port(first)
    data = _address(_D_IP, first)
    if rest:
        where, _, other = rest.partition(",")
        protocol, _, port = where.partition(":")
        data += _port(port) + attribute(_D_PROTO, bytes([_PROTO_NUMBERS[protocol]]))
        if other:
            address, _, length = other.partition("/")
            data += _address(_D_IP2, address)
            if length:
                data += attribute(_D_CIDR2, bytes([int(length)]))
    return data


def _address(kind: int, text: str) -> bytes:
    family = family_of(text)
    inner = 2 if family is Family.IPV6 else 1
    packed = socket.inet_pton(family.socket_family, text)
    return attribute(kind | _NESTED, attribute(inner | _NET_BYTE_ORDER, packed))


def _port(text: str) -> bytes:
    return attribute(_D_PORT | _NET_BYTE_ORDER, struct.pack(">H", int(text)))
